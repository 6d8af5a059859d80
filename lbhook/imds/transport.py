"""One GET, bounded in time and size, past every proxy. Nobody else speaks HTTP.

The adapter of requests is used without a session: a session would look for proxies, .netrc,
cookies and redirects.
"""

import errno
import socket
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

from .. import __version__
from ..metadata.reader import MOST_BYTES
from .classification import READABLE, one_line

# The host is one hop away: a connection that takes longer meets nobody.
_CONNECT = 1.0
_CHUNK = 4096
_LOCKED = "a route of this machine prohibits it"


class NoResponseError(Exception):
    """The network gave nothing, or not all (`cut`); `hung` if the time was up, `heard` if something
    came all the same, `locked` if a route of this machine prohibits it."""

    def __init__(
        self,
        reason: str,
        *,
        hung: bool = False,
        cut: bool = False,
        heard: bool = False,
        locked: bool = False,
    ) -> None:
        super().__init__(reason)
        self.hung = hung
        self.cut = cut
        self.heard = heard
        self.locked = locked


class Response(NamedTuple):
    """Status, headers with names in lower case, and the plain body; of one that is longer than
    4 MiB only a little more than that."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def get(
    url: str,
    parameters: dict[str, str],
    request_id: str,
    deadline: float,
    clock: Callable[[], float] = time.monotonic,
) -> Response:
    """Ask once; `deadline` on `clock` (seconds) bounds connecting, headers and body alike.

    Raises `NoResponseError`.
    """
    headers = {
        "Metadata": "true",
        "User-Agent": f"lbhook/{__version__}",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "Connection": "close",
        "x-ms-client-request-id": request_id,
    }
    request = requests.Request("GET", url, headers=headers, params=parameters).prepare()
    heard: list[int] = []
    adapter = _adapter(deadline, clock, heard.append)
    try:
        left = max(deadline - clock(), 0.001)
        response = adapter.send(request, stream=True, timeout=(min(left, _CONNECT), left))
        lower = {name.lower(): value for name, value in response.headers.items()}
        body = _read(response.raw, lower.get("content-encoding", "").lower())
        return Response(status=response.status_code, headers=lower, body=body)
    except (requests.RequestException, HTTPError) as error:
        hung = isinstance(error, requests.Timeout) or clock() >= deadline
        reason = _reason(error, hung=hung)
        locked = reason == _LOCKED
        raise NoResponseError(reason, hung=hung, heard=any(heard), locked=locked) from None
    finally:
        adapter.close()


def _adapter(
    deadline: float, clock: Callable[[], float], heard: Callable[[int], None]
) -> HTTPAdapter:
    """An adapter whose sockets know when the time is up, and tell how many bytes have come.

    A time-out of requests bounds each read: a body, or a header, that drips one byte at a time
    never meets it.
    """

    class Socket(socket.socket):
        def recv_into(self, *arguments: Any, **named: Any) -> int:
            left = deadline - clock()
            if left <= 0:
                raise TimeoutError("the time is up")
            self.settimeout(left)
            number = super().recv_into(*arguments, **named)
            heard(number)
            return number

    class Connection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            plain: socket.socket = self.sock
            kind = (plain.family, plain.type, plain.proto)
            self.sock = Socket(*kind, fileno=plain.detach())

    class Pool(HTTPConnectionPool):
        ConnectionCls = Connection

    adapter = HTTPAdapter(max_retries=0)
    adapter.poolmanager.pool_classes_by_scheme = {"http": Pool}
    return adapter


def _read(raw: Any, encoding: str) -> bytes:
    """The body of a urllib3 response. Unpacked here: urllib3 unpacks whatever it is sent, each
    encoding within another, with no bound on what comes out of one read."""
    unpack = zlib.decompressobj(wbits=31) if encoding in READABLE[2:] else None
    body = bytearray()
    while len(body) <= MOST_BYTES:
        chunk = _chunk(raw)
        if not chunk:
            break
        body += _unpacked(unpack, chunk, MOST_BYTES + 1 - len(body)) if unpack else chunk
    else:
        return bytes(body)
    # Older versions of urllib3 leave it to the caller to look.
    if raw.length_remaining or (unpack and not unpack.eof):
        raise _cut(raw)
    return bytes(body)


def _chunk(raw: Any) -> bytes:
    try:
        return bytes(raw.read(_CHUNK, decode_content=False))
    except HTTPError as error:
        if "IncompleteRead" in str(error):
            raise _cut(raw) from None
        raise


def _unpacked(unpack: Any, chunk: bytes, most: int) -> bytes:
    try:
        return bytes(unpack.decompress(chunk, most))
    except zlib.error:
        raise NoResponseError("the answer can't be unpacked", cut=True) from None


def _cut(raw: Any) -> NoResponseError:
    arrived, lacking = raw.tell(), raw.length_remaining
    how = f": {arrived} of {arrived + lacking} bytes" if lacking else ""
    return NoResponseError(f"the answer was cut{how}", cut=True)


def _reason(error: Exception, *, hung: bool) -> str:
    if isinstance(error, requests.ConnectTimeout):
        return "connection timed out"
    if hung:
        return "response timed out"
    text = str(error)
    for sign, reason in (
        ("Connection refused", "connection refused"),
        ("No route to host", "no route to it"),
        ("Network is unreachable", "no network yet"),
        # A prohibit route, such as that of systemd-imdsd, and no rule of a firewall: EACCES.
        (f"[Errno {errno.EACCES}]", _LOCKED),
        ("reset by peer", "connection reset"),
        ("aborted", "connection closed without an answer"),
    ):
        if sign in text:
            return reason
    return f"{type(error).__name__}: {one_line(text, 120)}"
