"""First packets, by the checksums and fields that a kernel looks at."""

import ipaddress
import struct
from dataclasses import replace

import pytest

from lbhook.firewall import packets
from lbhook.firewall.packets import ICMPV6, TCP, UDP, Flow

FOUR = Flow(
    TCP,
    ipaddress.ip_address("81.0.0.7").packed,
    33000,
    ipaddress.ip_address("10.1.0.4").packed,
    443,
)
SIX = Flow(
    UDP,
    ipaddress.ip_address("2a02:26f0::7").packed,
    33001,
    ipaddress.ip_address("2001:db8::4").packed,
    53,
)
NEIGHBOUR = replace(SIX, protocol=ICMPV6, port=0)


def _sum(content: bytes) -> int:
    """RFC 1071: what is summed with its own checksum comes to ones alone."""
    content += bytes(len(content) % 2)
    total: int = sum(struct.unpack(f"!{len(content) // 2}H", content))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_checksums() -> None:
    """Of the header of IPv4, and of what it carries, with its addresses."""
    packet = packets.first(FOUR)
    assert _sum(packet[:20]) == 0xFFFF
    assert _sum(packet[12:20] + struct.pack("!HH", TCP, len(packet) - 20) + packet[20:]) == 0xFFFF
    for flow in (SIX, NEIGHBOUR):
        packet = packets.first(flow)
        pseudo = packet[8:40] + struct.pack("!II", len(packet) - 40, flow.protocol)
        assert _sum(pseudo + packet[40:]) == 0xFFFF


@pytest.mark.parametrize("flow", [FOUR, SIX, NEIGHBOUR])
def test_a_frame_is_read_as_it_was_written(flow: Flow) -> None:
    """Both ends, and the first packet of a connection."""
    frame = packets.framed(packets.first(flow), bytes(6), bytes(6))
    found, flags, sequence = packets.heard(frame)
    assert found == flow
    assert packets.is_first(flags) is (flow.protocol == TCP)
    assert sequence == (1 if flow.protocol == TCP else 0)


def test_an_answer_accepts_what_was_sent() -> None:
    """It comes from the other end, and acknowledges the next byte, also after the last number."""
    frame = packets.framed(packets.accepted(FOUR.back, 0xFFFFFFFF), bytes(6), bytes(6))
    found, flags, _ = packets.heard(frame)
    assert found == FOUR.back
    assert packets.is_accepted(flags)
    assert frame[14 + 20 + 8 : 14 + 20 + 12] == bytes(4)


@pytest.mark.parametrize("frame", [b"", bytes(14), bytes(40), b"\x45" * 20])
def test_a_frame_that_is_cut(frame: bytes) -> None:
    """Is nobody's."""
    assert packets.heard(frame)[0] is None
