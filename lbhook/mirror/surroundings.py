"""What a machine has of links, addresses, routes and settings, as far as packets meet it.

Numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and fib_rules.h.
"""

import contextlib
import struct
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ..system.nlmsg import ROUTE, Channel, as_text, by_kind

_GETLINK, _GETADDR, _GETROUTE, _GETNEIGH, _GETRULE = 18, 22, 26, 30, 34
LINK, ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
UP, OUT = 0x1, 4
_BY_KERNEL = 2
# Azure's fabric has it at the other end of every NIC.
_FABRIC = bytes.fromhex("123456789abc")
# A machine may have thousands, for containers: a copy is made of the first.
_MOST_LINKS = 200
# What a packet meets that comes or is handed on; reverse paths are judged elsewhere.
_SETTINGS = (
    *("ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv6/conf/all/forwarding"),
    *("netfilter/nf_conntrack_tcp_loose", "netfilter/nf_conntrack_tcp_be_liberal"),
)
_OF_LINKS = ("route_localnet", "accept_local")
SYSCTL = Path("/proc/sys/net")


@dataclass(frozen=True, slots=True)
class Link:
    """An interface; `peer` is the address of who sends to it."""

    name: str
    index: int
    up: bool
    address: bytes
    peer: bytes = _FABRIC


@dataclass(slots=True)
class Surroundings:
    """What a machine has of links, addresses, routes and settings, as the kernel says it."""

    links: list[Link] = field(default_factory=list)
    addresses: list[bytes] = field(default_factory=list)
    routes: list[bytes] = field(default_factory=list)
    rules: list[bytes] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)


def found(wanted: Collection[str]) -> Surroundings:
    """Those of this network namespace: `wanted` interfaces, those with an address or a route.

    Raises `OSError`."""
    with Channel(ROUTE) as channel:
        machine = Surroundings(
            addresses=channel.listed(_GETADDR, bytes(8)),
            routes=_routes(channel),
            rules=[one for family in (2, 10) for one in _asked(channel, _GETRULE, family, 12)],
        )
        neighbours = _neighbours(_asked(channel, _GETNEIGH, 0, 12))
        used = {ADDRESS.unpack_from(one)[4] for one in machine.addresses}
        used |= {
            int.from_bytes(by_kind(one[12:]).get(OUT, b"")[:4], sys.byteorder)
            for one in machine.routes
        }
        for one in channel.listed(_GETLINK, LINK.pack(0, 0, 0, 0, 0)):
            _, _, index, flags, _ = LINK.unpack_from(one)
            parts = by_kind(one[LINK.size :])
            name = as_text(parts[3])
            if name != "lo" and (name in wanted or index in used):
                peer = neighbours.get(index, _FABRIC)
                own = parts.get(1, b"")
                own = own if len(own) == 6 and any(own) else b"\2\0" + index.to_bytes(4, "big")
                machine.links.append(Link(name, index, bool(flags & UP), own, peer))
    machine.links = sorted(machine.links, key=lambda one: one.name not in wanted)[:_MOST_LINKS]
    machine.settings = _settings(one.name for one in machine.links)
    return machine


def _routes(channel: Channel) -> list[bytes]:
    """All but those that come with an address."""
    found = [one for family in (2, 10) for one in _asked(channel, _GETROUTE, family, 12)]
    return [one for one in found if one[5] != _BY_KERNEL]


def _asked(channel: Channel, kind: int, family: int, size: int) -> list[bytes]:
    return channel.listed(kind, bytes([family]) + bytes(size - 1))


def _neighbours(listed: Iterable[bytes]) -> dict[int, bytes]:
    """An address of layer two that each interface knows; the fabric's own comes first."""
    found: dict[int, bytes] = {}
    for one in listed:
        address = by_kind(one[12:]).get(2, b"")
        if len(address) == 6 and any(address) and not address[0] & 1:
            index = int.from_bytes(one[4:8], sys.byteorder)
            found[index] = _FABRIC if address == _FABRIC else found.get(index, address)
    return found


def _settings(links: Iterable[str]) -> dict[str, str]:
    names = [*_SETTINGS]
    names += [f"ipv4/conf/{link}/{name}" for link in ("all", *links) for name in _OF_LINKS]
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = (SYSCTL / name).read_text(encoding="ascii").strip()
    return found
