"""Azure's health probes and what hangs on them: run inside the fabric, called from outside.

A probe fails or not; after so many in a row of one kind the load balancer stops sending new
connections, or begins to again. A TCP probe is a connection that ends with the next one; an HTTP
probe asks again by the connection that is open, as long as that lasts.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .fabric import Body, Fabric

_PATIENCE = 0.5


class Prober:
    """Probes one port of the VM from the fabric; traffic goes by the rules of `body` while it is
    up, and open connections keep their way while it is not."""

    def __init__(
        self,
        fabric: Fabric,
        body: Body,
        place: tuple[str, int],
        *,
        source: str,
        kind: str = "tcp",
        interval: float = 0.2,
        threshold: int = 2,
    ) -> None:
        order = {"place": place, "source": source, "kind": kind, "interval": interval}
        order |= {"threshold": threshold, "up": fabric.translation(body), "down": fabric.nothing()}
        self._process = fabric.spawn(fabric.python("prober.py"))
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(order)}\n")
        self._process.stdin.flush()

    def round(self) -> tuple[bool, bool]:
        """Whether the next probe was answered, and whether connections are sent after it."""
        assert self._process.stdout
        answered, up = json.loads(self._process.stdout.readline())
        return answered, up

    def wait_for(self, up: bool, most: int = 100) -> int:
        """Wait until connections are sent, or no longer; how many probes that took."""
        for number in range(1, most):
            if self.round()[1] is up:
                return number
        raise AssertionError(f"not within {most} probes")


class _Probe:
    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.open: socket.socket | None = None

    def answered(self) -> bool:
        try:
            return self._asked() if self.order["kind"] == "http" else self._connected()
        except OSError:
            self._close()
            return False

    def _connected(self) -> bool:
        self._close()
        self._connect()
        return True

    def _asked(self) -> bool:
        line = self.open or self._connect()
        line.sendall(b"GET / HTTP/1.1\r\nHost: probe\r\n\r\n")
        said = line.recv(65536)
        if not said:
            self._close()
        return said.startswith(b"HTTP/1.1 200 ")

    def _connect(self) -> socket.socket:
        ip, port = self.order["place"]
        family = socket.AF_INET6 if ":" in ip else socket.AF_INET
        self.open = socket.socket(family)
        self.open.settimeout(_PATIENCE)
        self.open.bind(socket.getaddrinfo(self.order["source"], 0, family)[0][4])
        self.open.connect((ip, port))
        return self.open

    def _close(self) -> None:
        if self.open:
            self.open.close()
        self.open = None


def _load(rules: str) -> None:
    subprocess.run(["nft", "-f", "-"], input=rules, text=True, check=True)


def _main() -> None:
    order = json.loads(sys.stdin.readline())
    probe, up, row = _Probe(order), False, 0
    while True:
        answered = probe.answered()
        row = row + 1 if answered is not up else 0
        if row >= order["threshold"]:
            up, row = answered, 0
            _load(order["up" if up else "down"])
        print(json.dumps([answered, up]), flush=True)
        time.sleep(order["interval"])


if __name__ == "__main__":
    _main()
