"""The kernel's rules, of all tables of nftables: what they make of packets, and what they count."""

import contextlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import processes
from ..metadata.reader import Address
from ..mirror import listing
from ..mirror.listing import Set
from ..system.nlmsg import NETFILTER, Channel, as_number, as_text, attributes, by_kind
from .verdict import Counter, Door, Element, TalliedRule, Tally, Verdict

if TYPE_CHECKING:
    from .trial import Trial

_PATIENCE = 30.0
_INET = 1


class FirewallError(Exception):
    """Why nothing can be said of the kernel's rules."""


class Firewall:
    """The rules of this network namespace. Whoever asks must be root; nothing is changed."""

    def judge(self, doors: Sequence[Door], absent: Mapping[str, str]) -> list[Verdict]:
        """What becomes of the first packet to each of them.

        `absent` are addresses that this machine has not, and the interfaces that would have them.
        Raises `FirewallError`.
        """
        if not doors:
            return []
        devices = list(dict.fromkeys(one.device for one in doors if one.device))
        return _tried(devices, absent, lambda trial: trial.judge(doors))

    def call(self, destination: Address, port: int, device: str) -> tuple[Verdict, Verdict]:
        """What becomes of a call to somebody else, and of the answer; raises `FirewallError`."""
        # A boot reads what is counted, and no rule.
        from ..mirror.rule_copy import OF_SENDERS

        asked, answered = _tried(
            [device], {}, lambda trial: trial.call(destination, port, device), OF_SENDERS
        )
        return asked, answered

    def counters(
        self, names: Sequence[str], table: str = "lbhook"
    ) -> Mapping[Element, Counter | None]:
        """What elements of these sets of a table of lbhook's count, such as what they have let in;
        None if they don't count.

        Raises `FirewallError`.
        """
        with _channel() as channel:
            found = [one for one in listing.sets(channel, _INET, table) if one.name in names]
            return {
                element: counter
                for one in found
                for element, counter in _counted(one, listing.elements(channel, one))
            }

    def rules(self, table: str = "lbhook") -> Mapping[str, tuple[TalliedRule, ...]]:
        """The rules of each chain of a table of lbhook, in their order, with what they count; none
        if there is no such table.

        Raises `FirewallError`.
        """
        found: dict[str, tuple[TalliedRule, ...]] = {}
        with _channel() as channel:
            for chain, parts in listing.rules(channel, _INET, table):
                found[chain] = (*found.get(chain, ()), _tallied(parts))
        return found

    def tally(self, table: str = "lbhook") -> Tally:
        """All that a table of lbhook counts, but for sets whose keys are not understood.

        Raises `FirewallError`.
        """
        rules = self.rules(table)
        with _channel() as channel:
            sets = [one for one in listing.sets(channel, _INET, table) if listing.is_known(one)]
            elements = {
                one.name: {
                    element: counter
                    for element, counter in _counted(one, listing.elements(channel, one))
                    if counter
                }
                for one in sets
            }
        return Tally(rules=rules, elements=elements)


@contextlib.contextmanager
def _channel() -> Iterator[Channel]:
    """To the rules themselves; what can't be read of them is a `FirewallError`."""
    try:
        with Channel(NETFILTER) as channel:
            yield channel
    except (OSError, ValueError, LookupError) as error:
        raise FirewallError(_why(error)) from None


def _tried(
    devices: Sequence[str],
    absent: Mapping[str, str],
    ask: "Callable[[Trial], Sequence[Verdict]]",
    askable: Sequence[str] = (),
) -> list[Verdict]:
    """What a copy of this machine says, made by a process that ends with it."""

    def work() -> bytes:
        from .trial import Trial

        try:
            found = [one._asdict() for one in ask(Trial(devices, absent, askable))]
            return json.dumps(found).encode()
        except (OSError, ValueError, LookupError, struct.error) as error:
            return json.dumps(_why(error)).encode()

    said = json.loads(
        processes.forked(work, _PATIENCE) or json.dumps(_why(TimeoutError("no answer")))
    )
    if isinstance(said, str):
        raise FirewallError(said)
    return [Verdict(**one) for one in said]


def _why(error: BaseException) -> str:
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"the firewall: its rules can't be tried in a network namespace ({said})"


def _counted(one: Set, elements: Iterable[bytes]) -> Iterator[tuple[Element, Counter | None]]:
    """Each element, as the template of the firewall writes it, and what it counts."""
    kinds = listing.fields(one)
    for element in elements:
        parts = by_kind(element)
        if 1 in parts:
            key = by_kind(parts[1]).get(1, b"")
            yield tuple(listing.words(kinds, key)), _counter(parts)


def _counter(parts: Mapping[int, bytes]) -> Counter | None:
    """linux/netfilter/nf_tables.h: an expression of an element, or several."""
    found = [parts[7]] if 7 in parts else [one for _, one in attributes(parts.get(11, b""))]
    return next(_counters(found), None)


def _counters(expressions: Iterable[bytes]) -> Iterator[Counter]:
    for expression in map(by_kind, expressions):
        if as_text(expression.get(1, b"")) == "counter":
            data = by_kind(expression[2])
            yield Counter(packets=as_number(data[2]), bytes=as_number(data[1]))


def _tallied(parts: Mapping[int, bytes]) -> TalliedRule:
    """linux/netfilter/nf_tables.h: a rule; its comment is where nft puts it, the first of what
    the kernel keeps for nft (kind 0, its length, and a text that ends with a zero)."""
    counters = list(_counters(one for _, one in attributes(parts.get(4, b""))))
    kept = parts.get(7, b"")
    comment = kept[2 : 2 + kept[1]] if len(kept) > 2 and not kept[0] else b""
    return TalliedRule(
        handle=as_number(parts[3]),
        comment=as_text(comment),
        counter=counters[0] if len(counters) == 1 else None,
    )
