"""Listeners that two targets want and only one can have, or that a target would pass to itself.

Measured: `nginx -t` and `haproxy -c` find nothing wrong with a port that another program has, or
that nginx itself has outside `stream {}`; nginx then fails at its next start.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..config.shipped import kind_of
from ..plan import Change, Outcome
from ..programs.host import unit_of

if TYPE_CHECKING:
    from ..programs.daemon import Place

_SHOWN = 3


class Conflict(NamedTuple):
    """What is wrong with the listeners of some targets, by the paths of their files."""

    paths: tuple[PurePosixPath, ...]
    problem: str


def found(changes: Sequence[Change]) -> list[Conflict]:
    """What is wrong with the listeners of a plan: for each two targets the places of both."""
    owners: dict[object, dict[Place, int]] = {}
    clashes: dict[tuple[int, int], list[Place]] = {}
    listening = [at for at, one in enumerate(changes) if kind_of(one.target).daemon]
    for at in listening if len(listening) > 1 else ():
        for place in _wanted(changes[at]):
            there = owners.setdefault((place.protocol, place.ip.version, place.port), {})
            for other, owner in there.items():
                everywhere = place.ip.is_unspecified or other.ip.is_unspecified
                if (everywhere or other == place) and _conflict(changes[owner], changes[at]):
                    narrow = other if place.ip.is_unspecified else place
                    clashes.setdefault((owner, at), []).append(narrow)
            there.setdefault(place, at)
    return [
        *(Conflict((one.path,), _loop(one)) for one in changes if _loop(one)),
        *(_between(changes[one], changes[two], clashes[one, two]) for one, two in clashes),
    ]


def _wanted(change: Change) -> "Iterator[Place]":
    """A resting listener, on loopback, is nobody's loss."""
    from ..programs.daemon import places

    skipped = change.outcome is Outcome.SKIPPED or change.dropped
    if kind_of(change.target).daemon and change.expected and not skipped:
        known = dict.fromkeys(places(change.expected.content))
        yield from (place for place in known if not place.ip.is_loopback)


def _conflict(one: Change, other: Change) -> bool:
    """Whether two can't have one listener. Several server blocks of one nginx may; and what is not
    written now is not to blame."""
    programs = {(each.target.kind, unit_of(each.target)) for each in (one, other)}
    shared = len(programs) == 1 and kind_of(one.target).shared
    return one is not other and (one.rendered or other.rendered) and not shared


def _between(one: Change, two: Change, clash: "Sequence[Place]") -> Conflict:
    more = len(clash) - _SHOWN
    listed = ", ".join(map(str, clash[:_SHOWN])) + (f" and {more} more" if more > 0 else "")
    problem = (
        f"{one.target.name} and {two.target.name} would both listen on {listed}; "
        "divide them with vars.ports or vars.except_ports"
    )
    return Conflict((one.path, two.path), problem)


def _loop(change: Change) -> str:
    """A stream that is passed on to its own listener never ends."""
    upstream = change.target.vars.get("upstream", "")
    for place in _wanted(change) if upstream else ():
        host = f"[{place.ip}]" if place.ip.version == 6 else str(place.ip)
        if upstream in (f"{host}:{place.port}", f"{host}:$server_port"):
            return f"{change.target.name}: vars.upstream is {place}, a listener of its own"
    return ""
