"""What the rooms of programs that take a file of lbhook's have in common."""

from pathlib import Path
from typing import Protocol

from .commands import Result
from .targets import Target


class Daemon(Protocol):
    """One such program on this machine."""

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a target's candidate is good by itself, on any machine and for any user."""

    def includes(self, path: str) -> bool | None:
        """Whether the program reads a file, or would if it were there; None if nobody can tell."""

    def missing(self, content: bytes, main_pid: int) -> tuple[str, ...]:
        """What a file asks for and its running program, after some time, does not have."""
