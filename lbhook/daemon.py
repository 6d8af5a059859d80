"""What the rooms of programs that take a file of lbhook's have in common."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Protocol

from .commands import Result
from .reader import Address
from .targets import Target


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

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that the running program, after some time, does not have what a file asks
        for; empty if it has."""
