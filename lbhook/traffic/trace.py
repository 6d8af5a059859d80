"""What becomes of the next packets to a port, and who decides about them."""

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..firewall.packets import TCP, Flow
from ..firewall.traces import ACCEPT, DROP, Event
from ..firewall.verdict import Verdict
from ..layout import place
from ..mirror.nf_tables import FAMILIES
from ..processes import Run
from ..system import nft_chains
from ..system.machine import Machine
from .fates import Fate

_LOOK = 0.05
# So long after its last word nothing more is said of a packet.
_QUIET = 0.4
_PROTOCOLS = {6: "tcp", 17: "udp"}


class Source(Protocol):
    """What hears of packets; `name` is the table that marks them."""

    name: str

    def events(self) -> Iterable[Event]:
        """What was heard since the last time."""


@dataclass(slots=True)
class Packet:
    """One packet, and what was said of it; an answer is one that goes out."""

    flow: Flow
    answer: bool
    heard: float
    events: list[Event] = field(default_factory=list)
    ends: dict[str, Flow | None] = field(default_factory=dict)

    @property
    def stopped(self) -> Event | None:
        """Where it was dropped, or taken by somebody else."""
        return next((one for one in self.events if one.verdict not in (None, ACCEPT)), None)

    @property
    def met(self) -> Flow:
        """Where it was on its way to when it was last seen: translated, perhaps."""
        ends = self.ends.get("input_end") or self.ends.get("forward_end")
        seen = (one.flow for one in reversed(self.events) if one.flow)
        return ends or next(seen, self.flow)

    @property
    def accepted(self) -> Event | None:
        """What let it in at last."""
        return next((one for one in reversed(self.events) if one.verdict == ACCEPT), None)

    def over(self, now: float) -> bool:
        """Whether nothing more is to be heard of it."""
        ended = self.ends.keys() & {"input_end", "postrouting_end"}
        return bool(self.stopped or ended) or now - self.heard > _QUIET


def watched(
    marks: Source,
    most: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Packet]:
    """The next packets and answers, until there were `most` packets or the time is over."""
    end, done = clock() + seconds, list[Packet]()
    open_: dict[int, Packet] = {}
    while True:
        now = clock()
        for event in marks.events():
            _note(open_, event, marks.name, now)
        over = [number for number, one in open_.items() if one.over(now)]
        done += [open_.pop(number) for number in over]
        came = [one for one in done if not one.answer]
        late = now - end
        if (len(came) >= most and not open_) or late > (_QUIET if open_ else 0):
            # What answers the last of them is on its way.
            return [*done, *open_.values()]
        sleep(_LOOK)


def _note(open_: dict[int, Packet], event: Event, name: str, now: float) -> None:
    if event.table == name and event.chain in ("prerouting", "output") and event.flow:
        open_[event.packet] = Packet(event.flow, event.chain == "output", now)
    packet = open_.get(event.packet)
    if not packet:
        return
    packet.heard = now
    if event.table == name:
        packet.ends[event.chain] = event.flow
    elif not event.table.startswith(name.rstrip("0123456789")):
        packet.events.append(event)


class Reader:
    """Says what became of packets, by the names that this machine has for it."""

    def __init__(self, run: Run, machine: Machine) -> None:
        self.run, self.machine = run, machine
        self._chains: dict[str, Mapping[int, str]] = {}

    def fates(self, packets: Sequence[Packet]) -> Mapping[Fate, int]:
        """What became of them, and of how many."""
        found: dict[Fate, int] = {}
        answers = {one.flow.back: one for one in packets if one.answer}
        for one in packets:
            if not one.answer:
                fate = self._fate(one, answers.get(one.flow))
                found[fate] = found.get(fate, 0) + 1
        return found

    def _fate(self, packet: Packet, answer: Packet | None) -> Fate:
        flow, stop = packet.flow, packet.stopped
        lost = answer.stopped if answer else None
        outcome, event = "lost", packet.accepted
        if stop:
            outcome, event = "dropped" if stop.verdict == DROP else "taken", stop
        elif "input_end" in packet.ends:
            outcome, event = ("unanswered", lost) if lost else ("passed", event)
        elif "forward_end" in packet.ends:
            outcome = "forwarded"
        elif self.machine.legacy_tables():
            outcome = "unseen"
        met = packet.met
        moved = (met.destination, met.port) != (flow.destination, flow.port)
        return Fate(
            protocol=_PROTOCOLS.get(flow.protocol, str(flow.protocol)),
            source=ipaddress.ip_address(flow.source),
            destination=ipaddress.ip_address(flow.destination),
            port=flow.port,
            outcome=outcome,
            verdict=self._verdict(event),
            text=self._text(event),
            to=place(ipaddress.ip_address(met.destination), met.port) if moved else "",
            listener=self._listener(met) if outcome in ("passed", "unanswered") else "",
        )

    def _verdict(self, event: Event | None) -> Verdict:
        if not event:
            return Verdict()
        said = "drop" if event.verdict == DROP else "accept"
        return Verdict(
            action=said,
            chain=f"{FAMILIES.get(event.family, '')} {event.table} {event.chain}",
            rule=f"handle {event.handle}" if event.handle else f"policy {said}",
        )

    def _text(self, event: Event | None) -> str:
        """The rule as nft prints it; empty if it does not, or if it was the policy."""
        if not (event and event.handle):
            return ""
        name = self._verdict(event).chain
        if name not in self._chains:
            lines = nft_chains.chain(self.run, name, "--handle").splitlines()
            rows = (line.strip().rpartition(" # handle ") for line in lines)
            self._chains[name] = {int(n): text for text, _, n in rows if n.isdecimal()}
        return self._chains[name].get(event.handle, "")

    def _listener(self, flow: Flow) -> str:
        ip = ipaddress.ip_address(flow.destination)
        sockets = self.machine.listening() if flow.protocol == TCP else self.machine.bound()
        inodes = {one.inode for one in sockets if one.covers(ip, flow.port)}
        names = self.machine.holders(inodes) if inodes else {}
        return next(iter(sorted(names.values())), "a program") if inodes else ""
