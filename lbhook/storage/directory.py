"""The way to a directory: element by element, so that whoever swaps one in between gets an
error and not a redirected write. Symbolic links are followed only if they are root's or ours.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

LABEL = "security.selinux"
_MOST_LINKS = 40
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextlib.contextmanager
def opened(
    root: Path, path: PurePosixPath, make: Callable[[int, str], None] | None = None
) -> Iterator[int]:
    """A descriptor of the directory at `path` below `root`, which can only be walked through.

    `make` makes one that is missing: it gets the directory above and the name.
    """
    directory = os.open(root, _WALK & ~os.O_NOFOLLOW)
    try:
        for name in resolved(root, path).parts[1:]:
            below = _step(directory, name, make)
            os.close(directory)
            directory = below
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def readable(directory: int) -> Iterator[int]:
    """A descriptor of a directory that can be listed and synced, not only walked through."""
    file = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield file
    finally:
        os.close(file)


def demand_file(name: str, directory: int) -> None:
    """Raise an `OSError` unless a name in a directory is that of a regular file."""
    found = os.stat(name, dir_fd=directory, follow_symlinks=False)
    if stat.S_ISLNK(found.st_mode):
        raise OSError(errno.ELOOP, "is a symbolic link, which is not followed")
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EISDIR, "is not a regular file")


def label(name: str, directory: int) -> bytes | None:
    """The SELinux label of the file that is there, so that the next one keeps it."""
    try:
        return os.getxattr(f"/proc/self/fd/{directory}/{name}", LABEL)
    except OSError:
        return None


def outside(root: Path, path: PurePosixPath) -> Path:
    """A path as programs outside of the tree see it."""
    return root.joinpath(*path.parts[1:])


def _step(directory: int, name: str, make: Callable[[int, str], None] | None) -> int:
    try:
        return os.open(name, _WALK, dir_fd=directory)
    except FileNotFoundError:
        if make is None:
            raise
    with contextlib.suppress(FileExistsError):  # another run has made it meanwhile
        make(directory, name)
    return os.open(name, _WALK, dir_fd=directory)


def resolved(root: Path, path: PurePosixPath) -> PurePosixPath:
    """The path without symbolic links; absolute ones lead to places below `root`."""
    done: list[str] = []
    rest, links = list(path.parts[1:]), 0
    while rest:
        name = rest.pop(0)
        if name == "..":
            done[-1:] = []
            continue
        # By text: a run looks at hundreds of names, and each `Path` costs more than the look.
        target = _link(os.path.join(root, *done, name))  # noqa: PTH118
        if target is None:
            done.append(name)
            continue
        links += 1
        if links > _MOST_LINKS:
            raise OSError(errno.ELOOP, f"more than {_MOST_LINKS} symbolic links")
        if target.is_absolute():
            done.clear()
        rest = [*(part for part in target.parts if part != "/"), *rest]
    return PurePosixPath("/", *done)


def _link(place: str) -> PurePosixPath | None:
    """Where a symbolic link leads; None if it is none."""
    try:
        found = os.lstat(place)
    except FileNotFoundError:
        return None
    if not stat.S_ISLNK(found.st_mode):
        return None
    if found.st_uid not in (0, os.geteuid()):
        raise OSError(errno.ELOOP, f"{place} is a symbolic link of another user")
    return PurePosixPath(os.readlink(place))  # noqa: PTH115
