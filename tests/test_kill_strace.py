"""The kill test from outside: the kernel kills the real program at each of its system calls."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .conftest import lacking
from .stand import NO_ENV, body, contents, target

pytestmark = pytest.mark.needs("strace")

REPOSITORY = Path(__file__).parents[1]
CALLS = "rename,renameat,renameat2,fsync,fchmod,fchown,mkdirat,mkdir,unlinkat,unlink,rmdir"
KILLED = (-9, 137)
FILES = ("one", "two", "three", "four")
OWN = ("run/lbhook/status.json", "run/lbhook/lock", "run/lbhook/loaded.json", "run/lbhook")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A machine on which an older answer was applied, and a target that will be dropped."""
    origin = tmp_path / "origin"
    (origin / "disk/etc").mkdir(parents=True)
    (origin / "disk/etc/two").write_text("mine\n")
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates/ports.j2").write_text(
        "{% for one in lb.listeners %}{{ one.port }}\n{% endfor %}"
    )
    write(tmp_path, FILES, body(80, 443))
    assert apply(tmp_path, origin) == 0
    write(tmp_path, FILES[:3], body(80, 8443))
    return origin


def write(place: Path, names: tuple[str, ...], answer: bytes) -> None:
    """Configuration and answer."""
    targets = "".join(target(name, reload=None) for name in names)
    paths = f'[paths]\ntemplates = ["{place}/templates"]\n'
    (place / "lbhook.toml").write_text(paths + NO_ENV + targets)
    (place / "body.json").write_bytes(answer)


def apply(place: Path, machine: Path, *tracer: str) -> int:
    """One run of the real program."""
    words = ("-m", "lbhook", "-q", "-c", f"{place}/lbhook.toml", "apply")
    source = ("--metadata", f"{place}/body.json", "--root", f"{machine}/disk")
    places = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONDONTWRITEBYTECODE": "1"}
    argv = (*tracer, sys.executable, *words, *source)
    return subprocess.run(argv, env=environment, cwd="/", timeout=60).returncode


def calls(place: Path, machine: Path) -> dict[str, int]:
    """How often a run makes each system call, as strace counts them."""
    log = place / "log"
    assert apply(place, machine, "strace", "-f", "-qq", "-o", str(log), "-e", f"trace={CALLS}") == 0
    names = [line.split("(")[0].split()[-1] for line in log.read_text().splitlines() if "(" in line]
    return {name: names.count(name) for name in dict.fromkeys(names) if name in CALLS.split(",")}


def texts(machine: Path) -> list[str | None]:
    """What the files hold."""
    files = [machine / "disk/etc" / name for name in FILES]
    return [file.read_text() if file.exists() else None for file in files]


def test_the_kernel_kills_it_at_any_system_call(tmp_path: Path, origin: Path) -> None:
    """Promise 3: killed at a call that changes the disk (each rename, every third of the others),
    every file is whole, and the next run ends as a quiet one would have."""
    probe = subprocess.run(("strace", "-qq", "-o", "/dev/null", "true"), capture_output=True)
    if probe.returncode:
        lacking("strace may not trace here")
    quiet = shutil.copytree(origin, tmp_path / "quiet")
    counted = calls(tmp_path, quiet)
    allowed = [set(pair) for pair in zip(texts(origin), texts(quiet), strict=True)]
    assert counted["fsync"] > 20
    points = [
        (name, when)
        for name, count in counted.items()
        for when in range(1, count + 1, 1 if name.startswith("rename") else 3)
    ]

    def kill_at(point: tuple[str, int]) -> None:
        name, when = point
        machine = shutil.copytree(origin, tmp_path / f"{name}-{when}")
        inject = f"inject={name}:signal=SIGKILL:when={when}"
        tracer = ("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={name}", "-e", inject)
        assert apply(tmp_path, machine, *tracer) in KILLED, point
        assert all(text in ok for text, ok in zip(texts(machine), allowed, strict=True)), point
        assert apply(tmp_path, machine) == 0
        assert contents(machine / "disk", OWN) == contents(quiet / "disk", OWN), point

    with ThreadPoolExecutor() as pool:
        assert len([*pool.map(kill_at, points)]) == len(points)
