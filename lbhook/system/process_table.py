"""The processes of this machine: what each is, and which holds a socket, as /proc has it.

Whose descriptors are another user's, a process sees with CAP_DAC_READ_SEARCH alone, which lbhook's
units do not have. There the kernel tells in which control group a socket was made.
"""

import contextlib
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path


class ProcessTable:
    """The processes whose /proc is below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def holders(self, inodes: Collection[int]) -> dict[int, str]:
        """The name of a program that holds each of these sockets, as far as it can be read."""
        return {inode: self.program(pid) for inode, pid in self.holding(inodes).items()}

    def holding(self, inodes: Collection[int]) -> dict[int, int]:
        """A process that holds each of these sockets, as far as it can be told: the oldest, of
        another user's the oldest of its control group; but systemd only where it keeps a socket for
        a program that does not run yet."""
        found: dict[int, int] = {}
        unseen = []
        for pid in (*(one for one in self._pids() if one != 1), 1):
            try:
                for inode in self._inodes(pid).intersection(inodes):
                    found.setdefault(inode, pid)
            except PermissionError:
                unseen.append(pid)
            except OSError:
                continue  # gone
        made = self._made() if unseen and {*inodes} - found.keys() else {}
        groups = {self._group(pid): pid for pid in reversed(unseen if made else ())}
        more = {inode: groups[made[inode]] for inode in inodes if made.get(inode) in groups}
        return more | found

    def inodes(self, pid: int) -> frozenset[int]:
        """The sockets that a process holds; of another user's, those that wait for somebody and
        were made in its control group. Raises `OSError` if nobody can tell."""
        try:
            return self._inodes(pid)
        except PermissionError:
            group, made = self._group(pid), self._made()
            found = frozenset(inode for inode, one in made.items() if one == group)
            if not found:
                raise
            return found

    def _made(self) -> Mapping[int, int]:
        """The control groups in which sockets were made, by inode, as far as that can be told."""
        return {}

    def _group(self, pid: int) -> int:
        """The number of the control group (version 2) of a process; 0 if that is not known, or if
        it is that of a session, in which a user starts anything."""
        said = self._text(f"proc/{pid}/cgroup")
        path = re.search(r"(?m)^0::/(?!.*/session-)(.+)", said)
        mounts = [self.root / "sys/fs/cgroup", self.root / "sys/fs/cgroup/unified"]
        for place in [mount / path[1] for mount in mounts] if path else ():
            with contextlib.suppress(OSError):
                return place.stat().st_ino
        return 0

    def _inodes(self, pid: int) -> frozenset[int]:
        # By descriptors: nginx has one for each listener, and a path for each takes twice as long.
        place = os.open(self.root / f"proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        found = set()
        try:
            for name in os.listdir(place):  # noqa: PTH208
                try:
                    target = os.readlink(name, dir_fd=place)
                except OSError:
                    continue  # closed since the directory was read
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
        finally:
            os.close(place)
        return frozenset(found)

    def program(self, pid: int) -> str:
        """The name of a process; empty if there is none."""
        return self._text(f"proc/{pid}/comm")

    def unit(self, pid: int) -> str:
        """The unit of systemd that a process belongs to; empty if it belongs to none."""
        names = re.split(r"[/\n]", self._text(f"proc/{pid}/cgroup"))
        units = [name for name in names if name.endswith((".service", ".scope"))]
        return units[-1] if units else ""

    def arguments(self, pid: int) -> tuple[str, ...]:
        """The command line of a process; empty if there is none."""
        text = self._text(f"proc/{pid}/cmdline")
        return tuple(text.split("\0")) if text else ()

    def environment(self, pid: int) -> dict[str, str]:
        """What a process was started with, as far as this process may know."""
        settings = self._text(f"proc/{pid}/environ").split("\0")
        return dict(one.split("=", 1) for one in settings if "=" in one)

    def open_files(self, pid: int) -> tuple[str, str]:
        """How many files a process may have open, its soft limit and its hard one; empty if there
        is no such process, or none that this one may ask about."""
        said = self._text(f"proc/{pid}/limits")
        found = re.search(r"^Max open files +(\S+) +(\S+)", said, re.MULTILINE)
        return (found[1], found[2]) if found else ("", "")

    def most_files(self, pid: int) -> int:
        """How many files a process may have open; 0 if that can't be read."""
        soft, _ = self.open_files(pid)
        return int(soft) if soft.isdecimal() else 0

    def children(self, pid: int) -> tuple[int, ...]:
        """The processes that a process has started and that have not ended."""
        return tuple(map(int, self._text(f"proc/{pid}/task/{pid}/children").split()))

    def running(self, names: Collection[str]) -> tuple[int, ...]:
        """The processes of programs with these names."""
        # Each run asks for all there are: a path for each takes five times as long.
        wanted, base = {one.encode() for one in names}, os.fspath(self.root / "proc")
        found = []
        for pid in self._pids():
            with contextlib.suppress(OSError):  # gone
                place = os.open(f"{base}/{pid}/comm", os.O_RDONLY)
                try:
                    found += [pid] if os.read(place, 64).strip() in wanted else []
                finally:
                    os.close(place)
        return tuple(found)

    def parent(self, pid: int) -> int:
        """The process that has started one; 0 if that is not known."""
        return self._status(pid, "PPid", 0)

    def status(self, pid: int) -> str:
        """What proc(5) has of it as `status`; empty if there is none."""
        return self._text(f"proc/{pid}/status")

    def user(self, pid: int) -> int:
        """The number of the user that a process has the rights of; -1 if that is not known."""
        return self._status(pid, r"Uid:\t\d+", -1)

    def _pids(self) -> list[int]:
        try:
            names = os.listdir(self.root / "proc")  # noqa: PTH208 (a path for each takes longer)
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def _status(self, pid: int, name: str, unknown: int) -> int:
        found = re.search(rf"(?m)^{name}:?\s(\d+)", self.status(pid))
        return int(found[1]) if found else unknown

    def _text(self, path: str) -> str:
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return ""
