"""What systemd is told while lbhook works: sd_notify(3), over a datagram and nothing else."""

import os
from collections.abc import Callable, Mapping

# How much more time a unit asks for while it waits; asked again long before it is over.
_EXTENSION = 30_000_000


def _send(address: str, message: bytes) -> None:
    # Imported only where there is somebody to tell: by hand there is not.
    import socket

    place = f"\0{address[1:]}" if address.startswith("@") else address
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(message, place)


class Notifier:
    """Talks to the service manager that started this process; silent without one."""

    def __init__(self, *, address: str, send: Callable[[str, bytes], None] = _send) -> None:
        self.address = address
        self.send = send

    def status(self, text: str, *, waiting: bool = False) -> None:
        """The line that `systemctl status` shows; while `waiting`, also more time to start."""
        if not self.address:
            return
        lines = [f"STATUS={' '.join(text.split())}"]
        if waiting:
            lines.append(f"EXTEND_TIMEOUT_USEC={_EXTENSION}")
        try:
            self.send(self.address, "\n".join(lines).encode())
        except OSError:
            return  # a status line is no reason for anything to fail


def notifier(environment: Mapping[str, str] = os.environ) -> Notifier:
    """The notifier of this process's environment."""
    return Notifier(address=environment.get("NOTIFY_SOCKET", ""))
