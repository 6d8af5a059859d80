"""A client that asks every 10 ms, each time by a new connection, and notes what is no answer."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .hosts import Host

_EVERY = 0.01
# More than any machine that tests run on needs, and less than nobody's patience.
_PATIENCE = 20.0


class Question(NamedTuple):
    """What is asked, and how the answer begins; with a `certificate` (PEM) by TLS."""

    ip: str
    port: int
    name: str
    answer: str
    certificate: str = ""


class Steady:
    """Asks from `host` until it is told to stop."""

    def __init__(self, host: Host, *questions: Question) -> None:
        self._process = host.spawn([*host.python("steady.py"), json.dumps(questions)])
        assert self._process.stdout
        assert self._process.stdout.readline() == "asking\n"

    def stop(self) -> tuple[int, list[str]]:
        """How often it has asked, and what came in place of answers, with the seconds."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        asked, failures = json.loads(self._process.stdout.readline())
        return asked, failures


def _ask(one: Question) -> str:
    with socket.create_connection((one.ip, one.port), timeout=_PATIENCE) as line:
        if not one.certificate:
            return _told(line, one.name)
        context = ssl.create_default_context(cadata=one.certificate)
        with context.wrap_socket(line, server_hostname=one.name) as secret:
            return _told(secret, one.name)


def _told(line: socket.socket, name: str) -> str:
    line.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    answer = b""
    while part := line.recv(4096):
        answer += part
    return answer.decode()


def _go_on(one: Question, begin: float, stop: threading.Event, seen: list[str | None]) -> None:
    while True:
        asked = time.monotonic() - begin
        try:
            told = _ask(one)
        except OSError as error:
            told = repr(error)
        seen.append(None if told.startswith(one.answer) else f"{one.port} {asked:.3f} s: {told}")
        if stop.wait(_EVERY):
            return


def _main() -> None:
    stop, seen = threading.Event(), list[str | None]()
    begin = time.monotonic()
    threads = [
        threading.Thread(target=_go_on, args=(Question(*one), begin, stop, seen))
        for one in json.loads(sys.argv[1])
    ]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps([len(seen), [one for one in seen if one]]), flush=True)


if __name__ == "__main__":
    _main()
