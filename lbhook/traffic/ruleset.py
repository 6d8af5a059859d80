"""What the kernel's rules, of all tables of nftables, make of a packet, mostly the first of
a connection.

The rules of iptables-nft, ufw and firewalld are among them. Where one can't be judged and it
matters, the verdict says so and names it: nothing is guessed.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..processes import Run
from .expressions import INVALID, Packet, Question, SourceError, UnknownError

INWARD = ("ingress", "prerouting", "input")
OUTWARD = ("output", "postrouting")
_LIST = ("nft", "--json", "-nn", "list", "ruleset")
# As text, with handles: only there nft tells what a match of iptables is about.
_PRINT = ("nft", "--handle", "--stateless", "list", "ruleset")
_UNTRACKED, _CONNTRACK = ("ingress", "prerouting", "output"), -200
Element = tuple[str, ...]
_ENDS = {
    **{name: name for name in ("accept", "drop", "return")},
    "reject": "drop",
    **dict.fromkeys(("dnat", "redirect", "tproxy"), "translated"),
}
# Statements that leave the packet to the next one; of iptables, the targets that do.
_PASSES = (
    *("match", "xt", "limit", "ct count", "quota", "counter", "log", "set", "map", "comment"),
    *("ct helper", "ct timeout", "notrack", "flow", "masquerade", "snat", "continue", "mangle"),
)
_PASSES_IPTABLES = ("LOG", "NFLOG", "CT", "CONNMARK", "TCPMSS", "CHECKSUM", "MASQUERADE", "SNAT")
# A verdict that depends on the source is none for packets from nobody in particular.
_DEPENDS = {"source": "continue", "unknown": "unknown"}
_ENDS_IPTABLES = {"REJECT": "drop", "DNAT": "translated", "REDIRECT": "translated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What becomes of a packet: accept, drop, translated (to another address or port), unknown;
    in a chain also return or, where the chain ends, nothing.

    `chain` and `rule` have what drops it, or can't be judged, as in "ip filter INPUT" and
    "handle 7"; `by_source` says that it would be let in from a source that a rule names.
    """

    action: str = ""
    chain: str = ""
    rule: str = ""
    by_source: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What an element of the firewall has let in: of a connection only the first packets."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chain:
    family: str
    table: str
    name: str
    hook: str = ""
    priority: int = 0
    policy: str = "accept"
    devices: tuple[str, ...] = ()
    rules: list[Mapping[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.family} {self.table} {self.name}"

    @property
    def tracked(self) -> bool:
        """Whether it comes after connection tracking."""
        return self.hook not in _UNTRACKED or self.priority > _CONNTRACK


@dataclass(slots=True)
class _Trip:
    """One packet on its way; `named` are verdicts on it from a source of some rule."""

    packet: Packet
    named: list[Verdict] = field(default_factory=list)


class Ruleset:
    """The rules of all tables, from nft's JSON and, for those of iptables, its text."""

    def __init__(self, listing: str, printed: str = "") -> None:
        self._chains: dict[tuple[str, str, str], _Chain] = {}
        self._sets: dict[tuple[str, str, str], Sequence[Any]] = {}
        self._printed = dict(_lines(printed))
        rules = []
        for item in json.loads(listing)["nftables"]:
            ((kind, one),) = item.items()
            key = (one.get("family", ""), one.get("table", ""), one.get("name", ""))
            if kind == "chain":
                self._chains[key] = _chain(one)
            elif kind in ("set", "map"):
                self._sets[key] = one.get("elem", ())
            elif kind == "rule":
                rules.append(one)
        for one in rules:
            self._chains[one["family"], one["table"], one["chain"]].rules.append(one)

    def counters(self, names: Sequence[str]) -> Mapping[Element, Counter | None]:
        """What elements of these sets of lbhook's table have let in; None if they don't count."""
        keys = [("inet", "lbhook", name) for name in names]
        return dict(_counted(one) for key in keys for one in self._sets.get(key, ()))

    def judge(self, packet: Packet, hooks: Sequence[str] = INWARD) -> Verdict:
        """What becomes of a packet on its way through these hooks."""
        trip, by_source = _Trip(packet), False
        doubt = Verdict(action="accept")
        for chain in self._based(packet, hooks):
            trip.named.clear()
            state = packet.state if chain.tracked else INVALID
            trip.packet = replace(trip.packet, state=state)
            fates = [one if one.action else _policy(chain) for one in self._fates(chain, trip)]
            by_source |= any(one.action != "drop" for one in trip.named)
            actions = {one.action for one in fates}
            if actions == {"translated"}:
                return fates[0]
            if actions == {"drop"}:
                return replace(fates[-1], by_source=by_source)
            if actions != {"accept"} and doubt.action == "accept":
                doubt = replace(fates[0], action="unknown")
        return doubt

    def _based(self, packet: Packet, hooks: Sequence[str]) -> list[_Chain]:
        families = ("inet", "netdev", "ip" if packet.destination.version == 4 else "ip6")
        found = [one for one in self._chains.values() if one.hook in hooks]
        found = [one for one in found if one.family in families]
        found = [one for one in found if not one.devices or packet.interface in one.devices]
        return sorted(found, key=lambda one: (hooks.index(one.hook), one.priority))

    def _fates(self, chain: _Chain, trip: _Trip) -> Iterator[Verdict]:
        """All that may become of a packet in a chain; the last is what becomes of it if none of
        the rules that can't be judged is about it."""
        for rule in chain.rules:
            met = self._is_met(chain, rule, trip.packet)
            if met is False:
                continue
            before = trip.packet
            fates = list(self._acts(chain, rule, trip))
            ends = [Verdict() if one.action == "return" else one for one in fates if one.action]
            if met is True:
                yield from ends
                if len(ends) == len(fates):
                    return
                continue
            trip.packet = before if trip.packet == before else replace(before, mark=None)
            if met == "source":
                trip.named += ends
            else:
                yield from (_fate(one.action, chain, rule) for one in ends)
        yield Verdict()

    def _is_met(self, chain: _Chain, rule: Mapping[str, Any], packet: Packet) -> bool | str:
        """Whether a rule is about a packet; "source" or "unknown" if that depends."""
        printed = self._printed.get((chain.family, chain.table, rule["handle"]), "")
        ask = self._question(chain, packet).is_met
        statements = (item for statement in rule["expr"] for item in statement.items())
        found = set()
        for kind, what in statements:
            found.add(_answer(ask, kind, what, printed))
            if False in found:
                return False
        return next((one for one in ("unknown", "source") if one in found), True)

    def _acts(self, chain: _Chain, rule: Mapping[str, Any], trip: _Trip) -> Iterator[Verdict]:
        """What a rule makes of a packet that it is about; no action: the next rule has it."""
        for statement in rule["expr"]:
            ((kind, what),) = statement.items()
            if kind == "vmap":
                found = _answer(self._question(chain, trip.packet).look_up, what)
                known = found if isinstance(found, dict) else {_DEPENDS[found]: None}
                kind, what = next(iter(known.items()), ("continue", None))
            if kind in ("jump", "goto"):
                left = "" if kind == "jump" else "return"
                inner = self._chains[chain.family, chain.table, what["target"]]
                yield from (
                    one if one.action else Verdict(action=left) for one in self._fates(inner, trip)
                )
                return
            if kind == "mangle":
                self._mark(chain, what, trip)
            end = _end(kind, what)
            if end:
                yield _fate(end, chain, rule)
                return
        yield Verdict()

    def _mark(self, chain: _Chain, what: Mapping[str, Any], trip: _Trip) -> None:
        if what["key"] == {"meta": {"key": "mark"}}:
            mark = self._question(chain, trip.packet).number(what["value"])
            trip.packet = replace(trip.packet, mark=mark)

    def _question(self, chain: _Chain, packet: Packet) -> Question:
        return Question(packet, lambda name: self._sets[chain.family, chain.table, name])


def active(run: Run) -> Ruleset | None:
    """The rules that the kernel goes by; None if nft does not list them in a way known here."""
    listed = run(_LIST).output
    printed = run(_PRINT).output if '"xt"' in listed else ""
    try:
        return Ruleset(listed, printed)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None


def _chain(one: Mapping[str, Any]) -> _Chain:
    devices = one.get("dev", ())
    return _Chain(
        family=one["family"],
        table=one["table"],
        name=one["name"],
        hook=one.get("hook", ""),
        priority=one.get("prio", 0),
        policy=one.get("policy", "accept"),
        devices=(devices,) if isinstance(devices, str) else tuple(devices),
    )


def _answer(ask: Callable[..., Any], *about: Any) -> Any:
    """What is answered; if that depends, "source" or "unknown", which are no verdict of nft's."""
    try:
        return ask(*about)
    except SourceError:
        return "source"
    except (UnknownError, LookupError, TypeError, ValueError, AttributeError):
        return "unknown"


def _policy(chain: _Chain) -> Verdict:
    return Verdict(action=chain.policy, chain=str(chain), rule=f"policy {chain.policy}")


def _fate(action: str, chain: _Chain, rule: Mapping[str, Any]) -> Verdict:
    return Verdict(action=action, chain=str(chain), rule=f"handle {rule['handle']}")


def _end(kind: str, what: Any) -> str:
    """What a statement makes of a packet; empty if the next statement has it."""
    if kind == "xt" and what["type"] == "target":
        known = _ENDS_IPTABLES.get(what["name"], "unknown")
        return "" if what["name"] in _PASSES_IPTABLES else known
    return _ENDS.get(kind, "" if kind in _PASSES else "unknown")


def _counted(element: Any) -> tuple[Element, Counter | None]:
    """libnftables-json(5): an element is a value, or an object that has one and a counter."""
    whole = element["elem"] if isinstance(element, dict) and "elem" in element else {}
    value, counter = whole.get("val", element), whole.get("counter")
    words = value.get("concat", ()) if isinstance(value, dict) else [value]
    counted = Counter(packets=counter["packets"], bytes=counter["bytes"]) if counter else None
    return tuple(map(str, words)), counted


def _lines(printed: str) -> Iterator[tuple[tuple[str, str, int], str]]:
    """The rules of a printed ruleset, by family, table and handle."""
    family = table = ""
    for line in printed.splitlines():
        begun = re.match(r"table (\w+) (\S+) \{", line)
        family, table = begun.groups() if begun else (family, table)
        handle = re.search(r" # handle (\d+)$", line)
        if handle and line.startswith("\t\t"):
            yield (family, table, int(handle[1])), line
