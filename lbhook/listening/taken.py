"""What other programs have of the places where nginx, or haproxy, is to listen."""

from collections.abc import Sequence
from typing import NamedTuple

from ..metadata.reader import Address
from .nginx_config import ANY4, ANY6, Listen

_ANYWHERE = (ANY4, ANY6)


class Taken(NamedTuple):
    """A socket of another program: it is there, or was when lbhook looked last, or its
    configuration asks for it, in this `line`. `both` says that it may take IPv4 beside IPv6."""

    ip: Address
    port: int
    protocol: str = "tcp"
    program: str = ""
    there: bool = True
    both: bool = False
    line: str = ""

    def excludes(self, one: Listen) -> bool:
        """Whether no other program can have a listener beside it."""
        theirs = {4, 6} if self.both else {self.ip.version}
        ours = {4, 6} if one.dual else {one.ip.version}
        wide = self.ip in _ANYWHERE or one.ip in _ANYWHERE
        at_one = self.ip == one.ip or (wide and theirs & ours)
        return bool(at_one) and (self.protocol, self.port) == (one.protocol, one.port)

    def __str__(self) -> str:
        host = f"[{self.ip}]" if self.ip.version == 6 else self.ip
        if self.line:
            return f"{self.program} is to listen on {host}:{self.port} by {self.line}"
        if self.there:
            return f"{self.program or 'another program'} has {host}:{self.port}"
        return f"{self.program or 'another program'} had {host}:{self.port} when lbhook looked last"


def by_another(others: Sequence[Taken], one: Listen) -> str:
    """Which other program keeps nginx, or haproxy, from a line, and what to do; empty if none."""
    for other in others:
        if other.excludes(one):
            return f"{other}; {_remedy(other)}, or {leave(one)}"
    return ""


def kept(other: Taken) -> str:
    """What is said of a port that a program has, and another one asks for in vain."""
    rest = leave(Listen(other.ip, other.port))
    return f"{other}, too; only one can have it after a boot: take that line away, or {rest}"


def leave(one: Listen) -> str:
    """What keeps lbhook from a port."""
    return f"set `except_ports = [{one.port}]` to leave the port alone"


def _remedy(other: Taken) -> str:
    if other.line:
        return "take that line away"
    return "stop that program" if other.there else "name it in `ports` to take it"
