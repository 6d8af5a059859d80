"""What nginx's whole configuration asks for: its files as text, its `listen` lines as values.

The files are read as nginx 1.22 reads them (https://nginx.org/en/docs/ngx_core_module.html#include,
https://nginx.org/en/docs/http/ngx_http_core_module.html#listen), and not asked of `nginx -T`: that
prints nothing where an include is missing, a name can't be resolved or an address is not there yet.
"""

import ipaddress
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..metadata.reader import Address
from .files import Files
from .nginx_directives import directives

MAIN = PurePosixPath("/etc/nginx/nginx.conf")
# In place of the number of a server: what lbhook's own files are to have.
OURS = -1
# One socket of IPv6 for both families.
DUAL = "ipv6only=off"
ANY4, ANY6 = ipaddress.IPv4Address(0), ipaddress.IPv6Address(0)
_PLACE = re.compile(r"(?:\[(.+)\]|([^\[\]:]*))(?::(\d+)(?:-(\d+))?)?", re.ASCII)
_PORTS = re.compile(r"\d+(-\d+)?", re.ASCII)
# A listener with one of these is opened beside the one for all addresses of its port.
_BINDING = re.compile(
    r"(bind|deferred|reuseport)$|(setfib|fastopen|backlog|rcvbuf|sndbuf|accept_filter|ipv6only"
    r"|so_keepalive)="
)
_DEPTH = 20
# What a server has for those who speak TLS, and where that may stand.
_OF_TLS = ("ssl_certificate", "ssl_reject_handshake")
_OF_WEB = (["http"], ["http", "server"])
# Blocks whose lines are no directives, and may be a million.
_OF_VALUES = (["geo"], ["map"], ["types"])


class Listen(NamedTuple):
    """One place of a `listen` line. `context` is http, stream or mail, `server` the number of its
    block, `line` its file and line, `words` what stands behind the place."""

    ip: Address
    port: int
    words: tuple[str, ...] = ()
    context: str = "http"
    server: int = 0
    line: str = ""

    @property
    def protocol(self) -> str:
        """tcp or udp."""
        return "udp" if {"udp", "quic"} & set(self.words) else "tcp"

    @property
    def speaks(self) -> frozenset[str]:
        """What a client has to speak there; all servers of one place speak the same."""
        told = {"ssl", "proxy_protocol", "quic"} & set(self.words)
        # Beside TLS a client chooses it, elsewhere it is spoken at once.
        return frozenset(told | ({"http2"} & set(self.words) if "ssl" not in told else set()))

    @property
    def binds(self) -> bool:
        """Whether it has a socket of its own beside one for every address."""
        return any(map(_BINDING.match, self.words))

    @property
    def dual(self) -> bool:
        """Whether a listener for every IPv6 address takes IPv4 as well."""
        return self.ip == ANY6 and DUAL in self.words

    @property
    def place(self) -> str:
        """Address and port as nginx writes them."""
        host = f"[{self.ip}]" if self.ip.version == 6 else "*" if self.ip == ANY4 else self.ip
        return f"{host}:{self.port}"


class Configuration(NamedTuple):
    """What the files ask for. `included` are the numbers of the server blocks that include a
    file, by its path; 0 stands for what is no server block. `secured` are those whose every line
    is TLS by `ssl on;`, which nginx has until 1.25, `certified` others that have a certificate,
    their own or one of all: for TLS, it takes a word in the listen line. `unread` are files and
    directories that are named and gave nothing."""

    listens: tuple[Listen, ...] = ()
    included: Mapping[str, frozenset[int]] = {}
    settings: Mapping[str, str] = {}
    texts: tuple[tuple[str, str], ...] = ()
    unread: tuple[str, ...] = ()
    certified: frozenset[int] = frozenset()
    secured: frozenset[int] = frozenset()

    def server_of(self, path: str) -> frozenset[int]:
        """The server blocks that include a file."""
        return self.included.get(path, frozenset())


def read(files: Files, own: Collection[str] = (), main: PurePosixPath = MAIN) -> Configuration:
    """The configuration without what is in lbhook's `own` files, whose includes are noted."""
    reader = _Reader(files, own, main)
    reader.file(str(main))
    return Configuration(
        listens=tuple(map(reader.spoken, reader.listens)),
        included={path: frozenset(found) for path, found in reader.included.items()},
        settings=reader.settings,
        texts=tuple(reader.texts),
        unread=tuple(reader.unread),
        certified=reader.certified - reader.secured,
        secured=reader.secured,
    )


def options(words: Sequence[str]) -> Sequence[str]:
    """What says in a command line where the configuration is: `-c` and `-p`, which may have their
    value in the same word. The title of a process of nginx's has all of it as one word; a variable
    tells nothing."""
    found: dict[str, str] = {}
    parts = " ".join(words).split()
    for word, after in itertools.zip_longest(parts, parts[1:], fillvalue=""):
        value = word[2:] or after
        if word[:2] in ("-c", "-p") and value and "$" not in value:
            found[word[:2]] = value
    return [word for pair in found.items() for word in pair]


def main(options: Sequence[str], built: Callable[[], str], files: Files) -> PurePosixPath:
    """The file that nginx begins with, where there is no usual one as it was built (`nginx -V`)."""
    found = dict(zip(options[::2], options[1::2], strict=True))
    if "-c" in found:
        return PurePosixPath(found.get("-p", "/"), found["-c"])
    if files.read(str(MAIN)) is not None:
        return MAIN
    said = dict(re.findall(r"--(prefix|conf-path)=(\S+)", built()))
    prefix = found.get("-p") or said.get("prefix", "/usr/local/nginx")
    return PurePosixPath(prefix, said.get("conf-path", "conf/nginx.conf"))


class _Reader:
    """Goes through files and blocks, in nginx's order."""

    def __init__(self, files: Files, own: Collection[str], main: PurePosixPath) -> None:
        self.files = files._replace(coming=own)
        self.own = own
        self.prefix = main.parent
        self.listens: list[Listen] = []
        self.included: dict[str, set[int]] = {}
        self.settings: dict[str, str] = {}
        self.texts: list[tuple[str, str]] = []
        self.unread: list[str] = []
        self._blocks: list[str] = []
        self._certificates: set[int] = set()
        self._tls: dict[int, bool] = {}
        self._servers = 0
        self._heard = False
        self._within: list[str] = []

    def file(self, path: str) -> None:
        if path in self.own:
            self._heard = True
            self.included.setdefault(path, set()).add(self._server)
            return
        endless = path in self._within or len(self._within) == _DEPTH
        text = None if endless else self.files.read(path)
        if text is None:
            self.unread.append(path)
            return
        self.texts.append((path, text))
        if self._blocks[-1:] in _OF_VALUES:
            return
        self._within.append(path)
        for words, end, line in directives(text):
            self._take(words, end, f"{path}:{line}")
        self._within.pop()

    @property
    def certified(self) -> frozenset[int]:
        """The servers that have a certificate, or refuse those who speak TLS: their own, or that of
        the block around them."""
        everywhere = 0 in self._certificates
        return frozenset(self._numbers if everywhere else self._certificates)

    @property
    def secured(self) -> frozenset[int]:
        """The servers that say `ssl on;`, or have it from the block around them."""
        everywhere = self._tls.get(0, False)
        return frozenset(one for one in self._numbers if self._tls.get(one, everywhere))

    def spoken(self, one: Listen) -> Listen:
        """With the word that `ssl on;` stands for."""
        meant = one.context == "http" and one.server in self.secured
        return one._replace(words=(*one.words, "ssl")) if meant else one

    def _take(self, words: Sequence[str], end: str, line: str) -> None:
        if end == "{":
            self._open(words, line)
        elif end == "}":
            self._close()
        elif words[0] == "include" and len(words) > 1:
            paths, empty = self.files.matching(str(self.prefix / words[1]))
            self.unread += empty
            for path in paths:
                self.file(path)
        elif words[0] == "listen" and self._blocks[-1:] == ["server"] and len(words) > 1:
            self._heard = True
            self.listens += self._listen(words[1:], line)
        elif words[0] == "ssl" and self._blocks in _OF_WEB:
            self._tls[self._server] = words[1:] == ["on"]
        elif words[0] in _OF_TLS and self._blocks in _OF_WEB:
            self._certificates.add(self._server)
        elif not self._blocks or self._blocks == ["events"]:
            self.settings[words[0]] = " ".join(words[1:])

    @property
    def _numbers(self) -> Sequence[int]:
        return range(1, self._servers + 1)

    @property
    def _server(self) -> int:
        return self._servers if self._blocks[-1:] == ["server"] else 0

    def _open(self, words: Sequence[str], line: str) -> None:
        self._blocks.append(words[0] if words else "")
        if self._blocks[-1] == "server" and len(self._blocks) == 2:
            self._servers += 1
            self._heard, self._line = False, line

    def _close(self) -> None:
        name = self._blocks.pop() if self._blocks else ""
        if name == "server" and self._blocks == ["http"] and not self._heard:
            self.listens += self._listen(("80",), self._line)

    def _listen(self, words: Sequence[str], line: str) -> Iterator[Listen]:
        for ip, port in _places(words[0], self.files.addresses):
            yield Listen(ip, port, tuple(words[1:]), self._blocks[0], self._servers, line)


def _places(
    written: str, addresses: Callable[[str], Sequence[Address]]
) -> Iterator[tuple[Address, int]]:
    """The places of a `listen` line; none of a unix socket, or of a name that only DNS knows."""
    found = _PLACE.fullmatch(f":{written}" if _PORTS.fullmatch(written) else written)
    if not found or written.startswith("unix:"):
        return
    six, host, first, last = found.groups()
    ips = [ANY4] if host in ("", "*") and not six else addresses(six or host)
    for port in range(int(first or 80), int(last or first or 80) + 1):
        yield from ((ip, port) for ip in ips)
