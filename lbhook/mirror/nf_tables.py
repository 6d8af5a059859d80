"""The messages of nf_tables, as linux/netfilter/nf_tables.h and nfnetlink.h number them."""

import os
import struct
from collections.abc import Sequence

from ..system.nlmsg import ACK, APPEND, CREATE, Channel, message

TABLE, CHAIN, RULE, SET, ELEMENTS, TRACE, OBJECT = 0, 3, 6, 9, 12, 17, 18
INET, IP, NETDEV, IP6 = 1, 2, 5, 10
FAMILIES = {INET: "inet", IP: "ip", NETDEV: "netdev", IP6: "ip6"}
_SUBSYSTEM, _BEGIN, _END = 10, 16, 17


def kind(one: int) -> int:
    """A message that makes one of these; the next number lists them."""
    return _SUBSYSTEM << 8 | one


def family(value: int) -> bytes:
    """How each message begins."""
    return struct.pack("=BBH", value, 0, 0)


def commit(channel: Channel, items: Sequence[tuple[int, bytes]]) -> dict[int, int]:
    """Make all of these at once, or none; returns the errno of those that were refused, by their
    place. Raises `OSError` if that is of no single one."""
    frame = struct.pack("=BB", 0, 0) + _SUBSYSTEM.to_bytes(2, "big")
    batch = [message(_BEGIN, frame, 0, 1)]
    last = len(items) + 1
    for sequence, (one, content) in enumerate(items, 2):
        flags = CREATE | (APPEND if one == RULE else 0) | (ACK if sequence == last else 0)
        batch.append(message(kind(one), content, flags, sequence))
    batch.append(message(_END, frame, 0, 0))
    failed = channel.sent(batch, last)
    if 1 in failed:
        raise OSError(failed[1], os.strerror(failed[1]))
    return {sequence - 2: status for sequence, status in failed.items()}
