"""The elements of a set, as they are put into the copy of it."""

import os
from collections.abc import Iterator, Sequence

from ..system.nlmsg import Channel, as_number, attribute, attributes, by_kind, text
from . import listing, nf_tables, statements
from .listing import Set

_INTERVALS = 4
# Of what is kept with an element, this decides.
_DECIDING = (b"limit\0", b"quota\0")


def filling(one: Set, elements: Sequence[bytes]) -> bytes:
    """The message that puts elements into a set."""
    content = b"".join(attribute(1, _bare(element), nested=True) for element in elements)
    head = nf_tables.family(one.family) + text(1, one.table) + text(2, one.name)
    return head + attribute(3, content, nested=True)


def put(channel: Channel, one: Set, elements: Sequence[bytes]) -> None:
    """Put elements into a set that is in the copy already; raises `OSError`."""
    for piece in _pieces(_sorted(elements)):
        for status in nf_tables.commit(
            channel, [(nf_tables.ELEMENTS, filling(one, piece))]
        ).values():
            raise OSError(status, os.strerror(status))


def pieces(one: Set) -> Iterator[Sequence[bytes]]:
    """The elements of a set, as many at a time as a message takes."""
    return _pieces(_whole_intervals(one))


def _bare(element: bytes) -> bytes:
    """An element without what counts, and without its time."""
    kept = b"".join(
        attribute(kind, content)
        for kind, content in attributes(element)
        if kind in (1, 2, 3, 9, 10)
    )
    if any(one in element for one in _DECIDING):
        kept += statements.of_elements(by_kind(element), 7, 11)
    return kept


def _sorted(elements: Sequence[bytes]) -> list[bytes]:
    """In the order that the kernel wants intervals in: by key, an end before the next begins."""

    def place(element: bytes) -> tuple[bytes, bool]:
        parts = by_kind(element)
        return by_kind(parts.get(1, b"")).get(1, b""), not listing.ends(element)

    return sorted(elements, key=place)


def _whole_intervals(one: Set) -> list[bytes]:
    """The elements of a set in their order; of one that is cut, without half an interval."""
    found = _sorted(one.elements)
    if one.whole or not as_number(one.parts.get(3, b"")) & _INTERVALS or not found:
        return found
    if 10 in by_kind(found[0]):
        return found
    while found and listing.ends(found[0]):
        found.pop(0)
    while found and not listing.ends(found[-1]):
        found.pop()
    return found


def _pieces(elements: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for at in range(0, len(elements), 256):
        yield elements[at : at + 256]
