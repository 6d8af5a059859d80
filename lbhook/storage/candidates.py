"""The next content of a file, beside it: whole, with mode, owner and label, and on the disk."""

import os
from collections.abc import Callable
from pathlib import PurePosixPath

from ..plan import FileState
from . import directory as directories

Step = Callable[[str, PurePosixPath], None]


def create(
    path: PurePosixPath,
    directory: int,
    state: FileState,
    label: bytes | None,
    step: Step,
    *,
    owned: bool,
) -> None:
    """Make a file that is not there, in a directory that is open. `step` is told of each system
    call before it is made; `owned` says whether an owner can be set. Raises `OSError`."""
    step("open", path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(path.name, flags, 0o600, dir_fd=directory)
    try:
        _fill(file, path, state, step, owned=owned)
        if label is not None:
            step("setxattr", path)
            os.setxattr(file, directories.LABEL, label)
        step("fsync", path)
        os.fsync(file)
    finally:
        os.close(file)


def _fill(file: int, path: PurePosixPath, state: FileState, step: Step, *, owned: bool) -> None:
    step("write", path)
    rest = memoryview(state.content)
    while rest:
        rest = rest[os.write(file, rest) :]
    made, owner = os.fstat(file), (state.uid, state.gid)
    # The units lack the right to give files away, which their own files do not need.
    if state.uid >= 0 and owned and owner != (made.st_uid, made.st_gid):
        step("fchown", path)
        os.fchown(file, *owner)
    step("fchmod", path)
    os.fchmod(file, state.mode)
