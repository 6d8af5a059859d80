"""One run at a time. A lock that the kernel drops with its holder is never stale."""

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import BusyError

WAIT = 5.0


@contextlib.contextmanager
def held(
    path: Path,
    *,
    wait: float = WAIT,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Hold the lock at `path`.

    Raises `BusyError` if another run has it for `wait` seconds, `OSError` if there can be no
    lock. All runs must have the same `clock`, which only goes forward.
    """
    # Who can open it can lock it: nobody but the owner, or anybody could stop lbhook.
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _take(file, wait, clock, sleep)
        holder = f"{os.getpid()} {clock():.0f}\n".encode()
        with contextlib.suppress(OSError):  # no room for a name is no reason not to hold it
            os.ftruncate(file, os.pwrite(file, holder, 0))
        yield
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether a run has the lock at `path`, as far as this user can see."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _take(
    file: int, wait: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> None:
    end = clock() + wait
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock() >= end:
                problem = _who(file, clock())
                raise BusyError(problem, hint="try again when it is done") from None
            sleep(0.05)


def _who(file: int, now: float) -> str:
    said = re.fullmatch(rb"(\d+) (\d+)\n", os.pread(file, 64, 0))
    if not said:
        return "another run of lbhook holds the lock"
    age = max(0.0, now - float(said[2]))
    return f"another run of lbhook, pid {int(said[1])}, has held the lock for {age:.0f} s"
