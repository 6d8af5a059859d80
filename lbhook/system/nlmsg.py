"""Messages of netlink, as linux/netlink.h has them: asked for, sent, and taken apart."""

import errno
import os
import socket
import struct
from collections.abc import Iterator, Sequence

# linux/netlink.h; Python has no name for these.
ROUTE, NETFILTER = 0, 12
REQUEST, ACK, DUMP, CREATE, APPEND, REPLACE = 0x001, 0x004, 0x300, 0x400, 0x800, 0x100
_ERROR, _DONE, _INTERRUPTED = 2, 3, 0x010
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED, _KIND = 0x8000, 0x3FFF
_MOST_BYTES = 1 << 17
_ROOM = 1 << 25
_PATIENCE = 5.0
# How often a listing is asked for anew because somebody changed what is listed.
_TRIES = 5


class InterruptedListingError(OSError):
    """What was listed changed meanwhile."""


def attribute(kind: int, content: bytes, *, nested: bool = False) -> bytes:
    """One attribute, with what fills it up to four bytes."""
    head = _ATTRIBUTE.pack(4 + len(content), kind | (_NESTED if nested else 0))
    return head + content + bytes(-len(content) % 4)


def nested(kind: int, *parts: bytes) -> bytes:
    """An attribute of attributes."""
    return attribute(kind, b"".join(parts), nested=True)


def number(kind: int, value: int) -> bytes:
    """An attribute with four bytes in the network's order, as netfilter has them."""
    return attribute(kind, value.to_bytes(4, "big"))


def text(kind: int, value: str) -> bytes:
    """An attribute with a text."""
    return attribute(kind, value.encode() + b"\0")


def attributes(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each attribute."""
    at, end = 0, len(content)
    while at + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(content, at)
        if length < 4:
            return
        yield kind & _KIND, content[at + 4 : at + length]
        at += (length + 3) & ~3


def by_kind(content: bytes) -> dict[int, bytes]:
    """The attributes by their kind; of one kind the last."""
    return dict(attributes(content))


def as_text(content: bytes) -> str:
    """A text of the kernel's, without the zero at its end."""
    return content.partition(b"\0")[0].decode("utf-8", "replace")


def as_number(content: bytes) -> int:
    """A number in the network's order."""
    return int.from_bytes(content, "big")


def message(kind: int, content: bytes, flags: int = 0, sequence: int = 1) -> bytes:
    """A message to the kernel; it is filled up to four bytes already."""
    length = _HEADER.size + len(content)
    return _HEADER.pack(length, kind, REQUEST | flags, sequence, 0) + content


def messages(received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Kind, flags, sequence and content of each message; raises `ValueError` if one is cut."""
    at = 0
    while at < len(received):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(received, at)
        if length < _HEADER.size or at + length > len(received):
            raise ValueError("cut")
        yield kind, flags, sequence, received[at + _HEADER.size : at + length]
        at += (length + 3) & ~3


class Channel:
    """A socket to a part of the kernel, in the network namespace that it was made in."""

    def __init__(self, protocol: int, groups: Sequence[int] = ()) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
        self.socket.settimeout(_PATIENCE)
        self.room = self._room()
        self.socket.bind((0, sum(1 << (one - 1) for one in groups)))

    def _room(self) -> int:
        """Make room for long messages; returns how long one to the kernel may be."""
        make_room(self.socket)
        return min(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 4, 1 << 22)

    def __enter__(self) -> "Channel":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it."""
        self.socket.close()

    def receive(self) -> bytes:
        """What the kernel says next; raises `OSError`, also if it was silent."""
        while True:
            received, (sender, _) = self.socket.recvfrom(_MOST_BYTES)
            if not sender:
                return received

    def listed(self, kind: int, content: bytes) -> list[bytes]:
        """All of a kind; raises `OSError`, also if it changes on and on."""
        for _ in range(_TRIES):
            try:
                return list(self.dumped(kind, content))
            except InterruptedListingError:
                continue
        raise InterruptedListingError(errno.EINTR, "what is listed changes on and on")

    def dumped(self, kind: int, content: bytes) -> Iterator[bytes]:
        """All of a kind, as they come; who does not take all of them closes the channel."""
        self.socket.send(message(kind, content, DUMP))
        changed = False
        while True:
            for answer, flags, _, found in messages(self.receive()):
                changed |= bool(flags & _INTERRUPTED)
                if answer == _ERROR:
                    raise _failure(found)
                if answer == _DONE:
                    if changed:
                        raise InterruptedListingError
                    return
                yield found

    def ask(self, kind: int, content: bytes, flags: int = 0) -> bytes:
        """One answer, or an acknowledgement, which is empty; raises `OSError`."""
        self.socket.send(message(kind, content, flags))
        for answer, _, _, found in messages(self.receive()):
            if answer != _ERROR:
                return found
            if as_status(found):
                raise _failure(found)
        return b""

    def sent(self, parts: Sequence[bytes], last: int) -> dict[int, int]:
        """Send messages at once; returns the errno of those that failed, by their sequence.

        `last` is the sequence of one that wants to be acknowledged, after which nothing comes."""
        self.socket.send(b"".join(parts))
        failed: dict[int, int] = {}
        while True:
            for answer, _, sequence, found in messages(self.receive()):
                if answer == _ERROR and as_status(found):
                    failed[sequence] = as_status(found)
                if sequence == last:
                    return failed


def make_room(made: socket.socket) -> None:
    """Let a socket keep 32 MiB of what comes and goes; in a user namespace as much as it may."""
    for forced, plain in ((32, socket.SO_SNDBUF), (33, socket.SO_RCVBUF)):
        try:  # SO_SNDBUFFORCE and SO_RCVBUFFORCE
            made.setsockopt(socket.SOL_SOCKET, forced, _ROOM)
        except PermissionError:
            made.setsockopt(socket.SOL_SOCKET, plain, _ROOM)


def as_status(found: bytes) -> int:
    """The errno of an answer; 0 if all is well."""
    return -int.from_bytes(found[:4], "little" if _little() else "big", signed=True)


def _failure(found: bytes) -> OSError:
    status = as_status(found) or errno.EIO
    return OSError(status, os.strerror(status))


def _little() -> bool:
    return struct.pack("=H", 1) == b"\1\0"
