"""What haproxy's own configuration binds, as values: by the `bind` lines of its files, by its
`stats socket` and, of its peers, by itself.

The form is that of haproxy 2.6 (https://docs.haproxy.org/2.6/configuration.html, 2.2 to 2.4, 3.1,
3.5, 4.2 and 11): several places behind one `bind`, ranges of ports, quotes, variables of the
environment. What a condition (`.if`) leaves out counts as well.
"""

import ipaddress
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..metadata.facts import Listener
from ..metadata.reader import Address
from .files import Files
from .nginx_config import Listen
from .taken import Taken, by_another

# A family before the address; others (unix@, fd@, quic4@ and the like) are no TCP of this machine.
_PLACE = re.compile(r"(?:(ipv4|ipv6|tcp|tcp4|tcp6)@)?(.*):(\d+)(?:-(\d+))?", re.ASCII)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?:-([^}]*))?(?:\[\*\])?\}|(\w+))", re.ASCII)
# What a line that opens a socket begins with; behind it is the place, for a peer after its name.
_OPENING = {("bind",): 1, ("stats", "socket"): 2, ("peer",): 2}
_ANY4, _ANY6 = ipaddress.IPv4Address(0), ipaddress.IPv6Address(0)


class Bind(NamedTuple):
    """A place that a line binds: an address, unspecified for all of its family, and the first and
    last of its ports. `line` is its file and line; `secure` says that clients speak TLS there."""

    ip: Address
    first: int
    last: int
    line: str
    secure: bool = False

    def has(self, ip: Address, port: int) -> bool:
        """Whether it takes connections to an address and port."""
        everywhere = self.ip.is_unspecified and self.ip.version == ip.version
        return self.first <= port <= self.last and (everywhere or self.ip == ip)


def binds(name: str, files: Files, env: Mapping[str, str], v6only: bool = False) -> Iterator[Bind]:
    """The places that the lines of the file `name` bind, of TCP and of this network namespace.
    Another peer's is among them, which is no address of this machine. `v6only` says that the
    kernel gives a socket of IPv6 no IPv4 by itself (net.ipv6.bindv6only)."""
    for number, line in enumerate((files.read(name) or "").splitlines(), 1):
        words = _words(line, env)
        for place, options in _bound(words) if "namespace" not in words else ():
            alone = v6only and "v4v6" not in options
            for ip, first, last in _places(place, files, alone or "v6only" in options):
                yield Bind(ip, first, last, f"{name}:{number}", "ssl" in options)


def taken(
    binds: Sequence[Bind], others: Sequence[Taken], those: Sequence[Listener]
) -> tuple[tuple[Listener, ...], str]:
    """Of the listeners of one port those that a line of somebody's own binds, or another program,
    and what is said of them. Of two lines with one address each gets some of the connections; the
    one that names the address gets all of those that another has for every address."""
    problems = {one: _problem(binds, others, one) for one in those}
    gone = tuple(one for one in those if problems[one])
    some = f" on {', '.join(str(one.ip) for one in gone)}" if len(gone) < len(those) else ""
    problem = next((problems[one] for one in gone), "")
    return gone, f"port {those[0].port}{some} is left out: {problem}"


def _problem(binds: Sequence[Bind], others: Sequence[Taken], one: Listener) -> str:
    for each in binds:
        if each.has(one.ip, one.port):
            words = " and put what it has from `ssl` on into `parameters`" if each.secure else ""
            leave = f"`except_ports = [{one.port}]`"
            return f"{each.line} binds it; take that line away{words}, or set {leave}"
    return by_another(others, Listen(one.ip, one.port))


def _words(line: str, env: Mapping[str, str]) -> list[str]:
    if not any(beginning[-1] in line for beginning in _OPENING):
        return []
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # a quote that is not closed, which haproxy refuses
        return []
    return [_VARIABLE.sub(lambda found: _value(found, env), word) for word in words]


def _value(found: re.Match[str], env: Mapping[str, str]) -> str:
    return env.get(found[1] or found[3], found[2] or "")


def _bound(words: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """Each place of a line, and the words behind."""
    for beginning, at in _OPENING.items():
        if tuple(words[: len(beginning)]) == beginning and len(words) > at:
            for place in words[at].split(","):
                yield place, words[at + 1 :]


def _places(text: str, files: Files, v6only: bool) -> Iterator[tuple[Address, int, int]]:
    found = _PLACE.fullmatch(text)
    if not found or "@" in found[2]:
        return
    family, host = (found[1] or "")[-1:], found[2].strip("[]")
    first = int(found[3])
    last = int(found[4] or first)
    everywhere = [_ANY6 if family == "6" else _ANY4]
    for ip in everywhere if host in ("", "*") else files.addresses(host):
        yield ip, first, last
        # Linux gives a socket of IPv6 for all addresses those of IPv4 as well.
        if ip == _ANY6 and not v6only:
            yield _ANY4, first, last
