"""What a template may say: jinja2's sandbox with lbhook's names, filters and messages."""

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from types import CodeType
from typing import Any, TypeVar

from jinja2 import BaseLoader, BytecodeCache, StrictUndefined
from jinja2.bccache import Bucket
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import missing

from ..layout import suggestion
from ..metadata.facts import Facts, Listener
from ..metadata.model import AddressPair, InboundRule

S = TypeVar("S", bound="Sandbox")
# What systemd, a POSIX shell and docker's --env-file read alike, without quotes.
_ENV_VALUE = re.compile(r"[A-Za-z0-9_.,:/@%+=-]*", re.ASCII)
# Values without a method that does anything, of which there are thousands.
_PLAIN = (Listener, InboundRule, AddressPair, Facts)
_NAMES = ("lb", "vars")


class Values:
    """A table of the configuration in which every name is the user's: `items` too.

    `_place` says where it stands in the configuration, for messages; `_asked` has the names that
    were asked for.
    """

    __slots__ = ("_asked", "_place", "_values")

    def __init__(self, values: Mapping[str, Any], place: str = "vars") -> None:
        self._place = place
        self._asked: set[str] = set()
        self._values = {key: _wrapped(value, f"{place}.{key}") for key, value in values.items()}

    def __repr__(self) -> str:
        return repr(self._values)

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return self._values[key]

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Sandbox(SandboxedEnvironment):
    """jinja2's sandbox, with a short way to the attributes of lbhook's own values."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What `obj.attribute` is in a template."""
        if type(obj) in _PLAIN and attribute in obj.__slots__:
            return getattr(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What `obj[argument]` is, and what filters take for an attribute."""
        if type(obj) in _PLAIN and argument in obj.__slots__:
            return getattr(obj, argument)
        return super().getitem(obj, argument)


class _Compiled(BytecodeCache):
    """The templates that this process has compiled, by name and content."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], CodeType] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Fill in what is known."""
        bucket.code = self._known.get((bucket.key, bucket.checksum))

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what was compiled."""
        if bucket.code:
            self._known[bucket.key, bucket.checksum] = bucket.code


class _Undefined(StrictUndefined):
    """A name that is not there; says whose name it would be, and which one is near."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        name, owner = self._undefined_name, self._undefined_obj
        if self._undefined_hint:
            return self._undefined_hint
        if name == "vm" and owner is missing:
            return '"vm" is not defined; it needs imds.instance = true, and an answer from IMDS'
        if owner is missing:
            return f'"{name}" is not defined{suggestion(str(name), _NAMES)}'
        what, known = _described(owner)
        return f'{what} has no "{name}"{suggestion(str(name), known)}'


_COMPILED = _Compiled()


def environment(loader: BaseLoader | None) -> SandboxedEnvironment:
    """The jinja2 environment of every template."""
    result = sandbox(Sandbox, loader)
    result.bytecode_cache = _COMPILED
    return result


def sandbox(kind: type[S], loader: BaseLoader | None) -> S:
    """The same, of a kind of sandbox."""
    result = kind(
        loader=loader,
        undefined=_Undefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        optimized=False,  # that takes longer than to render once
    )
    result.globals = {name: result.globals[name] for name in ("range", "dict", "namespace")}
    filters: dict[str, Callable[..., Any]] = {
        "bracket": _bracket,
        "ipv4": _ipv4,
        "ipv6": _ipv6,
        "env": _env,
    }
    result.filters.update(filters)
    del result.filters["random"]  # the same answer renders to the same bytes
    return result


def _wrapped(value: object, place: str) -> object:
    if isinstance(value, Mapping):
        return Values(value, place)
    if isinstance(value, (list, tuple)):
        return tuple(_wrapped(item, f"{place}[{index}]") for index, item in enumerate(value))
    return value


def _described(owner: object) -> tuple[str, Sequence[str]]:
    """What a value is called in a message, and the names that it has."""
    if isinstance(owner, Values):
        return owner._place, list(owner)
    if not is_dataclass(owner):
        return type(owner).__name__, ()
    known = [name for name in dir(owner) if not name.startswith("_")]
    if isinstance(owner, Facts):
        return "lb", known
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", type(owner).__name__).lower(), known


def _bracket(address: object) -> str:
    """An address as it stands before a port: IPv6 in brackets."""
    parsed = address
    if not isinstance(parsed, (ipaddress.IPv4Address, ipaddress.IPv6Address)):
        try:
            parsed = ipaddress.ip_address(str(address))
        except ValueError:
            raise ValueError(f"{_shown(address)} is not an address") from None
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def _ipv4(items: Iterable[object], attribute: str = "") -> list[object]:
    return [item for item in items if _version(item, attribute) == 4]


def _ipv6(items: Iterable[object], attribute: str = "") -> list[object]:
    return [item for item in items if _version(item, attribute) == 6]


def _version(item: object, attribute: str) -> int:
    """The family of an address, or of the address that a listener, rule or pair has."""
    names = (attribute,) if attribute else ("ip", "private_ip", "local_ip_address")
    for name in names:
        if hasattr(item, name):
            item = getattr(item, name)
            break
    version = getattr(item, "version", None)
    if isinstance(version, int):
        return version
    try:
        return ipaddress.ip_network(str(item)).version
    except ValueError:
        raise ValueError(f"{_shown(item)} is neither an address nor a network") from None


def _env(value: object) -> str:
    text = str(value)
    if not _ENV_VALUE.fullmatch(text):
        raise ValueError(f"{_shown(value)} is not read the same way by systemd, a shell and docker")
    return text


def _shown(value: object) -> str:
    """A value for a message: by what it is if it holds more, else in short."""
    if isinstance(value, (list, tuple)):
        return "a list"
    if is_dataclass(value) or isinstance(value, Values):
        return _described(value)[0]
    return repr(str(value)[:60])
