"""The disk. Nobody else touches it.

What is opened or replaced is never a symbolic link, a directory or a device, and every step
that changes the disk goes through `Tree.step` first.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from .. import accounts
from ..errors import LbhookError
from ..plan import FileState
from . import candidates, disk_errors
from . import directory as directories

# No hard links here, or none for this user (fs.protected_hardlinks), or no file.
_NO_LINK = (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOENT)


def _no_step(name: str, path: PurePosixPath) -> None:
    pass


class Tree:
    """The files below `root`; all paths are absolute as seen from inside.

    `privileged` says whether owners can be set (and are compared). `step` is called with the
    name of each system call that changes the disk just before it is made: tests stop there.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        privileged: bool = True,
        step: Callable[[str, PurePosixPath], None] = _no_step,
    ) -> None:
        self.root = root
        self.privileged = privileged
        self.step = step

    def outside(self, path: PurePosixPath) -> Path:
        """The path as programs outside of the tree see it."""
        return directories.outside(self.root, path)

    def place(self, path: PurePosixPath) -> PurePosixPath:
        """Where a file is, without the links on the way to it; the path itself if that can't be
        told."""
        try:
            return directories.resolved(self.root, path.parent) / path.name
        except OSError:
            return path

    def candidate(self, path: PurePosixPath) -> PurePosixPath:
        """Where the next content of a file is staged: beside it, with a leading dot, so that
        no `*.conf` or `*.nft` picks it up."""
        return path.with_name(f".{path.name}.lbhook")

    def owner(self, path: PurePosixPath, user: str, group: str) -> tuple[int, int]:
        """uid and gid for a file. Raises `WriteError` if there is no such user or group."""
        if not self.privileged:
            return (-1, -1)
        where = self.outside(path)
        return (accounts.uid(user, f"{where}: owner"), accounts.gid(group, f"{where}: group"))

    def state(self, path: PurePosixPath, most: int = -1) -> FileState | None:
        """The file as it is, up to `most` bytes; None if there is none. Raises `WriteError` if
        what is there is not a file that lbhook could have written."""
        try:
            with self._directory(path.parent) as directory:
                directories.demand_file(path.name, directory)
                flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
                file = os.open(path.name, flags, dir_fd=directory)
                with os.fdopen(file, "rb") as stream:
                    found = os.fstat(file)
                    content = stream.read(most)
        except OSError as error:
            if error.errno in disk_errors.NO_NAME:
                return None
            raise self.failure(path, error) from None
        mode = stat.S_IMODE(found.st_mode)
        return FileState(content=content, mode=mode, uid=found.st_uid, gid=found.st_gid)

    def read(self, path: PurePosixPath) -> bytes | None:
        """The content of one of lbhook's own records; None if there is none."""
        found = self.state(path)
        return found.content if found else None

    def write(self, path: PurePosixPath, content: bytes, mode: int = 0o644) -> None:
        """Replace one of lbhook's own records in one step."""
        self.stage(path, FileState(content=content, mode=mode))
        self.replace(path)

    def stage(self, path: PurePosixPath, state: FileState) -> None:
        """Write a file's next content beside it: mode, owner and label set, synced."""
        candidate = self.candidate(path)
        with self._changing(path), self._directory(path.parent, create=True) as directory:
            self._unlink(candidate, directory)
            label = directories.label(path.name, directory)
            try:
                candidates.create(
                    candidate, directory, state, label, self.step, owned=self.privileged
                )
            except OSError:
                with contextlib.suppress(OSError):
                    self._unlink(candidate, directory)
                raise

    def replace(self, path: PurePosixPath) -> None:
        """Put what was staged in place of the file, in one step."""
        with self._changing(path), self._directory(path.parent) as directory:
            with contextlib.suppress(FileNotFoundError):
                directories.demand_file(path.name, directory)
            self._rename(self.candidate(path).name, path, directory)

    def discard(self, path: PurePosixPath) -> None:
        """Remove what was staged, if anything was."""
        self.remove(self.candidate(path))

    def keep(self, path: PurePosixPath) -> None:
        """Give a file a second name beside it: it can then be put back on a disk that is full.
        On a file system without hard links this does nothing."""
        second = self.second(path)
        with self._changing(path), self._directory(path.parent) as directory:
            self._unlink(second, directory)
            self.step("link", second)
            places = {"src_dir_fd": directory, "dst_dir_fd": directory}
            try:
                os.link(path.name, second.name, **places, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_LINK:
                    raise

    def bring_back(self, path: PurePosixPath) -> None:
        """Put a file's second name in place of the file, in one step."""
        with self._changing(path), self._directory(path.parent) as directory:
            self._rename(self.second(path).name, path, directory)

    def second(self, path: PurePosixPath) -> PurePosixPath:
        """The second name of a file that is about to be replaced."""
        return path.with_name(f".{path.name}.lbhook-old")

    def remove(self, path: PurePosixPath) -> None:
        """Remove a file, if it is there."""
        self._take_away(path, "unlink", os.unlink)

    def remove_directory(self, path: PurePosixPath) -> None:
        """Remove a directory of lbhook's own with the files in it, if it is there. Of one that a
        link leads to, link and directory stay: somebody made them for lbhook."""
        for name in self.names(path):
            self.remove(path / name)
        if self.is_directory(path):
            self._take_away(path, "rmdir", os.rmdir)

    def is_directory(self, path: PurePosixPath) -> bool:
        """Whether there is a directory, and no link to one. Raises `WriteError` if the disk does
        not say."""
        try:
            with self._directory(path.parent) as directory:
                found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in (*disk_errors.NO_NAME, *disk_errors.IN_THE_WAY):
                return False
            raise self.failure(path, error) from None
        return stat.S_ISDIR(found.st_mode)

    def move(self, old: PurePosixPath, new: PurePosixPath) -> None:
        """Give a file or directory another name in the same directory, in one step."""
        with self._changing(old), self._directory(old.parent) as directory:
            self._rename(old.name, new, directory)

    def names(self, path: PurePosixPath) -> list[str]:
        """What is in a directory, sorted; nothing if there is none."""
        try:
            with self._directory(path) as walked, directories.readable(walked) as listed:
                return sorted(os.listdir(listed))  # noqa: PTH208  (of a descriptor)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self.failure(path, error) from None

    def make_directory(self, path: PurePosixPath) -> None:
        """Make a directory and those above it, if they are missing."""
        with self._changing(path), self._directory(path, create=True):
            pass

    def failure(self, path: PurePosixPath, error: OSError) -> LbhookError:
        """An error of the operating system as the user should read it."""
        return disk_errors.failure(self.outside(path), error, privileged=self.privileged)

    @contextlib.contextmanager
    def _changing(self, path: PurePosixPath) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self.failure(path, error) from None

    def _rename(self, old: str, new: PurePosixPath, directory: int) -> None:
        self.step("rename", new)
        os.rename(old, new.name, src_dir_fd=directory, dst_dir_fd=directory)
        self._sync(new.parent, directory)

    def _take_away(self, path: PurePosixPath, name: str, remove: Callable[..., None]) -> None:
        try:
            with self._directory(path.parent) as directory:
                os.stat(path.name, dir_fd=directory, follow_symlinks=False)
                self.step(name, path)
                remove(path.name, dir_fd=directory)
                self._sync(path.parent, directory)
        except OSError as error:
            if error.errno not in disk_errors.NO_NAME:
                raise self.failure(path, error) from None

    def _unlink(self, path: PurePosixPath, directory: int) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.stat(path.name, dir_fd=directory, follow_symlinks=False)
            self.step("unlink", path)
            os.unlink(path.name, dir_fd=directory)

    def _sync(self, path: PurePosixPath, directory: int) -> None:
        self.step("fsync", path)
        with directories.readable(directory) as synced:
            os.fsync(synced)

    def _directory(
        self, path: PurePosixPath, *, create: bool = False
    ) -> AbstractContextManager[int]:
        def make(above: int, name: str) -> None:
            self.step("mkdir", path)
            old = os.umask(0o022)  # programs that are not root's must be able to read it
            try:
                os.mkdir(name, 0o755, dir_fd=above)
            finally:
                os.umask(old)
            self._sync(path, above)

        return directories.opened(self.root, path, make if create else None)
