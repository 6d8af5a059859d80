"""The rules of nftables, of all tables, as the kernel lists them: nothing is lost that nft or
iptables can't print."""

import contextlib
import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..system.nlmsg import (
    NETFILTER,
    Channel,
    InterruptedListingError,
    as_number,
    as_text,
    attribute,
    attributes,
    by_kind,
    nested,
    number,
    text,
)
from . import nf_tables

_DORMANT, _INTERVAL_END = 1, 1
# Of a set that has more, the elements that a packet may be looked up by are asked for.
MOST_ELEMENTS = 8192
# As many elements of such a set stand for the sources that it names.
_SOME_ELEMENTS = 16
# nft's numbers for what a key is made of (its datatype.h), six bits for each.
IPV4, IPV6, PROTOCOL, PORT, MARK, INTERFACE = 7, 8, 12, 13, 19, 41
SIZES = {IPV4: 4, IPV6: 16, PROTOCOL: 1, PORT: 2, MARK: 4, INTERFACE: 16}
_TRIES = 8


class Rule(NamedTuple):
    """A rule as it is listed."""

    family: int
    table: str
    chain: str
    handle: int
    expressions: bytes


class Set:
    """A set or a map; `whole` is false if it has more elements than are copied."""

    def __init__(self, family: int, table: str, name: str, parts: Mapping[int, bytes]) -> None:
        self.family, self.table, self.name, self.parts = family, table, name, parts
        self.elements: list[bytes] = []
        self.whole = True

    @property
    def key_length(self) -> int:
        """Bytes of a key."""
        return as_number(self.parts.get(5, b""))


class Listing:
    """All that is to be copied."""

    def __init__(self) -> None:
        self.tables: list[tuple[int, str, int]] = []
        self.chains: list[tuple[int, str, str, Mapping[int, bytes]]] = []
        self.objects: list[tuple[int, str, Mapping[int, bytes]]] = []
        self.sets: list[Set] = []
        self.rules: list[Rule] = []


def listed(channel: Channel) -> Listing:
    """What the kernel has in this network namespace; raises `OSError`."""
    found = Listing()
    for kind, content in _all(channel, nf_tables.TABLE):
        parts = by_kind(content)
        flags = as_number(parts.get(2, b"")) & _DORMANT
        found.tables.append((kind, as_text(parts[1]), flags))
    for kind, content in _all(channel, nf_tables.CHAIN):
        parts = by_kind(content)
        found.chains.append((kind, as_text(parts[1]), as_text(parts[3]), parts))
    for kind, content in _all(channel, nf_tables.OBJECT):
        parts = by_kind(content)
        found.objects.append((kind, as_text(parts[1]), parts))
    found.sets = [_as_set(kind, content) for kind, content in _all(channel, nf_tables.SET)]
    for kind, content in _all(channel, nf_tables.RULE):
        parts = by_kind(content)
        place = as_text(parts[1]), as_text(parts[2]), as_number(parts[3])
        found.rules.append(Rule(kind, *place, parts.get(4, b"")))
    for one in found.sets:
        _fill(one)
    return found


def sets(channel: Channel, family: int, table: str) -> list[Set]:
    """The sets of one table, without their elements; none if there is no such table. Raises
    `OSError`."""
    found = (_as_set(kind, content) for kind, content in _all(channel, nf_tables.SET))
    return [one for one in found if (one.family, one.table) == (family, table)]


def rules(channel: Channel, family: int, table: str) -> Iterator[tuple[str, Mapping[int, bytes]]]:
    """The rules of one table, by their chain, in their order; none if there is no such table.
    Raises `OSError`."""
    for kind, content in _all(channel, nf_tables.RULE):
        parts = by_kind(content)
        if (kind, as_text(parts[1])) == (family, table):
            yield as_text(parts[2]), parts


def _as_set(family: int, content: bytes) -> Set:
    parts = by_kind(content)
    return Set(family, as_text(parts[1]), as_text(parts[2]), parts)


def _all(channel: Channel, kind: int) -> Iterator[tuple[int, bytes]]:
    """Family and attributes of all that a copy may have."""
    for one in channel.listed(nf_tables.kind(kind) + 1, nf_tables.family(0)):
        if one[0] in nf_tables.FAMILIES:
            yield one[0], one[4:]


def _fill(one: Set) -> None:
    """List its elements, but no more than are copied."""
    for _ in range(_TRIES):
        with Channel(NETFILTER) as channel:
            try:
                found = list(islice(elements(channel, one), MOST_ELEMENTS + 1))
            except InterruptedListingError:
                continue
            one.whole = len(found) <= MOST_ELEMENTS
            one.elements = found if one.whole else found[:_SOME_ELEMENTS]
            return


def elements(channel: Channel, one: Set) -> Iterator[bytes]:
    """The elements of a set, as they come; raises `OSError`."""
    asked = nf_tables.family(one.family) + text(1, one.table) + text(2, one.name)
    for found in channel.dumped(nf_tables.kind(nf_tables.ELEMENTS) + 1, asked):
        listed = by_kind(found[4:]).get(3, b"")
        yield from (content for _, content in attributes(listed))


def holds(channel: Channel, one: Set, key: bytes) -> bool:
    """Whether a set has an element, or an interval, for a key."""
    wanted = (
        text(1, one.table) + text(2, one.name) + nested(3, nested(1, nested(1, attribute(1, key))))
    )
    with contextlib.suppress(OSError):
        head = nf_tables.family(one.family)
        return bool(channel.ask(nf_tables.kind(nf_tables.ELEMENTS) + 1, head + wanted))
    return False


def matching(channel: Channel, one: Set, keys: Iterable[bytes]) -> list[bytes]:
    """The elements of a set that hold these keys; of an interval both ends."""
    found: dict[bytes, None] = {}
    for key in keys:
        for flags in (b"", number(3, _INTERVAL_END)):
            wanted = nested(1, nested(1, attribute(1, key)), flags)
            asked = text(1, one.table) + text(2, one.name) + nested(3, wanted)
            with contextlib.suppress(OSError):
                answer = channel.ask(
                    nf_tables.kind(nf_tables.ELEMENTS) + 1, nf_tables.family(one.family) + asked
                )
                for _, element in attributes(by_kind(answer[4:]).get(3, b"")):
                    found[element] = None
    return list(found)


def handles(channel: Channel, family: int, table: str, chain: str) -> list[int]:
    """The handles of the rules of a chain, in their order."""
    asked = nf_tables.family(family) + text(1, table) + text(2, chain)
    listed = (by_kind(one[4:]) for one in channel.listed(nf_tables.kind(nf_tables.RULE) + 1, asked))
    return [as_number(one[3]) for one in listed if as_text(one[2]) == chain]


def ends(element: bytes) -> bool:
    """Whether an element is where an interval ends."""
    return bool(as_number(by_kind(element).get(3, b"")) & _INTERVAL_END)


def some_keys(one: Set) -> list[bytes]:
    """Some of the keys of a set."""
    some = islice(one.elements, 2 * _SOME_ELEMENTS)
    found = (by_kind(element) for element in some if not ends(element))
    return [by_kind(parts[1]).get(1, b"") for parts in found if 1 in parts]


def fields(one: Set) -> list[int]:
    """What a key is made of."""
    kinds: list[int] = []
    left = as_number(one.parts.get(4, b""))
    while left:
        kinds.insert(0, left & 63)
        left >>= 6
    return kinds


def words(kinds: Sequence[int], key: bytes) -> Iterator[str]:
    """What a key is made of, as one reads it."""
    at = 0
    for kind in kinds:
        part = key[at : at + SIZES[kind]]
        at += (SIZES[kind] + 3) & ~3
        yield str(ipaddress.ip_address(part) if kind in (IPV4, IPV6) else as_number(part))


def is_known(one: Set) -> bool:
    """Whether all that a key is made of is known of a packet."""
    return all(kind in SIZES for kind in fields(one))
