"""What a packet's way says before anybody is asked for names."""

from ipaddress import ip_address

import pytest

from lbhook.firewall.decisions import Knock
from lbhook.firewall.packets import TCP, Flow
from lbhook.firewall.traces import ACCEPT, DROP, OURS, Event, Journey
from lbhook.firewall.verdict import Door

FLOW = Flow(TCP, bytes([24, 1, 2, 3]), 33001, bytes([10, 1, 0, 4]), 443)
DOOR = Door(destination=ip_address("10.1.0.4"), protocol=TCP, port=443, device="eth0")


def event(table: str, chain: str, verdict: int) -> Event:
    """What the kernel says of a packet in one chain."""
    return Event(packet=1, family=1, table=table, chain=chain, handle=2, verdict=verdict, flow=None)


BEGINS, ENDS = event(OURS, "output", ACCEPT), event(OURS, "postrouting end", ACCEPT)


@pytest.mark.parametrize(
    ("events", "leaving"),
    [
        ([], False),
        ([BEGINS], False),
        ([BEGINS, event("own", "out", DROP)], False),
        ([BEGINS, ENDS], True),
        ([BEGINS, ENDS, event("own", "egress", DROP)], False),
    ],
)
def test_an_answer_that_is_waited_for(events: list[Event], leaving: bool) -> None:
    """One that came through the last hook, and was not dropped behind it."""
    assert Knock(DOOR, FLOW, back=Journey(events)).is_leaving is leaving


def test_a_packet_that_is_sent_anew() -> None:
    """It comes from another port, for its connection is known, and nothing is left of the first."""
    knock = Knock(DOOR, FLOW, forth=Journey([BEGINS]), back=Journey([ENDS]), answered=True)
    knock.begin(33002)
    assert knock == Knock(DOOR, Flow(TCP, FLOW.source, 33002, FLOW.destination, 443))
