"""A control group tree for each machine, so that several can be on at once.

systemd-nspawn makes a control group namespace where it is started. In the root of the real one
two machines would share their groups, and take each other's away.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

from ..lab.hosts import wait_for

_COUNT = itertools.count(1)


class Cgroups:
    """The trees of one machine; each is a directory named for the process that made it."""

    def __init__(self) -> None:
        self.name = f"lbhook-test-{os.getpid()}-{next(_COUNT)}"
        self.trees = [group / self.name for group in _own_groups()]
        for tree in self.trees:
            tree.mkdir()
            for limit in ("cpuset.cpus", "cpuset.mems"):  # empty at first: no process may enter
                if (tree / limit).exists() and not (tree / limit).read_text().strip():
                    (tree / limit).write_text((tree.parent / limit).read_text())

    def remove(self) -> None:
        """Remove the trees, once the last process has ended."""
        wait_for(lambda: all(map(_removed, self.trees)), f"an empty {self.name}", 60)


def _own_groups() -> Iterator[Path]:
    """The control group that this process has in each hierarchy that it can reach."""
    # ID:CONTROLLERS:PATH; without controllers it is version 2.
    lines = (line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines())
    own = {frozenset(names.split(",")): path for _, names, path in lines}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, options, *_ = line.split()
        for names, path in own.items():
            named = kind == "cgroup" and names <= {*options.split(",")}
            if named or (kind == "cgroup2" and names == {""}):
                group = Path(place + path)
                # A path from outside of a container is none in it.
                yield group if group.is_dir() else Path(place)


def _removed(tree: Path) -> bool:
    try:
        for group, _, _ in os.walk(tree, topdown=False):
            Path(group).rmdir()
    except OSError:
        return False
    return True
