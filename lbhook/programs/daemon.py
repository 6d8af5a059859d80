"""What the programs that take a file of lbhook's have in common."""

import functools
import ipaddress
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..config.targets import Target
from ..metadata.reader import Address
from ..processes import Result, Run
from ..system.machine import Machine
from ..system.unit_properties import Units

if TYPE_CHECKING:
    from ..listening.haproxy_config import Bind

# `listen` is nginx's word, `bind` haproxy's; both write IPv6 in brackets.
# A port alone is that of every IPv4 address.
_PLACE = re.compile(
    rb"^\s*(?:listen|bind)\s+(?:(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):)?(\d+)(?=[\s;])([^;#\n]*)",
    re.MULTILINE,
)
_ANY4 = ipaddress.IPv4Address(0)
_OVER_UDP = frozenset([b"udp", b"quic"])
_SHOWN = 3
_SETTLE = 5.0
_MOMENT = 1.0


def ask_freely(
    run: Run,
    machine: Machine,
    argv: tuple[str, ...],
    timeout: float = 30.0,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """What a command comes to that is not bound by the limits of a hardened unit: PID 1 runs it
    then. A program that judges its configuration binds, resolves, and reads whatever is named
    there; a command of the user's own does what nobody here can know."""
    confined = machine.is_confined() and machine.has_systemd()
    if confined:
        # Imported where it is needed: an unchanged run asks nobody.
        from ..system.transient_unit import run_by_manager

        return run_by_manager(run, argv, timeout, env, stdin)
    return run(argv, timeout=timeout, env=env, stdin=stdin)


class Daemon(Protocol):
    """One such program on this machine."""

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a target's candidate is good by itself, on any machine and for any user."""

    def unread(self, target: Target) -> str:
        """Why the program does not read a target's file, and what to do; empty if it does, or
        would if the file were there, or if nobody can tell."""

    def check_live(
        self, candidates: Mapping[str, Path], timeout: float
    ) -> tuple[Result, frozenset[str]]:
        """The whole real configuration with candidates in place of live files, which stay
        where they are; and which of the live files it reads."""

    def check_present(self, timeout: float) -> Result:
        """The real configuration as it stands."""

    def lacks_only(self, tested: Result, addresses: Collection[Address]) -> bool:
        """Whether a test of a sound configuration stopped at what is not there yet: an address
        that is one of `addresses`, say."""

    def prepare(self, content: bytes, main_pid: int) -> None:
        """Before a reload, what else the running program needs for a file. Raises `ReloadError`
        where it could not listen."""

    def others(self, own: Collection[str]) -> str:
        """What stands for the rest of the configuration as it would be loaded now, without the
        files in `own`; empty if nobody can tell."""

    def binds(self, own: Collection[str]) -> "Sequence[Bind]":
        """Where the rest of its configuration, without the files in `own`, has it listen over TCP,
        whether or not it runs."""

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that the running program, after some time, does not have what a file asks
        for; empty if it has."""


class Place(NamedTuple):
    """Where a file asks its program to listen; `protocol` is tcp or udp."""

    protocol: str
    ip: Address
    port: int

    def __str__(self) -> str:
        return f"{self.ip} {'UDP ' if self.protocol == 'udp' else ''}port {self.port}"


def places(content: bytes) -> tuple[Place, ...]:
    """The place of each line of nginx or haproxy that has a port."""
    return tuple(
        Place(
            protocol="udp" if _OVER_UDP.intersection(words.split()) else "tcp",
            ip=_address(ipv6 or ipv4 or b"0.0.0.0"),
            port=int(port),
        )
        for ipv6, ipv4, port, words in _PLACE.findall(content)
    )


def listed(places: Sequence[str]) -> str:
    """The first few of what may be thousands, and how many there are beside them."""
    more = len(places) - _SHOWN
    return ", ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


# The same few addresses stand in every line.
@functools.lru_cache(maxsize=1024)
def _address(text: bytes) -> Address:
    return ipaddress.ip_address(text.decode())


class Sockets:
    """The sockets of this machine, and whose they are."""

    def __init__(
        self, machine: Machine, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self.machine = machine
        self.sleep = sleep
        self.clock = clock

    def missing(self, content: bytes, holders: Callable[[], Sequence[int]]) -> tuple[str, ...]:
        """The places of a file at which no process of its program has a socket, after some time
        to open them. `holders` are the processes; none if the program has gone."""
        wanted = places(content)

        def closed() -> Sequence[Place]:
            pids = holders()
            own = self._inodes(pids)
            held = {place for place, inode in self._open() if own is None or inode in own}
            # What starts a program that has gone reads the new files.
            return [place for place in wanted if not _has(held, place)] if pids else ()

        return tuple(map(str, self._wait_for_none(closed, _SETTLE)))

    def taken(self, content: bytes, holders: Callable[[], Sequence[int]]) -> tuple[str, ...]:
        """The places of a file that other programs have, after a moment to give them up, each
        with the name of one that has it."""
        wanted = places(content)

        def taken() -> Sequence[Place]:
            own = self._inodes(holders())
            held = {place for place, inode in self._open() if own is not None and inode not in own}
            return [place for place in wanted if _has(held, place)]

        left = self._wait_for_none(taken, _MOMENT)
        return tuple(f"{self._holder(place)} has {place}" for place in left)

    def _holder(self, place: Place) -> str:
        inodes = {inode for one, inode in self._open() if _has({one}, place)}
        names = self.machine.holders(inodes).values()
        return next(iter(sorted(names)), "another program")

    def _open(self) -> Iterator[tuple[Place, int]]:
        """The places where this machine listens, and the inodes of their sockets."""
        for one in (*self.machine.listening(), *self.machine.bound()):
            yield Place(one.protocol, one.ip, one.port), one.inode
            if one.ipv6_only is False and one.ip.is_unspecified:
                yield Place(one.protocol, _ANY4, one.port), one.inode

    def _wait_for_none(self, found: Callable[[], Sequence[Place]], most: float) -> Sequence[Place]:
        end = self.clock() + most
        while True:
            left = found()
            if not left or self.clock() >= end:
                return left
            self.sleep(0.02)

    def _inodes(self, holders: Sequence[int]) -> frozenset[int] | None:
        """None if this process may not look: then nobody can tell whose a socket is."""
        found: set[int] = set()
        for pid in holders:
            try:
                found |= self.machine.inodes(pid)
            except PermissionError:
                return None
            except OSError:
                continue  # it has ended meanwhile
        return frozenset(found)


class Listening:
    """One such program that listens where its file says, as its usual unit runs it or another."""

    usual = ""

    def __init__(
        self,
        run: Run,
        machine: Machine = Machine(),
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        units: Units | None = None,
        unit: str = "",
    ) -> None:
        self.unit = unit or self.usual
        self.run = run
        self.machine = machine
        self.sleep = sleep
        self.clock = clock
        self.units = units or Units(run)

    def missing(self, content: bytes, main_pid: int) -> tuple[str, ...]:
        """The listeners of a file that the program does not have, after some time to open them."""
        return self._sockets.missing(content, lambda: self._holders(main_pid))

    @property
    def _sockets(self) -> Sockets:
        return Sockets(self.machine, self.sleep, self.clock)

    def _holders(self, main_pid: int) -> tuple[int, ...]:
        """The processes that hold its sockets; none if it has gone."""
        return (main_pid,) if self.machine.program(main_pid) else ()


def _has(held: Collection[Place], place: Place) -> bool:
    """At its own address or at any."""
    return place in held or place._replace(ip=type(place.ip)(0)) in held
