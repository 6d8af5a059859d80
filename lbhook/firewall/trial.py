"""What the kernel's rules, of all tables of nftables, make of a packet: the kernel is asked.

In a network namespace that is like this machine's (mirror/namespace), with a copy of its rules
(mirror/replica), a first packet is sent to each door, and the kernel says which rule decided
(traces.py). This happens in a process of its own, with which all of it goes; nothing is changed
on the machine. docs/decisions/0016-the-kernel-judges.md has why.
"""

import contextlib
import errno
import os
import select
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from ..metadata.reader import Address
from ..mirror import listing, namespace, surroundings
from ..mirror.replica import Replica
from ..system.nlmsg import NETFILTER, Channel
from . import packets
from .clients import LargeSets, Nobody, named
from .decisions import Decisions, Knock, agreed
from .packets import TCP, UDP, Flow
from .traces import GROUP, Journey, Tracer
from .verdict import Door, Verdict

T = TypeVar("T")

_CLIENT_PORTS = range(33000, 60000)
# With so many doors at a time the kernel's words have room; each door is a socket that listens.
_BATCH = 128
# How often a door is tried where chance decides.
_CHANCES = 8
# Of the sources that rules name, so many packets are sent in all to doors that drop.
_MOST_NAMED, _FEWEST_SOURCES, _MOST_SOURCES = 2000, 3, 48
_PATIENCE, _SOON, _TRIES = 10.0, 0.5, 3


class Trial:
    """The copy of a machine, made by the process that asks it; raises `OSError`."""

    def __init__(
        self, devices: Sequence[str], extra: Mapping[str, str], askable: Sequence[str] = ()
    ) -> None:
        # Packets are heard of in their order as long as one CPU has them all.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        self.origin = Channel(NETFILTER)
        self.listing = listing.listed(self.origin)
        machine = surroundings.found(devices)
        self.links = {link.name: link for link in machine.links}
        if not self.links:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.wires = namespace.enter(machine, extra)
        self.copy = Replica(self.listing, {*self.links, "lo"}, askable)
        self.channel = Channel(NETFILTER)
        self.tracer = Tracer(self.channel, Channel(NETFILTER, [GROUP]))
        self.tracer.begin(self.links)
        self.copy.load(self.channel)
        self.tracer.end()
        self.rules = Decisions(self.listing, self.copy, self.channel, machine.settings)
        self.nobody = Nobody(self.listing, self.copy.sources, self.origin)
        self.asked = LargeSets(self.listing, self.origin, self.channel)
        self.active: dict[tuple[bytes, int], Knock] = {}
        self.current: dict[int, Journey | None] = {}
        self.port = _CLIENT_PORTS.start

    def judge(self, doors: Sequence[Door]) -> list[Verdict]:
        """What becomes of the first packet to each of them; raises `OSError`."""
        found: dict[Door, Verdict] = {}
        for some in _batches(list(dict.fromkeys(doors)), _BATCH):
            found.update(self._judged(some))
        for door in self._opened([one for one in found if found[one].action == "drop"]):
            found[door] = found[door]._replace(by_source=not found[door].answer)
        return [found[door] for door in doors]

    def call(self, destination: Address, port: int, device: str) -> tuple[Verdict, Verdict]:
        """What becomes of the first packet to somebody else by TCP, and of the answer to it; raises
        `OSError`."""
        here = next(iter(self.links))
        door = Door(destination=destination, protocol=TCP, port=port, device=here)
        with contextlib.ExitStack() as stack:
            if destination.is_loopback:  # else somebody else answers
                stack.enter_context(packets.listening(door))
            flow = stack.enter_context(packets.calling(door))
            knock = Knock(door, flow)
            self.active = {(flow.source, flow.source_port): knock}
            self._settle(door)
            if device in self.wires:
                self._accept(flow, device)
                self._settle(door)
        return self.rules.stop(knock.forth), self.rules.stop(knock.back)

    def _accept(self, flow: Flow, device: str) -> None:
        """Answer a call that has left by an interface."""
        link = self.links[device]
        for heard, flags, sequence in packets.captured(self.wires[device]):
            if heard == flow and packets.is_first(flags):
                answer = packets.accepted(flow.back, sequence)
                self.wires[device].send(packets.framed(answer, link.address, link.peer))
                return

    def _judged(self, doors: Sequence[Door]) -> Iterator[tuple[Door, Verdict]]:
        chances = _CHANCES if self.copy.random else 1
        knocks = [self._knock(door) for door in doors for _ in range(chances)]
        self._meet(knocks)
        for at, door in enumerate(doors):
            tries = knocks[at * chances : (at + 1) * chances]
            yield door, agreed([self.rules.verdict(one) for one in tries])

    def _opened(self, doors: Sequence[Door]) -> Iterator[Door]:
        """The doors that let in a source that rules name."""
        share = _MOST_NAMED // max(1, len(doors))
        most = min(_MOST_SOURCES, max(_FEWEST_SOURCES, share))
        knocks = [
            self._knock(door, source)
            for door in doors
            if not door.source
            for source in named(self.copy.sources, door.destination.version)[:most]
        ]
        for some in _batches(knocks, _BATCH):
            self._meet(some)
        let_in = ("accept", "translated")
        yield from dict.fromkeys(
            one.door for one in knocks if self.rules.verdict(one).action in let_in
        )

    def _knock(self, door: Door, source: bytes = b"") -> Knock:
        own = door.source.packed if door.source else b""
        source = source or own or self.nobody.next(door.destination.version)
        flow = Flow(door.protocol, source, self._next_port(), door.destination.packed, door.port)
        self.asked.ask(flow, door.device)
        return Knock(door, flow)

    def _next_port(self) -> int:
        self.port = self.port + 1 if self.port + 1 < _CLIENT_PORTS.stop else _CLIENT_PORTS.start
        return self.port

    def _meet(self, knocks: Sequence[Knock]) -> None:
        """Send first packets, let them be answered, and hear what becomes of all that; what was
        lost is sent anew, from other ports, as connections are known by now.

        A cable that was plugged in just now takes nothing until the kernel has seen to it, which is
        a matter of its locks, and says nothing of what it drops until then."""
        with contextlib.ExitStack() as stack:
            doors = dict.fromkeys(one.door for one in knocks)
            listeners = {door: stack.enter_context(packets.listening(door)) for door in doors}
            for left in reversed(range(_TRIES)):
                self.tracer.lost = False
                self.active = {(one.flow.source, one.flow.source_port): one for one in knocks}
                self._send(knocks)
                self._answer(listeners)
                if not (self.tracer.lost or (left and any(one.is_lost for one in knocks))):
                    return
                for one in knocks:
                    one.begin(self._next_port())
        raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))

    def _send(self, knocks: Sequence[Knock]) -> None:
        for one in knocks:
            self._out(one)
            self._hear()
        self._settle(knocks[0].door)

    def _out(self, knock: Knock, packet: bytes = b"") -> None:
        """Send a packet of a knock, the first one if it is none."""
        device = knock.door.device
        link = self.links.get(device) or next(iter(self.links.values()))
        packet = packet or packets.first(knock.flow)
        self.wires[link.name].send(packets.framed(packet, link.address, link.peer))

    def _hear(self) -> None:
        """Take what the kernel has said, and give it to the packets that it is about."""
        for event in self.tracer.events():
            if event.flow:
                self.current[event.packet] = self._journey(event.flow)
            journey = self.current.get(event.packet)
            if journey:
                journey.events.append(event)

    def _journey(self, flow: Flow) -> Journey | None:
        going = self.active.get((flow.source, flow.source_port))
        coming = self.active.get((flow.destination, flow.port))
        if going:
            return going.then if going.answered else going.forth
        return coming.back if coming else None

    def _settle(self, door: Door) -> None:
        """Wait until the kernel has come to a last packet, and so to all before it."""
        last = self._knock(door)
        self.active[last.flow.source, last.flow.source_port] = last
        self._out(last)
        end = time.monotonic() + _PATIENCE
        while not last.forth.events and not self.tracer.lost:
            if time.monotonic() > end:
                raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            if not _readable([self.tracer.heard.socket]):
                self._out(last)
            self._hear()

    def _answer(self, listeners: Mapping[Door, socket.socket]) -> None:
        """Let who was asked by UDP answer, see what comes out, and go on with what was answered."""
        for door, listener in listeners.items():
            if door.protocol == UDP:
                packets.echo(listener)
        self._hear()
        self._settle(next(iter(listeners)))
        waiting = {flow for flow, one in self.active.items() if one.is_leaving}
        while True:
            for wire in self.wires.values():
                waiting -= set(self._gone_on(wire))
            if not waiting or not _readable(self.wires.values()):
                break
        self._settle(next(iter(listeners)))

    def _gone_on(self, wire: socket.socket) -> Iterator[tuple[bytes, int]]:
        """Whose answers have come out there; by TCP they are given their second packet."""
        for flow, flags, sequence in packets.captured(wire):
            client = flow.destination, flow.port
            asked = self.active.get(client)
            accepted = packets.is_accepted(flags)
            if not asked or asked.answered or not (flow.protocol == UDP or accepted):
                continue
            asked.answered = True
            if accepted:
                self._out(asked, packets.second(asked.flow, sequence))
                self._hear()
            yield client


def _readable(sockets: Iterable[socket.socket]) -> bool:
    """Whether one of them has something soon: the kernel has sent it already."""
    waiting = select.poll()
    for one in sockets:
        waiting.register(one, select.POLLIN)
    return bool(waiting.poll(1000 * _SOON))


def _batches(whole: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for at in range(0, len(whole), size):
        yield whole[at : at + size]
