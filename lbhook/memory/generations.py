"""The journals of the last run, which `rollback` goes back to.

A run has one for each of its transactions, and keeps all of them side by side.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..errors import WriteError
from ..storage.files import Tree
from . import journal_entries
from .journal_entries import Entry, Read

# There as long as the run that it belongs to has not come to its end.
MORE = "more"
# There as long as nothing has been replaced since somebody asked.
_MARK = "mark"
KEPT = re.compile(r"previous(\.\d+)?")


class Generations:
    """Those of one state directory."""

    def __init__(self, tree: Tree, state: PurePosixPath) -> None:
        self.tree = tree
        self.state = state

    def is_going_on(self) -> bool:
        """Whether the run that replaced what is kept has not come to its end."""
        return MORE in self.tree.names(self.state / "previous")

    def kept(self) -> Sequence[PurePosixPath]:
        """The journals of the last run, in order."""
        names = [name for name in self.tree.names(self.state) if KEPT.fullmatch(name)]
        return [self.state / name for name in sorted(names, key=lambda one: (len(one), one))]

    def end(self) -> None:
        """The run came to its end: the next one is another."""
        if self.is_going_on():
            self.tree.remove(self.state / "previous" / MORE)

    def previous(self) -> tuple[Entry, ...]:
        """What the last run replaced; a file that it replaced twice as it was before both. Raises
        `WriteError` if not all of it can be read."""
        found: dict[PurePosixPath, Entry] = {}
        for journal in self.kept():
            read = journal_entries.read(self.tree, journal)
            for error in read.unread:
                raise error
            if read.wrong:
                where = self.tree.outside(journal)
                problems = (f"{where}: {one}; there is no way back" for one in read.wrong)
                raise WriteError(*problems, hint="the next apply that changes a file replaces it")
            for _, entry in read.entries:
                found.setdefault(entry.path, entry)
        return tuple(found.values())

    def mark(self) -> None:
        """Remember what the last run is: see `is_marked`. What follows is another one, also if the
        last was killed and has more to do."""
        self.end()
        self.tree.write(self.state / "previous" / _MARK, b"", mode=0o600)

    def is_marked(self) -> bool:
        """Whether no file was replaced since `mark`."""
        return _MARK in self.tree.names(self.state / "previous")

    def last(self) -> tuple[tuple[PurePosixPath, Entry], ...]:
        """What can be read of the last transaction, each entry with the place of its backup."""
        kept = self.kept()
        read = journal_entries.read(self.tree, kept[-1]) if kept else Read()
        return tuple((kept[-1] / name, entry) for name, entry in read.entries)

    def backup(self, path: PurePosixPath) -> PurePosixPath:
        """Where the last run keeps what a file was before it."""
        for journal in self.kept():
            for name, entry in journal_entries.read(self.tree, journal).entries:
                if entry.path == path:
                    return journal / name
        return self.state / "previous" / "none"
