"""Which sockets nginx opens for its `listen` lines, and which of them exclude each other.

Measured on nginx 1.22: a listener for every address takes in those of single addresses of the same
port and context, unless they have an option of sockets; http and stream know nothing of each other;
at a reload a socket that is there stays, whatever options its line has by now.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

from .nginx_config import ANY4, ANY6, Listen

Clash = tuple[Listen, Listen]
# Each listener takes one of a worker's connections; one in so many is left for clients.
_FOR_CLIENTS = 8
# Logs, modules and what else a main process has open.
_OWN_FILES = 32


def opened(listens: Iterable[Listen]) -> tuple[Listen, ...]:
    """The lines that get a socket, one for each; its words are those of all its lines."""
    merged: dict[object, Listen] = {}
    for one in listens:
        key = (one.context, one.protocol, one.ip, one.port)
        before = merged.get(key)
        merged[key] = before._replace(words=before.words + one.words) if before else one
    wild = {(one.context, one.protocol, one.ip, one.port) for one in merged.values() if _any(one)}
    return tuple(
        one
        for one in merged.values()
        if _any(one)
        or one.binds
        or (one.context, one.protocol, everywhere(one), one.port) not in wild
    )


class Room(NamedTuple):
    """What nginx has room for: connections of a worker, workers, and files of its main process
    (0 if that is not known)."""

    connections: int = 512
    workers: int = 1
    files: int = 0

    def lacks(self, sockets: Collection[Listen]) -> str:
        """What there is not enough of for these sockets, and what to do; empty if there is."""
        listeners = sum(self._times(one) for one in sockets)
        most = self.connections - self.connections // _FOR_CLIENTS
        if len(sockets) > most:
            enough = len(sockets) * 2
            return (
                f"{len(sockets)} listeners leave clients next to none of its {self.connections}"
                f" worker_connections; set them to {enough} or more"
            )
        if self.files and listeners + _OWN_FILES + 2 * self.workers > self.files:
            enough = listeners * 2
            return (
                f"{listeners} sockets are more than its main process may open, {self.files} files;"
                f" set LimitNOFILE={enough} in its unit and restart it once"
            )
        return ""

    def _times(self, one: Listen) -> int:
        return self.workers if "reuseport" in one.words else 1


def clashes(sockets: Sequence[Listen]) -> Iterator[Clash]:
    """Pairs of which a start of nginx opens the first alone."""
    for index, one in enumerate(sockets):
        yield from ((one, other) for other in sockets[:index] if excludes(one, other))


def unopenable(sockets: Iterable[Listen], held: Collection[Listen]) -> Iterator[Clash]:
    """What a running nginx can't open because of what it holds, until it is restarted."""
    there = {(one.protocol, one.ip, one.port) for one in held}
    for one in sockets:
        if (one.protocol, one.ip, one.port) not in there:
            yield from ((one, other) for other in held if excludes(one, other))


def excludes(one: Listen, other: Listen) -> bool:
    """Whether two sockets can't both be open: nginx lets UDP sockets share."""
    if one.port != other.port or one.protocol != other.protocol or one.protocol == "udp":
        return False
    shared = "reuseport" in one.words and "reuseport" in other.words
    return not shared and (covers(one, other) or covers(other, one))


def covers(one: Listen, other: Listen) -> bool:
    """Whether the first takes what comes to the second's address."""
    if one.ip == other.ip or (one.dual and other.ip.version == 4):
        return True
    return _any(one) and one.ip.version == other.ip.version


def everywhere(one: Listen) -> object:
    """Every address of its family."""
    return ANY6 if one.ip.version == 6 else ANY4


def _any(one: Listen) -> bool:
    return one.ip in (ANY4, ANY6)
