"""What else a program would load with a file: a reload is a way back only to what was running."""

import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path, PurePosixPath

from ..config.shipped import kind_of
from ..config.targets import Target
from ..memory.records import Loaded
from ..plan import Change, Outcome
from ..programs.host import Host, unit_of
from ..rendering import fingerprint

# A target whose reload loads its file and nothing else.
ALONE = "alone"
_MOST = 10_000


def own(host: Host, changes: Sequence[Change]) -> frozenset[str]:
    """The paths of lbhook's files as they are installed once these changes are made."""
    left = (Outcome.SKIPPED, Outcome.BLOCKED)
    made = (one for one in changes if one.rendered and one.expected and one.outcome not in left)
    gone = {str(one.path) for one in changes if one.dropped}
    return frozenset({*host.state.installed(), *(str(one.path) for one in made)} - gone)


def seen(host: Host, target: Target, own: Collection[str] | None = None) -> str:
    """What stands for the other files of a target's program as they are now; empty if nobody can
    tell. `own` are lbhook's files, if not those that are installed."""
    ours = {*(host.state.installed() if own is None else own), str(target.path)}
    names_its_file = any("{path}" in word for word in target.reload)
    if kind_of(target).addresses or names_its_file:
        return ALONE
    daemon = kind_of(target).daemon or program(target)
    if daemon:
        return host.daemon(daemon, unit_of(target)).others(ours)
    if len(target.path.parents) < 3:
        return ALONE  # /etc/app.conf
    return _directory(host, target, ours)


def same(now: str, before: Loaded | None) -> bool:
    """Whether a reload would load what a program ran before, and nothing else; firewalld has to
    come to an end in any case."""
    return now in (ALONE, "firewalld") or bool(now and before and before.others == now)


def program(target: Target) -> str:
    """The program that a target of the user's own reloads, as far as lbhook knows it."""
    from ..programs.systemd import PROGRAMS

    known = PROGRAMS.get(target.reload_unit)
    return known.name if known else ""


def _directory(host: Host, target: Target, ours: Collection[str]) -> str:
    """Of a program that lbhook does not know, what is in its directory: /etc/app for a file
    anywhere below it."""
    top = host.tree.outside(target.path.parents[-3])
    own = {host.tree.outside(PurePosixPath(path)) for path in ours}
    found: list[tuple[str, int, int, int]] = []
    for file in _files(top):
        if file in own or file.name.startswith("."):
            continue
        if len(found) > _MOST:
            return ""
        status = file.lstat()
        found.append((str(file), status.st_mtime_ns, status.st_size, status.st_ino))
    return fingerprint.digest(*sorted(found))


def _files(top: Path) -> Iterator[Path]:
    for place, _, names in os.walk(top):
        yield from (Path(place, name) for name in names)
