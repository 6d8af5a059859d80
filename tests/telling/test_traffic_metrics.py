"""What the firewall has counted, as metrics: bounded, and never older than it is."""

from collections.abc import Mapping

import pytest

from lbhook.firewall.kernel import Firewall, FirewallError
from lbhook.firewall.verdict import Counter, TalliedRule, Tally
from lbhook.telling.traffic_metrics import LAST_PROBE, MOST_LISTENERS, Traffic, seen

from ..stand import Stand

MOST = (1 << 64) - 1
ONE = Counter(packets=1, bytes=60)
PLACE = ("10.0.0.4", "tcp", "443")


def values(traffic: Traffic, before: str = "", now: float = 1e9) -> Mapping[str, float]:
    """Metrics by their name and labels."""
    return {name + labels: value for name, labels, value in traffic.samples(before, now)}


def text(traffic: Traffic, now: float, before: str = "") -> str:
    """As a file has them."""
    rows = traffic.samples(before, now)
    return "".join(f'{name}{{command="apply"{more}}} {value}\n' for name, more, value in rows)


def probed(packets: int) -> Traffic:
    """Probes that were counted."""
    counter = Counter(packets=packets, bytes=60 * packets)
    return Traffic({}, {}, {"168.63.129.16": counter}, (0, 0))


def test_there_are_never_more_than_so_many_listeners() -> None:
    """Of 2,400 a hundred, always the same ones; the totals have all, and how many are left out."""
    ports = range(2400)
    found = {("10.0.0.4", "tcp", str(port)): ONE for port in ports}
    told = values(Traffic(found, {}, {}, (0, 0)))
    rows = [name for name in told if name.startswith("lbhook_listener_packets_total")]
    assert len(rows) == MOST_LISTENERS
    assert (told["lbhook_listeners"], told["lbhook_listeners_left_out"]) == (2400, 2300)
    assert told["lbhook_accepted_packets_total"] == 2400
    assert told["lbhook_accepted_bytes_total"] == 2400 * 60
    assert len(told) == 2 * MOST_LISTENERS + 6
    assert rows == [
        name
        for name in values(Traffic(found, {}, {}, (0, 0)))
        if name.startswith("lbhook_listener_packets_total")
    ]


def test_a_limit_that_is_reached_leaves_nothing_out() -> None:
    """Exactly as many as there may be."""
    found = {("10.0.0.4", "tcp", str(port)): ONE for port in range(MOST_LISTENERS)}
    assert values(Traffic(found, {}, {}, (0, 0)))["lbhook_listeners_left_out"] == 0


def test_a_counter_that_is_full() -> None:
    """All that the kernel can count is a number, here and for the next run."""
    full = Counter(packets=MOST, bytes=MOST)
    traffic = Traffic({PLACE: full}, {}, {"168.63.129.16": full}, (0, 0))
    before = text(traffic, 1000.0)
    assert f'port="443"}} {MOST}\n' in before
    assert values(traffic, before, 2000.0)[LAST_PROBE] == 1000.0


@pytest.mark.parametrize(
    ("earlier", "later", "expected"),
    [(0, 0, 0.0), (0, 3, 2000.0), (3, 3, 1000.0), (3, 4, 2000.0), (3, 1, 2000.0), (3, 0, 1000.0)],
)
def test_when_a_probe_was_last_seen(earlier: int, later: int, expected: float) -> None:
    """By what was counted since the run before; a table that was loaded anew begins at nought, and
    that is no probe."""
    before = text(probed(earlier), 1000.0)
    assert values(probed(later), before, 2000.0)[LAST_PROBE] == expected


@pytest.mark.parametrize("before", ["", "rubbish", f'{LAST_PROBE}{{command="apply"}} 1e999\n'])
def test_what_cannot_be_read_is_never(before: str) -> None:
    """A file that somebody has cut or written over."""
    assert values(probed(0), before)[LAST_PROBE] == 0


def test_a_clock_that_was_set_back_makes_no_probe_of_the_future() -> None:
    """The last probe is never later than now."""
    before = text(probed(3), 5000.0)
    assert values(probed(3), before, 2000.0)[LAST_PROBE] == 2000.0


class Kernel(Firewall):
    """A table that has counted; one that can't be read; none."""

    def __init__(self, tally: Tally | None) -> None:
        self.known = tally

    def tally(self, table: str = "lbhook") -> Tally:
        """What it has counted."""
        if self.known is None:
            raise FirewallError
        return self.known


def rule(comment: str, packets: int) -> TalliedRule:
    """One that has counted."""
    return TalliedRule(handle=1, comment=comment, counter=Counter(packets=packets, bytes=packets))


TABLE = Tally(
    rules={
        "input": (rule("dropped", 5), rule("invalid", 1), rule("ssh", 9)),
        "restrict": (rule("restricted tcp 443", 2), rule("restricted udp 53", 3)),
    },
    elements={
        "listeners4": {("10.0.0.4", "6", "443"): ONE, ("10.0.0.4", "17", "53"): ONE},
        "ha_ports6": {("fd00::4",): ONE},
        "probes4": {("168.63.129.16",): ONE},
        "restrict1_4": {("10.0.0.0",): ONE},
    },
)


def test_what_a_table_has_counted(stand: Stand) -> None:
    """Listeners by their place, drops by their reason, probes by their source; SSH is neither."""
    host = stand.context(stand.settings("")).host
    # That there is one is all that is asked of it here; its counts come from the fake.
    host.kernel = host.kernel or object()  # type: ignore[assignment]
    found = seen(host, Kernel(TABLE))
    if not host.root:
        assert found is None
        return
    assert found
    assert [*found.listeners] == [
        ("10.0.0.4", "tcp", "443"),
        ("10.0.0.4", "udp", "53"),
        ("fd00::4", "all", "*"),
    ]
    drops = {reason: counter.packets for reason, counter in found.drops.items()}
    assert drops == {"dropped": 5, "invalid": 1, "restricted": 5}
    assert [*found.probes] == ["168.63.129.16"]
    assert seen(host, Kernel(Tally(rules={}, elements={}))) is None
    assert seen(host, Kernel(None)) is None
