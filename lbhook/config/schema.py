"""Values of a TOML file, each read by a small function that names what it wants.

A reader takes what TOML made of a value and returns it in its final type, or raises
`Misfit` with every problem and its place below that value. What JSON Schema can say of it, for
editors, is its shape: never narrower than the reader.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ..layout import suggestion

T = TypeVar("T")
Read = Callable[[object], T]

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)", re.ASCII)
# What Linux takes of a name and of a path, in bytes; and what lbhook adds to the name of a file
# that it is about to replace: `.NAME.lbhook-old`.
_LONGEST_NAME, _LONGEST_PATH, _ADDED = 255, 4095, len("..lbhook-old")
_LONGEST_LINE = 200
# More than any wait or age, and less than what the system's timers can take.
_LONGEST = 520 * _UNITS["w"]


class Misfit(Exception):  # noqa: N818  (a verdict on a value, not a failure of the program)
    """A value that is not what its key wants: pairs of (place below the value, problem)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


def shaped(**shape: object) -> Callable[[Read[T]], Read[T]]:
    """Gives a reader its shape, in the words of JSON Schema."""

    def give(read: Read[T]) -> Read[T]:
        vars(read)["shape"] = shape
        return read

    return give


def shape_of(read: Read[Any]) -> dict[str, Any]:
    """The shape of a reader; of one that was given none, which fits everything."""
    return dict(vars(read).get("shape", {}))


def shown(value: object) -> str:
    """A TOML value for a message: short, in one line."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    simple = isinstance(value, (str, bool))
    text = json.dumps(value, ensure_ascii=False) if simple else str(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


@shaped(type="string")
def text(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise unfit(value, "a string")
    return value


@shaped(type="boolean")
def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise unfit(value, "true or false")
    return value


@shaped(type="integer")
def whole(value: object) -> int:
    """An integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise unfit(value, "a whole number")
    return value


_LENGTH_OF_TIME = r"^\s*(0|([0-9]+(\.[0-9]+)?\s*(ms|s|min|m|h|d|w)\s*)+)\s*$"


@shaped(type="string", pattern=_LENGTH_OF_TIME)
def duration(value: object) -> float:
    """A length of time in seconds, from `"90s"`, `"5m"`, `"1h30m"` or `"0"`."""
    compact = value.strip() if isinstance(value, str) else ""
    if compact == "0":
        return 0.0
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise unfit(value, 'a duration such as "90s" or "5m"')
    seconds = float(sum(float(amount) * _UNITS[unit] for amount, unit in parts))
    if seconds > _LONGEST:
        raise unfit(value, 'a duration of at most "520w"')
    return seconds


@shaped(type="string", pattern=_LENGTH_OF_TIME)
def time_limit(value: object) -> float:
    """A duration that something can be done in."""
    seconds = duration(value)
    if not seconds:
        raise unfit(value, "a time limit longer than 0")
    return seconds


@shaped(type="string", maxLength=_LONGEST_LINE)
def line(value: object) -> str:
    """A line of text, for people to read: nothing in it moves a cursor."""
    if not isinstance(value, str) or not value.isprintable() or len(value) > _LONGEST_LINE:
        raise unfit(value, f"a line of at most {_LONGEST_LINE} characters that can be printed")
    return value.strip()


@shaped(type="string", pattern="^0?[0-7]{3}$")
def mode(value: object) -> int:
    """Permission bits of a file, as an octal string."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
        raise unfit(value, 'a mode such as "0644"')
    return int(value, 8)


@shaped(type="string", pattern="^/")
def path(value: object) -> PurePosixPath:
    """An absolute path without `..`, below `/`."""
    # POSIX lets two leading slashes mean something else, and pathlib keeps them.
    result = PurePosixPath(re.sub("^/+", "/", text(value)))
    if not result.is_absolute() or ".." in result.parts or not str(result).isprintable():
        raise unfit(value, 'an absolute path without ".."')
    if not result.name:
        raise unfit(value, "the path of a file or directory")
    _demand_short(result, 0)
    return result


@shaped(type="string", pattern="^/")
def replaced_path(value: object) -> PurePosixPath:
    """The path of a file that lbhook replaces, and needs names beside for."""
    result = path(value)
    _demand_short(result, _ADDED)
    return result


def _demand_short(path: PurePosixPath, added: int) -> None:
    *above, name = (len(part.encode()) for part in path.parts)
    most = _LONGEST_NAME - added
    if name > most or any(one > _LONGEST_NAME for one in above):
        longest = max(name, *above)
        raise Misfit(("", f"a name of {longest} bytes; {most} are as many as can be used"))
    most = _LONGEST_PATH - added
    if len(str(path).encode()) > most:
        raise Misfit(("", f"a path of more than {most} bytes, which is as many as can be used"))


@shaped(type="array", items={"type": "string"})
def argv(value: object) -> tuple[str, ...]:
    """A command as a list of words, run without a shell."""
    if isinstance(value, str):
        raise unfit(value, 'a command as a list of words, such as ["nft", "-f", "{path}"]')
    words = items(text)(value)
    if any("\0" in word for word in words) or (words and not words[0]):
        raise Misfit(("", "a command begins with the name of a program and holds no NUL"))
    return words


def choice(*words: str) -> Read[str]:
    """One of a few words."""

    @shaped(enum=words)
    def read(value: object) -> str:
        if value not in words:
            wanted = " or ".join(f'"{word}"' for word in words)
            raise unfit(value, wanted)
        return str(value)

    return read


def words(pattern: str, what: str) -> Read[str]:
    """A string that matches `pattern` as a whole."""

    # A NUL is written so that every dialect of expressions reads it.
    @shaped(type="string", pattern=f"^({pattern})$".replace(r"\0", r"\x00"))
    def read(value: object) -> str:
        if not re.fullmatch(pattern, text(value), re.ASCII):
            raise unfit(value, what)
        return text(value)

    return read


def items(read: Read[T]) -> Read[tuple[T, ...]]:
    """A list whose items `read` takes."""

    @shaped(type="array", items=shape_of(read))
    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise unfit(value, "a list")
        problems: list[tuple[str, str]] = []
        result = []
        for index, item in enumerate(value):
            try:
                result.append(read(item))
            except Misfit as misfit:
                problems += [(f"[{index}]{place}", text) for place, text in misfit.problems]
        if problems:
            raise Misfit(*problems)
        return tuple(result)

    return read_all


def table(fields: Mapping[str, Read[Any]]) -> Read[dict[str, Any]]:
    """A table with some of the keys of `fields`, and no other."""

    @shaped(**table_shape(fields))
    def read_all(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unfit(value, "a table")
        problems: list[tuple[str, str]] = []
        result = {}
        for key, item in value.items():
            if key not in fields:
                problems.append((f".{key}", f"unknown key{suggestion(key, fields)}"))
                continue
            try:
                result[key] = fields[key](item)
            except Misfit as misfit:
                problems += [(f".{key}{place}", text) for place, text in misfit.problems]
        if problems:
            raise Misfit(*problems)
        return result

    return read_all


def table_shape(fields: Mapping[str, Read[Any]]) -> dict[str, Any]:
    """The shape of a table with these keys and no other."""
    shapes = {key: shape_of(read) for key, read in fields.items()}
    return {"type": "object", "properties": shapes, "additionalProperties": False}


def unfit(value: object, what: str) -> Misfit:
    """That a value is not what is wanted."""
    return Misfit(("", f"{shown(value)} is not {what}"))
