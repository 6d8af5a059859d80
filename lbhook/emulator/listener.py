"""The socket that the metadata service listens on: loopback, or Azure's own address."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

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


def gone(connection: socket.socket) -> bool:
    """Say whether the client has closed its end."""
    try:
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
