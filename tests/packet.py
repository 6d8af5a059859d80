"""What a table of nft makes of a packet, worked out from what nft lists of it: `nft -nnj`.

Only what lbhook's table has is known; anything else is an error, not a guess. The laboratory
compares this with the kernel.
"""

from __future__ import annotations

import functools
import json
import operator
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Any

from .conftest import lacking

Address = IPv4Address | IPv6Address
Expression = Any
# As the kernel numbers them: what nft prints with -nn.
TCP, UDP, ICMP, ICMPV6 = 6, 17, 1, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16
INVALID, ESTABLISHED, RELATED, NEW = 1, 2, 4, 8
UNICAST, LOCAL, BROADCAST = 1, 2, 3
_PORTS: dict[str, tuple[int, ...]] = {
    "tcp": (6,),
    "udp": (17,),
    "dccp": (33,),
    "sctp": (132,),
    "udplite": (136,),
}
_PORTS["th"] = tuple(number for numbers in _PORTS.values() for number in numbers)

_LOAD = "nft -f - && nft -nnj list table inet lbhook"
# A root file system may have no /dev/stdin.
_LOAD_IN = """
mount -t tmpfs table "$1/mnt"
cat >"$1/mnt/table.nft"
exec chroot "$1" sh -euc "nft -f /mnt/table.nft && nft -nnj list table inet lbhook"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A packet, by default the first of a connection that arrives for this machine.

    `wildcard` is that of the socket that waits for it (None: there is none); `route` the kind
    of its destination; `user` who sends it, if this machine does.
    """

    source: Address
    destination: Address
    protocol: int = TCP
    source_port: int = 40000
    port: int = 0
    interface: str = "eth0"
    flags: int = SYN
    state: int = NEW
    wildcard: int | None = None
    route: int = LOCAL
    user: int = 0
    mark: int = 0


Field = Callable[[Packet], Any]
Test = Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain with its rules, each a list of statements."""

    hook: str = ""
    policy: str = "accept"
    rules: list[list[tuple[str, Any]]] = field(default_factory=list)


def loaded(content: bytes, root: Path | None = None) -> Table:
    """The table of a firewall's file, loaded into a network namespace of its own by the nft of
    this machine, or of a root file system."""
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    words = ("sh", "-euc", _LOAD) if root is None else ("sh", "-euc", _LOAD_IN, "load", str(root))
    argv = ["unshare", *user, "--net", "--mount", *words]
    done = subprocess.run(argv, input=content, capture_output=True, check=False)
    said = done.stderr.decode()
    if said.startswith("unshare:") or "Operation not permitted" in said:
        lacking(f"no network namespace of one's own: {said.strip()}")
    assert done.returncode == 0, said + content.decode()
    return Table(done.stdout.decode())


class Table:
    """A table as nft lists it."""

    def __init__(self, listing: str) -> None:
        items = [next(iter(one.items())) for one in json.loads(listing)["nftables"]]
        self._sets = {
            one["name"]: frozenset(_literal(elem["elem"]["val"]) for elem in one.get("elem", ()))
            for kind, one in items
            if kind == "set"
        }
        self._chains = {
            one["name"]: Chain(one.get("hook", ""), one.get("policy", "accept"))
            for kind, one in items
            if kind == "chain"
        }
        for kind, one in items:
            if kind == "rule":
                statements = [self._statement(*_only(part)) for part in one["expr"]]
                self._chains[one["chain"]].rules.append(statements)

    def judge(self, packet: Packet, hooks: Sequence[str] = ("prerouting", "input")) -> Verdict:
        """The verdict of the chains at these hooks, and the mark that the packet has then."""
        for chain in self._chains.values():
            if chain.hook in hooks:
                verdict = self._walk(chain, packet, chain.policy)
                if verdict.action != "accept":
                    return verdict
                packet = replace(packet, mark=verdict.mark)
        return Verdict("accept", packet.mark)

    def _walk(self, chain: Chain, packet: Packet, policy: str) -> Verdict:
        for rule in chain.rules:
            for kind, what in rule:
                if kind == "match" and not what(packet):
                    break
                if kind == "mark":
                    packet = replace(packet, mark=what(packet))
                elif kind == "goto":
                    return self._walk(self._chains[what], packet, policy)
                elif kind in ("accept", "drop", "reject"):
                    return Verdict(kind, packet.mark)
        return Verdict(policy, packet.mark)

    def _statement(self, kind: str, what: Expression) -> tuple[str, Any]:
        if kind == "match":
            return kind, self._match(what["op"], what["left"], what["right"])
        if kind == "mangle":
            assert what["key"] == {"meta": {"key": "mark"}}
            return "mark", _value(what["value"])
        if kind == "goto":
            return kind, what["target"]
        assert kind in ("counter", "accept", "drop", "reject"), kind
        return kind, None

    def _match(self, op: str, left: Expression, right: Expression) -> Test:
        value = _value(left)
        # nft lists a set like an interface whose name begins with an @.
        if str(right).startswith("@") and left != {"meta": {"key": "iifname"}}:
            found: Test = self._sets[right[1:]].__contains__
        else:
            found = _test(right) if op != "in" else _any_bit(right)

        def match(packet: Packet) -> bool:
            one = value(packet)
            return one is not None and found(one) is (op != "!=")

        return match


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a packet, and its mark."""

    action: str
    mark: int


def _only(item: Mapping[str, Any]) -> tuple[str, Any]:
    ((key, value),) = item.items()
    return key, value


def _literal(value: Expression) -> Any:
    """An address, a number, a name, or several in a row, as a field has it."""
    if isinstance(value, dict):
        return tuple(map(_literal, value["concat"]))
    try:
        return ip_address(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _test(right: Expression) -> Test:
    """Whether a value is the right one, or one of them."""
    if isinstance(right, dict) and "set" in right:
        tests = list(map(_test, right["set"]))
        return lambda one: any(test(one) for test in tests)
    if isinstance(right, dict) and "range" in right:
        first, last = right["range"]
        return lambda one: bool(first <= one <= last)
    if isinstance(right, dict) and "prefix" in right:
        network = ip_network("{addr}/{len}".format(**right["prefix"]))
        return lambda one: one in network
    literal = _literal(right)
    return lambda one: bool(one == literal)


def _any_bit(right: Expression) -> Test:
    mask = sum(right) if isinstance(right, list) else right
    return lambda one: bool(one & mask)


def _value(left: Expression) -> Field:
    """How a packet's field is read: None if the packet has none, and then no rule matches."""
    if isinstance(left, (int, list)):
        number = sum(left) if isinstance(left, list) else left
        return lambda _: number
    kind, what = _only(left)
    if kind in ("concat", "&", "|"):
        return _combined(kind, list(map(_value, what)))
    names = {"payload": ("protocol", "field"), "fib": ("result",)}.get(kind, ("key",))
    words = [what[name] for name in names]
    return _FIELDS[" ".join(words if kind == "payload" else [kind, *words])]


def _combined(kind: str, parts: list[Field]) -> Field:
    def combine(packet: Packet) -> Any:
        values = [part(packet) for part in parts]
        if None in values:
            return None
        if kind == "concat":
            return tuple(values)
        # nft 1.0.6 lists flags, a later one joins them: more than two.
        return functools.reduce(operator.and_ if kind == "&" else operator.or_, values)

    return combine


def _of_version(version: int, name: str) -> Field:
    def read(packet: Packet) -> Any:
        address = getattr(packet, name)
        return address if address.version == version else None

    return read


def _of_protocol(numbers: Sequence[int], name: str) -> Field:
    return lambda packet: getattr(packet, name) if packet.protocol in numbers else None


_FIELDS: Mapping[str, Field] = {
    **{
        f"{family} {key}": _of_version(version, name)
        for family, version in (("ip", 4), ("ip6", 6))
        for key, name in (("saddr", "source"), ("daddr", "destination"))
    },
    **{
        f"{protocol} {key}": _of_protocol(numbers, name)
        for protocol, numbers in _PORTS.items()
        for key, name in (("sport", "source_port"), ("dport", "port"))
    },
    "tcp flags": _of_protocol((TCP,), "flags"),
    "meta l4proto": lambda packet: packet.protocol,
    "meta nfproto": lambda packet: {4: 2, 6: 10}[packet.destination.version],
    "meta iifname": lambda packet: _literal(packet.interface),
    "meta mark": lambda packet: packet.mark,
    "meta skuid": lambda packet: packet.user,
    "ct state": lambda packet: packet.state,
    "socket wildcard": lambda packet: packet.wildcard,
    "fib type": lambda packet: packet.route,
}
