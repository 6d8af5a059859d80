"""What a rule of nftables asks of a packet, as libnftables-json(5) has it: yes, no, or nobody here
can tell.

Numbers are the kernel's, as `nft -nn` prints them.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from ..metadata.reader import Address

PROTOCOLS = {"tcp": 6, "udp": 17}
_PORTED = {"tcp": (6,), "udp": (17,), "th": (6, 17)}
_SYN, _ACK, _LOCAL, _TO_THIS_HOST = 2, 16, 2, 0
INVALID, ESTABLISHED, NEW = 1, 2, 8
_IPV4, _IPV6 = (2, 0x0800), (10, 0x86DD)
# Where the ports that clients are given begin: Linux 32768, IANA and Windows higher.
_EPHEMERAL = range(32768, 65536)
# What nft says in words of a match of iptables, of which its JSON has the name only.
_OF_IPTABLES = {
    "conntrack": r"ct state (!= )?([a-z,]+)",
    "state": r"ct state (!= )?([a-z,]+)",
    "multiport": r"dport (!= )?(?:\{ )?([\d, -]+)",
    "addrtype": r"fib daddr type (!= )?(\w+)",
}
# Those that hold of no first packet of a connection of TCP or UDP, and one that says nothing.
_OF_OTHERS = ("icmp", "icmp6", "rt", "frag", "ah", "esp", "hbh", "dst", "mh", "sctp", "dccp")
_REMARK = "comment"
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda one, other: bool(one < other),
    ">": lambda one, other: bool(one > other),
    "<=": lambda one, other: bool(one <= other),
    ">=": lambda one, other: bool(one >= other),
}
Elements = Callable[[str], Sequence[Any]]


class UnknownError(Exception):
    """Nobody here can tell."""


class SourceError(Exception):
    """That depends on where the packet comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet of a connection, by default the first. Without a `source` it comes from nobody in
    particular, and without a `source_port` from one of those that clients are given; a `mark` of
    None is not known. `user` is who sends it, if this machine does; `state` is that of connection
    tracking."""

    destination: Address
    protocol: int
    port: int
    source: Address | None = None
    source_port: int = 0
    interface: str = ""
    leaves_by: str = ""
    user: int = 0
    mark: int | None = 0
    state: int = NEW


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of one packet; `elements` are those of a set by its name."""

    packet: Packet
    elements: Elements

    def is_met(self, kind: str, what: Any, printed: str = "") -> bool:
        """Whether a statement lets the packet go on to the next; `printed` is its rule as text.

        Raises `SourceError` or `UnknownError`.
        """
        if kind in ("limit", "ct count", "quota"):  # one packet now and then is within bounds
            return not what.get("inv", False)
        if kind == "xt" and what["type"] == "match":
            return self._is_met_by_iptables(what["name"], printed)
        if kind != "match":
            return True
        return self._compared(what["op"], what["left"], what["right"])

    def look_up(self, what: Mapping[str, Any]) -> Mapping[str, Any]:
        """The verdict of a map for the packet; an empty one if it has none for it.

        Raises `SourceError` or `UnknownError`.
        """
        data = what["data"]
        pairs = self.elements(data[1:]) if isinstance(data, str) else data["set"]
        op = "in" if what["key"] == {"ct": {"key": "state"}} else "=="
        found = (verdict for key, verdict in pairs if self._compared(op, what["key"], key))
        return next(found, {})

    def number(self, value: Any) -> int | None:
        """What a packet is to be marked with; None if that can't be told."""
        try:
            found = self._value(value)
        except UnknownError:
            return None
        return found if isinstance(found, int) else None

    def _compared(self, op: str, left: Any, right: Any) -> bool:
        value = self._value(left)
        if value is None:  # the packet has no such field
            return False
        if op in _ORDER:
            return _ORDER[op](_concrete(value), right)
        return self._holds(right, value, bits=op == "in") is (op != "!=")

    def _holds(self, right: Any, value: Any, *, bits: bool) -> bool:
        """Whether a value is the right one, or one of them."""
        if isinstance(right, list) or (bits and isinstance(right, int)):
            return bool(value & (sum(right) if isinstance(right, list) else right))
        if isinstance(right, dict):
            ((kind, what),) = right.items()
            return self._holds_in(kind, what, value, bits=bits)
        if isinstance(right, str) and right.startswith("@"):
            return self._holds({"set": list(self.elements(right[1:]))}, value, bits=bits)
        return _equal(right, value)

    def _holds_in(self, kind: str, what: Any, value: Any, *, bits: bool) -> bool:
        if kind == "set":
            return self._any(what, value, bits=bits)
        if kind == "elem":
            return self._holds(what["val"], value, bits=bits)
        if kind == "concat":
            pairs = zip(what, value, strict=True)
            return all(self._holds(part, one, bits=False) for part, one in pairs)
        if kind == "range":
            first, last = map(_literal, what)
            return _within(first, last, value)
        if kind == "prefix":
            return _concrete(value) in ipaddress.ip_network(f"{what['addr']}/{what['len']}")
        raise UnknownError

    def _any(self, parts: Sequence[Any], value: Any, *, bits: bool) -> bool:
        """Whether one of them holds; one that depends on the source may, if no other does."""
        depends = False
        for part in parts:
            try:
                if self._holds(part, value, bits=bits):
                    return True
            except SourceError:
                depends = True
        if depends:
            raise SourceError
        return False

    def _value(self, left: Any) -> Any:
        """A field of the packet; None if it has none such."""
        if isinstance(left, int):
            return left
        ((kind, what),) = left.items()
        if kind == "concat":
            parts = tuple(map(self._value, what))
            return None if None in parts else parts
        if kind in ("&", "|", "^"):
            one, other = map(self._value, what)
            return {"&": one & other, "|": one | other, "^": one ^ other}[kind]
        return self._field(kind, what)

    def _field(self, kind: str, what: Mapping[str, Any]) -> Any:
        packet, key = self.packet, what.get("key", "")
        if kind == "payload":
            return self._payload(what["protocol"], what["field"])
        if kind == "meta" and key == "mark" and packet.mark is None:
            raise UnknownError
        if kind == "fib" and what["result"] == "type" and what["flags"] == ["daddr"]:
            return _LOCAL
        if kind == "fib" and "oif" in what["result"] and "saddr" in what["flags"]:
            return True  # there is a way back: whether it is the right one is another question
        if kind == "socket":
            return None  # no connection is waiting for the first packet of another
        numbers = _IPV4 if packet.destination.version == 4 else _IPV6
        known = {
            "meta l4proto": packet.protocol,
            "meta nfproto": numbers[0],
            "meta protocol": numbers[1],
            "meta iifname": packet.interface,
            "meta iif": packet.interface,
            "meta oifname": packet.leaves_by,
            "meta oif": packet.leaves_by,
            "meta pkttype": _TO_THIS_HOST,
            "meta skuid": packet.user,
            "meta mark": packet.mark,
            "ct state": packet.state,
            "ct mark": 0,
            "ct direction": 0,
            "ct status": 0,
        }
        if known.get(f"{kind} {key}", "") == "":
            raise UnknownError
        return known[f"{kind} {key}"]

    def _payload(self, protocol: str, name: str) -> Any:
        packet = self.packet
        if protocol in ("ip", "ip6"):
            if packet.destination.version != {"ip": 4, "ip6": 6}[protocol]:
                return None
            fields = {"saddr": packet.source or _ANYBODY, "daddr": packet.destination}
            return {**fields, "protocol": packet.protocol, "nexthdr": packet.protocol}[name]
        if protocol not in _PORTED or packet.protocol not in _PORTED[protocol]:
            return None
        sport = packet.source_port or _EPHEMERAL
        flags = _SYN if packet.state == NEW else _ACK
        return {"dport": packet.port, "sport": sport, "flags": flags}[name]

    def _is_met_by_iptables(self, name: str, printed: str) -> bool:
        if name == _REMARK or name in _OF_OTHERS:
            return name == _REMARK
        found = re.search(_OF_IPTABLES.get(name, "$^"), printed)
        if not found:
            raise UnknownError
        words = re.split(r", ?", found[2].strip())
        if name == "multiport":
            holds = any(
                int(one.partition("-")[0]) <= self.packet.port <= int(one.rpartition("-")[2])
                for one in words
            )
        else:
            state = {NEW: "new", ESTABLISHED: "established"}.get(self.packet.state, "invalid")
            holds = bool({state, "local"}.intersection(words))
        return holds is not bool(found[1])


class _Anybody:
    """An address that no rule names."""


_ANYBODY = _Anybody()


def _concrete(value: Any) -> Any:
    if isinstance(value, _Anybody):
        raise SourceError
    if isinstance(value, range):
        raise UnknownError
    return value


def _literal(value: Any) -> Any:
    """An address, a number or a name, as a field has it."""
    try:
        return ipaddress.ip_address(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _equal(right: Any, value: Any) -> bool:
    if isinstance(value, range):
        return _within(right, right, value)
    wanted, value = _literal(right), _concrete(value)
    if isinstance(wanted, str) and isinstance(value, str):
        return fnmatchcase(value, wanted) if wanted.endswith("*") else value == wanted
    return bool(wanted == value)


def _within(first: Any, last: Any, value: Any) -> bool:
    if not isinstance(value, range):
        return bool(first <= _concrete(value) <= last)
    # One port of many: in the range if all are, or out of it if none is, or but for a few.
    if first <= value[0] and last >= value[-1]:
        return True
    if last - first < len(value) // 2:
        return False
    raise UnknownError
