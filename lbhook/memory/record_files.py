"""The records as files, whatever they say: read, written, removed; damaged ones are put aside."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any

from ..errors import WriteError
from ..paths import Paths
from ..storage import aside, forms
from ..storage.files import Tree
from ..storage.forms import Form, Record
from . import record_forms
from .places import ASIDE, Places
from .records import Installed

_UNREAD = "what can't be read is ignored"


class RecordFiles(Places):
    """The records of one machine. `damaged` says of which of them not all could be read."""

    def __init__(self, tree: Tree, paths: Paths) -> None:
        super().__init__(paths)
        self.tree = tree
        self.damaged: list[str] = []
        self._known: Mapping[PurePosixPath, Mapping[str, Any]] = {}

    def look_again(self) -> None:
        """Forget what was read once: while the lock was free another run may have written it."""
        self._known = {}

    def read(self, path: PurePosixPath, form: Form) -> Mapping[str, Any]:
        """What can be read of a record, by key; what is wrong with it is in `damaged`."""
        found = self.record(path, form)
        text = f"{self.tree.outside(path)}: {found.wrong}; {_UNREAD}"
        if found.wrong and text not in self.damaged:
            self.damaged.append(text)
        nothing = found.wrong and form in record_forms.WHOLE
        return forms.nothing(form).values if nothing else found.values

    def record(self, path: PurePosixPath, form: Form) -> Record:
        """A record as far as it can be read; what is no file is as damaged as one that is cut.
        Raises `WriteError` if the disk does not give it: a later run may get it."""
        try:
            content = self.tree.read(path)
        except WriteError as error:
            if not error.in_the_way:
                raise
            return forms.nothing(
                form, "; ".join(error.problems).removeprefix(f"{self.tree.outside(path)}: ")
            )
        return forms.nothing(form) if content is None else forms.record(content, form)

    def set_aside(self, others: Callable[[], Mapping[str, Installed]]) -> tuple[str, ...]:
        """Put what can be read of a damaged record in its place, keep the damaged one beside it,
        and say so. `others` are targets that are known to be installed from elsewhere. One that
        the disk does not give stays as it is: who needs it says so."""
        said = []
        forms = self.forms()
        there = {place: self.tree.names(place) for place in {one.parent for one in forms}}
        for path in (one for one in forms if one.name in there[one.parent]):
            form = forms[path]
            try:
                found = self.record(path, form)
            except WriteError:
                continue
            if found.wrong:
                values = found.values
                if path == self.installed_file:
                    values = {"files": {**others(), **values["files"]}}
                lacking = any(part.needed and values[key] is None for key, part in form.items())
                lost = found.lost or lacking or form in record_forms.WHOLE
                found = found._replace(lost=lost)
                kept = self._keep_aside(path, found, values)
                said.append(f"{self.tree.outside(path)}: {found.wrong}; {_UNREAD}{kept}")
        if said:
            self.damaged.clear()
            self.look_again()
        return tuple(said)

    def _keep_aside(self, path: PurePosixPath, found: Record, values: Mapping[str, Any]) -> str:
        """Where the damaged record is from now on; empty if there is no room for it, and it stays
        where it is until there is."""
        try:
            if found.lost:
                place = aside.moved(self.tree, path)
            else:
                place = aside.free_name(self.tree, path)
                self.tree.write(place, self.tree.read(path) or b"", mode=0o600)
            if not found.lost or (path == self.installed_file and values["files"]):
                self._write(path, values)
        except WriteError:
            return ""
        return f", and kept in {place.name}"

    def make_room(self) -> None:
        """Remove what nobody needs who takes everything back: the way back, and what only tells."""
        told = (self.answer_file, self.told_file, self.history_file, self.ports_file)
        for path in (
            *told,
            *(one for file in self.forms() for one in aside.names(self.tree, file)),
        ):
            self._remove(path)
        state = self.paths.state
        journals = (one for one in self.tree.names(state) if one.startswith("previous"))
        for name in (*journals, "copies"):
            self.tree.remove_directory(state / name)

    def forget(self) -> tuple[PurePosixPath, ...]:
        """Remove every record, and say which there were. The lock stays: it is held; so do
        originals that were put aside, which nobody else has."""
        state = self.paths.state
        forms = self.forms()
        # A drain is forgotten by who knows whether it is over.
        known = [path for path, form in forms.items() if form is not record_forms.DRAIN]
        known += [self.status_file, self.paths.handover, self.waiting_file]
        files = [*known, *(one for path in forms for one in aside.names(self.tree, path))]
        gone = [path for path in files if self._is_there(path)]
        journals = [name for name in self.tree.names(state) if name.startswith("previous")]
        places = [state / name for name in ("originals", "copies", "refused", *journals)]
        for place in places:
            found = [name for name in self.tree.names(place) if not name.endswith(ASIDE)]
            files += [place / name for name in found]
            gone += [place] if found else []
        self.look_again()
        for path in files:
            self._remove(path)
        for place in (*places, state):
            if not self.tree.names(place):
                self.tree.remove_directory(place)
        return tuple(gone)

    def _read_once(self, path: PurePosixPath, form: Form) -> Mapping[str, Any]:
        """As `read`, but from the disk only once, until it is written or `look_again`."""
        if path not in self._known:
            self._known = {**self._known, path: self.read(path, form)}
        return self._known[path]

    def _write(self, path: PurePosixPath, values: Mapping[str, object]) -> None:
        # What is on the disk is not known while it is written.
        self._known = {one: found for one, found in self._known.items() if one != path}
        self.tree.write(path, forms.written(values))

    def _is_there(self, path: PurePosixPath) -> bool:
        return path.name in self.tree.names(path.parent)

    def _remove(self, path: PurePosixPath) -> None:
        """Remove a record; a directory that somebody put in its place is not lbhook's."""
        try:
            self.tree.remove(path)
        except WriteError as error:
            if not error.in_the_way:
                raise
