"""What a rule of nftables says, as the kernel has it (linux/netfilter/nf_tables.h), and how it is
copied: without what counts packets, and without what a copy can't answer.

Limits are left out, for one packet now and then is within bounds. A match on what a copy has not
(the CPU, a control group, a set of ipset) is left out as well, and the rule is kept without its
verdict: that such a rule is about a packet is seen, and what it would do is known.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ..system.nlmsg import as_number, as_text, attribute, by_kind, number
from . import statements
from .registers import SOURCES, Registers, Sets
from .statements import Statement

_EXPRESSIONS = 2
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
    return found + bytes(max(0, SOURCES[offset] - len(found)))


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
        self.registers = Registers(sets, self.copy.sources)

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
            self.copy.compat = self.registers.compat
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
        if self.registers.is_lost(name, source, parts):
            return self._lost(self.why, target)
        if name in ("numgen", "hash") or (name, parts.get(2)) == ("meta", _RANDOM):
            self.copy.random = True
        if name == "lookup":
            gone = as_text(parts.get(1, b""))
            if gone in self.sets.missing:
                return self._lost(f"@{gone}", target)
        if self.basic and name not in _BASIC:
            return self._lost(name, target)
        self.registers.note(name, source, target, parts)
        return (name, data), False

    def _odd_meta(self, parts: Mapping[int, bytes]) -> bool:
        name = _DOUBTFUL_META.get(as_number(parts.get(2, b"")), "")
        return 1 in parts and bool(name) and name not in self.sets.known

    def _lost(self, why: str, target: int) -> tuple[Statement | None, bool]:
        """A statement that can't be copied: what it loads is not known from here on."""
        self._doubt(why)
        self.registers.lose(target)
        return None, False

    def _doubt(self, why: str) -> None:
        self.why = self.why or why


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
