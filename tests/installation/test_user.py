"""The user `lbhook`: its number is that of its group, whatever is taken already."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ..program import REPO

SYSUSERS = REPO / "systemd/lbhook.sysusers"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with systemd's own file of users for lbhook."""
    if not shutil.which("systemd-sysusers"):
        pytest.skip("needs systemd-sysusers")
    directory = tmp_path / "usr/lib/sysusers.d"
    directory.mkdir(parents=True)
    shutil.copy(SYSUSERS, directory / "lbhook.conf")
    (tmp_path / "etc").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("users", "groups"),
    [
        ("", ""),
        # As the numbers are drawn downwards from 999, each of the two would find another one free.
        ("one:x:999:100::/:/bin/false\n", ""),
        ("", "one:x:999:\ntwo:x:998:\n"),
        ("one:x:998:100::/:/bin/false\n", "two:x:999:\n"),
        # What somebody made before the package came.
        ("", "lbhook:x:777:\n"),
    ],
)
def test_user_and_group_have_one_number(root: Path, users: str, groups: str) -> None:
    """systemd-sysusers itself makes them, as packages, and `lbhook install`, have it do."""
    (root / "etc/passwd").write_text(f"root:x:0:0:root:/root:/bin/sh\n{users}")
    (root / "etc/group").write_text(f"root:x:0:\nusers:x:100:\n{groups}")
    subprocess.run(["systemd-sysusers", f"--root={root}"], check=True, capture_output=True)
    lines = (root / "etc/passwd").read_text().splitlines()
    (found,) = [line.split(":") for line in lines if line.startswith("lbhook:")]
    made = [line for line in (root / "etc/group").read_text().splitlines() if "lbhook:" in line]
    assert found[2] == found[3] == made[0].split(":")[2]


def test_nobody_else_makes_the_user() -> None:
    """Each way to install goes by the one file: none has numbers or tools of its own."""
    places = [*(REPO / "debian").rglob("*"), *(REPO / "packaging").rglob("*")]
    places += (REPO / "examples").rglob("*")
    tools = ("useradd", "adduser", "groupadd", "addgroup")
    for file in places:
        if file.is_file() and file.suffix not in (".deb", ".rpm", ".pyz"):
            text = file.read_text(encoding="utf-8", errors="replace")
            assert not [tool for tool in tools if tool in text], file
