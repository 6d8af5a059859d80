"""The first packet of a connection, as a client's kernel sends it, and who answers it."""

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from .verdict import Door

TCP, UDP, ICMPV6 = 6, 17, 58
_SYN, _ACK, _RESET = 0x02, 0x10, 0x04
_WINDOW, _HOPS = 64240, 54
# A neighbour says where it is, as it was asked (RFC 4861): it may have come over no router.
_ADVERTISEMENT, _SOLICITED, _NEAR = 136, 0x6000, 255
# As Linux offers them: segment size, selective acknowledgement, timestamps, window scale; later
# packets have timestamps alone.
_OFFERED = bytes.fromhex("020405b40402080a0001e2400000000001030307")
_LATER = bytes.fromhex("0101080a0001e24000000001")
_SAID = b"lbhook"
_FREE_BIND, _FREE_BIND6 = 15, 78


@dataclass(frozen=True, slots=True)
class Flow:
    """Both ends of a connection, addresses as the network has them; `source` calls."""

    protocol: int
    source: bytes
    source_port: int
    destination: bytes
    port: int

    @property
    def version(self) -> int:
        """That of IP."""
        return 4 if len(self.destination) == 4 else 6

    @property
    def back(self) -> "Flow":
        """The same, seen from the other end."""
        return Flow(self.protocol, self.destination, self.port, self.source, self.source_port)


def first(flow: Flow) -> bytes:
    """The first packet, from the IP header on."""
    if flow.protocol == UDP:
        return _ip(flow, _udp(flow))
    if flow.protocol == ICMPV6:
        # Which has no ports: what is reserved tells one from another.
        said = struct.pack("!BBHHH", _ADVERTISEMENT, 0, 0, _SOLICITED, flow.source_port)
        return _ip(flow, _summed(flow, said + flow.source, 2), _NEAR)
    return _ip(flow, _tcp(flow, _SYN, 1, 0, _OFFERED))


def accepted(flow: Flow, sequence: int) -> bytes:
    """The answer of who listens to the first packet, which had this sequence number."""
    return _ip(flow, _tcp(flow, _SYN | _ACK, 1, sequence + 1, _OFFERED))


def second(flow: Flow, sequence: int) -> bytes:
    """What a client sends by TCP when its first packet was answered, with this sequence number."""
    return _ip(flow, _tcp(flow, _ACK, 2, sequence + 1, _LATER))


def framed(packet: bytes, destination: bytes, source: bytes) -> bytes:
    """A packet as Ethernet carries it."""
    kind = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    return destination + source + kind.to_bytes(2, "big") + packet


def read(network: bytes, transport: bytes) -> Flow | None:
    """The flow of a packet by its headers; None if it is of another protocol, or cut."""
    if len(transport) < 4 or len(network) < 20:
        return None
    ports = struct.unpack_from("!HH", transport)
    if network[0] >> 4 == 4:
        return Flow(network[9], network[12:16], ports[0], network[16:20], ports[1])
    if network[0] >> 4 == 6 and len(network) >= 40 and network[6] in (TCP, UDP):
        return Flow(network[6], network[8:24], ports[0], network[24:40], ports[1])
    if network[0] >> 4 == 6 and len(network) >= 40 and transport[:1] == bytes([_ADVERTISEMENT]):
        told = int.from_bytes(transport[6:8], "big")
        return Flow(network[6], network[8:24], told, network[24:40], 0)
    return None


def heard(frame: bytes) -> tuple[Flow | None, int, int]:
    """The flow of a frame, its flags of TCP and its sequence number."""
    packet = frame[14:]
    if not packet:
        return None, 0, 0
    size = 4 * (packet[0] & 15) if packet[0] >> 4 == 4 else 40
    network, transport = packet[:size], packet[size:]
    flow = read(network, transport)
    if not flow or flow.protocol != TCP or len(transport) < 14:
        return flow, 0, 0
    return flow, transport[13], int.from_bytes(transport[4:8], "big")


def is_accepted(flags: int) -> bool:
    """Whether these flags are those of an answer to a first packet that somebody waited for."""
    return flags & (_SYN | _ACK | _RESET) == _SYN | _ACK


def is_first(flags: int) -> bool:
    """Whether these flags are those of a first packet."""
    return flags & (_SYN | _ACK | _RESET) == _SYN


def _tcp(flow: Flow, flags: int, sequence: int, acknowledged: int, options: bytes) -> bytes:
    size = 20 + len(options)
    acknowledged %= 1 << 32
    head = struct.pack(
        "!HHIIBBHHH",
        *(flow.source_port, flow.port, sequence, acknowledged, size // 4 << 4, flags),
        *(_WINDOW, 0, 0),
    )
    return _summed(flow, head + options, 16)


def _udp(flow: Flow) -> bytes:
    head = struct.pack("!HHHH", flow.source_port, flow.port, 8 + len(_SAID), 0)
    return _summed(flow, head + _SAID, 6)


def _summed(flow: Flow, segment: bytes, at: int) -> bytes:
    """With its checksum, which covers the addresses as well."""
    width = ">HH" if flow.version == 4 else ">II"
    protocol = (flow.protocol, len(segment)) if flow.version == 4 else (len(segment), flow.protocol)
    covered = flow.source + flow.destination + struct.pack(width, *protocol) + segment
    return segment[:at] + (_checksum(covered) or 0xFFFF).to_bytes(2, "big") + segment[at + 2 :]


def _ip(flow: Flow, segment: bytes, hops: int = _HOPS) -> bytes:
    if flow.version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(segment), flow.protocol, hops)
        return head + flow.source + flow.destination + segment
    size = 20 + len(segment)
    head = struct.pack("!BBHHHBBH", 0x45, 0, size, 1, 0x4000, _HOPS, flow.protocol, 0)
    head += flow.source + flow.destination
    return head[:10] + _checksum(head).to_bytes(2, "big") + head[12:] + segment


def _checksum(content: bytes) -> int:
    content += bytes(len(content) % 2)
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@contextlib.contextmanager
def listening(door: Door) -> Iterator[socket.socket]:
    """A socket of whoever listens at a door."""
    family = socket.AF_INET if door.destination.version == 4 else socket.AF_INET6
    kind = socket.SOCK_STREAM if door.protocol == TCP else socket.SOCK_DGRAM
    with socket.socket(family, kind) as made:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # of two for one place the first answers
            if family == socket.AF_INET6:
                made.setsockopt(socket.IPPROTO_IPV6, _FREE_BIND6, 1)
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            else:
                made.setsockopt(socket.IPPROTO_IP, _FREE_BIND, 1)
            os.fchown(made.fileno(), door.user, -1)
            made.bind((str(door.destination), door.port))
            if door.protocol == TCP:
                # Nothing is said to a client that only shakes hands, also when this ends.
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
                made.listen(1024)
        yield made


@contextlib.contextmanager
def calling(door: Door) -> Iterator[Flow]:
    """A call to somebody, by TCP."""
    family = socket.AF_INET if door.destination.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM) as made:
        made.setblocking(False)
        made.connect_ex((str(door.destination), door.port))
        name = made.getsockname()
        source = socket.inet_pton(family, name[0])
        yield Flow(TCP, source, name[1], door.destination.packed, door.port)


def echo(listener: socket.socket) -> None:
    """Answer what has come by UDP."""
    while True:
        try:
            said, caller = listener.recvfrom(2048)
        except OSError:
            return
        with contextlib.suppress(OSError):  # a rule that drops it says so here, too
            listener.sendto(said, caller)


def captured(wire: socket.socket) -> Iterator[tuple[Flow, int, int]]:
    """What has left by an interface: flow, flags and sequence number of each packet."""
    while True:
        try:
            flow, flags, sequence = heard(wire.recv(2048))
        except BlockingIOError:
            return
        if flow:
            yield flow, flags, sequence
