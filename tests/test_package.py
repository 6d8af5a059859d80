"""The built wheel, installed into a fresh virtual environment and run outside the checkout."""

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from .packages import built

CHECKOUT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel() -> Path:
    """The wheel, built from the checkout as `make dist` builds it."""
    return built.wheel()


@pytest.fixture(scope="module")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lbhook` in a fresh virtual environment, with its dependencies from the index."""
    place = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin/pip"), "install", "-q", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True)
    return place / "bin/lbhook"


def _run(program: Path, *argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd)}
    return subprocess.run(
        [str(program), *argv], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_wheel_has_what_is_no_code(wheel: Path) -> None:
    """Templates, units and the page ship inside the wheel; tests and documentation do not."""
    names = zipfile.ZipFile(wheel).namelist()
    for file in [*CHECKOUT.glob("templates/*"), *CHECKOUT.glob("systemd/**/*")]:
        assert file.is_dir() or f"lbhook/{file.relative_to(CHECKOUT)}" in names
    assert "lbhook/lbhook.toml" in names
    for file in CHECKOUT.glob("lbhook/page.*"):
        assert f"lbhook/{file.name}" in names
    assert not [name for name in names if name.startswith(("tests", "docs", "bench"))]


def test_wheel_asks_for_three_packages(program: Path) -> None:
    """Run-time dependencies are requests, jinja2 and click, and tomli for old Pythons."""
    code = "from importlib.metadata import requires; print(*requires('lbhook'), sep='\\n')"
    python = program.with_name("python")
    printed = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    wanted = [line for line in printed.stdout.splitlines() if "extra ==" not in line]
    names = sorted(line.split(">")[0] for line in wanted)
    assert names == ["click", "jinja2", "requests", "tomli"]


def test_wheel_applies_outside_the_checkout(program: Path, tmp_path: Path) -> None:
    """The installed program does the main job below a directory."""
    root = tmp_path / "root"
    root.mkdir()
    body = CHECKOUT / "tests/bodies/documented.json"
    config = tmp_path / "lbhook.toml"
    config.write_text("[targets.nginx]\n[targets.nftables]\n", encoding="utf-8")
    argv = ["apply", "-c", str(config), "--metadata", str(body), "--root", str(root), "--json"]
    ended = _run(program, *argv, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    outcome = json.loads(ended.stdout)
    assert [one["outcome"] for one in outcome["targets"]] == ["created", "created", "created"]
    listen = (root / "etc/nginx/lbhook/listen.conf").read_text(encoding="utf-8")
    assert "listen 443;" in listen


def test_wheel_plays_the_demo(program: Path, tmp_path: Path) -> None:
    """The demonstration runs from the installed package too."""
    ended = _run(program, "demo", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "A second run changes nothing" in ended.stdout


def test_wheel_installs_units_that_start_it(program: Path, tmp_path: Path) -> None:
    """`lbhook install` of a program that pip has put somewhere: units start it there."""
    place = tmp_path / program.relative_to("/")
    place.parent.mkdir(parents=True)
    place.write_bytes(program.read_bytes())
    ended = _run(program, "install", "--root", str(tmp_path), cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    for unit in (tmp_path / "usr/local/lib/systemd/system").glob("*.service"):
        starts = re.findall(r"^Exec\w+=.*?(/\S+/lbhook) ", unit.read_text(encoding="utf-8"), re.M)
        assert set(starts) == {str(program)}
