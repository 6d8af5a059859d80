"""What systemd is told, over a real datagram socket."""

import socket
from pathlib import Path

from lbhook.system.sd_notify import Notifier, notifier


def _heard(manager: socket.socket) -> str:
    return manager.recv(4096).decode()


def test_status_goes_to_the_manager_that_started_us(tmp_path: Path) -> None:
    """The address is that of NOTIFY_SOCKET; a status is one line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).status("two\nlines")
        assert _heard(manager) == "STATUS=two lines"


def test_waiting_asks_for_more_time(tmp_path: Path) -> None:
    """While lbhook waits, the unit's time to start is extended by half a minute."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        notifier({"NOTIFY_SOCKET": str(tmp_path / "notify")}).status("waiting", waiting=True)
        assert _heard(manager) == "STATUS=waiting\nEXTEND_TIMEOUT_USEC=30000000"


def test_abstract_address_begins_with_a_zero_byte() -> None:
    """An @ stands for the zero byte of an abstract socket, as sd_notify(3) says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")
        name = manager.getsockname().decode().replace("\0", "@", 1)
        notifier({"NOTIFY_SOCKET": name}).status("here")
        assert _heard(manager) == "STATUS=here"


def test_without_a_manager_nothing_is_sent() -> None:
    """By hand there is nobody to tell."""
    sent: list[bytes] = []
    Notifier(address="", send=lambda _, message: sent.append(message)).status("nobody")
    assert sent == []


def test_a_manager_that_has_gone_is_no_failure(tmp_path: Path) -> None:
    """A status line is no reason for anything to fail."""
    notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).status("still here")
