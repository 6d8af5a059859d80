"""What an unfinished run leaves, so that the next one can put every file back.

A journal is a directory with what each file was before. It appears and disappears by a
rename; whatever else a kill leaves is in it, or is removed by name. Those of a run that has come to
its end are kept (`generations`).
"""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..errors import LbhookError, PutBackError, WriteError
from ..plan import same
from ..storage import aside
from . import journal_entries
from .generations import KEPT, MORE, Generations
from .journal_entries import Entry, Read

_JOURNALS = re.compile(rf"journal(\.new|\.done|\.committed)?|previous\.old|{KEPT.pattern}")


class Settled(NamedTuple):
    """What came of an unfinished run: the entries whose files changed, and what was given up."""

    touched: tuple[Entry, ...] = ()
    given_up: tuple[str, ...] = ()


class Journal(Generations):
    """The journal of one state directory, beside those of the last run."""

    def begin(self, entries: Sequence[Entry], *, last: bool = True) -> None:
        """Write down what every file is, before any of them is touched. Where this is not the
        `last` transaction of its run, those that follow are kept beside it, also if the run is
        killed and another goes on with it."""
        self.tree.remove_directory(self._new)
        try:
            journal_entries.write(self.tree, self._new, entries)
            if not (last or self.is_going_on()):
                self.tree.write(self._new / MORE, b"", mode=0o600)
        except LbhookError:
            self.tree.remove_directory(self._new)
            raise
        self.tree.move(self._new, self._open)

    def is_open(self) -> bool:
        """Whether a transaction did not come to its end."""
        return self._open.name in self.tree.names(self.state)

    def unfinished(self) -> tuple[Entry, ...]:
        """What a transaction that did not come to its end was about to change, as far as that can
        be read."""
        return tuple(entry for _, entry in journal_entries.read(self.tree, self._open).entries)

    def put_back(self) -> tuple[Entry, ...]:
        """Put back every file of the open journal, close it, and say which files changed.

        Raises `PutBackError` for those that could not be put back, or be read of; the others have
        been, and the journal stays for the next run.
        """
        touched, failures, read = self._put_back_all()
        if failures or read.wrong or read.unread:
            where = self.tree.outside(self._open)
            raise _stuck(touched, failures, [f"{where}: {one}" for one in read.wrong], read.unread)
        self._drop(self._open, "journal.done")
        return tuple(touched)

    def settle(self) -> Settled:
        """Put back what an earlier run left half done, and close its journal. What will never go
        back is given up: no later run is to stand still for it. Then the journal stays beside.

        Raises `PutBackError` for what another run may put back, as that of a disk that is full.
        """
        self.tidy()
        if not self.is_open():
            return Settled()
        touched, failures, read = self._put_back_all()
        healing = {path: one for path, one in failures.items() if not _is_for_ever(one)}
        if healing or read.unread:
            raise _stuck(touched, healing, unread=read.unread)
        if not (failures or read.wrong):
            self._drop(self._open, "journal.done")
            return Settled(tuple(touched))
        where = self.tree.outside(aside.moved(self.tree, self._open))
        names = {entry.path: name for name, entry in read.entries}
        lost = (
            f"{'; '.join(error.problems)}: it can't be put back; what was there before is"
            f" {where}/{names[path]}: copy it to where it belongs, then remove {where}"
            for path, error in failures.items()
        )
        unread = (
            f"{where}: {one}; lbhook can't tell all that is to be put back: compare the files in"
            " it with the installed ones, then remove it"
            for one in read.wrong
        )
        return Settled(tuple(touched), (*lost, *unread))

    def _put_back_all(self) -> tuple[list[Entry], dict[PurePosixPath, LbhookError], Read]:
        """What was put back, what could not be, and what the journal says."""
        touched: list[Entry] = []
        failures: dict[PurePosixPath, LbhookError] = {}
        read = journal_entries.read(self.tree, self._open)
        for _, entry in read.entries:
            try:
                self.tree.discard(entry.path)
                if self._put_back(entry):
                    touched.append(entry)
                self.tree.remove(self.tree.second(entry.path))
            except LbhookError as error:
                failures[entry.path] = error
        return touched, failures, read

    def commit(self) -> None:
        """It came to its end: from now on the journal is what `rollback` goes back to."""
        self.tree.move(self._open, self._committed)
        self._finish()

    def _finish(self) -> None:
        for _, entry in journal_entries.read(self.tree, self._committed).entries:
            try:
                self.tree.remove(self.tree.second(entry.path))
            except WriteError as error:
                if not error.in_the_way:  # for which no later run is to stand still
                    raise
        kept = self.kept()
        if self.is_going_on():
            self.tree.move(self._committed, self.state / f"previous.{len(kept)}")
            return
        for journal in reversed(kept):
            self._drop(journal, "previous.old")
        self.tree.move(self._committed, self.state / "previous")

    def tidy(self) -> None:
        """Remove what a kill in the middle of this module's own renames left behind."""
        for name in filter(_JOURNALS.fullmatch, self.tree.names(self.state)):
            aside.unless_directory(self.tree, self.state / name)
            if name in ("journal.new", "journal.done", "previous.old"):
                self._remove(self.state / name)
        if self._committed.name in self.tree.names(self.state):
            self._finish()

    def _remove(self, journal: PurePosixPath) -> None:
        try:
            self.tree.remove_directory(journal)
        except WriteError as error:
            if not error.in_the_way:
                raise
            aside.moved(self.tree, journal)  # somebody's directory is in it

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
        if path.name in self.tree.names(path.parent):
            self.tree.move(path, path.with_name(name))
            self._remove(path.with_name(name))


def _is_for_ever(error: LbhookError) -> bool:
    return isinstance(error, WriteError) and error.in_the_way


def _stuck(
    touched: Sequence[Entry],
    failures: Mapping[PurePosixPath, LbhookError],
    wrong: Sequence[str] = (),
    unread: Sequence[LbhookError] = (),
) -> PutBackError:
    errors = (*failures.values(), *unread)
    return PutBackError(
        *(problem for error in errors for problem in error.problems),
        *wrong,
        hint=next((error.hint for error in errors), ""),
        stuck=tuple(failures),
        restored=tuple(one.path for one in touched if one.target),
        whole=not (wrong or unread),
    )
