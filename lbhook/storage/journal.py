"""What an unfinished run leaves, so that the next one can put every file back.

A journal is a directory with what each file was before. It appears and disappears by a
rename; whatever else a kill leaves is in it, or is removed by name.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import LbhookError, PutBackError, WriteError
from ..plan import FileState, same
from .files import Tree

_LIST = "journal.json"


class Entry(NamedTuple):
    """One file: what it was before (None: there was none), and the digest of what it becomes
    (empty: removed, or not known yet). `target` is empty for lbhook's own records."""

    path: PurePosixPath
    before: FileState | None
    after: str
    target: str = ""


class Journal:
    """The journal of one state directory."""

    def __init__(self, tree: Tree, state: PurePosixPath) -> None:
        self.tree = tree
        self.state = state

    def begin(self, entries: Sequence[Entry]) -> None:
        """Write down what every file is, before any of them is touched."""
        self.tree.remove_directory(self._new)
        try:
            self._write(entries)
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
        """What a run that did not come to its end was about to change."""
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
        """The run came to its end: from now on the journal is what `rollback` goes back to."""
        self.tree.move(self._open, self._committed)
        self._finish()

    def _finish(self) -> None:
        for entry in self._entries(self._committed):
            self.tree.remove(self.tree.second(entry.path))
        self._drop(self._previous, "previous.old")
        self.tree.move(self._committed, self._previous)

    def tidy(self) -> None:
        """Remove what a kill in the middle of this module's own renames left behind."""
        names = self.tree.names(self.state)
        for name in names:
            if name in ("journal.new", "journal.done", "previous.old"):
                self.tree.remove_directory(self.state / name)
        if self._committed.name in names:
            self._finish()

    def previous(self) -> tuple[Entry, ...]:
        """What the last run that came to its end replaced."""
        return self._entries(self._previous)

    def backup(self, path: PurePosixPath) -> PurePosixPath:
        """Where the last run that came to its end keeps what a file was before it."""
        for at, entry in enumerate(self.previous()):
            if entry.path == path:
                return self._previous / str(at)
        return self._previous / "none"

    @property
    def _new(self) -> PurePosixPath:
        return self.state / "journal.new"

    @property
    def _open(self) -> PurePosixPath:
        return self.state / "journal"

    @property
    def _committed(self) -> PurePosixPath:
        return self.state / "journal.committed"

    @property
    def _previous(self) -> PurePosixPath:
        return self.state / "previous"

    def _put_back(self, entry: Entry) -> bool:
        actual = self.tree.state(entry.path)
        if entry.before is None:
            # Only what the unfinished run made; not what somebody put there since. What
            # becomes of lbhook's own record is not known beforehand.
            ours = actual is not None and entry.after in ("", actual.digest)
            if ours:
                self.tree.remove(entry.path)
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
                f"{where}: damaged ({type(error).__name__}: {error}); what it would put back is"
                " not known",
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
        )


def _as_json(entry: Entry) -> dict[str, object]:
    before = None
    if entry.before is not None:
        before = {key: value for key, value in entry.before._asdict().items() if key != "content"}
    values = {"path": str(entry.path), "after": entry.after, "target": entry.target}
    return {**values, "before": before}
