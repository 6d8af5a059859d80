"""Listeners that two targets want and only one can have, or that a target would pass to itself.

Measured: `nginx -t` and `haproxy -c` find nothing wrong with a port that another program has, or
that nginx itself has outside `stream {}`; nginx then fails at its next start.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..config.shipped import kind_of
from ..plan import Change, Outcome

if TYPE_CHECKING:
    from ..programs.daemon import Place

_SHOWN = 3


def found(changes: Sequence[Change]) -> list[str]:
    """What is wrong with the listeners of a plan: for each two targets the places of both."""
    owners: dict[object, dict[Place, Change]] = {}
    clashes: dict[tuple[str, str], list[Place]] = {}
    listening = [one for one in changes if kind_of(one.target).daemon]
    for change in listening if len(listening) > 1 else ():
        for place in _wanted(change):
            there = owners.setdefault((place.protocol, place.ip.version, place.port), {})
            for other, owner in there.items():
                everywhere = place.ip.is_unspecified or other.ip.is_unspecified
                if (everywhere or other == place) and _conflict(owner, change):
                    names = (owner.target.name, change.target.name)
                    narrow = other if place.ip.is_unspecified else place
                    clashes.setdefault(names, []).append(narrow)
            there.setdefault(place, change)
    problems = [_problem(names, clash) for names, clash in clashes.items()]
    return [*filter(None, map(_loop, changes)), *problems]


def _wanted(change: Change) -> "Iterator[Place]":
    """A resting listener, on loopback, is nobody's loss."""
    from ..programs.daemon import places

    skipped = change.outcome is Outcome.SKIPPED or change.dropped
    if kind_of(change.target).daemon and change.expected and not skipped:
        known = dict.fromkeys(places(change.expected.content))
        yield from (place for place in known if not place.ip.is_loopback)


def _conflict(one: Change, other: Change) -> bool:
    """Whether two can't have one listener. Several server blocks of nginx may; and what is not
    written now is not to blame."""
    kinds = {one.target.kind, other.target.kind}
    shared = len(kinds) == 1 and kind_of(one.target).shared
    return one is not other and (one.rendered or other.rendered) and not shared


def _problem(names: tuple[str, str], clash: "Sequence[Place]") -> str:
    more = len(clash) - _SHOWN
    listed = ", ".join(map(str, clash[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
    return (
        f"{' and '.join(names)} would both listen on {listed}; "
        "divide them with vars.ports or vars.except_ports"
    )


def _loop(change: Change) -> str:
    """A stream that is passed on to its own listener never ends."""
    upstream = change.target.vars.get("upstream", "")
    for place in _wanted(change) if upstream else ():
        host = f"[{place.ip}]" if place.ip.version == 6 else str(place.ip)
        if upstream in (f"{host}:{place.port}", f"{host}:$server_port"):
            return f"{change.target.name}: vars.upstream is {place}, a listener of its own"
    return ""
