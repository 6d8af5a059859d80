"""The single file: run by a Python that has nothing else, and outside of the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest

from lbhook import __version__
from lbhook.errors import WriteError
from lbhook.installation import single_file
from lbhook.installation.executable import SINGLE_FILE

from ..program import BODIES, NOBODY_THERE, REPO
from .built import pyz, wheel
from .chroot import Chroot

# This one, and the distribution's.
PYTHONS = sorted({sys.executable, "/usr/bin/python3"})


def run(*words: str | Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """Run it without `site`: no package but those of the standard library and its own."""
    return subprocess.run(
        [python, "-I", "-S", *map(str, words)],
        cwd="/",
        env={"PATH": os.environ["PATH"], "LBHOOK_ENDPOINT": NOBODY_THERE},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("python", PYTHONS)
def test_it_runs_alone(python: str, tmp_path: Path) -> None:
    """It says its version, plays the demonstration, which speaks HTTP, and applies."""
    if not Path(python).exists():
        pytest.skip(f"no {python}")
    assert run(pyz(), "--version", python=python).stdout == f"lbhook {__version__}\n"
    demo = run(pyz(), "demo", python=python)
    assert (demo.returncode, demo.stderr) == (0, "")
    assert "A second run changes nothing" in demo.stdout
    config = tmp_path / "lbhook.toml"
    config.write_text("[targets.nginx]\n[targets.nftables]\n")
    body = BODIES / "documented.json"
    where = ("-c", config, "--metadata", body, "--root", tmp_path)
    applied = run(pyz(), "apply", *where, "--json", python=python)
    assert applied.returncode == 0, applied.stderr
    outcomes = [one["outcome"] for one in json.loads(applied.stdout)["targets"]]
    assert outcomes == ["created"] * 3
    assert "listen 443;" in (tmp_path / "etc/nginx/lbhook/listen.conf").read_text()


def test_a_template_of_ones_own_includes_a_shipped_one(tmp_path: Path) -> None:
    """Shipped templates are found in the zip, from wherever they are named."""
    own = tmp_path / "own.j2"
    own.write_text('{% include "lbhook.nft.resting.j2" %}\n')
    ended = run(pyz(), "render", own, "--metadata", BODIES / "documented.json")
    assert "delete table inet lbhook" in ended.stdout, ended.stderr


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    """Built twice, it is the same file; of another date only the dates differ."""
    build = [sys.executable, str(REPO / "packaging/pyz.py"), str(wheel())]
    sizes = set()
    for epoch, same in ((None, True), ("1700000000", False)):
        target = tmp_path / f"{epoch}.pyz"
        env = {**os.environ, **({"SOURCE_DATE_EPOCH": epoch} if epoch else {})}
        subprocess.run([*build, str(target)], env=env, check=True, capture_output=True)
        assert (target.read_bytes() == pyz().read_bytes()) == same
        sizes.add(target.stat().st_size)
    assert len(sizes) == 1


def test_what_is_in_it() -> None:
    """No compiled code, which would be for one platform, and with each package its license."""
    names = zipfile.ZipFile(pyz()).namelist()
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    pinned = (REPO / "packaging/pyz.txt").read_text().splitlines()
    packages = {line.split("==")[0] for line in pinned if not line.startswith("#")}
    licensed = {
        name.split("-")[0].replace("_", "-").lower()
        for name in names
        if ".dist-info/" in name and "LICENSE" in name.upper()
    }
    assert packages <= licensed
    assert pyz().stat().st_size < 1024 * 1024


def test_an_older_python_is_told(tmp_path: Path) -> None:
    """One that could not even read the program gets a sentence, not a traceback."""
    main = zipfile.ZipFile(pyz()).read("__main__.py").decode()
    file = tmp_path / "main.py"
    file.write_text(f"import sys\nsys.version_info = (3, 9, 2)\n{main}")
    ended = run(file)
    assert ended.returncode == 1
    assert ended.stderr == "lbhook: needs Python 3.10 or newer; this is 3.9\n"


def test_it_installs_itself(tmp_path: Path) -> None:
    """`install` leaves a copy that runs and that takes everything away again."""
    installed = run(pyz(), "install", "--root", tmp_path)
    assert installed.returncode == 0, installed.stderr
    copy = tmp_path / "usr/local/bin/lbhook"
    assert os.access(copy, os.X_OK)
    assert run(copy, "--version").stdout == f"lbhook {__version__}\n"
    again = run(copy, "install", "--root", tmp_path)
    assert not {"created", "changed"} & {*again.stdout.split()}
    assert run(copy, "uninstall", "--root", tmp_path).returncode == 0
    assert not copy.exists()
    assert not (tmp_path / "etc/lbhook").exists()


def test_what_is_installed_is_compiled(tmp_path: Path) -> None:
    """No start compiles it again, and no run that changes nothing reads a template; a Python of
    another version reads the source."""
    copy, config = tmp_path / "lbhook", tmp_path / "lbhook.toml"
    copy.write_bytes(single_file.compiled(pyz(), SINGLE_FILE))
    asked = "import sys; sys.path.insert(0, sys.argv[1]); import lbhook.plan, jinja2.lexer as other"
    asked += "; print(lbhook.plan.__file__, other.__file__)"
    files = [f"{copy}/lbhook/plan.py", f"{copy}/jinja2/lexer.py"]
    assert run("-c", asked, copy).stdout.split() == [f"{file}c" for file in files]
    config.write_text("[targets.nftables]\n")
    source = ("-c", config, "--metadata", BODIES / "documented.json", "--root", tmp_path)
    made, again = (run("-X", "importtime", copy, "apply", *source) for _ in range(2))
    assert ("jinja2" in made.stderr, "jinja2" in again.stderr) == (True, False)
    with zipfile.ZipFile(copy) as archive:
        archive.extractall(tmp_path / "other")
    for file in (tmp_path / "other").rglob("*.pyc"):
        file.write_bytes(b"\0" + file.read_bytes()[1:])
    copy.write_bytes(single_file.packed(tmp_path / "other", b"#!python\n"))
    assert run("-c", asked, copy).stdout.split() == files


def test_no_room_to_unpack_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, with what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(WriteError, match=f"^{tmp_path}/none/.*: No such file") as caught:
        single_file.compiled(pyz(), SINGLE_FILE)
    assert "TMPDIR" in caught.value.hint


def test_certifi_is_not_missed() -> None:
    """What takes its place names no file that is read: nothing here speaks TLS."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import requests, certifi"
    code += "; print(certifi.__file__)"
    assert "lbhook.pyz" in run("-c", code, pyz()).stdout


@pytest.mark.parametrize("python", PYTHONS)
def test_the_python_that_installs_it_runs_it(python: str, tmp_path: Path) -> None:
    """It is in the copy's first line, however long that is: `python3` may be too old."""
    copy = tmp_path / "lbhook"
    copy.write_bytes(single_file.compiled(pyz(), SINGLE_FILE, python))
    copy.chmod(0o755)
    assert copy.read_bytes().startswith(f"#!{python}\n".encode())
    argv = [str(copy), "--version"]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=True)
    assert done.stdout == f"lbhook {__version__}\n"


def test_installed_on_a_read_only_usr(chroot: Chroot) -> None:
    """Under the umask of a hardened image too: enabled, run from /opt, and taken away again."""
    chroot.write("/lbhook.pyz", pyz().read_bytes())
    before = chroot.files()
    read_only = "mount --bind /usr /usr; mount -o remount,bind,ro /usr; umask 027; "
    said = chroot.run(f"{read_only} python3 /lbhook.pyz install")
    assert "/usr/local/share can't be written: no shell completion" in said
    unit = chroot.read("/etc/systemd/system/lbhook.service")
    assert "\nExecStart=/opt/bin/lbhook apply" in unit
    assert "enabled" in chroot.run("systemctl is-enabled lbhook.service")
    assert chroot.run("/opt/bin/lbhook --version") == f"lbhook {__version__}\n"
    listed = "stat -c %a /opt/bin /etc/lbhook /etc/lbhook/lbhook.toml.d /etc/systemd/system"
    assert set(chroot.run(listed).split()) == {"755"}
    chroot.run(f"{read_only} /opt/bin/lbhook uninstall")
    left = {path for path in {*chroot.files()} - {*before} if "nginx" not in path}
    assert not {path for path in left if "lbhook" in path and not path.startswith("/run")}
