"""Who sends packets to a copy: nobody in particular, and the sources that rules name."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from itertools import product

from ..mirror import elements, listing
from ..mirror.listing import Listing, Set
from ..system.nlmsg import Channel, as_number, by_kind
from .packets import Flow

# The first of these networks that no rule has a part of: addresses of the internet.
_NOBODY4 = (81, 45, 203, 91, 109, 24, 62, 185, 151, 99)
_NOBODY6 = ("2a02:26f0", "2600:1f18", "2a00:1450", "2001:4860", "2403:300", "2804:14d")
_BEGIN, _END = 4660, b"\x4d"
# Prime to the number of all: each comes once, and the next is far from the last.
_STEP, _ALL = 7919, 60000
# A set of more is a list, and one of networks may be: no part of the internet is free of those.
_FEW, _INTERVALS, _TRIES = 64, 4, 32


class Nobody:
    """Addresses that no rule names, and no list, each time another one: what is counted for each
    client is counted anew."""

    def __init__(self, whole: Listing, sources: Iterable[bytes], origin: Channel) -> None:
        self._origin = origin
        few = (one for one in whole.sets if not _is_list(one))
        named = {*sources, *(one for each in few for one in _addresses(each))}
        known = {one[:1] if len(one) == 4 else one[:4] for one in named}
        six = [ipaddress.IPv6Address(f"{one}::").packed[:4] for one in _NOBODY6]
        four = [bytes([one]) for one in _NOBODY4]
        self._networks = {4: sorted(four, key=known.__contains__)}
        self._networks[6] = sorted(six, key=known.__contains__)
        lists = [one for one in whole.sets if _is_list(one)]
        self._lists = {
            version: [one for one in lists if listing.fields(one) == [kind]]
            for version, kind in ((4, listing.IPV4), (6, listing.IPV6))
        }
        self._count = _BEGIN

    def next(self, version: int) -> bytes:
        """Another one."""
        networks = self._networks[version]
        for place, network in enumerate(networks):
            for _ in range(_TRIES):
                found = self._another(network)
                if not self._is_listed(version, found):
                    del networks[:place]
                    return found
        # Everybody is on a list: so is nobody in particular.
        self._lists[version] = []
        return self._another(networks[0])

    def _is_listed(self, version: int, address: bytes) -> bool:
        return any(listing.holds(self._origin, one, address) for one in self._lists[version])

    def _another(self, network: bytes) -> bytes:
        self._count = (self._count + _STEP) % _ALL
        middle = self._count.to_bytes(2, "big")
        size = 4 if len(network) == 1 else 16
        return (network + middle).ljust(size - 1, b"\0") + _END


def _is_list(one: Set) -> bool:
    if len(listing.fields(one)) != 1:
        return False
    networks = as_number(one.parts.get(3, b"")) & _INTERVALS
    return bool(networks) or not one.whole or len(one.elements) > _FEW


class LargeSets:
    """The elements of sets that are not copied whole: those that a packet may be looked up by are
    put into the copy before it is sent."""

    def __init__(self, whole: Listing, origin: Channel, copy: Channel) -> None:
        self._origin, self._copy = origin, copy
        self._sets = [(one, listing.fields(one)) for one in whole.sets if not one.whole]
        self._known: set[tuple[int, bytes]] = set()

    def ask(self, flow: Flow, device: str) -> None:
        """Put what is to be known of a packet; raises `OSError`."""
        for at, (one, kinds) in enumerate(self._sets):
            keys = [key for key in _keys(kinds, flow, device) if (at, key) not in self._known]
            self._known.update((at, key) for key in keys)
            found = listing.matching(self._origin, one, keys)
            if found:
                elements.put(self._copy, one, found)


def named(sources: Iterable[bytes], version: int) -> list[bytes]:
    """Sources that rules name: addresses, and the first one of networks."""
    found: dict[bytes, None] = {}
    for one in sources:
        if len(one) == (4 if version == 4 else 16) and any(one):
            found[one[:-1] + bytes([one[-1] | 1])] = None
            found[one] = None
    return [one for one in found if _is_sender(one)]


def _is_sender(one: bytes) -> bool:
    address = ipaddress.ip_address(one)
    return not (address.is_multicast or address.is_loopback or address.is_unspecified)


def _keys(kinds: Sequence[int], flow: Flow, device: str) -> Iterator[bytes]:
    """The keys that a packet may be looked up by."""
    ports = (flow.port.to_bytes(2, "big"), flow.source_port.to_bytes(2, "big"))
    known = {
        listing.PROTOCOL: (bytes([flow.protocol]),),
        listing.PORT: ports,
        listing.MARK: (bytes(4),),
        listing.INTERFACE: (device.encode().ljust(16, b"\0"),),
        listing.IPV4 if flow.version == 4 else listing.IPV6: (flow.source, flow.destination),
    }
    for parts in product(*(known.get(kind, ()) for kind in kinds)):
        alone = len(parts) == 1
        yield b"".join(one if alone else one + bytes(-len(one) % 4) for one in parts)


def _addresses(one: Set) -> Iterator[bytes]:
    """The addresses in the keys of a set, whatever they are for."""
    at = 0
    for kind in listing.fields(one):
        size = listing.SIZES.get(kind)
        if size is None:
            return
        if kind in (listing.IPV4, listing.IPV6):
            for element in one.elements:
                key = by_kind(by_kind(element).get(1, b"")).get(1, b"")
                yield key[at : at + size]
        at += (size + 3) & ~3
