"""The socket that the metadata service listens on: loopback, or Azure's own address."""

from __future__ import annotations

import contextlib
import ipaddress
import pwd
import socket
import sys
from pathlib import Path

from ..errors import UsageError

TICK = 0.02  # seconds between two looks at the clock and at whether to stop


def local(host: str) -> str:
    """Return the address that a user's word means; UsageError unless it is one of those."""
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    with contextlib.suppress(ValueError):
        address = ipaddress.ip_address(host)
        # The metadata service's own address is for a network namespace of one's own.
        if address.is_loopback or host == "169.254.169.254":
            return str(address)
    raise UsageError(
        f'will not listen on "{host}": only a loopback address or 169.254.169.254 will do',
        hint="it answers anybody who can reach it",
    )


def bound(address: tuple[str, int]) -> socket.socket:
    """Return a socket that is bound, does not listen yet, and never waits longer than TICK."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.settimeout(TICK)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener


def user(connection: socket.socket) -> str:
    """Return the name of the user whose socket is at the other end, its number if it has no
    name; empty if it is not on this machine (proc_net_tcp(5))."""
    table = "tcp6" if connection.family == socket.AF_INET6 else "tcp"
    near, far = _as_in_proc(connection.getpeername()), _as_in_proc(connection.getsockname())
    for line in Path("/proc/net", table).read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[1:3] == [near, far]:
            try:
                return pwd.getpwuid(int(fields[7])).pw_name
            except KeyError:
                return fields[7]
    return ""


def _as_in_proc(place: tuple[str, int]) -> str:
    """An address and port as the kernel prints them: each four bytes as one number of its own."""
    packed = ipaddress.ip_address(place[0]).packed
    words = (int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4))
    return f"{''.join(f'{word:08X}' for word in words)}:{place[1]:04X}"


def gone(connection: socket.socket) -> bool:
    """Say whether the client has closed its end."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
