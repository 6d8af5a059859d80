"""One download over HTTP that stays where it is until it may go on: run inside a host."""

from __future__ import annotations

import json
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host

# More than fits into the buffers between two machines.
HALF = 16 * 1024 * 1024


class Download:
    """A download of a host; it has begun, and takes no more than its first bytes."""

    def __init__(self, host: Host, ip: str, port: int, path: str) -> None:
        self._process = host.spawn([*host.python("download.py"), ip, str(port), path])
        assert self._read() == "begun"

    def _read(self) -> object:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def rest(self) -> object:
        """Go on; how many bytes it was in all."""
        assert self._process.stdin
        self._process.stdin.write("go on\n")
        self._process.stdin.flush()
        return self._read()


def _main(ip: str, port: str, path: str) -> None:
    with socket.create_connection((ip, int(port)), 60) as line:
        line.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        said = line.recv(4096)
        while b"\r\n\r\n" not in said:
            said += line.recv(4096)
        print(json.dumps("begun"), flush=True)
        sys.stdin.readline()
        length = len(said.split(b"\r\n\r\n", 1)[1])
        while part := line.recv(1 << 20):
            length += len(part)
        print(json.dumps(length), flush=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
