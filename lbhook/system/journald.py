"""Lines for systemd's journal from a run by hand: of a unit the journal has what it prints."""

import os
from collections.abc import Callable, Iterable, Mapping

# Where journald takes entries, in the protocol of systemd.io/JOURNAL_NATIVE_PROTOCOL.
_ADDRESS = "/run/systemd/journal/socket"
INFO, WARNING = 6, 4


def _send(address: str, entries: Iterable[bytes]) -> None:
    # Imported only where there is something to say.
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        # A journal that is busy or gone holds nothing up.
        channel.setblocking(False)
        for entry in entries:
            channel.sendto(entry, address)


def takes(*descriptors: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what is written to one of these is the journal's, as JOURNAL_STREAM= names it:
    systemd.exec(5). What a service starts may have inherited the variable alone. Raises `OSError`
    for a descriptor that is closed."""
    stream = environment.get("JOURNAL_STREAM")
    if not stream:
        return False
    return any(f"{one.st_dev}:{one.st_ino}" == stream for one in map(os.fstat, descriptors))


def record(
    lines: Iterable[tuple[int, str]],
    *,
    environment: Mapping[str, str] = os.environ,
    send: Callable[[str, Iterable[bytes]], None] = _send,
) -> None:
    """Write lines with their priorities (syslog(3)) into the journal, if there is one and the
    output of this process is not in it anyhow. Never fails."""
    try:
        if takes(1, 2, environment=environment):
            return
        send(_ADDRESS, [_entry(priority, line) for priority, line in lines])
    except OSError:
        return  # a line in a log is no reason for anything to fail


def _entry(priority: int, line: str) -> bytes:
    fields = {"PRIORITY": priority, "SYSLOG_IDENTIFIER": "lbhook", "MESSAGE": line}
    return "".join(f"{name}={value}\n" for name, value in fields.items()).encode()
