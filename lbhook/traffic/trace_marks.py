"""The small table that marks packets to a port, so that the kernel says what becomes of them.

It belongs to the socket that made it: however this process ends, the kernel takes it away (a kernel
older than 5.12 does not know that; there the next trace does).
"""

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..config.network import Network
from ..firewall import traces
from ..firewall.packets import TCP, UDP
from ..firewall.traces import Event, Tracer
from ..mirror import nf_tables
from ..system.nlmsg import (
    NETFILTER,
    Channel,
    as_text,
    attribute,
    by_kind,
    nested,
    number,
    text,
)

NAME = "lbhook_trace_"
# linux/netfilter/nf_tables.h
_OWNER, _DELETE = 2, 2
_FIRST, _LAST = -(1 << 31), (1 << 31) - 1
_MARKING = {"prerouting": 0, "output": 3}
_ENDS = {"input_end": 1, "forward_end": 2, "postrouting_end": 4}
_REGISTER = 8
_PROTOCOL, _FAMILY = 16, 15
_NETWORK, _TRANSPORT = 1, 2
_SYN, _SYN_ACK = 0x02, 0x12
_A_SECOND = 50
Expression = tuple[str, bytes]


class Marks:
    """Marks the first packets to a port, from a network or from anywhere, and the answers to
    them; hears what becomes of them. Raises `OSError`."""

    def __init__(self, port: int, source: Network | None) -> None:
        self.name = f"{NAME}{os.getpid()}"
        self.channel = Channel(NETFILTER)
        self.heard = Channel(NETFILTER, (traces.GROUP,))
        self._tracer = Tracer(self.channel, self.heard)
        self._forget()
        self._load(port, source)

    def __enter__(self) -> "Marks":
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove(self.name)
        self.channel.close()
        self.heard.close()

    def events(self) -> Iterator[Event]:
        """What was heard since the last time."""
        return self._tracer.events()

    def _forget(self) -> None:
        """Take away what a trace left that was killed."""
        head = nf_tables.family(0)
        for found in self.channel.listed(nf_tables.kind(nf_tables.TABLE) + 1, head):
            name = as_text(by_kind(found[4:]).get(1, b""))
            pid = name.removeprefix(NAME)
            if name != pid and pid.isdecimal() and not Path("/proc", pid).exists():
                self._remove(name)

    def _remove(self, name: str) -> None:
        head = nf_tables.family(nf_tables.INET)
        nf_tables.commit(self.channel, [(_DELETE, head + text(1, name))])

    def _load(self, port: int, source: Network | None) -> None:
        for flags in (_OWNER, 0):
            failed = nf_tables.commit(self.channel, [*self._items(flags, port, source)])
            if not failed:
                return
            status = min(failed.items())[1]
            # A flag that the kernel does not know.
            if status not in (errno.EINVAL, errno.EOPNOTSUPP):
                break
        raise OSError(status, os.strerror(status))

    def _items(self, flags: int, port: int, source: Network | None) -> Iterator[tuple[int, bytes]]:
        head = nf_tables.family(nf_tables.INET)
        yield nf_tables.TABLE, head + text(1, self.name) + number(2, flags)
        for chain, hook in (*_MARKING.items(), *_ENDS.items()):
            priority = _FIRST if chain in _MARKING else _LAST
            place = nested(4, number(1, hook) + number(2, priority % (1 << 32)))
            content = text(1, self.name) + text(3, chain) + place + number(5, traces.ACCEPT)
            yield nf_tables.CHAIN, head + content + text(7, "filter")
        for chain in (*_MARKING, *_ENDS):
            for rule in _marking(chain, port, source) if chain in _MARKING else [_accepting()]:
                parts = (
                    nested(1, text(1, name), attribute(2, data, nested=True)) for name, data in rule
                )
                yield nf_tables.RULE, head + text(1, self.name) + text(2, chain) + nested(4, *parts)


def _marking(chain: str, port: int, source: Network | None) -> Iterator[Sequence[Expression]]:
    """Of TCP what opens a connection, and what answers to that."""
    answers = chain == "output"
    for protocol in (TCP, UDP):
        rule = [*_equal(_meta(_PROTOCOL), bytes([protocol]))]
        rule += _equal(_payload(_TRANSPORT, 0 if answers else 2, 2), port.to_bytes(2, "big"))
        if protocol == TCP:
            wanted = bytes([_SYN_ACK if answers else _SYN])
            rule += _masked(_payload(_TRANSPORT, 13, 1), bytes([_SYN_ACK]), wanted)
        if source:
            rule += _of(source, answers=answers)
        yield [*rule, _limit(), *_nftrace(), *_accepting()]


def _of(source: Network, *, answers: bool) -> Iterator[Expression]:
    """Packets of a network; answers go there."""
    family, place, size = (2, 12, 4) if source.version == 4 else (10, 8, 16)
    yield from _equal(_meta(_FAMILY), bytes([family]))
    found = _payload(_NETWORK, place + size * answers, size)
    yield from _masked(found, source.netmask.packed, source.network_address.packed)


def _meta(key: int) -> Expression:
    return "meta", number(1, _REGISTER) + number(2, key)


def _payload(base: int, offset: int, length: int) -> Expression:
    place = number(2, base) + number(3, offset) + number(4, length)
    return "payload", number(1, _REGISTER) + place


def _equal(found: Expression, value: bytes) -> Iterator[Expression]:
    yield found
    yield "cmp", number(1, _REGISTER) + number(2, 0) + nested(3, attribute(1, value))


def _masked(found: Expression, mask: bytes, value: bytes) -> Iterator[Expression]:
    yield found
    registers = number(1, _REGISTER) + number(2, _REGISTER) + number(3, len(mask))
    nothing = nested(5, attribute(1, bytes(len(mask))))
    yield "bitwise", registers + nested(4, attribute(1, mask)) + nothing
    yield "cmp", number(1, _REGISTER) + number(2, 0) + nested(3, attribute(1, value))


def _limit() -> Expression:
    rate, second = (attribute(at, n.to_bytes(8, "big")) for at, n in ((1, _A_SECOND), (2, 1)))
    return "limit", rate + second + number(3, _A_SECOND) + number(4, 0) + number(5, 0)


def _nftrace() -> Iterator[Expression]:
    yield "immediate", number(1, _REGISTER) + nested(2, attribute(1, b"\1"))
    yield "meta", number(2, 12) + number(3, _REGISTER)


def _accepting() -> Sequence[Expression]:
    return [("immediate", number(1, 0) + nested(2, nested(2, number(1, traces.ACCEPT))))]
