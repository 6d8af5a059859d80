"""What the workers of one test run share: a directory, and whose turn it is to build something."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Seconds that a busy machine may be late; what is to be found would come later still, or never.
SLACK = 10.0
# Workers inherit the environment of the process that starts them.
_NAME = "TESTS_SHARED"
_MEMORY = Path("/dev/shm")
# Bytes; all tests of a run take less at once.
_ROOM = 2 << 30


@contextmanager
def sharing() -> Iterator[None]:
    """Make the directory, for this process and all that it starts; it goes with the context. It is
    where pytest's own are: in memory, if there is room. Tests sync a hundred thousand times."""
    if _roomy(_MEMORY):
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))
    within = os.environ.get("PYTEST_DEBUG_TEMPROOT")
    with tempfile.TemporaryDirectory(prefix="lbhook-tests-", dir=within) as place:
        os.environ[_NAME] = place
        yield
        del os.environ[_NAME]


def _roomy(place: Path) -> bool:
    """Whether tests can write and run programs there, and have room."""
    if not os.access(place, os.W_OK):
        return False
    found = os.statvfs(place)
    return found.f_bavail * found.f_frsize > _ROOM and not found.f_flag & os.ST_NOEXEC


def shared() -> Path:
    """The directory."""
    return Path(os.environ[_NAME])


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock of a file: whoever else wants it waits."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
