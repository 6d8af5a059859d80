"""Who alone may come to a port of a rule: `[[targets.nftables.restrict]]`."""

import ipaddress
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from . import network, schema
from .network import Network

Restriction = Mapping[str, Any]
KEYS: Mapping[str, schema.Read[Any]] = {
    "protocol": schema.choice("tcp", "udp"),
    "port": network.ports,
    "sources": schema.items(network.network),
}
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


@schema.shaped(type="array", items=schema.table_shape(KEYS))
def read(value: object) -> tuple[Restriction, ...]:
    """The entries, each with `protocol` (empty: both), `port` or range, and `sources`: networks in
    order, none of which is part of another or could be one with another."""
    found = schema.items(_entry)(value)
    problems = [
        (f"[{later}].port", f"restrict[{first}] has it, too; put all its sources there")
        for first, later in combinations(range(len(found)), 2)
        if _meet(found[first], found[later])
    ]
    if problems:
        raise schema.Misfit(*problems)
    return found


def spare_ssh(restrict: Sequence[Restriction], ssh_ports: Sequence[int]) -> None:
    """Raise `Misfit` where one would narrow SSH, which has a setting of its own."""
    problems = [
        (f".restrict[{index}].port", f"{port} is one of ssh_ports, which ssh_from limits")
        for index, entry in enumerate(restrict)
        for port in ssh_ports
        if limits(entry, "tcp", port)
    ]
    if problems:
        raise schema.Misfit(*problems)


def limits(entry: Restriction, protocol: str, port: int) -> bool:
    """Whether an entry says who may come to a port; of 0, which is every port, to some of them."""
    first, last = _range(entry)
    said = not entry["protocol"] or protocol in ("all", entry["protocol"])
    return bool(said and (not port or first <= port <= last))


def named(entry: Restriction) -> str:
    """What an entry is about: `tcp 443`, or `port 8000-8100` of both protocols."""
    return f"{entry['protocol'] or 'port'} {entry['port']}"


def _entry(value: object) -> Restriction:
    read = schema.table(KEYS)(value)
    missing = [(f".{key}", "missing") for key in ("port", "sources") if key not in read]
    if missing:
        raise schema.Misfit(*missing)
    sources = _merged(read["sources"])
    protocol = read.get("protocol", "")
    number = network.protocol_number(protocol) if protocol else 0
    return {"protocol": protocol, "number": number, "port": read["port"], "sources": sources}


def _merged(sources: Sequence[Network]) -> tuple[Network, ...]:
    """Networks that overlap or touch as one, as nft's `auto-merge` has them, but in every version
    of nft and by the same text."""
    if not sources:
        raise schema.Misfit((".sources", "an empty list: name who may come"))
    mapped = [one for one in sources if one.version == 6 and one.subnet_of(_MAPPED)]
    if mapped:
        raise schema.Misfit((".sources", f"{mapped[0]} never arrives: write it as IPv4"))
    four = ipaddress.collapse_addresses(one for one in sources if one.version == 4)
    six = ipaddress.collapse_addresses(one for one in sources if one.version == 6)
    found: tuple[Network, ...] = (*four, *six)
    everybody = next((one for one in found if not one.prefixlen), None)
    if everybody:
        problem = f"{everybody} is everybody, which limits nobody; leave the entry out"
        raise schema.Misfit((".sources", problem))
    return found


def _meet(one: Restriction, other: Restriction) -> bool:
    """Whether two entries are about the same port."""
    (first, last), (begin, end) = _range(one), _range(other)
    alike = one["protocol"] == other["protocol"] or not (one["protocol"] and other["protocol"])
    return alike and first <= end and begin <= last


def _range(entry: Restriction) -> tuple[int, int]:
    first, _, last = entry["port"].partition("-")
    return int(first), int(last or first)
