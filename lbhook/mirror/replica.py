"""A copy of the rules of nftables in another network namespace.

They are copied as the kernel has them, message by message: no language is read. What is anonymous
gets the name that the kernel gave it.
"""

import errno
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..system.nlmsg import (
    Channel,
    as_number,
    as_text,
    attribute,
    attributes,
    by_kind,
    nested,
    number,
    text,
)
from . import elements, listing, nf_tables, rule_copy, statements
from .listing import Listing, Rule, Set
from .registers import Sets
from .rule_copy import Copied, Doubt

_ANONYMOUS_OR_CONSTANT, _WITH_EXPRESSIONS = 3, 0x100
_LIMITS = {4: "limit", 5: "connlimit"}
_TRIES = 8


@dataclass(slots=True)
class _Item:
    """One message of what is loaded: it is made anew, and poorer, each time it is refused."""

    kind: int
    make: Callable[[int], bytes | None]
    refusals: int = 0


_Made = tuple[_Item, bytes]


def _always(kind: int, content: bytes) -> _Item:
    """What is sent once, or not at all."""
    return _Item(kind, lambda refusals: None if refusals else content)


class Replica:
    """A copy of a listing in the network namespace of a channel.

    `doubts` are rules that can't be judged, by chain and position; `refused` are chains that are
    not in the copy. `random` says that chance decides somewhere, and `sources` are addresses that
    rules name.
    """

    def __init__(
        self, whole: Listing, devices: Collection[str], askable: Collection[str] = ()
    ) -> None:
        self.whole, self.devices, self.askable = whole, devices, askable
        self.doubts: dict[tuple[int, str, str, int], Doubt] = {}
        self.refused: list[str] = []
        self.random = False
        self.sources: dict[bytes, None] = {}
        self._missing: dict[tuple[int, str], set[str]] = defaultdict(set)
        self._sets: dict[tuple[int, str], dict[str, Set]] = defaultdict(dict)
        for one in whole.sets:
            self._sets[one.family, one.table][one.name] = one
            if not one.whole and not listing.is_known(one):
                self._missing[one.family, one.table].add(one.name)
        self._known: dict[tuple[int, str], Sets] = {}

    def load(self, channel: Channel) -> None:
        """Load it; raises `OSError` if that can't be done."""
        waiting: list[_Made] = []
        room = 0
        for item in self._items():
            content = item.make(0)
            if content is None:
                continue
            waiting.append((item, content))
            room += len(content) + 20
            if room > channel.room:
                self._sent(channel, waiting)
                waiting, room = [], 0
        self._sent(channel, waiting)

    def _sent(self, channel: Channel, made: list[_Made]) -> None:
        """Send some at once; what is refused is made anew, or left out."""
        for _ in range(_TRIES):
            if not made:
                return
            failed = nf_tables.commit(channel, [(item.kind, content) for item, content in made])
            if not failed:
                return
            for place in failed:
                made[place][0].refusals += 1
            again = [
                (item, item.make(item.refusals) if place in failed else content)
                for place, (item, content) in enumerate(made)
            ]
            made = [(item, content) for item, content in again if content is not None]
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))

    def _items(self) -> Iterator[_Item]:
        for family, name, flags in self.whole.tables:
            yield _always(
                nf_tables.TABLE, nf_tables.family(family) + text(1, name) + number(2, flags)
            )
        for chain in self.whole.chains:
            yield _Item(nf_tables.CHAIN, partial(self._chain, chain))
        for thing in self.whole.objects:
            yield _always(nf_tables.OBJECT, _object(thing))
        for place, one in enumerate(self.whole.sets):
            yield _Item(nf_tables.SET, partial(self._set, one, place))
        for one in self.whole.sets:
            for some in elements.pieces(one):
                yield _Item(nf_tables.ELEMENTS, partial(self._filled, one, some))
        places: dict[tuple[int, str, str], int] = defaultdict(int)
        for rule in self.whole.rules:
            chain_of = rule.family, rule.table, rule.chain
            yield _Item(nf_tables.RULE, partial(self._rule, rule, places[chain_of]))
            places[chain_of] += 1

    def _chain(self, chain: tuple[int, str, str, Mapping[int, bytes]], refusals: int) -> bytes:
        family, table, name, parts = chain
        content = nf_tables.family(family) + text(1, table) + text(3, name)
        hook = self._hook(parts[4]) if 4 in parts else b""
        if not hook:
            return content
        if refusals:
            self.refused.append(f"{nf_tables.FAMILIES[family]} {table} {name}")
            return content
        return (
            content
            + hook
            + b"".join(attribute(kind, parts[kind]) for kind in (5, 7) if kind in parts)
        )

    def _hook(self, content: bytes) -> bytes:
        """Where a chain is hooked, on those devices that the copy has; empty if it has none."""
        parts = by_kind(content)
        kept = b"".join(attribute(kind, parts[kind]) for kind in (1, 2))
        if 3 not in parts and 4 not in parts:
            return nested(4, kept)
        names = list(attributes(parts[4])) if 4 in parts else [(1, parts[3])]
        there = [one for one in names if one[0] != 1 or as_text(one[1]) in self.devices]
        if not there:
            return b""
        return nested(4, kept, nested(4, *(attribute(kind, name) for kind, name in there)))

    def _set(self, one: Set, place: int, refusals: int) -> bytes | None:
        if refusals > 1:
            self._missing[one.family, one.table].add(one.name)
            return None
        parts = one.parts
        inner = b"" if refusals else statements.of_elements(parts, 17, 18)
        flags = as_number(parts.get(3, b"")) & ~(_ANONYMOUS_OR_CONSTANT | _WITH_EXPRESSIONS)
        flags |= _WITH_EXPRESSIONS if inner else 0
        kinds = (
            (4, 5, 6, 7, 8, 11, 12, 15)
            if refusals or not one.whole
            else (4, 5, 6, 7, 8, 9, 11, 12, 15)
        )
        kept = b"".join(attribute(kind, parts[kind]) for kind in kinds if kind in parts)
        desc = _fields(parts) if not one.whole or refusals else b""
        head = nf_tables.family(one.family) + text(1, one.table) + text(2, one.name)
        return head + number(3, flags) + kept + desc + inner + number(10, place + 1)

    def _filled(self, one: Set, some: Sequence[bytes], refusals: int) -> bytes | None:
        if refusals or one.name in self._missing[one.family, one.table]:
            self._missing[one.family, one.table].add(one.name)
            return None
        return elements.filling(one, some)

    def _rule(self, rule: Rule, place: int, refusals: int) -> bytes:
        head = nf_tables.family(rule.family) + text(1, rule.table) + text(2, rule.chain)
        named = None if refusals else rule_copy.plain(rule.expressions)
        if named is not None:
            self.sources.update(dict.fromkeys(named))
            return head + attribute(4, rule.expressions, nested=True)
        copied = self._copied(rule, refusals)
        self.random |= copied.random
        self.sources.update(dict.fromkeys(copied.sources))
        if copied.doubt:
            self.doubts[rule.family, rule.table, rule.chain, place] = copied.doubt
        packed = statements.packed(copied.statements)
        return head + attribute(4, packed, nested=True) + copied.compat

    def _copied(self, rule: Rule, refusals: int) -> Copied:
        if refusals > 1:
            return rule_copy.unloadable()
        known = self._known_of(rule.family, rule.table)
        return rule_copy.copied(statements.parsed(rule.expressions), known, basic=bool(refusals))

    def _known_of(self, family: int, table: str) -> Sets:
        """What rules of a table are to know of its sets."""
        place = (family, table)
        if place not in self._known:
            sets = self._sets[place]
            self._known[place] = Sets(
                lengths={name: one.key_length for name, one in sets.items()},
                keys=lambda name: listing.some_keys(sets[name]) if name in sets else (),
                missing=self._missing[place],
                known=self.askable,
            )
        return self._known[place]


def _object(one: tuple[int, str, Mapping[int, bytes]]) -> bytes:
    """An object; of a limit one that is never reached, whatever the copy is asked."""
    family, table, parts = one
    kind = as_number(parts[3])
    kept = statements.unbounded(_LIMITS.get(kind, ""), parts.get(4, b""))
    head = (
        nf_tables.family(family) + text(1, table) + attribute(2, parts[2]) + attribute(3, parts[3])
    )
    return head + attribute(4, kept, nested=True)


def _fields(parts: Mapping[int, bytes]) -> bytes:
    """The lengths of the fields of a key, which tell the kernel what kind of set it is, without
    the size."""
    described = by_kind(parts.get(9, b""))
    return nested(9, attribute(2, described[2], nested=True)) if 2 in described else b""
