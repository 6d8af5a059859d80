"""What a rule of nftables says, as the kernel has it (linux/netfilter/nf_tables.h), and how it is
copied: without what counts packets, and without what a copy can't answer.

Limits are left out, for one packet now and then is within bounds. A match on what a copy has not
(the CPU, a control group, a set of ipset) is left out as well, and the rule is kept without its
verdict: that such a rule is about a packet is seen, and what it would do is known.
"""

import re
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ..system.nlmsg import as_number, as_text, attribute, by_kind, nested, number
from . import statements
from .statements import Statement

_VALUE, _EXPRESSIONS = 1, 2
# Where the source of a packet of each version of IP is, and how long it is.
_SOURCES = {12: 4, 8: 16}
# Left out: they let the packet go on, whatever it is, and what they do besides is not wanted.
_SILENT = ("log", "flow_offload", "dup")
# Whose socket it is: of what comes in that is nobody's yet, of an answer whoever listens.
OF_SENDERS = ("meta skuid", "meta skgid")
# What a copy can't answer, by the name in nft(8) or iptables-extensions(8).
_DOUBTFUL = ("socket", "osf", "tunnel", "tproxy")
_DOUBTFUL_META = {
    10: OF_SENDERS[0],
    11: OF_SENDERS[1],
    13: "meta rtclassid",
    14: "meta secmark",
    17: "meta ibrname",
    18: "meta obrname",
    20: "meta cpu",
    23: "meta cgroup",
    26: "meta iifkind",
    27: "meta oifkind",
}
_DOUBTFUL_MATCHES = ("cgroup", "cpu", "socket", "rateest", "osf", "ipvs", "nfacct", "set")
_RANDOM = (24).to_bytes(4, "big")  # meta random
# The protocol that a match of iptables wants to be told.
_PROTOCOLS = (("meta", 16, 1), ("network", 9, 1), ("network", 6, 1))
# Known to every kernel that has nftables.
_BASIC = (
    *("payload", "cmp", "meta", "bitwise", "byteorder", "lookup", "range", "immediate", "ct"),
    *("counter", "reject", "nat", "redir", "masq", "notrack", "fib"),
)
# Where the raw form of a rule has none of these, it is copied as it is.
_PECULIAR = re.compile(
    rb"log\0|flow_offload\0|dup\0|limit\0|connlimit\0|match\0|target\0|dynset\0|numgen\0|"
    rb"hash\0|socket\0|osf\0|tunnel\0|tproxy\0|objref\0|lookup\0|"
    rb"\x08\0\x02\0\0\0\0[\x0a\x0b\x0d\x0e\x11\x12\x14\x17\x18\x1a\x1b]"
)
# Where a source is loaded, and where it is compared as well, as it is or masked: no more than that
# has to be known of it.
_LOADED = rb"\x08\0\x02\0\0\0\0\x01\x08\0\x03\0\0\0\0[\x0c\x08]"
_COMPARED = re.compile(
    _LOADED.replace(b"[", b"([").replace(b"]", b"])") + rb"\x08\0\x04\0\0\0\0(.)"
    rb"(?:L\0\x01\0\x0c\0\x01\0bitwise\0.{60}|d\0\x01\0\x0c\0\x01\0bitwise\0.{84})?"
    rb"..\x01\0\x08\0\x01\0cmp\0.{4}\x08\0\x01\0.{4}\x08\0\x02\0\0\0\0[\0\1].{4}(.)\0\x01\0",
    re.DOTALL,
)
_LOADED_ANYHOW = re.compile(_LOADED)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A rule that can't be judged: why, and what it does with a packet that it is about (accept,
    drop, translated, unknown, or nothing)."""

    statement: str
    action: str


@dataclass(slots=True)
class Copied:
    """A rule as it is loaded into the copy; `random` says that chance decides, or a hash of what
    a client chooses, and `sources` are addresses that it names."""

    statements: list[Statement]
    compat: bytes = b""
    doubt: Doubt | None = None
    random: bool = False
    sources: list[bytes] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sets:
    """What is to be known of the sets that rules look up: the bytes of a key, the keys of those
    that name sources, and those that the copy has not; `known` is what else can be asked of it."""

    lengths: Mapping[str, int]
    keys: Callable[[str], Collection[bytes]]
    missing: Collection[str]
    known: Collection[str] = ()


def plain(expressions: bytes) -> list[bytes] | None:
    """The sources that a rule names, if it is copied as it is; None if it needs a second look."""
    if _PECULIAR.search(expressions):
        return None
    loaded = len(_LOADED_ANYHOW.findall(expressions))
    if not loaded:
        return []
    compared = [_named(expressions, one) for one in _COMPARED.finditer(expressions)]
    return compared if len(compared) == loaded else None


def _named(expressions: bytes, one: re.Match[bytes]) -> bytes:
    offset, length, size = (each[0] for each in one.groups())
    found = expressions[one.end() : one.end() + min(size - 4, length)]
    return found + bytes(max(0, _SOURCES[offset] - len(found)))


def copied(rule: Sequence[Statement], sets: Sets, *, basic: bool = False) -> Copied:
    """A rule as a copy can load it; with `basic`, without all that only some kernels know."""
    return _Copy(sets, basic=basic).of(rule)


def unloadable() -> Copied:
    """A rule that the copy can't load at all."""
    return Copied(statements=[], doubt=Doubt("a statement that can't be copied", "unknown"))


class _Copy:
    """One rule on its way into the copy."""

    def __init__(self, sets: Sets, *, basic: bool) -> None:
        self.sets, self.basic = sets, basic
        self.copy = Copied(statements=[])
        self.why = ""
        self.tainted: set[int] = set()
        self.loaded: dict[int, tuple[str, int, int]] = {}
        self.protocol = self.inverted = -1

    def of(self, rule: Sequence[Statement]) -> Copied:
        """The whole rule."""
        cut = False
        for name, data in rule:
            parts = by_kind(data)
            kept, cut = self._kept(name, data, parts)
            if kept is not None:
                self.copy.statements.append(kept)
            if cut:
                break
        if self.why:
            self._doubted(rule)
        if any(name in ("match", "target") for name, _ in self.copy.statements):
            self.copy.compat = self._compat()
        return self.copy

    def _doubted(self, rule: Sequence[Statement]) -> None:
        """What is certain about it stays, and what it does is noted."""
        self.copy.doubt = Doubt(self.why, statements.action(rule))
        self.copy.statements = [one for one in self.copy.statements if not statements.acts(*one)]

    def _kept(
        self, name: str, data: bytes, parts: Mapping[int, bytes]
    ) -> tuple[Statement | None, bool]:
        """A statement as it is copied, and whether no packet gets beyond it."""
        if name in _SILENT:
            return None, False
        if name in ("limit", "connlimit"):
            return None, statements.over(name, parts)
        if name == "dynset":
            return self._dynset(parts), False
        if name in ("match", "target"):
            return self._xt(name, data, parts)
        return self._plain(name, data, parts)

    def _dynset(self, parts: Mapping[int, bytes]) -> Statement:
        kept = b"".join(attribute(kind, parts[kind]) for kind in (1, 3, 4, 5) if kind in parts)
        if as_number(parts.get(6, b"")):
            kept += attribute(6, parts[6])
        inner = statements.of_elements(parts, 7, 10)
        flags = as_number(parts.get(9, b"")) & 1 | (_EXPRESSIONS if inner else 0)
        return "dynset", kept + (number(9, flags) if flags else b"") + inner

    def _xt(
        self, name: str, data: bytes, parts: Mapping[int, bytes]
    ) -> tuple[Statement | None, bool]:
        """A match or target of iptables."""
        kind, info = as_text(parts.get(1, b"")), parts.get(3, b"")
        if name == "target":
            return (None if kind in statements.SILENT_TARGETS else (name, data)), False
        if kind in _BOUNDS:
            return None, _BOUNDS[kind](info, as_number(parts.get(2, b"")))
        if kind == "set":
            outcome = _of_ipset(info)
            if outcome is not None:
                return None, not outcome
        if kind == "statistic":
            self.copy.random = True
        if kind in _DOUBTFUL_MATCHES or self.basic:
            self._doubt(f"-m {kind}")
            return None, False
        return (name, data), False

    def _plain(
        self, name: str, data: bytes, parts: Mapping[int, bytes]
    ) -> tuple[Statement | None, bool]:
        source, target = statements.registers(name, parts)
        if name in _DOUBTFUL or (name == "meta" and self._odd_meta(parts)):
            named = name if name in _DOUBTFUL else _DOUBTFUL_META[as_number(parts[2])]
            return self._lost(named, target)
        if self._is_tainted(name, source, parts):
            return self._lost(self.why, target)
        if name in ("numgen", "hash") or (name, parts.get(2)) == ("meta", _RANDOM):
            self.copy.random = True
        if name == "lookup":
            gone = as_text(parts.get(1, b""))
            if gone in self.sets.missing:
                return self._lost(f"@{gone}", target)
        if self.basic and name not in _BASIC:
            return self._lost(name, target)
        self._note(name, source, target, parts)
        return (name, data), False

    def _odd_meta(self, parts: Mapping[int, bytes]) -> bool:
        name = _DOUBTFUL_META.get(as_number(parts.get(2, b"")), "")
        return 1 in parts and bool(name) and name not in self.sets.known

    def _lost(self, why: str, target: int) -> tuple[Statement | None, bool]:
        """A statement that can't be copied: what it loads is not known from here on."""
        self._doubt(why)
        if target >= 0:
            self.tainted |= set(range(target, target + 4))
        return None, False

    def _doubt(self, why: str) -> None:
        self.why = self.why or why

    def _is_tainted(self, name: str, source: int, parts: Mapping[int, bytes]) -> bool:
        if source < 0 or not self.tainted:
            return False
        length = 4
        if name == "lookup":
            length = self.sets.lengths.get(as_text(parts.get(1, b"")), 64)
        elif name in ("bitwise", "byteorder"):
            length = as_number(parts.get(3, b"")) or as_number(parts.get(4, b""))
        return bool(self.tainted & set(range(source, source + max(1, (length + 3) // 4))))

    def _note(self, name: str, source: int, target: int, parts: Mapping[int, bytes]) -> None:
        """Remember what is loaded where, and the sources that are named."""
        if target >= 0:
            self.tainted -= set(range(target, target + 4))
            if name != "bitwise" or source != target:
                self.loaded.pop(target, None)
        if name == "payload" and target >= 0:
            base, offset, length = (as_number(parts.get(kind, b"")) for kind in (2, 3, 4))
            if base == 1:
                self.loaded[target] = ("network", offset, length)
        elif name == "meta" and target >= 0:
            self.loaded[target] = ("meta", as_number(parts.get(2, b"")), 1)
        elif name in ("cmp", "range") and source in self.loaded:
            self._compared(name, self.loaded[source], parts)
        elif name == "lookup":
            self._looked_up(source, parts)

    def _compared(
        self, name: str, loaded: tuple[str, int, int], parts: Mapping[int, bytes]
    ) -> None:
        kind, offset, length = loaded
        value = by_kind(parts.get(3, b"")).get(_VALUE, b"")
        if loaded in _PROTOCOLS:
            self.protocol = as_number(value)
            self.inverted = int(as_number(parts.get(2, b"")) == 1)
        most = _SOURCES.get(offset, 0)
        if kind == "network" and length <= most and len(value) == length:
            self.copy.sources.append(value + bytes(most - length))

    def _looked_up(self, source: int, parts: Mapping[int, bytes]) -> None:
        name = as_text(parts.get(1, b""))
        words = (self.sets.lengths.get(name, 0) + 3) // 4
        for register, (kind, offset, length) in self.loaded.items():
            most = _SOURCES.get(offset, 0)
            if kind != "network" or length != most or not source <= register < source + words:
                continue
            at = 4 * (register - source)
            self.copy.sources += [key[at : at + most] for key in self.sets.keys(name)]

    def _compat(self) -> bytes:
        """nft_compat.c: the protocol that a rule of iptables is about, which no listing has."""
        if self.protocol < 0:
            return b""
        return nested(5, number(1, self.protocol), number(2, 2 * self.inverted))


def _of_ipset(info: bytes) -> bool | None:
    """Whether -m set lets a packet on that nobody has named; None if it asks for more than the
    source. linux/netfilter/xt_set.h: the index, how many fields, and flags of each."""
    fields, flags = info[2], info[3]
    if any(not flags & 2 << one for one in range(fields)):
        return None
    return bool(flags & 1)


def _hashlimit(info: bytes, revision: int) -> bool:
    at = 16 if revision == 1 else 256 + 16
    return bool(int.from_bytes(info[at : at + 4], sys.byteorder) & 16)


_BOUNDS: Mapping[str, Callable[[bytes, int], bool]] = {
    "limit": lambda _, __: False,
    "hashlimit": _hashlimit,
    "connlimit": lambda info, _: not info[20] & 1,
}
