"""A network namespace that is like this machine's: its interfaces by name, number and address,
its routes, and what the kernel is told of forwarding. At the other end of each cable, in a second
namespace, whoever sends it packets. Both are gone with the process that made them.

Numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and fib_rules.h.
"""

import contextlib
import ctypes
import os
import socket
import struct
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..system.nlmsg import (
    ACK,
    APPEND,
    CREATE,
    ROUTE,
    Channel,
    as_text,
    attribute,
    attributes,
    by_kind,
    make_room,
    nested,
    text,
)

_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_NEWROUTE, _GETROUTE, _GETNEIGH, _NEWRULE, _GETRULE = 24, 26, 30, 32, 34
_LINK, _ADDRESS = struct.Struct("=BxHiII"), struct.Struct("=BBBBI")
_UP, _NO_ARP = 0x1, 0x80
_NEW_NETWORK = 0x40000000
_NO_DUPLICATES = 0x02
_EXCLUSIVE = 0x200
_BY_KERNEL, _ON_LINK = 2, 4
_OUT, _GATEWAY, _EXPIRY, _NEXTHOP = 4, 5, 12, 30
# Azure's fabric has it at the other end of every NIC.
_FABRIC = bytes.fromhex("123456789abc")
# A machine may have thousands, for containers: a copy is made of the first.
_MOST_LINKS = 200
_ETHERNET, _EVERY_PROTOCOL = 1, 0x0003
# What a packet meets that comes or is handed on; reverse paths are judged elsewhere.
_SETTINGS = (
    *("ipv4/ip_forward", "ipv4/ip_nonlocal_bind", "ipv6/conf/all/forwarding"),
    *("netfilter/nf_conntrack_tcp_loose", "netfilter/nf_conntrack_tcp_be_liberal"),
)
_OF_LINKS = ("route_localnet", "accept_local")
_QUIET = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
}
_PATIENCE, _LOOK, _LOCAL, _LENGTH = 2.0, 0.001, 2, 16
_SYSCTL = Path("/proc/sys/net")


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


def surroundings(wanted: Collection[str]) -> Surroundings:
    """Those of this network namespace: `wanted` interfaces, those with an address or a route.

    Raises `OSError`."""
    with Channel(ROUTE) as channel:
        found = Surroundings(
            addresses=channel.listed(_GETADDR, bytes(8)),
            routes=_routes(channel),
            rules=[one for family in (2, 10) for one in _asked(channel, _GETRULE, family, 12)],
        )
        neighbours = _neighbours(_asked(channel, _GETNEIGH, 0, 12))
        used = {_ADDRESS.unpack_from(one)[4] for one in found.addresses}
        used |= {_number(by_kind(one[12:]).get(_OUT, b"")) for one in found.routes}
        for one in channel.listed(_GETLINK, _LINK.pack(0, 0, 0, 0, 0)):
            _, _, index, flags, _ = _LINK.unpack_from(one)
            parts = by_kind(one[_LINK.size :])
            name = as_text(parts[3])
            if name != "lo" and (name in wanted or index in used):
                peer = neighbours.get(index, _FABRIC)
                own = parts.get(1, b"")
                own = own if len(own) == 6 and any(own) else b"\2\0" + index.to_bytes(4, "big")
                found.links.append(Link(name, index, bool(flags & _UP), own, peer))
    found.links = sorted(found.links, key=lambda one: one.name not in wanted)[:_MOST_LINKS]
    found.settings = _settings(one.name for one in found.links)
    return found


def enter(machine: Surroundings, extra: Mapping[str, str]) -> dict[str, socket.socket]:
    """Make both namespaces, and go into the one that is like the machine; returns a socket for
    each interface, which sends it frames and hears what leaves by it.

    `extra` are addresses and the interfaces that are to have them, too. Raises `OSError`.
    """
    _unshare()
    outside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    for name in ("all", "default"):
        _write(f"ipv6/conf/{name}/disable_ipv6", "1")
    _unshare()
    inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    for setting, value in {**_QUIET, **machine.settings}.items():
        if "/conf/" not in setting or "/all/" in setting or "/default/" in setting:
            _write(setting, value)
    with Channel(ROUTE) as channel:
        _change(channel, _NEWLINK, _LINK.pack(0, 0, 1, _UP, _UP))
        for place, link in enumerate(machine.links):
            _cable(channel, link, place, outside)
        # The far ends first: else the kernel drops what leaves until it has seen that they are up.
        _set_namespace(outside)
        sockets = {link.name: _wire(f"peer{place}") for place, link in enumerate(machine.links)}
        _set_namespace(inside)
        for link in machine.links:
            flags = _UP if link.up else 0
            channel.ask(_NEWLINK, _LINK.pack(0, 0, link.index, flags, _UP), ACK)
        for setting, value in machine.settings.items():
            _write(setting, value)
        _settle(channel, machine, extra)
    os.close(outside)
    os.close(inside)
    return sockets


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
            index = int.from_bytes(one[4:8], _order())
            found[index] = _FABRIC if address == _FABRIC else found.get(index, address)
    return found


def _settings(links: Iterable[str]) -> dict[str, str]:
    names = [*_SETTINGS]
    names += [f"ipv4/conf/{link}/{name}" for link in ("all", *links) for name in _OF_LINKS]
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            found[name] = (_SYSCTL / name).read_text(encoding="ascii").strip()
    return found


def _write(setting: str, value: str) -> None:
    # A kernel without IPv6 has fewer, and a container may write none.
    with contextlib.suppress(OSError):
        (_SYSCTL / setting).write_text(value, encoding="ascii")


def _cable(channel: Channel, link: Link, place: int, outside: int) -> None:
    peer = _LINK.pack(0, 0, 0, 0, 0) + text(3, f"peer{place}") + _host(28, outside)
    kind = nested(18, text(1, "veth"), nested(2, attribute(1, peer, nested=True)))
    own = attribute(1, link.address)
    head = _LINK.pack(0, 0, link.index, _NO_ARP, _NO_ARP | _UP)
    channel.ask(_NEWLINK, head + text(3, link.name) + own + kind, ACK | CREATE | _EXCLUSIVE)


def _settle(channel: Channel, machine: Surroundings, extra: Mapping[str, str]) -> None:
    """Addresses, routes and rules, as far as they are those of an interface that is here."""
    numbers = {one.index for one in machine.links} | {1}
    for one in machine.addresses:
        family, length, _, scope, index = _ADDRESS.unpack_from(one)
        if index in numbers:
            kept = b"".join(attribute(*each) for each in attributes(one[8:]) if each[0] < 5)
            _address(channel, family, length, scope, index, kept)
    for address, name in extra.items():
        index = next((one.index for one in machine.links if one.name == name), 1)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        own = socket.inet_pton(family, address)
        _address(channel, family, 8 * len(own), 0, index, attribute(1, own) + attribute(2, own))
    for _ in range(2):  # a gateway may be reached by a route that is listed after its own
        for one in machine.routes:
            _route(channel, one, numbers)
    for one in machine.rules:
        _change(channel, _NEWRULE, one, CREATE | _EXCLUSIVE)
    there = [one for one in machine.addresses if _ADDRESS.unpack_from(one)[4] in numbers]
    ready = [by_kind(one[8:]).get(1, b"") for one in there if not one[3]]
    ready += [socket.inet_pton(socket.AF_INET6, one) for one in extra if ":" in one]
    _wait(channel, ready)


def _address(
    channel: Channel, family: int, length: int, scope: int, index: int, kept: bytes
) -> None:
    head = _ADDRESS.pack(family, length, 0, scope, index)
    _change(channel, _NEWADDR, head + kept + _host(8, _NO_DUPLICATES), CREATE)


def _wait(channel: Channel, addresses: Iterable[bytes]) -> None:
    """The kernel takes packets to an address of IPv6 a moment after it was given it."""
    end = time.monotonic() + _PATIENCE
    for one in addresses:
        asked = bytes([socket.AF_INET6, 8 * len(one), *bytes(10)]) + attribute(1, one)
        while len(one) == _LENGTH and time.monotonic() < end:
            with contextlib.suppress(OSError):
                if channel.ask(_GETROUTE, asked)[7] == _LOCAL:
                    break
            time.sleep(_LOOK)


def _route(channel: Channel, one: bytes, numbers: Collection[int]) -> None:
    parts = list(attributes(one[12:]))
    out = [_number(content) for kind, content in parts if kind == _OUT]
    if any(index not in numbers for index in out):
        return
    kept = b"".join(
        attribute(kind, content) for kind, content in parts if kind not in (_EXPIRY, _NEXTHOP)
    )
    flags = int.from_bytes(one[8:12], _order()) & _ON_LINK
    head = one[:8] + flags.to_bytes(4, _order())
    _change(channel, _NEWROUTE, head + kept, CREATE | APPEND)


def _change(channel: Channel, kind: int, content: bytes, flags: int = 0) -> None:
    """What can't be had here is not had: a route that has no place is none."""
    with contextlib.suppress(OSError):
        channel.ask(kind, content, ACK | flags)


def _wire(name: str) -> socket.socket:
    """Switch an interface on, and hear what comes out."""
    with Channel(ROUTE) as channel:
        channel.ask(_NEWLINK, _LINK.pack(0, 0, 0, _UP, _UP) + text(3, name), ACK)
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    make_room(made)
    made.bind((name, _EVERY_PROTOCOL))
    made.setblocking(False)
    return made


def _unshare() -> None:
    _called(ctypes.CDLL(None, use_errno=True).unshare(_NEW_NETWORK))


def _set_namespace(place: int) -> None:
    _called(ctypes.CDLL(None, use_errno=True).setns(place, _NEW_NETWORK))


def _called(status: int) -> None:
    if status:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _host(kind: int, value: int) -> bytes:
    """An attribute with four bytes in this machine's order, as rtnetlink has them."""
    return attribute(kind, struct.pack("=I", value))


def _number(content: bytes) -> int:
    return int.from_bytes(content[:4], _order())


def _order() -> Literal["little", "big"]:
    return sys.byteorder
