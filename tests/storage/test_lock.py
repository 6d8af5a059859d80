"""One run at a time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lbhook.errors import BusyError
from lbhook.storage import lock

REPOSITORY = Path(__file__).parents[2]
HOLDER = "import sys, time\nfrom lbhook.storage import lock\nfrom pathlib import Path\n"
HOLDER += "with lock.held(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"


class Clock:
    """A clock that goes only when somebody sleeps."""

    now = 100.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it go by."""
        self.now += seconds


def test_the_second_waits_and_then_says_who_has_it(tmp_path: Path) -> None:
    """Pid and age of the holder."""
    clock = Clock()
    with lock.held(tmp_path / "lock", clock=clock, sleep=clock.sleep):
        clock.now += 35
        with pytest.raises(BusyError) as caught:  # noqa: SIM117  (one holds what two wants)
            with lock.held(tmp_path / "lock", clock=clock, sleep=clock.sleep):
                raise AssertionError
    pid = os.getpid()
    problem = f"another run of lbhook, pid {pid}, has held the lock for 40 s"
    assert (caught.value.problems, caught.value.status) == ((problem,), 75)
    assert clock.now == pytest.approx(140, abs=0.2)


def test_the_second_gets_it_when_the_first_lets_go(tmp_path: Path) -> None:
    """Within the time that it waits."""
    clock = Clock()
    first = lock.held(tmp_path / "lock", clock=clock, sleep=clock.sleep)
    first.__enter__()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        first.__exit__(None, None, None)

    with lock.held(tmp_path / "lock", clock=clock, sleep=sleep):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()} 100\n"


def test_a_dead_holder_is_no_obstacle(tmp_path: Path) -> None:
    """The kernel drops the lock with its process, however that ends."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, cwd=REPOSITORY) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BusyError) as caught, lock.held(tmp_path / "lock", wait=0.0):
            raise AssertionError
        assert f"pid {holder.pid}, has held the lock for" in caught.value.problems[0]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with lock.held(tmp_path / "lock", wait=5.0):
            pass


def test_nobody_else_can_hold_it(tmp_path: Path) -> None:
    """Who may open a file may lock it."""
    with lock.held(tmp_path / "lock"):
        assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Nor is anything made where it leads to."""
    (tmp_path / "lock").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic"), lock.held(tmp_path / "lock"):
        raise AssertionError
    assert not (tmp_path / "victim").exists()


def test_a_holder_that_is_just_writing_has_no_name_yet(tmp_path: Path) -> None:
    """That is said without one."""
    with lock.held(tmp_path / "lock"):
        (tmp_path / "lock").write_text("")
        with pytest.raises(BusyError) as caught, lock.held(tmp_path / "lock", wait=0.0):
            raise AssertionError
    assert caught.value.problems == ("another run of lbhook holds the lock",)
