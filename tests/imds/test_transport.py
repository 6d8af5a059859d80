"""One GET over a real socket: what is sent, what is refused, and what bounds it."""

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lbhook import __version__
from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.server import Emulator
from lbhook.imds.transport import NoResponseError, Response, get
from lbhook.metadata.reader import MOST_BYTES

from ..shared import SLACK

PATH = "/metadata/loadbalancer"
VERSION = {"api-version": "2020-10-01"}
DOCUMENTED = (Path(__file__).parents[1] / "bodies" / "documented.json").read_bytes()
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(answer: bytes, *, hang: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """A server of raw bytes: its URL, and each request as it came."""
    requests: list[bytes] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection = listener.accept()[0]
                except TimeoutError:
                    continue
                with connection:
                    requests.append(connection.recv(65536))
                    try:
                        connection.sendall(answer)
                    except OSError:
                        continue  # the client has had enough
                    if hang:
                        over.wait(5)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", requests
        finally:
            over.set()
            thread.join(5)


@contextmanager
def deaf() -> Iterator[str]:
    """The URL of a server whose queue is full: the kernel drops who wants to connect."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = []
        for _ in range(3):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append(client)
        yield f"http://127.0.0.1:{address[1]}"
        for client in waiting:
            client.close()


def ask(url: str, seconds: float = 5.0) -> Response:
    """Ask once, for so many seconds at most."""
    return get(f"{url}{PATH}", VERSION, "an-id", time.monotonic() + seconds)


def failed(url: str, seconds: float = 5.0) -> tuple[str, bool]:
    """Why there was no response, and whether the time was up."""
    with pytest.raises(NoResponseError) as caught:
        ask(url, seconds)
    return str(caught.value), caught.value.hung


def faulty(**keys: Any) -> Emulator:
    """An emulator with one fault for ever."""
    return Emulator(playbook=Playbook(steps=(Step(**keys),)), limit=None)


def test_the_request_is_exactly_this() -> None:
    """The header with its one spelling, the version, the id, and nothing more."""
    with answering(OK + b"Content-Length: 2\r\n\r\n{}") as (url, requests):
        response = ask(url)
    assert response.status == 200
    assert response.headers == {"content-type": "application/json", "content-length": "2"}
    assert response.body == b"{}"
    (request,) = requests
    first, *lines = request.decode("ascii").rstrip("\r\n").split("\r\n")
    assert first == f"GET {PATH}?api-version=2020-10-01 HTTP/1.1"
    assert sorted(lines, key=str.lower) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        "Connection: close",
        f"Host: {url.removeprefix('http://')}",
        "Metadata: true",
        f"User-Agent: lbhook/{__version__}",
        "x-ms-client-request-id: an-id",
    ]


def test_the_emulator_is_satisfied() -> None:
    """The documented body, byte for byte."""
    with Emulator() as imds:
        response = ask(imds.url)
    assert (response.status, response.body) == (200, DOCUMENTED)


def test_ipv6_and_localhost_are_reached() -> None:
    """An endpoint may be an IPv6 literal or localhost."""
    with Emulator(listen=("::1", 0)) as imds:
        assert ask(imds.url).status == 200
    with Emulator() as imds:
        assert ask(imds.url.replace("127.0.0.1", "localhost")).status == 200


PROXIES = ["http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"]


@pytest.mark.parametrize("name", PROXIES)
def test_no_proxy_is_used(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says; requests itself lets ALL_PROXY through."""
    with Emulator() as proxy, Emulator() as imds:
        monkeypatch.setenv(name, proxy.url)
        assert ask(imds.url).status == 200
        assert proxy.requests == []


def test_no_netrc_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A password for the address is not sent."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\ndefault login a password b\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with Emulator() as imds:
        ask(imds.url)
        assert "authorization" not in imds.requests[0].headers


def test_no_redirect_is_followed() -> None:
    """The header would go along; the answer is handed on as it is."""
    with Emulator() as elsewhere, faulty(fault="redirect", location=elsewhere.url) as imds:
        response = ask(imds.url)
        assert (response.status, response.headers["location"]) == (302, elsewhere.url)
        assert elsewhere.requests == []


def test_no_cookie_is_sent_back() -> None:
    """Nothing is kept from one request to the next."""
    with answering(OK + b"Set-Cookie: a=b\r\nContent-Length: 2\r\n\r\n{}") as (url, requests):
        ask(url)
        ask(url)
    assert len(requests) == 2
    assert b"cookie" not in b"".join(requests).lower()


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        ({"fault": "hang"}, 0.5),
        ({"fault": "stall"}, 0.5),
        ({"fault": "stall", "after": 0}, 0.5),
        ({"fault": "drip", "rate": 20.0}, 0.6),
        ({"fault": "drip", "rate": 1.2}, 0.9),
        ({"fault": "drip-headers", "rate": 20.0}, 0.6),
    ],
    ids=lambda value: str(value),
)
def test_the_deadline_bounds_everything(step: dict[str, Any], seconds: float) -> None:
    """Silence before or inside the answer, a dripping head or body."""
    with faulty(**step) as imds:
        begin = time.monotonic()
        assert failed(imds.url, seconds) == ("response timed out", True)
        assert seconds - 0.01 <= time.monotonic() - begin < seconds + SLACK


def test_endless_interim_answers_are_bounded() -> None:
    """HTTP's 100 Continue may come again and again; the deadline knows nothing of that."""
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    with answering(interim * 20, hang=True) as (url, _):
        begin = time.monotonic()
        assert failed(url, 0.4) == ("response timed out", True)
        assert time.monotonic() - begin < 0.4 + SLACK


def test_a_connect_that_nobody_takes_is_bounded() -> None:
    """By the deadline, or by a second: whoever is one hop away answers at once."""
    with deaf() as url:
        for seconds, bound in ((0.3, 0.3), (30.0, 1.0)):
            begin = time.monotonic()
            assert failed(url, seconds) == ("connection timed out", True)
            assert bound - 0.01 <= time.monotonic() - begin < bound + SLACK


def test_a_deadline_in_the_past_ends_at_once() -> None:
    """No negative time-out reaches a socket."""
    with faulty(fault="hang") as imds:
        begin = time.monotonic()
        assert failed(imds.url, -1.0)[1]
        assert time.monotonic() - begin < SLACK


def test_nobody_listens() -> None:
    """Refused at once, which is no hang."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert failed(f"http://127.0.0.1:{port}") == ("connection refused", False)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", "connection closed without an answer"),
        (OK + b"Content-Length: 9\r\n\r\n{}", "the answer was cut: 2 of 9 bytes"),
        (OK + b"Content-Length: 9\r\n\r\n", "the answer was cut: 0 of 9 bytes"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}", "the answer was cut"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "the answer was cut"),
        (
            OK
            + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
            + gzip.compress(b"{}")[:20],
            "the answer was cut",
        ),
        (
            OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
            "the answer can't be unpacked",
        ),
    ],
)
def test_an_answer_that_is_not_whole_is_none(answer: bytes, reason: str) -> None:
    """Cut by length, by chunk or inside the compression; counted where that can be."""
    with answering(answer) as (url, _):
        assert failed(url) == (reason, False)


def test_a_reset_is_told_as_one() -> None:
    """Before the head; inside the body, the words depend on when it is noticed."""
    with faulty(fault="reset") as imds:
        assert failed(imds.url) == ("connection reset", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 99999 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        OK + b"Content-Length: 5, 7\r\n\r\n{}",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"\x00" * 100_000,
    ],
    ids=lambda value: repr(value[:30]),
)
def test_what_is_no_http_is_no_response(answer: bytes) -> None:
    """Other protocols, broken heads and too much of a head: one kind of error, in one line."""
    with answering(answer) as (url, _):
        reason, hung = failed(url)
    assert not hung
    assert len(reason) < 200
    assert reason.isascii()
    assert reason.isprintable()


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: x\r\n",
        b"Content-Length: -5\r\n",
        b"Content-Length: " + b"9" * 5000 + b"\r\n",
        b"Retry-After: \xff\xfe\r\n",
        b"Set-Cookie: \x00;;;=\r\n",
        b": no name\r\n",
    ],
    ids=lambda value: repr(value[:30]),
)
def test_an_odd_head_raises_nothing_else(head: bytes) -> None:
    """A response or `NoResponseError`, whatever a header holds."""
    with answering(OK + head + b"\r\n{}") as (url, _):
        begin = time.monotonic()
        with contextlib.suppress(NoResponseError):
            assert ask(url).status == 200
        assert time.monotonic() - begin < SLACK


@pytest.mark.parametrize("transfer", ["plain", "chunked", "gzip"])
def test_more_than_4_mib_is_not_read(transfer: str) -> None:
    """A little over the limit arrives, so that it can be told; the rest is left."""
    with faulty(fault="huge", transfer=transfer, size=32 * 1024 * 1024) as imds:
        assert MOST_BYTES < len(ask(imds.url).body) <= MOST_BYTES + 4096


def test_exactly_4_mib_are_read() -> None:
    """The limit itself is an answer."""
    with Emulator(body=b" " * MOST_BYTES) as imds:
        assert len(ask(imds.url).body) == MOST_BYTES


def _packed(body: bytes) -> bytes:
    return gzip.compress(body)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", _packed), ("GZip", _packed), ("x-gzip", _packed), ("identity", bytes)],
)
def test_a_packed_answer_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """Nobody asked for gzip, but something in between may do it."""
    body = pack(DOCUMENTED)
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(OK + head + body) as (url, _):
        assert ask(url).body == DOCUMENTED


@pytest.mark.parametrize("encoding", ["gzip, gzip", "deflate", "br", "zstd", "nonsense"])
def test_other_encodings_are_left_as_they_are(encoding: str) -> None:
    """Encodings within encodings could become gigabytes: none but gzip is ever unpacked."""
    bomb = gzip.compress(gzip.compress(b" " * 8 * 1024 * 1024))
    body = zlib.compress(b"{}") if encoding == "deflate" else bomb
    head = f"Content-Encoding: {encoding}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(OK + head + body) as (url, _):
        response = ask(url)
    assert (response.body, response.headers["content-encoding"]) == (body, encoding)


@pytest.mark.parametrize(
    ("answer", "hang", "heard", "hung"),
    [
        (b"what is this\r\n\r\n", False, True, False),
        (b"HTTP/1.1 200 OK\r\nContent-Le", True, True, True),
        (b"", True, False, True),
        (b"", False, False, False),
    ],
)
def test_whether_anything_was_heard(answer: bytes, hang: bool, heard: bool, hung: bool) -> None:
    """Who answers at all is there: what to do is another matter."""
    with answering(answer, hang=hang) as (url, _), pytest.raises(NoResponseError) as caught:
        ask(url, 0.4 if hang else 5.0)
    assert (caught.value.heard, caught.value.hung) == (heard, hung)
