"""The TCP connections that the kernel tracks and whose destination it translates: those of
containers, whose sockets are in other network namespaces."""

import ipaddress
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from ..metadata.reader import Address
from ..system.nlmsg import NETFILTER, Channel, as_number, by_kind

# linux/netfilter/nfnetlink_conntrack.h: IPCTNL_MSG_CT_GET of NFNL_SUBSYS_CTNETLINK, and a
# nfgenmsg for every family.
_LIST, _ANY_FAMILY = 1 << 8 | 1, bytes(4)
_ORIGINAL, _STATUS, _PROTOCOL_INFO = 1, 3, 4
_TRANSLATED, _TCP = 0x20, 6
# linux/netfilter/nf_conntrack_tcp.h: from the second packet on, until both sides have ended.
_OPEN_STATES = (2, 3, 4, 5)


class Tracked(NamedTuple):
    """A connection as its first packet came: from where, and for whom."""

    source: Address
    source_port: int
    destination: Address
    port: int


def translated() -> tuple[Tracked, ...]:
    """Those that are open in this network namespace; none where that can't be read."""
    try:
        with Channel(NETFILTER) as channel:
            listed = channel.listed(_LIST, _ANY_FAMILY)
    except (OSError, ValueError):
        return ()
    return tuple(found for one in listed for found in _opened(by_kind(one[4:])))


def _opened(parts: Mapping[int, bytes]) -> Iterator[Tracked]:
    if not as_number(parts.get(_STATUS, b"")) & _TRANSLATED:
        return
    tcp = by_kind(by_kind(parts.get(_PROTOCOL_INFO, b"")).get(1, b""))
    original = by_kind(parts.get(_ORIGINAL, b""))
    ip, protocol = by_kind(original.get(1, b"")), by_kind(original.get(2, b""))
    if as_number(protocol.get(1, b"")) != _TCP or as_number(tcp.get(1, b"")) not in _OPEN_STATES:
        return
    ends = (ip[1], ip[2]) if 1 in ip else (ip[3], ip[4])
    source, destination = map(ipaddress.ip_address, ends)
    yield Tracked(source, as_number(protocol[2]), destination, as_number(protocol[3]))
