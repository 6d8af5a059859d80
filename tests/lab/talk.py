"""One TCP connection, or UDP flow, that stays while the test does something else: its far end runs
in a host."""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host


class Talk:
    """A connection of `host`; where it listens, the first `receive` or `send` accepts."""

    def __init__(self, host: Host, *words: str) -> None:
        self._process = host.spawn([*host.python("talk.py"), *words])
        assert self._read() == "ready", f"{host.name} can't {' '.join(words)}"

    @classmethod
    def connect(cls, host: Host, ip: str, port: int, source: str = "") -> Talk:
        """Open a connection from `host`, and its address `source`."""
        return cls(host, "connect", ip, str(port), *([source] if source else []))

    @classmethod
    def flow(cls, host: Host, ip: str, port: int) -> Talk:
        """A UDP socket of `host`, whose packets all go there from one port."""
        return cls(host, "flow", ip, str(port))

    @classmethod
    def listen(cls, host: Host, port: int) -> Talk:
        """Wait on `host` for one connection."""
        return cls(host, "listen", str(port))

    def _read(self) -> object:
        assert self._process.stdout
        line = self._process.stdout.readline()
        return json.loads(line) if line else None

    def _say(self, order: object) -> object:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def send(self, text: str) -> None:
        """Say something to the other end, and don't wait."""
        assert self._say(text) == "sent"

    def receive(self) -> object:
        """Return what the other end said; None if it says nothing, or is gone."""
        return self._say(None)

    def ask(self, text: str) -> object:
        """Say something, and return the answer."""
        self.send(text)
        return self.receive()


def _open(words: list[str]) -> socket.socket:
    if words[0] == "connect":
        source = socket.getaddrinfo(words[3], 0)[0][4] if words[3:] else None
        return socket.create_connection((words[1], int(words[2])), 5, source)
    if words[0] == "flow":
        flow = socket.socket(
            socket.AF_INET6 if ":" in words[1] else socket.AF_INET, socket.SOCK_DGRAM
        )
        flow.connect((words[1], int(words[2])))
        return flow
    return socket.create_server(("::", int(words[1])), family=socket.AF_INET6, dualstack_ipv6=True)


def _do(order: str | None, line: socket.socket) -> str | None:
    try:
        if order is not None:
            line.sendall(order.encode())
            return "sent"
        return line.recv(65536).decode() or None
    except OSError:
        return None


def _main() -> None:
    line = _open(sys.argv[1:])
    print(json.dumps("ready"), flush=True)
    for number, order in enumerate(sys.stdin):
        if number == 0 and sys.argv[1] == "listen":
            line, _ = line.accept()
        # Long enough for two retransmissions.
        line.settimeout(1)
        print(json.dumps(_do(json.loads(order), line)), flush=True)


if __name__ == "__main__":
    _main()
