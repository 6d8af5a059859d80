"""The picture of `show` as one page of HTML that makes no network requests."""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from .. import __version__
from ..layout import count, place
from ..metadata.facts import Facts
from ..metadata.model import AddressPair, Metadata
from .diagram import Group, firewall_words, groups, limit_words, listener_words, origin
from .paths import Picture, Way

_ARROW = (
    '<svg class="arrow" viewBox="0 0 52 16" role="img" aria-label="leads to">'
    '<path d="M1 8h46M40 2l8 6-8 6" fill="none" stroke="currentColor" stroke-width="2.5"'
    ' stroke-linecap="round" stroke-linejoin="round"/></svg>'
)
_SEARCH = """\
<form role="search" hidden>
<label>Search <input type="search" placeholder="address, port, program, unit"></label>
<label><input type="checkbox"> only what is wrong</label>
<output></output>
</form>"""


def to_html(lb: Facts, metadata: Metadata, picture: Picture, origin: str) -> str:
    """The page; `origin` says whose machine it is, and when that was."""
    style, script = _shipped("page.css"), _shipped("page.js")
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    return Template(_shipped("page.html")).substitute(
        policy=f"{policy}; base-uri 'none'; form-action 'none'",
        title="What Azure's load balancer sends here",
        origin=escape(origin),
        style=style,
        main="\n".join(_main(lb, metadata, picture)),
        version=escape(__version__),
        script=script,
    )


def _main(lb: Facts, metadata: Metadata, picture: Picture) -> Iterable[str]:
    found = groups(picture)
    yield _tally(picture, found)
    yield "<h2>Inbound rules</h2>"
    yield _SEARCH if found else "<p>none</p>"
    yield from (_card(group, seen=_is_seen(picture)) for group in found)
    yield from _pairs("Public addresses of this VM", lb.public_ips)
    if lb.private_ips:
        yield from _pairs("Not public, though Azure lists them there", lb.private_ips)
    yield from _pairs("Outbound rules", lb.outbound_rules)
    tunnels = (
        (
            place(one.gateway_ip_address, one.gateway_port),
            place(one.local_ip_address, one.local_port),
            f"{one.type} {one.protocol} {one.identifier}",
        )
        for one in lb.tunnel_interfaces
    )
    yield from _table("Tunnels of a gateway load balancer", ("gateway", "here", "kind"), tunnels)
    yield from _list("Also open", picture.also_open)
    yield from _list("Not seen", picture.unseen)
    yield from _list("Warnings", metadata.warnings)


def _is_seen(picture: Picture) -> bool:
    """Whether anything of this machine was looked at."""
    return any(way.local is not None for way in picture.ways)


def _tally(picture: Picture, found: Sequence[Group]) -> str:
    bad = sum(1 for way in picture.ways if way.problems)
    numbers = [
        ("", len(picture.ways), "inbound rule"),
        ("", len({frontend for (frontend, _), _ in found}), "frontend"),
        *([("bad" if bad else "", bad, "problem")] if _is_seen(picture) else []),
    ]
    items = (
        f'<li class="{kind}"><b>{number}</b> {count(number, noun).partition(" ")[2]}</li>'
        for kind, number, noun in numbers
    )
    return f'<ul class="tally">{"".join(items)}</ul>'


def _card(group: Group, *, seen: bool) -> str:
    """One frontend address and where it leads, with a row for each of its rules."""
    (frontend, private), ways = group
    absent = ways[0].local is False
    notes = '<span class="note">Floating IP</span>' if ways[0].rule.floating_ip else ""
    if absent:
        notes += '<span class="note wrong">not an address of this machine</span>'
    heads = ("frontend port", "port here", *(("who listens", "firewall") if seen else ()))
    return "\n".join(
        [
            f'<section class="card{" bad" if absent else ""}">',
            f'<h3><span class="address">{frontend}</span>{_ARROW}'
            f'<span class="address here">{private}</span>{notes}</h3>',
            '<table class="way" role="table">',
            f"<caption>Rules from {frontend} to {private}</caption>",
            _heads(heads),
            '<tbody role="rowgroup">',
            *(_row(way, seen=seen) for way in ways),
            "</tbody></table></section>",
        ]
    )


def _row(way: Way, *, seen: bool) -> str:
    rule = way.rule
    bad = way.problems and way.local is not False
    cells = [
        f'<tr role="row"{" class=bad" if bad else ""}>',
        f'<th role="rowheader" scope="row">{rule.protocol} {rule.frontend_port or "ports"}</th>',
        f'<td role="cell">{rule.backend_port or "all ports"}</td>',
    ]
    if seen:
        cells += [_listens(way), _firewall(way)]
    return "".join([*cells, "</tr>"])


def _listens(way: Way) -> str:
    if not way.listening:
        none = "every port" if way.rule.ha_ports else "nobody"
        words = listener_words(way)
        return f'<td role="cell" class="{"wrong" if words else "none"}">{words or none}</td>'
    parts = (
        f"<div>{escape(one.program or 'a program')}<small>{escape(one.unit)}</small></div>"
        for one in way.listening
    )
    return f'<td role="cell">{"".join(parts)}</td>'


def _firewall(way: Way) -> str:
    if not way.verdict:
        return '<td role="cell" class="none">not seen</td>'
    words, _, packets = firewall_words(way).partition(", ")
    kind = ' class="wrong"' if way.dropped else ""
    said = "; ".join(filter(None, (packets, limit_words(way), origin(way))))
    more = f"<small>{escape(said)}</small>" if said else ""
    return f'<td role="cell"{kind}>{escape(words)}{more}</td>'


def _pairs(title: str, pairs: Iterable[AddressPair]) -> Iterable[str]:
    rows = ((str(one.frontend_ip), str(one.private_ip)) for one in pairs)
    return _table(title, ("frontend", "address here"), rows)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterable[str]:
    """A table below a heading; nothing if it would be empty."""
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    ]
    if lines:
        yield f'<h2>{title}</h2>\n<div class="plain card"><table><caption>{title}</caption>'
        yield "\n".join([_heads(heads), "<tbody>", *lines, "</tbody></table></div>"])


def _heads(names: Iterable[str]) -> str:
    cells = "".join(f'<th role="columnheader" scope="col">{name}</th>' for name in names)
    return f'<thead role="rowgroup"><tr role="row">{cells}</tr></thead>'


def _list(title: str, lines: Sequence[str]) -> Iterable[str]:
    if lines:
        items = "".join(f"<li>{escape(line)}</li>" for line in lines)
        yield f'<h2>{title}</h2>\n<ul class="plain">{items}</ul>'


def _hash(text: str) -> str:
    """What a Content-Security-Policy calls an inline text that is allowed, and no other is."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _shipped(name: str) -> str:
    return (files("lbhook") / name).read_text(encoding="utf-8")
