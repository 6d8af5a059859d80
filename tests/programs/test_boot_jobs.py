"""What a run at boot waits for, and no longer."""

import subprocess
import time
from collections.abc import Mapping, Sequence

import pytest

from lbhook.processes import Result
from lbhook.programs.boot_jobs import ASKING, ONLINE, BootJobs, await_end

READY = {"basic.target": "active", ONLINE: "active"}
OVER = {ASKING: "inactive"}


class Manager:
    """systemd, with one state after the other; the last one stays."""

    def __init__(self, *states: Mapping[str, str], job: int = 0) -> None:
        self.states, self.job = list(states), job
        self.started: list[tuple[str, ...]] = []
        self.awaited: list[int] = []
        self.now = 0.0

    def run(
        self, argv: Sequence[str], timeout: float = 30.0, env: object = None, stdin: bytes = b""
    ) -> Result:
        """What systemctl says."""
        if argv[1] != "show":
            self.started.append(tuple(argv[1:]))
            return Result(tuple(argv), 0, "", 0.0)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        job = self.job if len(self.states) > 1 else 0
        units = [
            f"Id={name}\nActiveState={active}\nMainPID=7\nJob={job or ''}\n"
            "ActiveEnterTimestampMonotonic=2500000\n"
            for name, active in state.items()
        ]
        return Result(tuple(argv), 0, "\n".join(units), 0.0)

    def await_end(self, pid: int, seconds: float) -> None:
        """Note who was waited for, for as long as that may take."""
        self.awaited.append(pid)
        self.now += seconds

    @property
    def jobs(self) -> BootJobs:
        """What is tested."""
        return BootJobs(self.run, self.await_end, lambda: self.now)


def told(manager: Manager) -> list[tuple[float, float]]:
    """Wait for the answer; what was told meanwhile."""
    said: list[tuple[float, float]] = []
    manager.jobs.await_answer(lambda gone, left: said.append((gone, left)))
    return said


@pytest.mark.parametrize("fetch", ["inactive", "failed", "active"])
def test_nothing_is_waited_for_that_is_over(fetch: str) -> None:
    """Well or not: one question, and on it goes."""
    manager = Manager({ASKING: fetch, **READY})
    assert told(manager) == []
    assert (manager.awaited, manager.started) == ([], [])


def test_what_is_under_way_is_waited_for() -> None:
    """To the end of its process, and systemd hears that this takes its time."""
    manager = Manager({ASKING: "activating", **READY}, {**OVER, **READY})
    assert told(manager) == [(10.0, 350.0)]
    assert manager.awaited == [7]


def test_what_is_about_to_start_is_waited_for() -> None:
    """It has a job, and is still inactive."""
    manager = Manager({**OVER, **READY}, {**OVER, **READY}, job=12)
    told(manager)
    assert manager.awaited == [7]


@pytest.mark.parametrize("name", READY)
def test_an_early_start_is_no_early_change(name: str) -> None:
    """Programs can be tested and addresses are there when it goes on."""
    manager = Manager({**OVER, **READY, name: "inactive"})
    told(manager)
    assert manager.started == [("start", "basic.target", ONLINE)]


def test_systemd_that_says_nothing_holds_nothing_up() -> None:
    """Whatever is wrong with it, the last good answer is put in force."""
    manager = Manager({})
    assert told(manager) == []
    assert manager.jobs.online_since() is None


def test_since_when_the_network_is_up() -> None:
    """In seconds; while it comes up, nobody knows."""
    assert Manager({ONLINE: "active"}).jobs.online_since() == 2.5
    assert Manager({ONLINE: "inactive"}).jobs.online_since() is None


def test_the_end_of_a_process() -> None:
    """Noticed when it comes; a process that is not there is not waited for."""
    process = subprocess.Popen(["sleep", "0.2"])
    begin = time.monotonic()
    await_end(process.pid, 60.0)
    assert time.monotonic() - begin >= 0.1
    assert process.wait() == 0
    await_end(process.pid, 60.0)
    await_end(0, 60.0)
    assert time.monotonic() - begin < 50
