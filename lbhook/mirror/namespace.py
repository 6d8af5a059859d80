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
from typing import Literal

from ..system.nlmsg import (
    ACK,
    APPEND,
    CREATE,
    ROUTE,
    Channel,
    attribute,
    attributes,
    by_kind,
    make_room,
    nested,
    text,
)
from .surroundings import ADDRESS, LINK, OUT, SYSCTL, UP, Link, Surroundings

_NEWLINK, _NEWADDR, _NEWROUTE, _GETROUTE, _NEWRULE = 16, 20, 24, 26, 32
_NO_ARP = 0x80
_NEW_NETWORK = 0x40000000
_NO_DUPLICATES = 0x02
_EXCLUSIVE = 0x200
_ON_LINK, _EXPIRY, _NEXTHOP = 4, 12, 30
_ETHERNET, _EVERY_PROTOCOL = 1, 0x0003
_QUIET = {
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
    "ipv6/conf/default/accept_dad": "0",
    "ipv6/conf/default/addr_gen_mode": "1",
}
_PATIENCE, _LOOK, _LOCAL, _LENGTH = 2.0, 0.001, 2, 16


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
        _change(channel, _NEWLINK, LINK.pack(0, 0, 1, UP, UP))
        for place, link in enumerate(machine.links):
            _cable(channel, link, place, outside)
        # The far ends first: else the kernel drops what leaves until it has seen that they are up.
        _set_namespace(outside)
        sockets = {link.name: _wire(f"peer{place}") for place, link in enumerate(machine.links)}
        _set_namespace(inside)
        for link in machine.links:
            flags = UP if link.up else 0
            channel.ask(_NEWLINK, LINK.pack(0, 0, link.index, flags, UP), ACK)
        for setting, value in machine.settings.items():
            _write(setting, value)
        _settle(channel, machine, extra)
    os.close(outside)
    os.close(inside)
    return sockets


def _write(setting: str, value: str) -> None:
    # A kernel without IPv6 has fewer, and a container may write none.
    with contextlib.suppress(OSError):
        (SYSCTL / setting).write_text(value, encoding="ascii")


def _cable(channel: Channel, link: Link, place: int, outside: int) -> None:
    peer = LINK.pack(0, 0, 0, 0, 0) + text(3, f"peer{place}") + _host(28, outside)
    kind = nested(18, text(1, "veth"), nested(2, attribute(1, peer, nested=True)))
    own = attribute(1, link.address)
    head = LINK.pack(0, 0, link.index, _NO_ARP, _NO_ARP | UP)
    channel.ask(_NEWLINK, head + text(3, link.name) + own + kind, ACK | CREATE | _EXCLUSIVE)


def _settle(channel: Channel, machine: Surroundings, extra: Mapping[str, str]) -> None:
    """Addresses, routes and rules, as far as they are those of an interface that is here."""
    numbers = {one.index for one in machine.links} | {1}
    for one in machine.addresses:
        family, length, _, scope, index = ADDRESS.unpack_from(one)
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
    there = [one for one in machine.addresses if ADDRESS.unpack_from(one)[4] in numbers]
    ready = [by_kind(one[8:]).get(1, b"") for one in there if not one[3]]
    ready += [socket.inet_pton(socket.AF_INET6, one) for one in extra if ":" in one]
    _wait(channel, ready)


def _address(
    channel: Channel, family: int, length: int, scope: int, index: int, kept: bytes
) -> None:
    head = ADDRESS.pack(family, length, 0, scope, index)
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
    out = [_number(content) for kind, content in parts if kind == OUT]
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
        channel.ask(_NEWLINK, LINK.pack(0, 0, 0, UP, UP) + text(3, name), ACK)
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
