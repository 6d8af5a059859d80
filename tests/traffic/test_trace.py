"""What is made of the kernel's words about packets: when a trace ends, and what it says."""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

from lbhook.firewall.packets import Flow
from lbhook.firewall.traces import ACCEPT, DROP, Event
from lbhook.processes import Result
from lbhook.system.machine import Machine
from lbhook.traffic.fates import Fate, remedy, said, to_json, to_text
from lbhook.traffic.remedies import Advice
from lbhook.traffic.trace import Reader, watched

NAME = "lbhook_trace_7"
INET = 1
LISTED = (
    "table inet lbhook {\n\tchain input { # handle 1\n\t\ttcp dport 80 accept # handle 9\n\t}\n}\n"
)


def flow(port: int = 80, source: str = "203.0.113.9") -> Flow:
    """A connection by TCP to this machine."""
    ends = (ipaddress.ip_address(one).packed for one in (source, "10.1.0.4"))
    return Flow(6, next(ends), 50000, next(ends), port)


def event(
    packet: int,
    chain: str,
    verdict: int | None = ACCEPT,
    *,
    table: str = NAME,
    handle: int = 9,
    of: Flow | None = None,
) -> Event:
    """One word of the kernel's."""
    return Event(packet, INET, table, chain, handle, verdict, of)


class Heard:
    """Says these events, some at each look; time goes on by each wait."""

    def __init__(self, *looks: Sequence[Event]) -> None:
        self.name = NAME
        self.looks: Iterator[Sequence[Event]] = iter(looks)
        self.now = 0.0

    def events(self) -> Iterable[Event]:
        """Those of the next look."""
        return next(self.looks, ())

    def clock(self) -> float:
        """Seconds that went by."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let them go by."""
        self.now += seconds


def fates(*looks: Sequence[Event], most: int = 5) -> tuple[list[tuple[Fate, int]], float]:
    """What is made of events, and how long that took."""
    heard = Heard(*looks)
    packets = watched(heard, most, 30.0, heard.clock, heard.sleep)
    return [*reader().fates(packets).items()], heard.now


class Nobody(Machine):
    """A machine on which nobody listens."""

    def listening(self) -> tuple[()]:
        """No socket."""
        return ()


def run(argv: Sequence[str], *_: object, **__: object) -> Result:
    """Lists a chain with one rule."""
    return Result(argv=tuple(argv), status=0, output=LISTED)


ADVICE = Advice(run, ())


def reader() -> Reader:
    """One that lists a chain with one rule."""
    return Reader(run, Nobody())


def came(packet: int, source: str = "203.0.113.9") -> Event:
    """A packet that is marked."""
    return event(packet, "prerouting", of=flow(source=source))


def dropped(packet: int, handle: int = 9) -> Event:
    """The rule that drops it, or the policy."""
    return event(packet, "input", DROP, table="lbhook", handle=handle)


def test_it_ends_when_there_were_enough() -> None:
    """At once, when the last of them has met its fate; what is alike is one."""
    (found, often), *more = fates([came(1), dropped(1)], [came(2), dropped(2)], most=2)[0]
    assert (found.outcome, found.verdict.chain, often, more) == (
        "dropped",
        "inet lbhook input",
        2,
        [],
    )
    assert found.text == "tcp dport 80 accept"
    assert fates([came(1), dropped(1)], [came(2), dropped(2)], most=2)[1] < 1


def test_a_busy_port_is_no_flood() -> None:
    """A thousand packets in one look: it ends, and says one line."""
    busy = [one for n in range(1000) for one in (came(n), dropped(n))]
    found, seconds = fates(busy, most=5)
    assert ([often for _, often in found], seconds < 1) == ([1000], True)


def test_it_ends_with_its_time() -> None:
    """No packet, and one that nobody decides about: said as lost in the kernel's routing."""
    found, seconds = fates()
    assert (found, 30 <= seconds < 32) == ([], True)
    ((fate, _),), _ = fates([came(1)])
    assert fate.outcome == "lost"
    assert said(fate) == "not passed on by the kernel's routing"


def test_iptables_legacy_may_have_dropped_it(tmp_path: Path) -> None:
    """Its rules are in no trace: the kernel's routing is not to blame for certain."""
    net = tmp_path / "proc/self/net"
    net.mkdir(parents=True)
    (net / "ip_tables_names").write_text("filter\n")
    heard = Heard([came(1)])
    packets = watched(heard, 1, 30.0, heard.clock, heard.sleep)
    asked = reader()
    asked.machine = Machine(tmp_path)
    ((fate, _),) = asked.fates(packets).items()
    assert "rules of iptables-legacy, which no trace shows" in said(fate)
    assert remedy(fate, ADVICE).startswith("`iptables-legacy-save` and")


def test_what_is_redirected_and_then_dropped() -> None:
    """Where to is said, since that is what has to be let in."""
    first = event(1, "input", None, table="lbhook", of=flow(9000))
    ((fate, _),), _ = fates([came(1), first, dropped(1, 0)], most=1)
    assert said(fate).startswith("redirected to 10.1.0.4:9000, and dropped by chain inet lbhook")
    assert remedy(fate, ADVICE).startswith("let in 10.1.0.4:9000, where it is")


def test_a_number_of_the_kernel_s_comes_again() -> None:
    """It gives the next packet the number of one that has gone."""
    found, _ = fates([came(1), dropped(1)], [came(1, "203.0.113.10"), dropped(1, 0)], most=2)
    assert [(str(fate.source), fate.verdict.rule) for fate, _ in found] == [
        ("203.0.113.9", "handle 9"),
        ("203.0.113.10", "policy drop"),
    ]


def test_what_another_trace_has_marked_is_not_ours() -> None:
    """Events of packets that our table did not mark, and those of the other's table."""
    other = event(3, "prerouting", table="lbhook_trace_8", of=flow())
    found, _ = fates([other, dropped(3)], [came(4), dropped(4)], most=1)
    assert [often for _, often in found] == [1]


def test_an_answer_that_is_dropped() -> None:
    """Let in, and what goes back is not."""
    end = event(1, "input_end", of=flow())
    back = event(2, "output", of=flow().back)
    lost = event(2, "out", DROP, table="own")
    ((fate, _),), _ = fates([came(1), end, back, lost], most=1)
    assert (fate.outcome, fate.verdict.chain) == ("unanswered", "inet own out")


@pytest.mark.parametrize(
    ("table", "chain", "words"),
    [
        ("lbhook", "input", "no rule of the load balancer"),
        ("lbhook", "restrict", "`sources`"),
        ("lbhook_drain", "input_probe", "sudo lbhook undrain"),
        ("firewalld", "filter_INPUT", "turn on the target firewalld"),
        ("own", "input", "accept it there too"),
    ],
)
def test_each_drop_has_its_remedy(table: str, chain: str, words: str) -> None:
    """By whose table it is; text and JSON say the same, in the width of a screen."""
    found, _ = fates([came(1), event(1, chain, DROP, table=table, handle=0)], most=1)
    text = to_text(dict(found), ADVICE)
    assert words in " ".join(text.split())
    assert max(map(len, text.splitlines())) <= 80
    (packet,) = to_json(dict(found), 80, ADVICE)["packets"]
    assert words in packet["remedy"]
