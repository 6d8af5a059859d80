"""Which targets belong together: each group is one transaction of its own.

A program with two files, files with one reload, a listener that one program gives up and another
takes, addresses and the listeners on them: what half of it would come to nobody asked for. All
others have nothing to do with each other.
"""

from collections.abc import Iterator, Sequence

from ..config.shipped import kind_of
from ..errors import ConfigError, ReloadError
from ..metadata.reader import Address
from ..plan import Change, FileState
from ..processes import filled
from ..programs import floating_ip
from ..programs.daemon import places

Group = tuple[Change, ...]


def divided(changes: Sequence[Change]) -> tuple[Group, tuple[Group, ...]]:
    """The changes of groups in which no file is touched, then each of the other groups, in the
    order in which they are carried out."""
    if not _is_busy(tuple(changes)):
        return tuple(changes), ()
    groups = _grouped(changes)
    idle = {one.path for group in groups if not _is_busy(group) for one in group}
    busy = sorted((group for group in groups if _is_busy(group)), key=_order)
    return tuple(one for one in changes if one.path in idle), tuple(busy)


def held_together(changes: Sequence[Change]) -> tuple[Change, ...]:
    """The changes, those of a group in which one can't be planned left undone."""
    held = {}
    for group in divided(changes)[1]:
        names = ", ".join(one.target.name for one in group if one.failure)
        for change in group if names else ():
            problem = (
                f"{change.target.name}: not changed, because {names} failed, and they go together"
            )
            if change.touches_file:
                held[change.path] = change.failed(ReloadError(problem))
    return tuple(held.get(one.path, one) for one in changes)


def is_early(group: Sequence[Change]) -> bool:
    """Whether it has a file that a boot wants before there is an answer."""
    return any(kind_of(one.target).early for one in group)


def _is_busy(group: Group) -> bool:
    return any(one.touches_file or one.failure for one in group)


def _order(group: Group) -> tuple[int, bool]:
    """What goes, goes first: it may be replaced by what comes. Then what a boot wants. What one
    program gives up one that binds but once may be about to take."""
    rank = 0 if all(one.dropped for one in group) else 1 if is_early(group) else 2
    return rank, any(kind_of(one.target).binds_once for one in group)


def _grouped(changes: Sequence[Change]) -> Sequence[Group]:
    """In the order of their first members."""
    given = frozenset(address for one in changes for address in _given(one))
    groups: list[tuple[set[object], list[Change]]] = []
    for change in changes:
        claims, members = set(_claims(change, given)), [change]
        apart = []
        for group in groups:
            if group[0] & claims:
                claims |= group[0]
                members = [*group[1], *members]
            else:
                apart.append(group)
        groups = [*apart, (claims, members)]
    order = {one.path: at for at, one in enumerate(changes)}
    return sorted((tuple(members) for _, members in groups), key=lambda one: order[one[0].path])


def _claims(change: Change, given: frozenset[Address]) -> Iterator[object]:
    """What no target of another group may have a part in."""
    target = change.target
    yield change.path
    yield from filter(None, (kind_of(target).daemon, target.reload_unit, target.remove))
    if change.reload_argv:
        yield filled(change.reload_argv, {"path": target.path})
    yield from _given(change)
    for file in _files(change) if kind_of(target).daemon else ():
        there = [one for one in places(file.content) if not one.ip.is_loopback]
        # At any address: one that listens everywhere is in the way of all.
        yield from ((one.protocol, one.port) for one in there)
        yield from (one.ip for one in there if one.ip in given)


def _files(change: Change) -> Sequence[FileState]:
    return [file for file in (change.actual, change.expected) if file]


def _given(change: Change) -> frozenset[Address]:
    """The addresses that a file gives this machine, as it is or as it will be."""
    if not kind_of(change.target).addresses:
        return frozenset()
    found: set[Address] = set()
    for file in _files(change):
        try:
            found |= {*floating_ip.listed(change.target, file.content)}
        except ConfigError:
            continue  # its check says so
    return frozenset(found)
