"""Every status from 100 to 599, with four bodies: one table of what becomes of it.

Each row is held to twice: by what the answer means, and over a real socket.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lbhook.errors import LbhookError, NoAnswerError, ProtocolError
from lbhook.imds.classification import Kind, classify

from .test_client import Clock, service

JSON = "application/json; charset=utf-8"
# Name, type and bytes of a body; of the last the head promises more than comes.
EMPTY, CUT = ("empty", JSON, b""), ("cut", JSON, b'{"error": "Somet')
BODIES = (
    EMPTY,
    ("JSON", JSON, b'{"error": "Something"}'),
    ("HTML", "text/html", b"<html><body>Please log in</body></html>"),
    CUT,
)
AGAIN, AT_ONCE_OURS, AT_ONCE_REFUSED = Kind.TRANSIENT, Kind.OURS, Kind.REFUSED
# First and last status of a row, and what it is taken for; 200 is told by its body.
TABLE = (
    (100, 199, AGAIN),  # no answer at all
    (201, 299, AGAIN),
    (300, 399, AT_ONCE_REFUSED),  # never IMDS
    (400, 400, AT_ONCE_OURS),
    (401, 401, AGAIN),  # nobody has signed, yet
    (402, 402, AT_ONCE_REFUSED),
    (403, 403, AT_ONCE_REFUSED),  # for this run
    (404, 404, AGAIN),  # in any words but two
    (405, 405, AT_ONCE_OURS),
    (406, 407, AT_ONCE_REFUSED),
    (408, 408, AGAIN),
    (409, 409, AT_ONCE_REFUSED),
    (410, 410, AGAIN),
    (411, 420, AT_ONCE_REFUSED),
    (421, 421, AGAIN),  # the agent has forgotten this connection
    (422, 424, AT_ONCE_REFUSED),
    (425, 425, AGAIN),
    (426, 428, AT_ONCE_REFUSED),
    (429, 429, AGAIN),
    (430, 499, AT_ONCE_REFUSED),
    (500, 599, AGAIN),
)
ROWS = [(status, kind) for first, last, kind in TABLE for status in range(first, last + 1)]


def test_the_table_has_every_status_once() -> None:
    """From 100 to 599; 200 has tests of its own."""
    assert [status for status, _ in ROWS] == [one for one in range(100, 600) if one != 200]


@pytest.mark.parametrize("body", BODIES, ids=lambda one: one[0])
@pytest.mark.parametrize(("status", "kind"), ROWS)
def test_a_row(status: int, kind: Kind, body: tuple[str, str, bytes]) -> None:
    """The body changes the words, never what follows; each row says what came and what to do."""
    meaning = classify(status, {"content-type": body[1]}, body[2])
    assert meaning.kind is kind
    assert str(status) in meaning.reason
    assert meaning.reason.isascii()
    # What ends at once gets its hint from the client, but for a rule to set.
    assert bool(meaning.hint) or kind is not AGAIN


@contextmanager
def speaking(status: int, body: tuple[str, str, bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and the requests that came: a server that says one thing to everybody."""
    asked: list[bytes] = []
    length = len(body[2]) + (5 if body == CUT else 0)
    head = f"HTTP/1.1 {status} Whatever\r\nContent-Type: {body[1]}\r\nContent-Length: {length}"
    answer = f"{head}\r\nConnection: close\r\n\r\n".encode() + body[2]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_answer, args=(listener, asked, answer), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", asked
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(listener: socket.socket, asked: list[bytes], answer: bytes) -> None:
    while True:
        try:
            connection = listener.accept()[0]
        except OSError:
            return
        with connection:
            asked.append(connection.recv(65536))
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)


@pytest.mark.parametrize("body", BODIES, ids=lambda one: one[0])
@pytest.mark.parametrize(("first", "last", "kind"), TABLE)
def test_a_row_over_a_socket(
    first: int, last: int, kind: Kind, body: tuple[str, str, bytes]
) -> None:
    """What is final ends after one request, all else keeps the pace to the end of the budget: at
    the first and the last status of each row. A body that is cut is asked for again."""
    for status in {first, last}:
        clock = Clock()
        with speaking(status, body) as (url, asked), pytest.raises(LbhookError) as caught:
            service(url, clock, wait=4.0).fetch()
        # Without a body there is nothing to cut.
        again = kind is AGAIN or (body == CUT and status not in (304, *range(100, 200)))
        assert isinstance(caught.value, NoAnswerError if again else ProtocolError)
        asks = 3 if status == 429 and body != CUT else 5  # it slows down
        assert (len(asked), caught.value.waited) == ((asks, 3.5) if again else (1, 0.0))
        assert caught.value.hint


@pytest.mark.parametrize("body", BODIES, ids=lambda one: one[0])
def test_two_hundred_is_told_by_its_body(body: tuple[str, str, bytes]) -> None:
    """None of these is an answer, and only one that is JSON and something else is final."""
    clock = Clock()
    with speaking(200, body) as (url, asked), pytest.raises(LbhookError) as caught:
        service(url, clock, wait=4.0).fetch()
    final = body[0] == "JSON"
    assert caught.value.status == (65 if final else 75)
    assert len(asked) == (1 if final else 5)
