"""What the kernel says of packets on their way through its rules: `nft monitor trace`, as
messages of netlink.

Only packets that a rule marks are traced. Rules of our own, which come first where packets come in
or begin, mark them, and others, which come last, say how far they got. Each of them accepts: so the
kernel has one thing to say of it, not three.
"""

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from ..mirror import nf_tables
from ..system.nlmsg import (
    Channel,
    as_number,
    as_text,
    attribute,
    by_kind,
    messages,
    nested,
    number,
    text,
)
from . import packets
from .packets import Flow

# linux/netfilter/nf_tables.h
_TRACE = nf_tables.kind(nf_tables.TRACE)
_POLICY, _RULE = 1, 3
DROP, ACCEPT, STOLEN, QUEUE = 0, 1, 2, 3
GROUP = 9
OURS = "lbhook-trace"
_FIRST, _LAST = -(1 << 31), (1 << 31) - 1
_BEGINS = {"prerouting": 0, "input": 1, "output": 3}
_ENDS = {f"{name} end": hook for name, hook in (("input", 1), ("forward", 2), ("postrouting", 4))}
_SET_TRACE = (
    ("immediate", number(1, 8) + nested(2, attribute(1, b"\1"))),
    ("meta", number(2, 12) + number(3, 8)),
)
_ACCEPTS = ("immediate", number(1, 0) + nested(2, nested(2, number(1, ACCEPT))))


@dataclass(frozen=True, slots=True)
class Event:
    """What a rule, or the policy of a chain, made of a packet; `verdict` is None if the next rule
    has it. `flow` is known at the first event of each chain that is hooked, `packet` is a number
    that the kernel gives it, until the next one gets it."""

    packet: int
    family: int
    table: str
    chain: str
    handle: int
    verdict: int | None
    flow: Flow | None


@dataclass(slots=True)
class Journey:
    """What became of one packet."""

    events: list[Event] = field(default_factory=list)

    def reached(self, hook: str) -> bool:
        """Whether it got to the end of a hook."""
        return any(one.table == OURS and one.chain == f"{hook} end" for one in self.events)

    def flow_at(self, hook: str) -> Flow | None:
        """Both its ends when it came to a hook."""
        found = (one.flow for one in self.events if one.table == OURS and one.chain == hook)
        return next((one for one in found if one), None)

    @property
    def stopped(self) -> Event | None:
        """Where it was dropped, or taken by somebody else."""
        others = (one for one in self.events if one.table != OURS)
        return next((one for one in others if one.verdict not in (None, ACCEPT)), None)


class Tracer:
    """Hears of packets in a network namespace; its chains frame those that are loaded after
    `begin` and before `end`."""

    def __init__(self, channel: Channel, heard: Channel) -> None:
        self.channel, self.heard = channel, heard
        heard.socket.setblocking(False)
        self.lost = False

    def begin(self, devices: Iterable[str]) -> None:
        """The chains that come first; of devices, where the kernel has such chains."""
        self._load(
            nf_tables.INET,
            [_chain(name, hook, _FIRST) for name, hook in _BEGINS.items()],
        )
        for place, device in enumerate(devices):
            chain = f"ingress {place}"
            try:
                self._load(nf_tables.NETDEV, [_chain(chain, 0, _FIRST, device)])
            except OSError:
                return

    def end(self) -> None:
        """The chains that come last."""
        self._load(nf_tables.INET, [_chain(name, hook, _LAST) for name, hook in _ENDS.items()])

    def _load(self, family: int, chains: Sequence[tuple[str, bytes]]) -> None:
        head = nf_tables.family(family)
        items = [(nf_tables.TABLE, head + text(1, OURS))]
        items += [(nf_tables.CHAIN, head + content) for _, content in chains]
        items += [
            (nf_tables.RULE, head + text(1, OURS) + text(2, name) + _says(marks=name not in _ENDS))
            for name, _ in chains
        ]
        for status in nf_tables.commit(self.channel, items).values():
            raise OSError(status, os.strerror(status))

    def events(self) -> Iterator[Event]:
        """What was heard since the last time."""
        while True:
            try:
                received = self.heard.receive()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.lost = True
                continue
            for kind, _, _, content in messages(received):
                if kind == _TRACE:
                    yield _event(content)


def _chain(name: str, hook: int, priority: int, device: str = "") -> tuple[str, bytes]:
    place = number(1, hook) + number(2, priority % (1 << 32))
    place += text(3, device) if device else b""
    content = text(1, OURS) + text(3, name) + nested(4, place) + number(5, ACCEPT)
    return name, content + text(7, "filter")


def _says(*, marks: bool) -> bytes:
    statements = (*_SET_TRACE, _ACCEPTS) if marks else (_ACCEPTS,)
    elements = (
        nested(1, text(1, name), attribute(2, data, nested=True)) for name, data in statements
    )
    return nested(4, *elements)


def _event(content: bytes) -> Event:
    parts = by_kind(content[4:])
    kind = as_number(parts.get(4, b""))
    verdict = None
    if kind == _POLICY:
        verdict = as_number(parts.get(16, b""))
    elif kind == _RULE:
        code = as_number(by_kind(parts.get(5, b"")).get(1, b""))
        verdict = code & 0xFF if code < 1 << 31 else None
    headers = parts.get(8, b""), parts.get(9, b"")
    return Event(
        packet=as_number(parts.get(6, b"")),
        family=content[0],
        table=as_text(parts.get(1, b"")),
        chain=as_text(parts.get(2, b"")),
        handle=as_number(parts.get(3, b"")) if kind == _RULE else 0,
        verdict=verdict,
        flow=packets.read(*headers) if all(headers) else None,
    )
