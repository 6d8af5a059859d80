"""The form of a record: what its JSON may hold, each value read once and into its final type.

lbhook wrote it, but who knows when: another version, or a disk that has cut it since. What fits
counts. What does not is left out and named by its place, and nothing of it gets any further.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from ..config import nesting, schema
from ..config.schema import Misfit, Read
from . import scalars

VERSION = 1
_MOST_NAMED = 3
Note = Callable[[str, str], None]


class Part(NamedTuple):
    """One key of a record: how its value is read, which notes what it leaves out; what stands for
    one that is not there; and whether that is wrong."""

    read: Callable[[object, Note], Any]
    empty: Any
    needed: bool = False


Form = Mapping[str, Part]


class Record(NamedTuple):
    """What could be read of a record, by key; what is `wrong` with it, empty if nothing is; and
    whether it was no record at all."""

    values: Mapping[str, Any]
    wrong: str = ""
    lost: bool = False


def record(content: bytes, form: Form) -> Record:
    """A record as far as it can be read."""
    raw = decoded(content)
    if not isinstance(raw, dict):
        return nothing(form, "damaged: not JSON, or cut")
    problems = [f"{key}: missing" for key, part in form.items() if part.needed and key not in raw]
    values = {
        key: part.read(raw[key], _noting(problems, key)) if key in raw else part.empty
        for key, part in form.items()
    }
    return Record(values, _verdict(raw.get("version"), problems))


def nothing(form: Form, wrong: str = "") -> Record:
    """A record that is not there; or of which nothing can be read, since something is `wrong`."""
    return Record({key: part.empty for key, part in form.items()}, wrong, lost=bool(wrong))


def written(values: Mapping[str, Any]) -> bytes:
    """The record again, as JSON of this version."""
    text = json.dumps({**_plain(values), "version": VERSION}, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def decoded(content: bytes) -> object:
    """The JSON of a file of lbhook's own; None if it is none."""
    try:
        text = content.decode("utf-8")
        return None if nesting.is_too_deep(text, nesting.JSON) else json.loads(text)
    except ValueError:
        return None


def sole(read: Read[Any], empty: Any, *, needed: bool = False) -> Part:
    """A value that is right or not there."""

    def read_all(value: object, note: Note) -> Any:
        try:
            return read(value)
        except Misfit as misfit:
            _note_all(misfit, note)
            return empty

    return Part(read_all, empty, needed)


def each(read: Read[Any]) -> Part:
    """Values by path or by name; one that is wrong leaves the others as they are. What has a
    `path` stands at it."""

    def read_all(value: object, note: Note) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in _object(value, note).items():
            try:
                found[scalars.text(key)] = _at(key, read(item))
            except Misfit as misfit:
                _note_all(misfit, note, f".{ascii(key)[1:-1]}")
        return found

    return Part(read_all, MappingProxyType({}))


def mapping(read: Read[Any]) -> Read[dict[str, Any]]:
    """Values by path or by name, all of them right."""

    def read_all(value: object) -> dict[str, Any]:
        problems: list[tuple[str, str]] = []
        found = each(read).read(value, lambda where, what: problems.append((where, what)))
        if problems:
            raise Misfit(*problems)
        return dict(found)

    return read_all


def some(read: Read[Any]) -> Part:
    """A list; an item that is wrong leaves the others as they are."""

    def read_all(value: object, note: Note) -> tuple[Any, ...]:
        found = []
        for at, item in enumerate(_list(value, note)):
            try:
                found.append(read(item))
            except Misfit as misfit:
                _note_all(misfit, note, f"[{at}]")
        return tuple(found)

    return Part(read_all, ())


def _at(key: str, value: Any) -> Any:
    if str(getattr(value, "path", key)) != key:
        raise Misfit((".path", f"{schema.shown(str(value.path))} is another path"))
    return value


def _object(value: object, note: Note) -> Mapping[str, object]:
    if isinstance(value, dict):
        return value
    note("", f"{schema.shown(value)} is not an object")
    return {}


def _list(value: object, note: Note) -> list[object]:
    if isinstance(value, list):
        return value
    note("", f"{schema.shown(value)} is not a list")
    return []


def _note_all(misfit: Misfit, note: Note, below: str = "") -> None:
    for where, what in misfit.problems:
        note(f"{below}{where}", what)


def _noting(problems: list[str], key: str) -> Note:
    return lambda where, what: problems.append(f"{key}{where}: {what}")


def version_problem(version: object) -> str:
    """What is wrong with the version of a record; empty if it is this one."""
    if isinstance(version, int) and version > VERSION:
        return f"written by a newer lbhook, as version {schema.shown(version)}"
    sound = version == VERSION and not isinstance(version, (bool, float))
    return "" if sound else "damaged: version: it has none that lbhook ever wrote"


def _verdict(version: object, problems: list[str]) -> str:
    """What is wrong with a record; that a newer lbhook wrote it explains all the rest."""
    wrong = version_problem(version)
    if wrong or not problems:
        return wrong
    more = [f"and {len(problems) - _MOST_NAMED} more"] if len(problems) > _MOST_NAMED else []
    return f"damaged: {'; '.join([*problems[:_MOST_NAMED], *more])}"


def _plain(value: Any) -> Any:
    """What JSON has for it."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, PurePosixPath) else value
