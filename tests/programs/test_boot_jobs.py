"""What a run at boot waits for, and no longer."""

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lbhook.processes import Result
from lbhook.programs.boot_jobs import ASKING, READY, BootJobs, await_end

BOOTED = dict.fromkeys(READY, "active")


class Manager:
    """systemd, with one state after the other; the last one stays. Time goes when it is slept."""

    def __init__(self, place: Path, *states: Mapping[str, str], jobs: Sequence[int] = ()) -> None:
        self.mark, self.answer = place / "booted", place / "answer.json"
        self.states, self.numbers = list(states), list(jobs)
        self.started: list[tuple[str, ...]] = []
        self.awaited: list[int] = []
        self.told, self.now, self.leaves = 0, 0.0, ""
        self.jobs = BootJobs(self.run, self.mark, self.await_end, lambda: self.now, self.sleep)

    def run(
        self, argv: Sequence[str], timeout: float = 30.0, env: object = None, stdin: bytes = b""
    ) -> Result:
        """What systemctl says."""
        if argv[1] != "show":
            self.started.append(tuple(argv[1:]))
            return Result(tuple(argv), 0, "", 0.0)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        job = self.numbers.pop(0) if self.numbers else ""
        units = [
            f"Id={name}\nActiveState={active}\nMainPID=7\nJob={job}\n"
            for name, active in state.items()
        ]
        return Result(tuple(argv), 0, "\n".join(units), 0.0)

    def await_end(self, pid: int, seconds: float) -> None:
        """Note who was waited for, and leave what it leaves."""
        self.awaited.append(pid)
        if self.leaves:
            self.answer.unlink()
            self.answer.write_text(self.leaves)

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds

    def tell(self) -> None:
        """Count what it hears."""
        self.told += 1


@pytest.mark.parametrize("state", ["inactive", "failed", "active"])
def test_what_is_over_is_not_waited_for(tmp_path: Path, state: str) -> None:
    """Well or not: one question, and on it goes."""
    manager = Manager(tmp_path, {ASKING: state})
    manager.jobs.await_answer(manager.tell, manager.answer)
    assert (manager.awaited, manager.told) == ([], 0)


def test_what_is_under_way_is_waited_for(tmp_path: Path) -> None:
    """To the end of its process and of its job, and systemd hears that this takes its time."""
    over = {ASKING: "inactive"}
    manager = Manager(tmp_path, over, {ASKING: "activating"}, over, jobs=[12, 12])
    manager.jobs.await_answer(manager.tell, manager.answer)
    assert (manager.awaited, manager.told) == ([7, 7], 2)


def test_an_answer_that_was_left_meanwhile_is_enough(tmp_path: Path) -> None:
    """Systemd is not asked once more: to start systemctl takes longer than to read the answer."""
    manager = Manager(tmp_path, {ASKING: "activating"})
    manager.answer.write_text("an old one")
    manager.leaves = "a new one"
    manager.jobs.await_answer(manager.tell, manager.answer)
    assert (manager.awaited, manager.told) == ([7], 1)


def test_systemd_that_says_nothing_holds_no_answer_up(tmp_path: Path) -> None:
    """Whatever is wrong with it, the last good answer is put in force."""
    manager = Manager(tmp_path, {})
    manager.jobs.await_answer(manager.tell, manager.answer)
    assert manager.awaited == []


def test_who_may_waits_for_the_jobs(tmp_path: Path) -> None:
    """Until systemctl returns; then the other one may go on."""
    manager = Manager(tmp_path, {})
    with manager.jobs.leading():
        pass
    assert manager.started == [("start", "--job-mode=fail", *READY)]
    manager.jobs.follow(manager.tell)
    assert (manager.now, manager.told) == (0.0, 0)


def test_work_goes_on_meanwhile_and_may_end_early(tmp_path: Path) -> None:
    """Whoever is told to end does not wait for a network that may never come."""
    comes, manager = threading.Event(), Manager(tmp_path, {})

    def run(argv: Sequence[str], *_: object, **__: object) -> Result:
        assert comes.wait(60)
        return Result(tuple(argv), 0, "", 0.0)

    jobs = BootJobs(run, manager.mark)
    with pytest.raises(KeyboardInterrupt):
        _interrupted(jobs)
    assert not manager.mark.exists()
    comes.set()


def _interrupted(jobs: BootJobs) -> None:
    with jobs.leading():
        raise KeyboardInterrupt


def test_a_mark_that_can_not_be_left_is_no_failure(tmp_path: Path) -> None:
    """The one that has no right asks systemd itself."""
    manager = Manager(tmp_path / "missing", BOOTED)
    with manager.jobs.leading():
        pass
    manager.jobs.follow(manager.tell)
    assert manager.told == 1


@pytest.mark.parametrize("late", READY)
def test_who_may_not_looks_now_and_then(tmp_path: Path, late: str) -> None:
    """Once a second, and all of it must be there."""
    manager = Manager(tmp_path, {**BOOTED, late: "inactive"}, {**BOOTED, late: "inactive"}, BOOTED)
    manager.jobs.follow(manager.tell)
    assert 2.0 <= manager.now < 2.2
    assert manager.told == 3


def test_a_boot_that_nobody_can_tell_of_is_not_waited_for_without_end(tmp_path: Path) -> None:
    """Without a D-Bus, and without the one that leads."""
    manager = Manager(tmp_path, {})
    manager.jobs.follow(manager.tell)
    assert 300 <= manager.now < 302


def test_the_end_of_a_process() -> None:
    """Noticed when it comes; a process that is not there is not waited for."""
    begin = time.monotonic()
    process = subprocess.Popen(["sleep", "0.2"])
    await_end(process.pid, 60.0)
    assert time.monotonic() - begin >= 0.1
    assert process.wait() == 0
    await_end(process.pid, 60.0)
    await_end(0, 60.0)
    assert time.monotonic() - begin < 50
