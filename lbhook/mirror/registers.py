"""What the registers of a rule hold while it is read: which field of a packet is where, and what
is not known any more."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from ..system.nlmsg import as_number, as_text, by_kind, nested, number

_VALUE = 1
# Where the source of a packet of each version of IP is, and how long it is.
SOURCES = {12: 4, 8: 16}
# The protocol that a match of iptables wants to be told.
_PROTOCOLS = (("meta", 16, 1), ("network", 9, 1), ("network", 6, 1))


@dataclass(frozen=True, slots=True)
class Sets:
    """What is to be known of the sets that rules look up: the bytes of a key, the keys of those
    that name sources, and those that the copy has not; `known` is what else can be asked of it."""

    lengths: Mapping[str, int]
    keys: Callable[[str], Collection[bytes]]
    missing: Collection[str]
    known: Collection[str] = ()


class Registers:
    """Those of one rule; `sources` are addresses that it names, which are added to."""

    def __init__(self, sets: Sets, sources: list[bytes]) -> None:
        self.sets, self.sources = sets, sources
        self._lost: set[int] = set()
        self._loaded: dict[int, tuple[str, int, int]] = {}
        self._protocol = self._inverted = -1

    def lose(self, target: int) -> None:
        """What is loaded there is not known from here on; nothing is, if that is negative."""
        if target >= 0:
            self._lost |= set(range(target, target + 4))

    def is_lost(self, name: str, source: int, parts: Mapping[int, bytes]) -> bool:
        """Whether a statement reads what is not known."""
        if source < 0 or not self._lost:
            return False
        length = 4
        if name == "lookup":
            length = self.sets.lengths.get(as_text(parts.get(1, b"")), 64)
        elif name in ("bitwise", "byteorder"):
            length = as_number(parts.get(3, b"")) or as_number(parts.get(4, b""))
        return bool(self._lost & set(range(source, source + max(1, (length + 3) // 4))))

    def note(self, name: str, source: int, target: int, parts: Mapping[int, bytes]) -> None:
        """Remember what is loaded where, and the sources that are named."""
        if target >= 0:
            self._lost -= set(range(target, target + 4))
            if name != "bitwise" or source != target:
                self._loaded.pop(target, None)
        if name == "payload" and target >= 0:
            base, offset, length = (as_number(parts.get(kind, b"")) for kind in (2, 3, 4))
            if base == 1:
                self._loaded[target] = ("network", offset, length)
        elif name == "meta" and target >= 0:
            self._loaded[target] = ("meta", as_number(parts.get(2, b"")), 1)
        elif name in ("cmp", "range") and source in self._loaded:
            self._compared(name, self._loaded[source], parts)
        elif name == "lookup":
            self._looked_up(source, parts)

    def _compared(
        self, name: str, loaded: tuple[str, int, int], parts: Mapping[int, bytes]
    ) -> None:
        kind, offset, length = loaded
        value = by_kind(parts.get(3, b"")).get(_VALUE, b"")
        if loaded in _PROTOCOLS:
            self._protocol = as_number(value)
            self._inverted = int(as_number(parts.get(2, b"")) == 1)
        most = SOURCES.get(offset, 0)
        if kind == "network" and length <= most and len(value) == length:
            self.sources.append(value + bytes(most - length))

    def _looked_up(self, source: int, parts: Mapping[int, bytes]) -> None:
        name = as_text(parts.get(1, b""))
        words = (self.sets.lengths.get(name, 0) + 3) // 4
        for register, (kind, offset, length) in self._loaded.items():
            most = SOURCES.get(offset, 0)
            if kind != "network" or length != most or not source <= register < source + words:
                continue
            at = 4 * (register - source)
            self.sources += [key[at : at + most] for key in self.sets.keys(name)]

    @property
    def compat(self) -> bytes:
        """nft_compat.c: the protocol that a rule of iptables is about, which no listing has."""
        if self._protocol < 0:
            return b""
        return nested(5, number(1, self._protocol), number(2, 2 * self._inverted))
