"""The kill test from outside: the kernel kills the real program at each of its system calls."""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import lacking
from ..stand import NO_ENV, body, contents, target

pytestmark = pytest.mark.needs("strace")

REPOSITORY = Path(__file__).parents[2]
CALLS = "linkat,renameat,renameat2,fsync,fchmod,fchown,mkdirat,mkdir,unlinkat,unlink,rmdir"
KILLED = (-9, 137)
FILES = ("one", "two", "three", "four")
OWN = (
    *("run/lbhook/status.json", "run/lbhook/lock", "run/lbhook/loaded.json", "run/lbhook"),
    "var/lib/lbhook/history.json",
)


@dataclass(frozen=True)
class Scene:
    """Targets that are installed, and those that are to be; with `fails`, the record of them
    can't be written, after all files are replaced: they are put back."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    fails: bool = False


SCENES = {
    "first install": Scene((), FILES),
    "change and removal": Scene(FILES, FILES[:3]),
    "put-back": Scene(FILES, FILES, fails=True),
}


def write(place: Path, names: tuple[str, ...], answer: bytes, apart: bool) -> None:
    """Configuration and answer; one reload makes one group of targets, two `apart` make two."""
    groups = {name: ["load", "two" if apart and name in FILES[2:] else "one"] for name in names}
    targets = "".join(target(name, reload=groups[name]) for name in names)
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


def strace(*words: str) -> tuple[str, ...]:
    """strace, with what it is to do."""
    return ("strace", "-f", "-qq", *words)


def calls(place: Path, machine: Path, *more: str) -> dict[str, int]:
    """How often a run makes each system call, as strace counts them."""
    log = place / "log"
    apply(place, machine, *strace("-o", str(log), "-e", f"trace={CALLS}", *more))
    names = [line.split("(")[0].split()[-1] for line in log.read_text().splitlines() if "(" in line]
    return {name: names.count(name) for name in dict.fromkeys(names) if name in CALLS.split(",")}


def error(place: Path, origin: Path) -> tuple[str, ...]:
    """What makes strace fail the `fchmod` of the record. Three others follow it: what was applied
    when, which rules came and went, and what came of it."""
    counted = calls(place, shutil.copytree(origin, place / "counted"))
    inject = ("-e", f"inject=fchmod:error=EIO:when={counted['fchmod'] - 3}")
    machine = shutil.copytree(origin, place / "failed")
    assert apply(place, machine, *strace("-o", "/dev/null", "-e", "trace=fchmod", *inject)) == 73
    assert texts(machine) == texts(origin)
    return inject


def texts(machine: Path) -> list[str | None]:
    """What the files hold."""
    files = [machine / "disk/etc" / name for name in FILES]
    return [file.read_text() if file.exists() else None for file in files]


def prepared(place: Path, scene: Scene) -> Path:
    """A machine on which an older answer was applied."""
    origin = place / "origin"
    (origin / "disk/etc").mkdir(parents=True)
    (origin / "disk/etc/two").write_text("mine\n")
    (place / "templates").mkdir()
    (place / "templates/ports.j2").write_text(
        "{% for one in lb.listeners %}{{ one.port }}\n{% endfor %}"
    )
    if scene.before:
        write(place, scene.before, body(80, 443), not scene.fails)
        assert apply(place, origin) == 0
    write(place, scene.after, body(80, 8443), not scene.fails)
    return origin


@pytest.mark.parametrize("name", SCENES)
def test_the_kernel_kills_it_at_any_system_call(tmp_path: Path, name: str) -> None:
    """Promise 3: killed at any call that changes the disk, every file is whole, and the next run
    ends as a quiet one would have."""
    probe = subprocess.run(strace("-o", "/dev/null", "true"), capture_output=True)
    if probe.returncode:
        lacking("strace may not trace here")
    scene = SCENES[name]
    origin = prepared(tmp_path, scene)
    failing = error(tmp_path, origin) if scene.fails else ()
    counted = calls(tmp_path, shutil.copytree(origin, tmp_path / "disturbed"), *failing)
    quiet = shutil.copytree(origin, tmp_path / "quiet")
    assert apply(tmp_path, quiet) == 0
    allowed = [set(pair) for pair in zip(texts(origin), texts(quiet), strict=True)]
    # strace has one fault for each system call: that which fails is not killed at.
    points = [
        (call, when)
        for call, count in counted.items()
        for when in range(1, count + 1)
        if not (failing and call == "fchmod")
    ]
    assert {call for call, _ in points} >= {"renameat", "fsync", "unlinkat"}

    def kill_at(point: tuple[str, int]) -> None:
        call, when = point
        machine = shutil.copytree(origin, tmp_path / f"{call}-{when}")
        inject = ("-e", f"inject={call}:signal=SIGKILL:when={when}", *failing)
        tracer = strace("-o", "/dev/null", "-e", f"trace={CALLS}", *inject)
        assert apply(tmp_path, machine, *tracer) in KILLED, point
        assert all(text in ok for text, ok in zip(texts(machine), allowed, strict=True)), point
        assert apply(tmp_path, machine) == 0
        assert contents(machine / "disk", OWN) == contents(quiet / "disk", OWN), point
        shutil.rmtree(machine)

    with ThreadPoolExecutor() as pool:
        assert len([*pool.map(kill_at, points)]) == len(points)
