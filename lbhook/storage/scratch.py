"""A directory for a moment, where checks have what they need."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import WriteError
from . import disk_errors

_HINT = "free some space in /tmp, or set TMPDIR to a directory that has some"


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """One that is gone afterwards. Raises `WriteError` if there is no place for it, or no room for
    what is written into it."""
    # Imported only where there is something to check.
    import tempfile

    place = ""
    try:
        with tempfile.TemporaryDirectory(prefix="lbhook-", dir=_room()) as place:
            yield Path(place)
    except OSError as error:
        where = str(error.filename or "")
        if not place:
            raise WriteError(f"{where}: {error.strerror}", hint=_HINT) from None
        # Of a write into an open file the kernel names none.
        lacking = not where and error.errno in disk_errors.NO_ROOM
        if not (lacking or where.startswith(place)):
            raise
        failure = disk_errors.failure(Path(where or place), error, privileged=True)
        raise WriteError(*failure.problems, hint=_HINT) from None


def _room() -> str:
    """Where the disk is full there is room in memory, for root."""
    import tempfile

    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return "/run"
