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


@contextmanager
def sharing() -> Iterator[None]:
    """Make the directory, for this process and all that it starts; it goes with the context."""
    with tempfile.TemporaryDirectory(prefix="lbhook-tests-") as place:
        os.environ[_NAME] = place
        yield
        del os.environ[_NAME]


def shared() -> Path:
    """The directory."""
    return Path(os.environ[_NAME])


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Hold the lock of a file: whoever else wants it waits."""
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
