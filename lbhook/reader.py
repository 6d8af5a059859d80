"""JSON from the network, read value by value; every problem is kept with its path.

Nothing here knows what a load balancer is. A value comes out as an address, a number or a
known word, or it is a problem: no other text gets past this room.
"""

import functools
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from .errors import MetadataError, UnreadableBodyError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")

# Far more than IMDS has to say: 2,400 rules are less than 1 MB.
MOST_BYTES = 4 * 1024 * 1024
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_NOWHERE: Address = ipaddress.IPv4Address(0)
# The broadcast address, and Azure's own DNS, DHCP and health probes: with those of loopback,
# link and multicast what a virtual network can't have (Microsoft: "Virtual Network FAQ").
_NEVER = ipaddress.IPv4Address("255.255.255.255"), ipaddress.IPv4Address("168.63.129.16")
# A whole rule takes more than 80 bytes, so no 4 MiB hold more of them.
_MOST_ENTRIES = 50_000
_MOST_DIGITS = 999
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


class _MalformedError(Exception):
    """A value that can't be what it has to be."""


class _SkippedError(Exception):
    """An entry to be left out, with a warning that names it."""


@dataclass(slots=True, eq=False, repr=False)
class Reader:
    """What was found while a body was read: problems, what is missing, warnings, unknown keys."""

    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def members(self, value: object, path: str, known: Set[str]) -> dict[str, Any]:
        """The members of the object at `path`; none, and a problem, if it is not one."""
        if not isinstance(value, dict):
            self.problems.append(f"{path}: {shown(value)} is not an object")
            return {}
        if not value.keys() <= known:
            prefix = "" if path == "body" else f"{path}."
            self.unknown += [f"{prefix}{_key(key)}" for key in value if key not in known]
        return value

    def entries(
        self,
        value: object,
        path: str,
        known: Set[str],
        read: "Callable[[Entry], T]",
        *,
        whole: bool,
    ) -> Iterator[T]:
        """What `read` makes of each entry of the list at `path`.

        An entry that lacks a key is left out with a warning, or, if the list is wanted
        `whole`, counted as missing.
        """
        if not isinstance(value, list):
            self.problems.append(f"{path}: {shown(value)} is not a list")
        elif len(value) > _MOST_ENTRIES:
            self.problems.append(f"{path}: {len(value)} entries are more than Azure can have")
        else:
            for index, raw in enumerate(value):
                at = f"{path}[{index}]"
                values = self.members(raw, at, known)
                if isinstance(raw, dict):
                    entry = Entry(reader=self, path=at, values=values)
                    try:
                        result = read(entry)
                    except _SkippedError as error:
                        self.warnings.append(str(error))
                        continue
                    if entry.sound:
                        yield result
                    else:
                        self._note_missing(entry, whole)

    def _note_missing(self, entry: "Entry", whole: bool) -> None:
        if whole:
            self.missing += [f"{path}: missing" for path in entry.missing]
        else:
            self.warnings += [f"{path}: missing; the entry is left out" for path in entry.missing]

    def raise_problems(self) -> None:
        """Raise `MetadataError` with all that was found, if anything was."""
        if self.problems:
            raise MetadataError(*self.problems, *self.missing)
        if self.missing:
            raise MetadataError(*self.missing, partial=True)


@dataclass(slots=True, eq=False, repr=False)
class Entry:
    """One entry of a list. A value that is wrong or missing is noted and replaced by a stand-in,
    so that the other keys are read too; `sound` says whether that did not happen."""

    reader: Reader
    path: str
    values: dict[str, Any]
    missing: tuple[str, ...] = ()
    sound: bool = True

    def address(self, key: str) -> Address:
        """The address of a host, bare or in brackets."""
        return self._read(key, _address, _NOWHERE)

    def number(self, key: str, last: int, what: str) -> int:
        """A number from 0 to `last`, as a number or in decimal digits."""
        return self._read(key, _number, 0, last, what)

    def choice(self, key: str, names: Mapping[str, T]) -> T:
        """One of a few words, in any case.

        With another word the entry is left out, and nothing more of it is read: nobody knows
        which keys it should have. So read this one first.
        """
        first = next(iter(names))
        text = self._read(key, _word, first)
        word = text.lower()
        if word not in names:
            raise _SkippedError(
                f"{self.path}.{key}: {shown(text)} is not known here; the entry is left out"
            )
        return names[word]

    def problem(self, key: str, text: str) -> None:
        """Note what is wrong with a value that could be read."""
        self.reader.problems.append(f"{self.path}.{key}: {text}")
        self.sound = False

    def warn(self, text: str, key: str = "") -> None:
        """Note what is odd about an entry that is taken all the same."""
        self.reader.warnings.append(f"{self.path}{key and '.'}{key}: {text}")

    def _read(self, key: str, convert: Callable[..., T], stand_in: T, *wanted: object) -> T:
        # An empty string is how /metadata/instance writes "there is none".
        value = self.values.get(key, "")
        if value == "":
            self.missing = (*self.missing, f"{self.path}.{key}")
            self.sound = False
            return stand_in
        try:
            return convert(value, *wanted)
        except _MalformedError as error:
            self.problem(key, str(error))
            return stand_in


def decode(body: bytes) -> object:
    """The JSON of a body. Raises `UnreadableBodyError` if it is none, `MetadataError` if it is
    nested too deep, holds an enormous number, or a key twice in one object."""
    text = ""
    try:
        text = body.decode("utf-8-sig")
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=functools.partial(_short, int),
            parse_float=functools.partial(_short, float),
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise MetadataError("body: nested too deep") from None
    except _MalformedError as error:
        raise MetadataError(f"body: {error}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        what = f"{len(body)} bytes that begin with {shown(text[:44])}" if text else "it is empty"
        raise UnreadableBodyError(f"body: not JSON: {error.msg}, {place}; {what}") from None
    except UnicodeDecodeError as error:
        raise UnreadableBodyError(f"body: not UTF-8 at byte {error.start}") from None


def shown(value: object) -> str:
    """A value for a message: one short line of ASCII, whatever the network sent."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = ascii(value)
    text = _CONSTANTS.get(text, text)
    return text if len(text) <= 48 else f"{text[:44]}..."


def _address(value: object) -> Address:
    if not isinstance(value, str):
        _malformed(value, "an address")
    return _address_of(value)


# The same few addresses stand in every rule of a body.
@functools.lru_cache(maxsize=4096)
def _address_of(text: str) -> Address:
    # IMDS writes IPv6 in brackets (seen on a Talos node), the documentation without.
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") and ":" in text else text
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        _malformed(text, "an address")
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        _malformed(text, "an address without a scope")
    if getattr(address, "ipv4_mapped", None) is not None:
        _malformed(text, "a plain IPv4 or IPv6 address")
    special = address.is_unspecified or address.is_multicast or address.is_loopback
    if special or address.is_link_local or address in _NEVER:
        _malformed(text, "an address that a load balancer or a VM can have")
    return address


def _number(value: object, last: int, what: str) -> int:
    # The general IMDS page says that all values are strings; every body seen has numbers.
    if isinstance(value, str) and _DECIMAL.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= last:
        _malformed(value, what)
    return value


def _word(value: object) -> str:
    if not isinstance(value, str):
        _malformed(value, "a word")
    return value


def _malformed(value: object, what: str) -> NoReturn:
    raise _MalformedError(f"{shown(value)} is not {what}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"\w{1,40}", key, re.ASCII) else shown(key)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """An object in which a key stands twice says two things at once."""
    result = dict(pairs)
    if len(result) < len(pairs):
        _demand_unique(key for key, _ in pairs)
    return result


def _demand_unique(keys: Iterable[str]) -> None:
    seen = set()
    for key in keys:
        if key in seen:
            raise _MalformedError(f"key {_key(key)} stands twice in one object")
        seen.add(key)


def _short(convert: Callable[[str], T], digits: str) -> T:
    # Not every Python that lbhook runs on has a limit of its own, and int() takes minutes then.
    if len(digits) > _MOST_DIGITS:
        raise _MalformedError("a number of thousands of digits")
    return convert(digits)


def _no_constant(name: str) -> NoReturn:
    raise _MalformedError(f"{name} is not JSON")
