"""A client that asks for a page every ten milliseconds: run inside a host, called from outside."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host

_PAUSE = 0.01
_REQUEST = b"GET / HTTP/1.0\r\nHost: site\r\n\r\n"


class Asker:
    """Asks one address and port from `host` until `stop`."""

    def __init__(self, host: Host, ip: str, port: int) -> None:
        self._process = host.spawn([*host.python("asker.py"), ip, str(port)])
        assert self._process.stdout
        assert self._process.stdout.readline() == "asking\n"

    def stop(self) -> dict[str, int]:
        """End it, and say how often there was which answer, or which error in its place."""
        out, _ = self._process.communicate("stop\n")
        counted: dict[str, int] = json.loads(out)
        return counted


def _ask(ip: str, port: int) -> str:
    try:
        with socket.create_connection((ip, port), 10) as connection:
            connection.settimeout(10)
            connection.sendall(_REQUEST)
            with connection.makefile("rb") as answer:
                return answer.read().decode().splitlines()[-1]
    except OSError as error:
        return type(error).__name__


def _wait(stopped: threading.Event) -> None:
    sys.stdin.readline()
    stopped.set()


def _main(ip: str, port: int) -> None:
    stopped = threading.Event()
    threading.Thread(target=_wait, args=(stopped,), daemon=True).start()
    counted: Counter[str] = Counter()
    print("asking", flush=True)
    while not stopped.is_set():
        counted[_ask(ip, port)] += 1
        time.sleep(_PAUSE)
    # Once after it was told to: a busy machine may have let it wait since the last change.
    counted[_ask(ip, port)] += 1
    print(json.dumps(counted))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
