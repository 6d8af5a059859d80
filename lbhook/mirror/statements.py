"""What a rule of nftables says, statement by statement, as linux/netfilter/nf_tables.h has it."""

from collections.abc import Mapping, Sequence

from ..system.nlmsg import as_number, as_text, attribute, attributes, by_kind, nested, number, text

Statement = tuple[str, bytes]
_ELEMENT, _NAME, _DATA, _VERDICT = 1, 1, 2, 2
_ACCEPT, _DROP, _CONTINUE = 1, 0, 0xFFFFFFFF
_PLENTY = 1 << 30
# Targets of iptables that let the packet go on, whatever it is: they log, or mark for others.
SILENT_TARGETS = (
    *("LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "TEE", "RATEEST", "IDLETIMER", "LED", "CHECKSUM"),
    *("SET", "SECMARK", "CONNSECMARK"),
)
_TARGETS = {
    **dict.fromkeys(("DNAT", "REDIRECT", "TPROXY"), "translated"),
    **dict.fromkeys(("MASQUERADE", "SNAT"), ""),
    "REJECT": "drop",
}
_ENDS = {"reject": "drop", "nat": "translated", "redir": "translated", "tproxy": "translated"}
_ACTS = (
    *("reject", "nat", "redir", "masq", "tproxy", "notrack", "objref", "dynset", "target"),
    *("queue", "synproxy", "fwd"),
)
# Those that do something where they read a register, by the attribute that names it.
_ACT_IF = {"meta": 3, "ct": 4, "payload": 5, "exthdr": 7}
# The attributes that name the register a statement reads, and the one it writes.
_PLACES = {
    "payload": (5, 1),
    "cmp": (1, 0),
    "range": (1, 0),
    "bitwise": (1, 2),
    "byteorder": (1, 2),
    "lookup": (2, 3),
    "meta": (3, 1),
    "ct": (4, 1),
    "immediate": (0, 1),
    "hash": (1, 2),
    "numgen": (0, 1),
    "fib": (0, 1),
    "socket": (0, 2),
    "osf": (0, 1),
    "tunnel": (0, 2),
    "rt": (0, 1),
    "exthdr": (7, 1),
    "xfrm": (0, 1),
    "dynset": (4, 0),
    "nat": (3, 0),
}


def parsed(expressions: bytes) -> list[Statement]:
    """The statements of a rule."""
    found = []
    for _, one in attributes(expressions):
        parts = by_kind(one)
        found.append((as_text(parts.get(_NAME, b"")), parts.get(_DATA, b"")))
    return found


def packed(statements: Sequence[Statement]) -> bytes:
    """The attributes of a list of statements."""
    return b"".join(
        nested(_ELEMENT, text(_NAME, name), attribute(_DATA, data, nested=True))
        for name, data in statements
    )


def registers(name: str, parts: Mapping[int, bytes]) -> tuple[int, int]:
    """The words where a statement reads and writes; -1 if it does not."""
    places = _PLACES.get(name, (0, 0))
    found = [parts.get(kind, b"") if kind else b"" for kind in places]
    source, target = (_word(as_number(one)) if one else -1 for one in found)
    return source, target


def _word(register: int) -> int:
    """Registers of 16 bytes are 1 to 4, those of four bytes begin with 8; 0 is the verdict's."""
    if register == 0:
        return -1
    return 4 * (register - 1) if register < 8 else register - 8


def acts(name: str, data: bytes) -> bool:
    """Whether a statement does something, beside letting the packet go on or not."""
    parts = by_kind(data)
    if name in ("immediate", "lookup"):
        target = parts.get(1 if name == "immediate" else 3, b"")
        return bool(target) and as_number(target) == 0
    return name in _ACTS or _ACT_IF.get(name) in parts


def action(statements: Sequence[Statement]) -> str:
    """What a rule does with the packets that it is about."""
    found = [_one_action(name, by_kind(data)) for name, data in statements if acts(name, data)]
    known = set(filter(None, found))
    return known.pop() if len(known) == 1 else "unknown" if known else ""


def _one_action(name: str, parts: Mapping[int, bytes]) -> str:
    if name == "immediate":
        verdict = by_kind(by_kind(parts.get(2, b"")).get(_VERDICT, b""))
        code = as_number(verdict.get(1, b""))
        return {_ACCEPT: "accept", _DROP: "drop", _CONTINUE: ""}.get(code, "unknown")
    if name == "target":
        kind = as_text(parts.get(1, b""))
        return "" if kind in SILENT_TARGETS else _TARGETS.get(kind, "unknown")
    if name == "masq":
        return ""
    if name == "nat" and as_number(parts.get(1, b"")) == 0:  # NFT_NAT_SNAT
        return ""
    return _ENDS.get(name, "unknown")


def over(name: str, parts: Mapping[int, bytes]) -> bool:
    """Whether a statement is met only by what is beyond a limit."""
    flags = {"limit": 5, "connlimit": 2}.get(name)
    return flags is not None and bool(as_number(parts.get(flags, b"")) & 1)


def unbounded(name: str, data: bytes) -> bytes:
    """The same as it says, but for a limit, which is one that is never reached."""
    parts = by_kind(data)
    if name == "limit":
        rate = attribute(1, _PLENTY.to_bytes(8, "big")) + attribute(2, (1).to_bytes(8, "big"))
        return rate + number(3, 0) + _some(parts, 4, 5)
    if name == "connlimit":
        return number(1, _PLENTY) + _some(parts, 2)
    return data


def unbounded_expression(expression: bytes) -> bytes:
    """The same of what is kept with an element of a set."""
    parts = by_kind(expression)
    name = as_text(parts.get(_NAME, b""))
    data = unbounded(name, parts.get(_DATA, b""))
    return text(_NAME, name) + attribute(_DATA, data, nested=True)


def of_elements(parts: Mapping[int, bytes], alone: int, several: int) -> bytes:
    """What is kept with each element, without limits: one expression, or several."""
    if alone in parts:
        return attribute(alone, unbounded_expression(parts[alone]), nested=True)
    inner = [unbounded_expression(one) for _, one in attributes(parts.get(several, b""))]
    found = b"".join(attribute(1, one, nested=True) for one in inner)
    return attribute(several, found, nested=True) if found else b""


def _some(parts: Mapping[int, bytes], *kinds: int) -> bytes:
    return b"".join(attribute(kind, parts[kind]) for kind in kinds if kind in parts)
