"""Where sshd is configured to listen. sshd_config(5) has the words, and how they are read is that
of OpenSSH 9.2 (`servconf.c`)."""

import contextlib
import ipaddress
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from ..config.network import port
from ..config.schema import Misfit
from ..metadata.reader import Address
from .files import Files

# An address, by its text, and a port.
Spot = tuple[str, int]
# Any address: of both families, of IPv4, of IPv6.
BOTH, IPV4, IPV6 = "", str(ipaddress.IPv4Address(0)), str(ipaddress.IPv6Address(0))
_FAMILIES = {"inet": IPV4, "inet6": IPV6}
_NAME = "sshd_config"
# In order of precedence; SUSE ships its own below /usr.
_DIRECTORIES = (PurePosixPath("/etc/ssh"), PurePosixPath("/usr/etc/ssh"))
_DEFAULT_PORT = 22
# An Include of sshd goes no deeper.
_DEEPEST = 16


def configured(files: Files, *, default: bool) -> Iterator[Spot]:
    """What the configuration of sshd names; with `default` what it is if nothing is named."""
    there = [one / _NAME for one in _DIRECTORIES if _NAME in files.names(str(one))]
    lines = [line for file in there[:1] for line in _lines(files, str(file))]
    ports = [number for key, word in lines if key == "port" for number in numbers(word)]
    families = [word for key, word in lines if key == "addressfamily"]
    anywhere = _FAMILIES.get(families[0] if families else "", BOTH)
    addresses = [word for key, word in lines if key == "listenaddress"]
    if not (ports or addresses or default):
        return
    for word in addresses or [anywhere]:
        yield from _addressed(word, ports or [_DEFAULT_PORT])


def _addressed(word: str, ports: Sequence[int]) -> Iterator[Spot]:
    """An address with the port behind it, or else with each port; a name may be any address."""
    found = re.fullmatch(r"(?:\[(.*)\]|([^:]*))(?::(\d+))?|(.*)", word)
    six, four, last, bare = found.groups("") if found else ("", "", "", "")
    ip = address(six or four or bare)
    for number in numbers(last) or ports:
        if not (ip and ip.is_loopback):
            yield (str(ip) if ip else ""), number


def _lines(files: Files, file: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The keywords of a file with their first word, but for those that hold for some only: from a
    `Match` on, to the next one for all."""
    everybody = True
    for line in (files.read(file) or "").splitlines():
        found = re.match(r'\s*"?(\w+)"?(?:\s*=\s*|\s+)(.*)', line)
        key, words = (found[1].lower(), _words(found[2])) if found else ("", [])
        if key == "match":
            everybody = [word.lower() for word in words] == ["all"]
        elif not everybody:
            continue
        elif key == "include" and depth < _DEEPEST:
            for word in words:
                for other in files.matching(str(_DIRECTORIES[0] / word))[0]:
                    yield from _lines(files, other, depth + 1)
        elif words:
            yield key, words[0]


def _words(text: str) -> list[str]:
    """As sshd takes a line apart: quotes of either kind, and comments."""
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # which sshd refuses
        return text.split()


def address(text: str) -> Address | None:
    """One without its interface, which is no part of what is sent to it."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def numbers(text: str) -> list[int]:
    """A port, if it is one."""
    with contextlib.suppress(Misfit):
        return [port(int(text))] if text.isascii() and text.isdecimal() else []
    return []
