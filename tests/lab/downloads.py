"""Downloads that last until they may end: run inside a host, as the server or as the client."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import socketserver
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host

HALF = b"x" * 20000
# While this is not there, each download stays where it is.
MAY_END = "/run/may-end"


class Downloads:
    """So many downloads of a host from one place."""

    def __init__(self, host: Host, ip: str, port: int, number: int) -> None:
        words = ("fetch", ip, str(port), str(number))
        self._process = host.spawn([*host.python("downloads.py"), *words])
        assert self._read() == number, "not all downloads have begun"

    def _read(self) -> object:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def whole(self) -> object:
        """How many came to their end with all of it; to be asked when they may end."""
        return self._read()


class _Slow(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(HALF)
        while not Path(MAY_END).exists():
            time.sleep(0.05)
        self.request.sendall(HALF)


class _Server(socketserver.ThreadingTCPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 512


def _fetch(ip: str, port: int, number: int) -> None:
    lines = [socket.create_connection((ip, port), 30) for _ in range(number)]
    got = dict.fromkeys(lines, 0)
    while any(one < len(HALF) for one in got.values()):
        _take(got)
    print(json.dumps(sum(one >= len(HALF) for one in got.values())), flush=True)
    ended: list[int] = []
    while got:
        ended += _take(got)
    print(json.dumps(ended.count(2 * len(HALF))), flush=True)


def _take(got: dict[socket.socket, int]) -> list[int]:
    """Read what has come; returns the lengths of those that ended."""
    readable, _, _ = select.select(list(got), [], [], 60)
    ended = []
    for line in readable or list(got):
        said = b""
        with contextlib.suppress(OSError):
            said = line.recv(65536) if readable else b""
        if said:
            got[line] += len(said)
        else:
            ended.append(got.pop(line))
    return ended


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _Server(("::", int(sys.argv[2])), _Slow).serve_forever()
    else:
        _fetch(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
