"""What an unfinished run leaves, so that the next one can put every file back.

A journal is a directory with what each file was before. It appears and disappears by a
rename; whatever else a kill leaves is in it, or is removed by name. A run has one for each of its
transactions, and keeps all of them side by side: they are what `rollback` goes back to.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import LbhookError, PutBackError, WriteError
from ..plan import FileState, same
from .files import Tree

_LIST = "journal.json"
# There as long as the run that it belongs to has not come to its end.
_MORE = "more"
# There as long as nothing has been replaced since somebody asked.
_MARK = "mark"
_KEPT = re.compile(r"previous(\.\d+)?")


class Entry(NamedTuple):
    """One file: what it was before (None: there was none), and the digest of what it becomes
    (empty: removed, or not known yet). `target` is empty for lbhook's own records. `rest` is what
    is put where nothing was, because another program fails without the file."""

    path: PurePosixPath
    before: FileState | None
    after: str
    target: str = ""
    rest: str = ""


class Journal:
    """The journal of one state directory."""

    def __init__(self, tree: Tree, state: PurePosixPath) -> None:
        self.tree = tree
        self.state = state

    def begin(self, entries: Sequence[Entry], *, last: bool = True) -> None:
        """Write down what every file is, before any of them is touched. Where this is not the
        `last` transaction of its run, those that follow are kept beside it, also if the run is
        killed and another goes on with it."""
        self.tree.remove_directory(self._new)
        try:
            self._write(entries)
            if not (last or self._is_going_on()):
                self.tree.write(self._new / _MORE, b"", mode=0o600)
        except LbhookError:
            self.tree.remove_directory(self._new)
            raise
        self.tree.move(self._new, self._open)

    def _write(self, entries: Sequence[Entry]) -> None:
        for index, entry in enumerate(entries):
            if entry.before is not None:
                backup = FileState(content=entry.before.content, mode=0o600)
                self.tree.stage(self._new / str(index), backup)
                self.tree.replace(self._new / str(index))
        listed = json.dumps([_as_json(entry) for entry in entries])
        self.tree.write(self._new / _LIST, listed.encode(), mode=0o600)

    def unfinished(self) -> tuple[Entry, ...]:
        """What a transaction that did not come to its end was about to change."""
        return self._entries(self._open)

    def put_back(self) -> tuple[Entry, ...]:
        """Put back every file of the open journal, close it, and say which files changed.

        Raises `PutBackError` for those that could not be put back; the others have been, and
        the journal stays for the next run.
        """
        touched: list[Entry] = []
        failures: dict[PurePosixPath, LbhookError] = {}
        for entry in self.unfinished():
            try:
                self.tree.discard(entry.path)
                if self._put_back(entry):
                    touched.append(entry)
                self.tree.remove(self.tree.second(entry.path))
            except LbhookError as error:
                failures[entry.path] = error
        if failures:
            raise PutBackError(
                *(problem for error in failures.values() for problem in error.problems),
                hint=next(iter(failures.values())).hint,
                stuck=tuple(failures),
                restored=tuple(one.path for one in touched if one.target),
            )
        self._drop(self._open, "journal.done")
        return tuple(touched)

    def commit(self) -> None:
        """It came to its end: from now on the journal is what `rollback` goes back to."""
        self.tree.move(self._open, self._committed)
        self._finish()

    def _finish(self) -> None:
        for entry in self._entries(self._committed):
            self.tree.remove(self.tree.second(entry.path))
        kept = self._kept()
        if self._is_going_on():
            self.tree.move(self._committed, self.state / f"previous.{len(kept)}")
            return
        for journal in reversed(kept):
            self._drop(journal, "previous.old")
        self.tree.move(self._committed, self.state / "previous")

    def _is_going_on(self) -> bool:
        """Whether the run that replaced what is kept has not come to its end."""
        return _MORE in self.tree.names(self.state / "previous")

    def _kept(self) -> Sequence[PurePosixPath]:
        """The journals of the last run, in order."""
        names = [name for name in self.tree.names(self.state) if _KEPT.fullmatch(name)]
        return [self.state / name for name in sorted(names, key=lambda one: (len(one), one))]

    def end(self) -> None:
        """The run came to its end: the next one is another."""
        if self._is_going_on():
            self.tree.remove(self.state / "previous" / _MORE)

    def tidy(self) -> None:
        """Remove what a kill in the middle of this module's own renames left behind."""
        names = self.tree.names(self.state)
        for name in names:
            if name in ("journal.new", "journal.done", "previous.old"):
                self.tree.remove_directory(self.state / name)
        if self._committed.name in names:
            self._finish()

    def previous(self) -> tuple[Entry, ...]:
        """What the last run replaced; a file that it replaced twice as it was before both."""
        found: dict[PurePosixPath, Entry] = {}
        for journal in self._kept():
            for entry in self._entries(journal):
                found.setdefault(entry.path, entry)
        return tuple(found.values())

    def mark(self) -> None:
        """Remember what the last run is: see `is_marked`."""
        self.tree.write(self.state / "previous" / _MARK, b"", mode=0o600)

    def is_marked(self) -> bool:
        """Whether no file was replaced since `mark`."""
        return _MARK in self.tree.names(self.state / "previous")

    def backup(self, path: PurePosixPath) -> PurePosixPath:
        """Where the last run keeps what a file was before it."""
        for journal in self._kept():
            for at, entry in enumerate(self._entries(journal)):
                if entry.path == path:
                    return journal / str(at)
        return self.state / "previous" / "none"

    @property
    def _new(self) -> PurePosixPath:
        return self.state / "journal.new"

    @property
    def _open(self) -> PurePosixPath:
        return self.state / "journal"

    @property
    def _committed(self) -> PurePosixPath:
        return self.state / "journal.committed"

    def _put_back(self, entry: Entry) -> bool:
        actual = self.tree.state(entry.path)
        if entry.before is None:
            # Only what the unfinished run made; not what somebody put there since. What
            # becomes of lbhook's own record is not known beforehand.
            ours = actual is not None and entry.after in ("", actual.digest)
            if ours:
                self._put_to_rest(entry)
            return ours
        if actual is not None and same(entry.before, actual):
            return False
        kept = self.tree.state(self.tree.second(entry.path))
        if kept is not None and same(entry.before, kept):
            self.tree.bring_back(entry.path)
            return True
        self.tree.stage(entry.path, entry.before)
        self.tree.replace(entry.path)
        return True

    def _put_to_rest(self, entry: Entry) -> None:
        if entry.rest:
            # No room, perhaps: then there is no file, as before.
            with contextlib.suppress(WriteError):
                return self.tree.write(entry.path, entry.rest.encode())
            self.tree.discard(entry.path)
        return self.tree.remove(entry.path)

    def _drop(self, path: PurePosixPath, name: str) -> None:
        """Remove a journal so that a kill leaves all of it or, by name, none of it."""
        if self.tree.names(path):
            self.tree.move(path, path.with_name(name))
            self.tree.remove_directory(path.with_name(name))

    def _entries(self, journal: PurePosixPath) -> tuple[Entry, ...]:
        content = self.tree.read(journal / _LIST)
        if content is None:
            return ()
        try:
            listed = json.loads(content)
            return tuple(self._from_json(journal / str(at), raw) for at, raw in enumerate(listed))
        except (ValueError, TypeError, KeyError) as error:
            where = self.tree.outside(journal)
            raise WriteError(
                f"{where}: damaged ({type(error).__name__}: {error}); lbhook can't tell what"
                " to put back",
                hint=f"compare the files in {where} with the installed ones, then remove it",
            ) from None

    def _from_json(self, backup: PurePosixPath, raw: Mapping[str, object]) -> Entry:
        before = None
        attributes = raw["before"]
        if isinstance(attributes, dict):
            content = self.tree.read(backup)
            if content is None:
                # An empty file in its place would be worse than none.
                raise KeyError(backup.name)
            if not self.tree.privileged:
                attributes = {**attributes, "uid": -1, "gid": -1}
            before = FileState(content=content, **attributes)
        return Entry(
            path=PurePosixPath(str(raw["path"])),
            before=before,
            after=str(raw["after"]),
            target=str(raw["target"]),
            rest=str(raw.get("rest", "")),
        )


def _as_json(entry: Entry) -> dict[str, object]:
    before = None
    if entry.before is not None:
        before = {key: value for key, value in entry.before._asdict().items() if key != "content"}
    values = entry._asdict()
    return {**values, "path": str(entry.path), "before": before}
