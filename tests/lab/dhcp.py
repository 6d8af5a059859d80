"""An offer as a DHCP server makes it, that belongs to no connection: run inside a host."""

from __future__ import annotations

import contextlib
import socket
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hosts import Host

_PATIENCE = 0.5


def offer(host: Host, device: str, source: tuple[str, int], to: str) -> str:
    """Send one from `source` to a client's port, and return what is said to that."""
    ip, port = source
    return host.run([*host.python("dhcp.py"), device, ip, str(port), to]).stdout


def _main(device: str, ip: str, port: str, to: str) -> None:
    new = ":" in ip
    scope = (0, socket.if_nametoindex(device)) if new else ()
    with socket.socket(socket.AF_INET6 if new else socket.AF_INET, socket.SOCK_DGRAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        door.bind((ip, int(port), *scope))
        door.settimeout(_PATIENCE)
        door.sendto(b"offer", (to, 546 if new else 68, *scope))
        with contextlib.suppress(TimeoutError):
            print(door.recv(100).decode(), end="")


if __name__ == "__main__":
    _main(*sys.argv[1:])
