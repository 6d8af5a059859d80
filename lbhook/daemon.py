"""What the rooms of programs that take a file of lbhook's have in common."""

import ipaddress
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .commands import Result
from .machine import Machine, Socket
from .reader import Address
from .targets import Target

# `listen` is nginx's word, `bind` haproxy's; both write IPv6 in brackets.
_PLACE = re.compile(
    rb"^\s*(?:listen|bind)\s+(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d+)([^;#\n]*)", re.MULTILINE
)
_SETTLE = 5.0


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
        """Whether a test of a sound configuration stopped at an address that is none of this
        machine's yet, and is one of `addresses`."""

    def missing(self, content: bytes, main_pid: int) -> tuple[str, ...]:
        """What a file asks for and its running program, after some time, does not have."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file asks its program to listen; `protocol` is tcp or udp."""

    protocol: str
    ip: Address
    port: int

    def __str__(self) -> str:
        return f"{self.ip} {'UDP ' if self.protocol == 'udp' else ''}port {self.port}"


def places(content: bytes) -> tuple[Place, ...]:
    """The place of each line of nginx or haproxy that has an address and a port."""
    return tuple(
        Place(
            protocol="udp" if b"udp" in words.split() else "tcp",
            ip=ipaddress.ip_address((ipv6 or ipv4).decode()),
            port=int(port),
        )
        for ipv6, ipv4, port, words in _PLACE.findall(content)
    )


@dataclass(frozen=True, slots=True)
class Sockets:
    """The sockets of this machine, and whose they are."""

    machine: Machine
    sleep: Callable[[float], None]
    clock: Callable[[], float]

    def missing(self, content: bytes, holders: Callable[[], Sequence[int]]) -> tuple[str, ...]:
        """The places of a file at which no process of its program has a socket, after some time
        to open them. `holders` are the processes; none if the program has gone."""
        wanted, end = places(content), self.clock() + _SETTLE
        while True:
            closed = self._closed(wanted, holders())
            if not closed or self.clock() >= end:
                return tuple(map(str, closed))
            self.sleep(0.02)

    def _closed(self, wanted: Sequence[Place], holders: Sequence[int]) -> Sequence[Place]:
        if not holders:
            return ()  # what starts it again reads the new files
        own = self._inodes(holders)
        tables = {"tcp": self.machine.listening(), "udp": self.machine.udp()}
        held = {
            protocol: [one for one in table if own is None or one.inode in own]
            for protocol, table in tables.items()
        }
        return [one for one in wanted if not any(map(_at(one), held[one.protocol]))]

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


def _at(place: Place) -> Callable[[Socket], bool]:
    """Programs open [::] for IPv6 alone."""
    return lambda one: one.ip.version == place.ip.version and one.covers(place.ip, place.port)
