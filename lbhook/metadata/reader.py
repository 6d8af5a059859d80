"""JSON from the network, read value by value; every problem is kept with its path.

Nothing here knows what a load balancer is. A value comes out as an address, a number or a
known word, or it is a problem: no other text gets past this module.
"""

import functools
import ipaddress
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any, NoReturn, TypeVar

from ..config import nesting
from ..config.network import may_be_a_host
from ..errors import MetadataError, UnreadableBodyError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
T = TypeVar("T")

# Far more than IMDS has to say: 2,400 rules are less than 1 MB.
MOST_BYTES = 4 * 1024 * 1024
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
# A whole rule takes more than 80 bytes, so no 4 MiB hold more of them.
_MOST_ENTRIES = 50_000
_MOST_DIGITS = 999
# Not every Python that lbhook runs on has a limit of its own, and int() takes minutes then.
_LIMITED = getattr(sys, "get_int_max_str_digits", int)() > 0
_TOO_LONG = "a number of thousands of digits"
_CONSTANTS = {"True": "true", "False": "false", "None": "null"}


class _MalformedError(Exception):
    """A value that can't be what it has to be."""


class _UnknownError(Exception):
    """A word that is not known here: nobody knows what else its entry should have."""


class Reader:
    """What was found while a body was read: problems, what is missing, warnings, unknown keys."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.missing: list[str] = []
        self.warnings: list[str] = []
        self.unknown: list[str] = []

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
        self, value: object, path: str, fields: "Mapping[str, Field]", *, whole: bool
    ) -> Iterator[tuple[int, list[Any]]]:
        """The index of each entry of the list at `path`, and its values in the order of `fields`.

        An entry that lacks one is left out with a warning, or, if the list is wanted `whole`,
        counted as missing.
        """
        if not isinstance(value, list):
            self.problems.append(f"{path}: {shown(value)} is not a list")
        elif len(value) > _MOST_ENTRIES:
            self.problems.append(f"{path}: {len(value)} entries are more than Azure can have")
        else:
            wanted = tuple(fields.items())
            for index, raw in enumerate(value):
                try:
                    values = [read(raw[key]) for key, read in wanted]
                except (TypeError, KeyError, _MalformedError, _UnknownError):
                    self._look_closer(raw, f"{path}[{index}]", fields, whole=whole)
                    continue
                if len(raw) > len(wanted):
                    self.members(raw, f"{path}[{index}]", fields.keys())
                yield index, values

    def _look_closer(
        self, raw: object, path: str, fields: "Mapping[str, Field]", *, whole: bool
    ) -> None:
        """Note all that is wrong or missing in an entry, where something is."""
        members, missing = self.members(raw, path, fields.keys()), []
        if not isinstance(raw, dict):
            return
        for key, read in fields.items():
            at, value = f"{path}.{key}", members.get(key, "")
            # An empty string is how /metadata/instance writes "there is none".
            if value == "":
                missing.append(at)
                continue
            try:
                read(value)
            except _MalformedError as error:
                self.problems.append(f"{at}: {error}")
            except _UnknownError as error:
                self.warnings.append(f"{at}: {error}")
                return
        if whole:
            self.missing += [f"{at}: missing" for at in missing]
        else:
            self.warnings += [f"{at}: missing; the entry is left out" for at in missing]

    def raise_problems(self) -> None:
        """Raise `MetadataError` with all that was found, if anything was."""
        if self.problems:
            raise MetadataError(*self.problems, *self.missing)
        if self.missing:
            raise MetadataError(*self.missing, partial=True)


# What makes a value of JSON one of an entry's: `address`, or what the following return.
Field = Callable[[object], Any]


def address(value: object) -> Address:
    """The address of a host, bare or in brackets."""
    if not isinstance(value, str):
        _malformed(value, "an address")
    return _address_of(value)


def number(last: int, what: str) -> Callable[[object], int]:
    """A number from 0 to `last`, as a number or in decimal digits."""

    def read(value: object) -> int:
        # The general IMDS page says that all values are strings; every body seen has numbers.
        if isinstance(value, str) and _DECIMAL.fullmatch(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= last:
            _malformed(value, what)
        return value

    return read


def choice(names: Mapping[str, T]) -> Callable[[object], T]:
    """One of a few words, in any case.

    With another word the entry is left out, and nothing more of it is read: nobody knows which
    keys it should have. So this one is to be the first of its fields.
    """

    def read(value: object) -> T:
        if not isinstance(value, str):
            _malformed(value, "a word")
        try:
            return names[value.lower()]
        except KeyError:
            text = f"{shown(value)} is unknown; the entry is left out"
            raise _UnknownError(text) from None

    return read


def decode(body: bytes) -> object:
    """The JSON of a body. Raises `UnreadableBodyError` if it is none, `MetadataError` if it is
    nested too deep, holds an enormous number, or a key twice in one object."""
    text = ""
    try:
        text = body.decode("utf-8-sig")
        if nesting.is_too_deep(text, nesting.JSON):
            raise MetadataError("body: nested too deep")
        return json.loads(
            text,
            object_pairs_hook=_unique,
            parse_int=int if _LIMITED else functools.partial(_short, int),
            parse_float=functools.partial(_short, float),
            parse_constant=_no_constant,
        )
    except _MalformedError as error:
        raise MetadataError(f"body: {error}") from None
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        what = f"{len(body)} bytes that begin with {shown(text[:44])}" if text else "it is empty"
        raise UnreadableBodyError(f"body: not JSON: {error.msg}, {place}; {what}") from None
    except UnicodeDecodeError as error:
        raise UnreadableBodyError(f"body: not UTF-8 at byte {error.start}") from None
    except ValueError:  # Python's own, of a number beyond its limit
        raise MetadataError(f"body: {_TOO_LONG}") from None


def shown(value: object) -> str:
    """A value for a message: one short line of ASCII, whatever the network sent."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = ascii(value)
    text = _CONSTANTS.get(text, text)
    return text if len(text) <= 48 else f"{text[:44]}..."


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
    if not may_be_a_host(address):
        _malformed(text, "an address that a load balancer or a VM can have")
    return address


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
    if len(digits) > _MOST_DIGITS:
        raise _MalformedError(_TOO_LONG)
    return convert(digits)


def _no_constant(name: str) -> NoReturn:
    raise _MalformedError(f"{name} is not JSON")
