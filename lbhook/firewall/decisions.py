"""Who decided about a packet, by the names that the machine has for it."""

import ipaddress
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ..layout import place
from ..mirror import listing
from ..mirror.listing import Listing
from ..mirror.nf_tables import FAMILIES
from ..mirror.replica import Replica
from ..mirror.rule_copy import OF_SENDERS, Doubt
from ..system.nlmsg import Channel
from .packets import Flow
from .traces import DROP, OURS, Event, Journey
from .verdict import ROUTING, Door, Verdict

_FORWARDING = {4: "net.ipv4.ip_forward", 6: "net.ipv6.conf.all.forwarding"}


@dataclass(slots=True)
class Knock:
    """One packet on its way, what came back, and what was sent then."""

    door: Door
    flow: Flow
    forth: Journey = field(default_factory=Journey)
    back: Journey = field(default_factory=Journey)
    then: Journey = field(default_factory=Journey)
    answered: bool = False

    @property
    def is_leaving(self) -> bool:
        """Whether an answer to it is on its way out."""
        return self.back.reached("postrouting") and not self.back.stopped

    @property
    def is_lost(self) -> bool:
        """Whether it has come nowhere, and no rule says why."""
        ended = self.forth.reached("input") or self.forth.reached("forward")
        return not (ended or self.forth.stopped)

    def begin(self, port: int) -> None:
        """Forget what became of it, and come from another port."""
        self.flow = replace(self.flow, source_port=port)
        self.forth, self.back, self.then = Journey(), Journey(), Journey()
        self.answered = False


class Decisions:
    """Who decided, by the names that the machine has for it."""

    def __init__(
        self, whole: Listing, copy: Replica, channel: Channel, settings: Mapping[str, str]
    ) -> None:
        self.copy, self.channel = copy, channel
        self.forwarding = {
            version: settings.get(name.partition(".")[2].replace(".", "/")) != "0"
            for version, name in _FORWARDING.items()
        }
        self.original: dict[tuple[int, str, str], list[int]] = defaultdict(list)
        for rule in whole.rules:
            self.original[rule.family, rule.table, rule.chain].append(rule.handle)
        self.nat = {
            (family, table, name)
            for family, table, name, parts in whole.chains
            if parts.get(7, b"").startswith(b"nat")
        }
        self.positions: dict[tuple[int, str, str], dict[int, int]] = {}

    def verdict(self, knock: Knock) -> Verdict:
        """What became of a packet, as far as that can be known."""
        found = self._plain(knock)
        back = knock.back.events if found.action == "accept" or found.answer else ()
        events = [*knock.forth.events, *back, *knock.then.events]
        for at, event in enumerate(events):
            doubt = self._doubt(event)
            if doubt and doubt.statement in OF_SENDERS and at < len(knock.forth.events):
                continue
            if doubt and not _harmless(doubt.action, found.action):
                named = self._named(event)
                return named._replace(action="unknown", rule=f"{named.rule}, {doubt.statement}")
        if self.copy.refused:
            return Verdict(action="unknown", chain=self.copy.refused[0], rule="its hook")
        return found

    def stop(self, journey: Journey) -> Verdict:
        """Where a packet was dropped; accept if it was not."""
        found = journey.stopped
        if found and found.verdict == DROP:
            return self._named(found, "drop")
        return Verdict(action="accept")

    def _plain(self, knock: Knock) -> Verdict:
        forth, stop = knock.forth, knock.forth.stopped
        if stop and stop.verdict == DROP:
            return self._named(stop, "drop")._replace(to=_moved(forth, knock.flow))
        if stop:
            return Verdict(action="accept") if knock.answered else self._named(stop, "unknown")
        if forth.reached("input") and _same(forth.flow_at("input"), knock.flow):
            return self._answered(knock)
        if forth.reached("input"):
            return self._translation(forth)._replace(to=_moved(forth, knock.flow))
        if forth.reached("forward"):
            return self._translation(forth)
        if self._translation(forth).chain and not self.forwarding[knock.flow.version]:
            name = _FORWARDING[knock.flow.version]
            return Verdict(action="drop", chain=ROUTING, rule=f"{name} is 0")
        return Verdict(action="unknown", chain=ROUTING)

    def _answered(self, knock: Knock) -> Verdict:
        """The same of what is let in, by its answer and by the packet after that."""
        back, then = knock.back.stopped, knock.then.stopped
        if back and back.verdict == DROP:
            return self._named(back, "drop")._replace(answer=True)
        if then:
            action = "drop" if then.verdict == DROP else "unknown"
            return self._named(then, action)._replace(later=action == "drop")
        if not knock.then.events or _same(knock.then.flow_at("input"), knock.flow):
            return Verdict(action="accept")
        # One that is not tracked at first is translated by a rule that meets it later.
        gone = knock.then.reached("input") or knock.then.reached("forward")
        return self._translation(knock.then) if gone else Verdict(action="unknown", chain=ROUTING)

    def _translation(self, journey: Journey) -> Verdict:
        by = [
            one
            for one in journey.events
            if (one.family, one.table, one.chain) in self.nat and one.handle
        ]
        return self._named(by[-1], "translated") if by else Verdict(action="translated")

    def _position(self, event: Event) -> int | None:
        """Which rule of its chain it is."""
        chain = (event.family, event.table, event.chain)
        if chain not in self.positions:
            found = listing.handles(self.channel, *chain)
            self.positions[chain] = {handle: at for at, handle in enumerate(found)}
        return self.positions[chain].get(event.handle)

    def _doubt(self, event: Event) -> Doubt | None:
        if not self.copy.doubts or not event.handle or event.table == OURS:
            return None
        at = self._position(event)
        chain = (event.family, event.table, event.chain)
        return None if at is None else self.copy.doubts.get((*chain, at))

    def _named(self, event: Event, action: str = "") -> Verdict:
        chain = (event.family, event.table, event.chain)
        policy = "policy drop" if event.verdict == DROP else "policy accept"
        rule = policy
        if event.handle:
            at = self._position(event)
            rule = f"handle {self.original[chain][at or 0]}"
        named = f"{FAMILIES.get(event.family, '')} {event.table} {event.chain}"
        return Verdict(action=action, chain=named, rule=rule)


def _harmless(doubtful: str, found: str) -> bool:
    """Whether a rule that can't be judged would end where the packet ended anyhow."""
    if not doubtful or doubtful == found:
        return True
    return doubtful == "accept" and found == "translated"


def agreed(verdicts: Sequence[Verdict]) -> Verdict:
    """That of all tries; if chance decides, none is known."""
    if len({one.action for one in verdicts}) == 1:
        return verdicts[0]
    named = next((one for one in verdicts if one.chain), verdicts[0])
    return named._replace(action="unknown", answer=False)


def _moved(journey: Journey, sent: Flow) -> str:
    """Where a packet was on its way to when it was last seen, if that is elsewhere."""
    met = next((one.flow for one in reversed(journey.events) if one.flow), sent)
    return "" if _same(met, sent) else place(ipaddress.ip_address(met.destination), met.port)


def _same(met: Flow | None, sent: Flow) -> bool:
    return met is not None and (met.destination, met.port) == (sent.destination, sent.port)
