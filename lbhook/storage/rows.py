"""A value of a record that has parts of its own: a row, an object, one that may be null."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ..config import schema
from ..config.schema import Misfit, Read
from . import scalars

R = TypeVar("R")


def row(kind: Callable[..., R], **special: Read[Any]) -> Read[R]:
    """A value of a kind, its fields read by their types, `special` ones by a reader of their own.
    Keys that the kind has not are a later version's."""
    reads = {**{name: _BY_TYPE.get(one) for name, one in kind.__annotations__.items()}, **special}
    spare = getattr(kind, "_field_defaults", {})

    def read(value: object) -> R:
        return kind(**_fields(_demand_object(value), reads, spare))

    return read


def table(needed: Mapping[str, Read[Any]], others: Mapping[str, Read[Any]] = {}) -> Read[Any]:
    """An object with some keys that must be there and `others` that may; what else is in it stays
    as it is."""
    read_only = only(needed, others)

    def read(value: object) -> dict[str, Any]:
        return {**_demand_object(value), **read_only(value)}

    return read


def only(needed: Mapping[str, Read[Any]], others: Mapping[str, Read[Any]] = {}) -> Read[Any]:
    """The same, without what else is in it."""

    def read(value: object) -> dict[str, Any]:
        raw = _demand_object(value)
        given = {name: one for name, one in others.items() if name in raw}
        return _fields(raw, {**needed, **given}, {})

    return read


def optional(read: Read[Any]) -> Read[Any]:
    """A value or null."""
    return lambda value: None if value is None else read(value)


_BY_TYPE: Mapping[object, Read[Any]] = {
    str: scalars.text,
    int: schema.whole,
    float: scalars.number,
    bool: schema.boolean,
    tuple[str, ...]: schema.items(scalars.text),
    PurePosixPath: schema.path,
}


def _fields(
    raw: Mapping[str, Any], reads: Mapping[str, Read[Any] | None], spare: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for name, read in reads.items():
        try:
            if name in raw and read:
                found[name] = read(raw[name])
            elif name not in spare:
                problems.append((f".{name}", "missing"))
        except Misfit as misfit:
            problems += [(f".{name}{where}", what) for where, what in misfit.problems]
    if problems:
        raise Misfit(*problems)
    return found


def _demand_object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise schema.unfit(value, "an object")
    return value
