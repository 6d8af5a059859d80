"""What `show` prints: what Azure says about this VM and where it leads here, as a picture in
text."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..layout import Row, aligned, count, fitting, place, table, width, wrapped
from ..metadata.facts import Facts
from ..metadata.model import AddressPair, Metadata
from ..metadata.ranges import kind
from ..metadata.reader import Address
from .paths import Picture, Way, rules_only

T = TypeVar("T")
# What a picture shows of many, unless it is to show all: frontends, and rules of each.
_MOST_GROUPS, _MOST_WAYS = 20, 10
Group = tuple[tuple[Address, Address], list[Way]]


def to_text(
    lb: Facts, metadata: Metadata, picture: Picture | None = None, *, everything: bool = False
) -> str:
    """What Azure says about this VM, and where it leads on this machine."""
    tunnels = [
        (
            (place(one.gateway_ip_address, one.gateway_port), one.protocol),
            (place(one.local_ip_address, one.local_port), f"{one.type} {one.identifier}"),
        )
        for one in lb.tunnel_interfaces
    ]
    parts = [
        table("Public addresses of this VM", [_pair_row(one) for one in lb.public_ips]),
        *_own_private(lb),
        _inbound(picture or rules_only(lb), everything=everything),
        table("Outbound rules", [_pair_row(one) for one in lb.outbound_rules]),
    ]
    if tunnels:
        parts.append(table("Tunnels of a gateway load balancer", tunnels))
    if picture and picture.also_open:
        parts.append("\n".join(["Also open", *map(wrapped, picture.also_open), ""]))
    if picture and picture.unseen:
        parts.append("\n".join(["Not seen", *map(wrapped, picture.unseen), ""]))
    if metadata.warnings:
        parts.append("\n".join(["Warnings", *map(wrapped, metadata.warnings), ""]))
    return "\n".join(parts)


def _own_private(lb: Facts) -> Sequence[str]:
    """What Azure lists as public and nobody on the Internet reaches, if there is any."""
    rows: list[Row] = [
        ((str(one.frontend_ip), kind(one.frontend_ip).value), (str(one.private_ip),))
        for one in lb.private_ips
    ]
    return [table("Not public, though Azure lists them there", rows)] if rows else []


def groups(picture: Picture) -> list[Group]:
    """The ways of each pair of a frontend address and an address here, in their order."""
    found: dict[tuple[Address, Address], list[Way]] = {}
    for way in picture.ways:
        found.setdefault((way.rule.frontend_ip, way.rule.private_ip), []).append(way)
    return list(found.items())


def listener_words(way: Way) -> str:
    """Who listens, in a few words."""
    if not way.listening:
        if "nobody listens" not in way.problems:
            return ""
        places = ", ".join(f"{one.program or 'a program'} on {ip}" for ip, one in way.elsewhere)
        return f"only {places}" if places else "nobody listens"
    names = (
        f"{one.program or 'a program'} ({one.unit})" if one.unit else one.program or "a program"
        for one in way.listening
    )
    return ", ".join(names)


def firewall_words(way: Way) -> str:
    """What the kernel's rules do, in a few words."""
    if not way.verdict:
        return ""
    if way.open_to_some:
        return "open to some"
    if way.verdict.answer:
        return f"replies dropped by {way.verdict.chain}"
    if way.verdict.action != "accept":
        said = {"drop": "dropped by", "translated": "redirected by"}
        return f"{said.get(way.verdict.action, 'unknown:')} {way.verdict.chain}"
    return f"open, {count(way.counter.packets, 'packet')}" if way.counter else "open"


def origin(way: Way) -> str:
    """Who gave a rule, if it was not Azure."""
    return "by configuration" if way.rule.by_configuration else ""


def limit_words(way: Way) -> str:
    """Who alone may come, in a line; empty if everybody may."""
    said = "; ".join(map(str, way.limits))
    return f"{said}, once it is applied" if said and way.unlimited else said


def _inbound(picture: Picture, *, everything: bool) -> str:
    if not picture.ways:
        return "Inbound rules\n  none\n"
    found = groups(picture)
    chosen = found if everything else _chosen(found, _MOST_GROUPS, _is_bad)
    shown = {
        key: ways if everything else _chosen(ways, _MOST_WAYS, _problems) for key, ways in chosen
    }
    rows = iter(_rows([way for ways in shown.values() for way in ways]))
    lines = ["Inbound rules"]
    for key, ways in chosen:
        lines += _heading(key, ways[0])
        for way in shown[key]:
            lines.append(f"{_mark(way)}   {next(rows)}")
            lines += [wrapped(limit_words(way), " " * 8, " " * 8)] if way.limits else []
        lines += _more(ways, shown[key], "rule", _problems, "    ")
    lines += _more(found, chosen, "frontend address", _is_bad, "  ")
    bad = sum(1 for way in picture.ways if way.problems)
    if bad:
        lines.append(
            f"! something is wrong with {bad} of {count(len(picture.ways), 'inbound rule')}"
        )
    return "\n".join([*lines, ""])


def _chosen(items: Sequence[T], most: int, bad: Callable[[T], object]) -> Sequence[T]:
    """At most so many, in their order: what is bad before the rest."""
    ranked = sorted(range(len(items)), key=lambda at: (not bad(items[at]), at))
    return [items[at] for at in sorted(ranked[:most])]


def _more(
    items: Sequence[T], shown: Sequence[T], noun: str, bad: Callable[[T], object], indent: str
) -> list[str]:
    """A line that counts what is not shown."""
    left = len(items) - len(shown)
    marked = sum(map(bool, map(bad, items))) - sum(map(bool, map(bad, shown)))
    if not left:
        return []
    plural = "es" if noun.endswith("s") else "s"
    also = f", {'all' if marked == left else marked} of them marked" if marked else ""
    said = f"{indent}and {left} more {noun}{plural * (left != 1)}{also}; --all shows all"
    return [("!" if marked else " ") + said[1:]]


def _problems(way: Way) -> tuple[str, ...]:
    return way.problems


def _is_bad(group: Group) -> bool:
    return any(way.problems for way in group[1])


def _mark(way: Way) -> str:
    """A row has a mark for what is wrong with it, and not for what is wrong with its address."""
    return "!" if way.problems and way.local is not False else " "


def _heading(key: tuple[Address, Address], way: Way) -> list[str]:
    frontend, private = map(str, key)
    notes = ["Floating IP"] * way.rule.floating_ip
    notes += ["not an address of this machine"] * (way.local is False)
    note = f"  {', '.join(notes)}" if notes else ""
    mark = "!" if way.local is False else " "
    line = f"{mark} {frontend}  →  {private}{note}"
    if len(line) <= width():
        return [line]
    return [
        f"{mark} {frontend}",
        f"{mark}   →  {private}",
        *([f"{mark}    {note}"] if note else []),
    ]


def _rows(ways: Sequence[Way]) -> list[str]:
    """Protocol, ports, who listens and what the firewall does, in columns."""
    ports = [
        (one.rule.protocol.value, _port(one.rule.frontend_port), "→", _port(one.rule.backend_port))
        for one in ways
    ]
    firewall = [", ".join(filter(None, (firewall_words(one), origin(one)))) for one in ways]
    room = width() - len("    all  65535  →  65535    ") - max(map(len, firewall))
    cells = [
        (*port, fitting(listener_words(one), room), said)
        for one, port, said in zip(ways, ports, firewall, strict=True)
    ]
    return aligned(cells)


def _port(port: int) -> str:
    return f"{port or '*':>5}"


def _pair_row(pair: AddressPair) -> Row:
    return ((str(pair.frontend_ip),), (str(pair.private_ip),))
