"""A client that counts: each question comes from a port of its own, and waits for its answer."""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host

_FIRST_PORT, _LAST_PORT = 10000, 60000
_EVERY = 0.004
# Longer than a packet that was dropped would need to come again.
_PATIENCE = 5.0


class Counted:
    """Asks from `host` until it is told to stop; each place is a protocol, address and port."""

    def __init__(self, host: Host, *places: tuple[str, str, int]) -> None:
        self._process = host.spawn([*host.python("counted.py"), json.dumps(places)])
        assert self._process.stdout
        assert self._process.stdout.readline() == "asking\n"

    def stop(self) -> tuple[list[int], list[str]]:
        """How often each place was asked, and each time it gave no answer."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        asked, failures = json.loads(self._process.stdout.readline())
        return asked, failures


def _ask(protocol: str, ip: str, port: int, own: int) -> None:
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[protocol]
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, kind) as line:
        line.settimeout(_PATIENCE)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        line.bind(("", own))
        line.connect((ip, port))
        if protocol == "udp":
            line.send(b"?")
            line.recv(100)


def _main() -> None:
    places = json.loads(sys.argv[1])
    asked, failures = [0] * len(places), []
    begun, own = time.monotonic(), _FIRST_PORT
    ending = False
    print("asking", flush=True)
    while not ending:
        for at, (protocol, ip, port) in enumerate(places):
            own = own + 1 if own < _LAST_PORT else _FIRST_PORT
            asked[at] += 1
            try:
                _ask(protocol, ip, port, own)
            except OSError as error:
                failures.append(f"{ip} {port} {time.monotonic() - begun:.3f} s: {error!r}")
        ending = _is_told(sys.stdin.fileno())
    print(json.dumps([asked, failures]), flush=True)


def _is_told(stdin: int) -> bool:
    return bool(select.select([stdin], [], [], _EVERY)[0])


if __name__ == "__main__":
    _main()
