"""Stopped dead at every step that touches the disk or runs a program, and then run again."""

import errno
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config.settings import Settings

from ..stand import NO_ENV, Runner, Stand, body, contents, target

NAMES = ("one", "two", "three", "four")
# Which of them are one transaction, since they have one reload; what gives up three has its own.
GROUPS = ((0,), (1, 2, 3))
WITHOUT_THREE = ((0,), (1, 3), (2,))
OLD, NEW = body(80, 443), body(80, 8443)
ALL = (
    target(
        "one", reload=["load", "one", "{path}"], verify=["verify", "one"], remove=["unload", "one"]
    )
    + target("two", reload=["load-rest"])
    + target("three", reload=["load-rest"], remove=["unload", "three"])
    + target("four", reload=["load-rest"], mode="0600")
)
LESS = target(
    "one", reload=["load", "one", "{path}"], verify=["verify", "one"], remove=["unload", "one"]
) + target("four", reload=["load-rest"], mode="0600")
# history.json has the time at which a run wrote down what came and went; what a kill left beside
# it is taken over by the next run that has something to write.
OWN = (
    *(f"run/lbhook/{name}" for name in ("status.json", "lock", "loaded.json", "refused.json")),
    *(f"var/lib/lbhook/{name}" for name in ("history.json", ".history.json.lbhook")),
)


@dataclass
class Steps:
    """The steps of a run, each seen before it is taken."""

    taken: list[str] = field(default_factory=list)
    look: Callable[[], None] = lambda: None

    def step(self, name: str, path: PurePosixPath) -> None:
        """Note a step."""
        self.taken.append(f"{name} {path}")
        self.look()


@dataclass
class Programs:
    """Programs that remember what they have loaded, as they do over a kill of lbhook."""

    disk: Path
    steps: Steps
    memory: dict[str, str | None] = field(default_factory=dict)
    broken_by: str = ""

    def __call__(self, argv: tuple[str, ...]) -> tuple[int, str] | None:
        """One command, which may fail over what the file has."""
        self.steps.step("run", PurePosixPath("/", *argv))
        for name in self.concerned(argv):
            file = self.disk / "etc" / name
            content = file.read_text() if file.exists() else None
            if self.broken_by and content and self.broken_by in content and name == "four":
                return (1, "can't bind")
            self.memory[name] = content
        return None

    def concerned(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The targets that a command loads."""
        if argv[0] == "load-rest":
            return ("two", "three", "four")
        return argv[1:2] if argv[0] in ("load", "unload") else ()


@dataclass
class Scene:
    """A machine with something installed, and what is to be applied to it."""

    place: Path
    before: tuple[str, bytes] | None
    after: tuple[str, bytes]
    broken_by: str = ""

    def prepare(self) -> None:
        """The machine before the run that is disturbed."""
        stand, programs = self.machine(self.place, Steps())
        stand.template("ports.j2")
        stand.put("/etc/two", "mine\n", 0o640)
        if self.before:
            config, answer = self.before
            assert stand.apply(stand.settings(NO_ENV + config), answer).status == 0
            (self.place / "memory").write_text(json.dumps(programs.memory), encoding="utf-8")

    def machine(self, place: Path, steps: Steps) -> tuple[Stand, Programs]:
        """The machine at a place, with what its programs remember."""
        place.mkdir(exist_ok=True)
        programs = Programs(place / "disk", steps, broken_by=self.broken_by)
        kept = place / "memory"
        if kept.exists():
            programs.memory = json.loads(kept.read_text(encoding="utf-8"))
        return Stand(place, runner=Runner(programs), step=steps.step), programs

    def copy(self, name: str, steps: Steps) -> tuple[Stand, Programs, Settings]:
        """The machine once more, to be disturbed."""
        place = self.place.with_name(name)
        shutil.copytree(self.place, place)
        stand, programs = self.machine(place, steps)
        return stand, programs, stand.settings(NO_ENV + self.after[0])

    def apply(self, stand: Stand, settings: Settings) -> int:
        """One run."""
        return stand.apply(settings, self.after[1]).status


QUIET = {
    "first install": (None, (ALL, NEW), ""),
    "change": ((ALL, OLD), (ALL, NEW), ""),
    "removal": ((ALL, OLD), (LESS, NEW), ""),
}
PUT_BACK = {
    "put-back": ((ALL, OLD), (ALL, NEW), "8443"),
    "put-back of a first install": (None, (ALL, NEW), "8443"),
    "put-back of a removal": ((ALL, OLD), (LESS, NEW), "8443"),
}
SCENES = {**QUIET, **PUT_BACK}


@pytest.fixture(params=SCENES)
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """Each scene in turn, prepared."""
    return staged(tmp_path, request.param)


@pytest.fixture(params=QUIET)
def quiet_scene(request: pytest.FixtureRequest, tmp_path: Path) -> Scene:
    """Each scene in which nothing fails, prepared."""
    return staged(tmp_path, request.param)


def staged(place: Path, name: str) -> Scene:
    """A scene, prepared."""
    before, after, broken_by = SCENES[name]
    built = Scene(place / "origin", before, after)
    built.prepare()
    built.broken_by = broken_by
    return built


def settled(stand: Stand, programs: Programs) -> tuple[object, object, dict[str, str]]:
    """What must be alike in the end: every file but for the clock in lbhook's own, what is
    recorded as loaded, and what is."""
    state = stand.host(stand.settings(NO_ENV)).state
    memory = {name: text for name, text in programs.memory.items() if text is not None}
    return contents(stand.disk, without=OWN), state.loaded(), memory


def in_force(stand: Stand, programs: Programs) -> tuple[object, object, dict[str, str]]:
    """As `settled`, but for what the last run replaced."""
    files, *rest = settled(stand, programs)
    assert isinstance(files, dict)
    kept = {name: one for name, one in files.items() if "lbhook/previous" not in name}
    loaded, memory = rest
    assert isinstance(memory, dict)
    return kept, loaded, memory


def killed(scene: Scene) -> Iterator[tuple[str, Stand, Programs, Settings]]:
    """The machine as each step of a run finds it, in turn: so a kill before the step leaves it."""
    steps = Steps()
    stand, programs, settings = scene.copy("killed", steps)
    found: list[tuple[Path, dict[str, str | None]]] = []

    def look() -> None:
        found.append((stand.place.with_name(f"at-{len(found)}"), {**programs.memory}))
        shutil.copytree(stand.place, found[-1][0], symlinks=True)

    steps.look = look
    scene.apply(stand, settings)
    for step, (place, memory) in zip(steps.taken, found, strict=True):
        shutil.rmtree(stand.place)
        place.rename(stand.place)
        again, programs_again = scene.machine(stand.place, Steps())
        programs_again.memory = memory
        yield f"{place.name}: {step}", again, programs_again, settings


def steps_of(scene: Scene) -> list[str]:
    """What a run of the scene does."""
    steps = Steps()
    stand, _, settings = scene.copy("counted", steps)
    scene.apply(stand, settings)
    return steps.taken


def texts(stand: Stand) -> list[str | None]:
    """What the files hold."""
    return [stand.text(f"/etc/{name}") for name in NAMES]


def each_whole(scene: Scene, found: list[str | None], *allowed: list[str | None]) -> bool:
    """Whether each group is as one of the machines has it: never half of it."""
    groups = WITHOUT_THREE if scene.after[0] == LESS else GROUPS
    return all(
        any(all(found[at] == one[at] for at in group) for one in allowed) for group in groups
    )


def between(scene: Scene) -> list[str | None]:
    """What the files hold before they are put back."""
    sound = Scene(scene.place, scene.before, scene.after)
    stand, _, settings = sound.copy("sound", Steps())
    sound.apply(stand, settings)
    return texts(stand)


def test_a_kill_before_any_step_is_made_good_by_the_next_run(scene: Scene) -> None:
    """Promise 3: stopped dead anywhere, each file is whole, and the next run ends as a quiet one
    would have, with every reload paid."""
    origin, _ = scene.machine(scene.place, Steps())
    quiet, known, settings = scene.copy("quiet", Steps())
    status = scene.apply(quiet, settings)
    wanted = settled(quiet, known)
    allowed = [set(row) for row in zip(texts(origin), texts(quiet), between(scene), strict=True)]
    for step, stand, programs, after in killed(scene):
        for text, whole in zip(texts(stand), allowed, strict=True):
            assert text in whole, step
        assert scene.apply(stand, after) == status, step
        assert settled(stand, programs) == wanted, step


def test_a_kill_before_any_step_is_settled_without_an_answer(scene: Scene) -> None:
    """Promise 3: the next run settles the unfinished one with or without an answer: each file
    is whole, and each program has what its file says."""
    origin, _ = scene.machine(scene.place, Steps())
    quiet, _, settings = scene.copy("quiet", Steps())
    scene.apply(quiet, settings)
    allowed = [{*row, "none\n"} for row in zip(texts(origin), texts(quiet), strict=True)]
    for step, stand, programs, after in killed(scene):
        assert stand.apply(after, None).status == 75, step
        for name, text, whole in zip(NAMES, texts(stand), allowed, strict=True):
            assert text in whole, step
            assert programs.memory.get(name, text) == text, step
        assert not stand.host(after).journal.unfinished(), step


@dataclass
class Interrupted(Steps):
    """Steps with an interrupt before one of them."""

    before: int = 0

    def step(self, name: str, path: PurePosixPath) -> None:
        """Note a step, or interrupt."""
        super().step(name, path)
        if len(self.taken) == self.before:
            raise KeyboardInterrupt


def test_interrupted_anywhere_a_run_puts_everything_back(quiet_scene: Scene) -> None:
    """Promise 2: an interrupt before any step leaves every group of files and its programs as
    they were or, once it was through, as they should be."""
    origin, _ = quiet_scene.machine(quiet_scene.place, Steps())
    quiet, _, settings = quiet_scene.copy("quiet", Steps())
    quiet_scene.apply(quiet, settings)
    for number, step in enumerate(steps_of(quiet_scene), 1):
        stand, programs, after = quiet_scene.copy(f"at-{number}", Interrupted(before=number))
        with pytest.raises(KeyboardInterrupt):
            quiet_scene.apply(stand, after)
        assert each_whole(quiet_scene, texts(stand), texts(origin), texts(quiet)), step
        for name, text in programs.memory.items():
            assert text == stand.text(f"/etc/{name}"), step
        shutil.rmtree(stand.place)


class DiskError(OSError):
    """What a disk says that takes nothing any more."""

    def __init__(self) -> None:
        super().__init__(errno.ENOSPC, "No space left on device")


@dataclass
class Disk(Steps):
    """A disk that is full from a given step on: once, or for good."""

    full_before: int = 0
    for_good: bool = False

    def step(self, name: str, path: PurePosixPath) -> None:
        """Count a step, or refuse it."""
        super().step(name, path)
        full = len(self.taken) == self.full_before
        # Names, and what is there already, take no more room.
        grows = name in ("open", "write", "mkdir") and len(self.taken) > self.full_before
        if name != "run" and (full or (self.for_good and grows)):
            raise DiskError


@pytest.mark.parametrize("for_good", [False, True])
def test_an_error_of_the_disk_at_any_step_puts_everything_back(
    quiet_scene: Scene, for_good: bool
) -> None:
    """Promise 2: whatever fails, and if it stays so, no set of files is mixed; and once there is
    room again the next run ends as a quiet one would have."""
    origin, _ = quiet_scene.machine(quiet_scene.place, Steps())
    quiet, known, settings = quiet_scene.copy("quiet", Steps())
    quiet_scene.apply(quiet, settings)
    wanted = in_force(quiet, known)
    for number, step in enumerate(steps_of(quiet_scene), 1):
        disk = Disk(full_before=number, for_good=for_good)
        stand, programs, after = quiet_scene.copy(f"at-{number}", disk)
        status = quiet_scene.apply(stand, after)
        whole = {73: [texts(origin), texts(quiet)], 0: [texts(quiet)]}[status]
        assert each_whole(quiet_scene, texts(stand), *whole), f"{number}: {step}"
        again, programs_again = quiet_scene.machine(stand.place, Steps())
        programs_again.memory = programs.memory
        assert quiet_scene.apply(again, after) == 0, f"{number}: {step}"
        # What one run did in the quiet scene two have done here: the last is what rollback undoes.
        assert in_force(again, programs_again) == wanted, f"{number}: {step}"
        shutil.rmtree(stand.place)


def test_what_is_renamed_was_synced_and_its_directory_is_synced_next(scene: Scene) -> None:
    """Promise 3, power loss: a candidate is synced before it takes a name, and the directory
    after."""
    steps = [step for step in steps_of(scene) if not step.startswith("run ")]
    renames = [index for index, step in enumerate(steps) if step.startswith("rename ")]
    assert len(renames) > len(NAMES)
    for index in renames:
        path = PurePosixPath(steps[index].split()[1])
        assert steps[index + 1] == f"fsync {path.parent}"
        candidate = f" {path.with_name(f'.{path.name}.lbhook')}"
        before = [step for step in steps[:index] if step.endswith(candidate)]
        assert not before or before[-1] == f"fsync{candidate}"


def test_every_kind_of_step_is_stopped_at(quiet_scene: Scene) -> None:
    """The steps that the kill test stops at are those of files, records, journal and programs."""
    seen = {step.split()[0] for step in steps_of(quiet_scene)}
    assert seen >= {"open", "write", "fchmod", "fsync", "rename", "run"}
