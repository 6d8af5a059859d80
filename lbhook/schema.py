"""Values of a TOML file, each read by a small function that names what it wants.

A reader takes what TOML made of a value and returns it in its final type, or raises
`Misfit` with every problem and its place below that value.
"""

import ipaddress
import json
import re
import urllib.parse
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePosixPath
from typing import Any, TypeVar

T = TypeVar("T")
Read = Callable[[object], T]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)", re.ASCII)
# More than any wait or age, and less than what the system's timers can take.
_LONGEST = 520 * _UNITS["w"]
# IANA's numbers, so that a rule loads where /etc/protocols is missing.
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}


class Misfit(Exception):  # noqa: N818  (a verdict on a value, not a failure of the program)
    """A value that is not what its key wants: pairs of (place below the value, problem)."""

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems


def shown(value: object) -> str:
    """A TOML value for a message: short, in one line."""
    if isinstance(value, (dict, list)):
        return "a table" if isinstance(value, dict) else "a list"
    simple = isinstance(value, (str, bool))
    text = json.dumps(value, ensure_ascii=False) if simple else str(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def suggestion(word: str, known: Collection[str]) -> str:
    """`; did you mean "x"?`, or what there is to choose from."""
    # Imported only where something is misspelt.
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    if near:
        return f'; did you mean "{near[0]}"?'
    return f"; known: {', '.join(known)}" if known else ""


def text(value: object) -> str:
    """A string."""
    if not isinstance(value, str):
        raise _misfit(value, "a string")
    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _misfit(value, "true or false")
    return value


def whole(value: object) -> int:
    """An integer."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise _misfit(value, "a whole number")
    return value


def duration(value: object) -> float:
    """A length of time in seconds, from `"90s"`, `"5m"`, `"1h30m"` or `"0"`."""
    compact = value.strip() if isinstance(value, str) else ""
    if compact == "0":
        return 0.0
    parts = _DURATION.findall(compact)
    if not parts or _DURATION.sub("", compact).strip():
        raise _misfit(value, 'a duration such as "90s" or "5m"')
    seconds = float(sum(float(amount) * _UNITS[unit] for amount, unit in parts))
    if seconds > _LONGEST:
        raise _misfit(value, 'a duration of at most "520w"')
    return seconds


def time_limit(value: object) -> float:
    """A duration that something can be done in."""
    seconds = duration(value)
    if not seconds:
        raise _misfit(value, "a time limit: it is over at once")
    return seconds


def port(value: object) -> int:
    """A TCP or UDP port."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise _misfit(value, "a port")
    return value


def ports(value: object) -> str:
    """A port, or a range of ports such as `"8000-8100"`, as nft writes it."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,5}-\d{1,5}", value, re.ASCII):
        first, last = (int(part) for part in value.split("-"))
        if 0 < first < last <= 65535:
            return f"{first}-{last}"
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise _misfit(value, 'a port, or a range such as "8000-8100"')
    return str(value)


def mark(value: object) -> int:
    """Bits of a packet mark: a number, or a string such as `"0x1000"`; at least one is set."""
    number = value
    if isinstance(value, str) and re.fullmatch("0x[0-9a-fA-F]{1,8}", value):
        number = int(value, 16)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 32:
        raise _misfit(value, 'a mark: up to 32 bits, not all zero, such as "0x1000"')
    return number


def address(value: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 or IPv6 address without a scope."""
    try:
        result = ipaddress.ip_address(text(value))
    except ValueError:
        raise _misfit(value, "an address") from None
    if getattr(result, "scope_id", None) is not None:
        raise _misfit(value, "an address without a scope")
    return result


def endpoint(value: object) -> str:
    """The address of a metadata service: `http://`, an IP literal or localhost, perhaps a
    port, and nothing else. A name would have to be resolved, which no budget bounds."""
    try:
        parts = urllib.parse.urlsplit(text(value))
        number, host = parts.port, parts.hostname or ""
    except ValueError:  # a bracket that is not closed, or a port that is none
        raise _no_endpoint(value) from None
    if parts.scheme != "http":
        problem = "only http, as the metadata service has it; give http://ADDRESS[:PORT]"
        raise Misfit(("", f"{shown(value)}: {problem}"))
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise Misfit(("", f"{shown(value)}: no user, path or query; give http://ADDRESS[:PORT]"))
    if number == 0 or (host != "localhost" and not _is_literal(host)):
        raise _no_endpoint(value)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{number}" if number is not None else f"http://{name}"


def network(value: object) -> Network:
    """A network such as `"10.0.0.0/8"`, or one address."""
    try:
        result = ipaddress.ip_network(text(value))
    except ValueError:
        raise _misfit(value, f"a network{_meant(text(value))}") from None
    if getattr(result.network_address, "scope_id", None) is not None:
        raise _misfit(value, "a network without a scope")
    return result


def protocol(value: object) -> str:
    """The name of an IP protocol."""
    name = text(value).lower()
    if name not in PROTOCOLS:
        raise Misfit(("", f"{shown(value)} is not a known protocol{suggestion(name, PROTOCOLS)}"))
    return name


def interface(value: object) -> str:
    """The name of a network interface, as the kernel allows it."""
    if not re.fullmatch(r'(?:(?![/"\\*{};])[!-~]){1,15}', text(value)):
        raise _misfit(value, "the name of an interface")
    return text(value)


def mode(value: object) -> int:
    """Permission bits of a file, as an octal string."""
    if not isinstance(value, str) or not re.fullmatch(r"0?[0-7]{3}", value, re.ASCII):
        raise _misfit(value, 'a mode such as "0644"')
    return int(value, 8)


def path(value: object) -> PurePosixPath:
    """An absolute path without `..`, below `/`."""
    # POSIX lets two leading slashes mean something else, and pathlib keeps them.
    result = PurePosixPath(re.sub("^/+", "/", text(value)))
    if not result.is_absolute() or ".." in result.parts or not str(result).isprintable():
        raise _misfit(value, 'an absolute path without ".."')
    if not result.name:
        raise _misfit(value, "the path of a file or directory")
    return result


def argv(value: object) -> tuple[str, ...]:
    """A command as a list of words, run without a shell."""
    if isinstance(value, str):
        raise _misfit(value, 'a command as a list of words, such as ["nft", "-f", "{path}"]')
    words = items(text)(value)
    if any("\0" in word for word in words) or (words and not words[0]):
        raise Misfit(("", "a command begins with the name of a program and holds no NUL"))
    return words


def choice(*words: str) -> Read[str]:
    """One of a few words."""

    def read(value: object) -> str:
        if value not in words:
            wanted = " or ".join(f'"{word}"' for word in words)
            raise _misfit(value, wanted)
        return str(value)

    return read


def words(pattern: str, what: str) -> Read[str]:
    """A string that matches `pattern` as a whole."""

    def read(value: object) -> str:
        if not re.fullmatch(pattern, text(value), re.ASCII):
            raise _misfit(value, what)
        return text(value)

    return read


def items(read: Read[T]) -> Read[tuple[T, ...]]:
    """A list whose items `read` takes."""

    def read_all(value: object) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise _misfit(value, "a list")
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

    def read_all(value: object) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _misfit(value, "a table")
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


def _meant(written: str) -> str:
    """The network around an address, for somebody who wrote the address of a host in it."""
    try:
        return f'; did you mean "{ipaddress.ip_network(written, strict=False)}"?'
    except ValueError:
        return ' such as "10.0.0.0/8"'


def _is_literal(host: str) -> bool:
    try:
        return getattr(ipaddress.ip_address(host), "scope_id", None) is None
    except ValueError:
        return False


def _no_endpoint(value: object) -> Misfit:
    return _misfit(value, "http:// with an IP address or localhost, and perhaps a port")


def _misfit(value: object, what: str) -> Misfit:
    return Misfit(("", f"{shown(value)} is not {what}"))
