"""The way of each rule through a machine: a made-up /proc, and a kernel told what to say."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from lbhook.firewall.kernel import Firewall, FirewallError
from lbhook.firewall.verdict import Counter, Door, Element, Verdict
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.programs.host import Host
from lbhook.storage.files import Tree
from lbhook.system.machine import Machine
from lbhook.system.netlink import Kernel
from lbhook.traffic import paths
from lbhook.traffic.paths import Picture, Process

from ..programs.test_nftables import machine as waiting
from ..stand import Runner, Stand, altered

Body = Callable[[str], bytes]
DROPPED = Verdict(action="drop", chain="inet lbhook input", rule="policy drop")


class Told(Firewall):
    """A firewall that says what it was told to; without verdicts, why it says nothing."""

    def __init__(self, *verdicts: Verdict, why: str = "") -> None:
        self.verdicts, self.why = verdicts, why
        self.asked: list[Door] = []
        self.absent: Mapping[str, str] = {}

    def judge(self, doors: Sequence[Door], absent: Mapping[str, str]) -> list[Verdict]:
        """What it was told of each."""
        self.asked, self.absent = list(doors), absent
        if self.why:
            raise FirewallError(self.why)
        return [*self.verdicts, *[OPEN] * len(doors)][: len(doors)]

    def counters(self, names: Sequence[str], _: str = "") -> Mapping[Element, Counter | None]:
        """Of two places."""
        seven = Counter(packets=7, bytes=420)
        found = {("10.1.0.4", "6", "443"): seven, ("10.1.0.8",): seven, ("168.63.129.16",): None}
        return found if "listeners4" in names else {}


OPEN = Verdict(action="accept")


def host(place: Path, *, root: bool = True) -> Host:
    """A machine that listens on 443 of all its addresses."""
    place.mkdir(exist_ok=True)
    stand = Stand(place, Runner(), kernel=Kernel())
    made = stand.host(stand.settings(""))
    tree = Tree(root=stand.disk, privileged=root)
    return altered(made, tree=tree, machine=waiting(place / "proc", "tcp,::,443"))


def seen(place: Path, lb: Facts, told: Firewall | None = None, *, root: bool = True) -> Picture:
    """The picture of such a machine."""
    return paths.seen(lb, host(place, root=root), told or Told())


@pytest.fixture
def lb(body: Body) -> Facts:
    """Rules to 443 of 10.1.0.4 and of an IPv6 address."""
    return facts.derive(parse(body("documented")))


def test_a_machine_that_is_not_looked_at(lb: Facts) -> None:
    """Nothing is known of the ways, and nothing is wrong with them."""
    ways = paths.rules_only(lb).ways
    assert [way.rule for way in ways] == list(lb.inbound_rules)
    assert {(way.local, way.listening, way.verdict, way.problems) for way in ways} == {
        (None, None, None, ())
    }


def test_verdicts_and_counters(tmp_path: Path, lb: Facts) -> None:
    """Each rule has that of its own place."""
    four, six = seen(tmp_path, lb, Told(OPEN, DROPPED)).ways
    assert (four.verdict, four.counter) == (OPEN, Counter(packets=7, bytes=420))
    assert (six.verdict, six.counter) == (DROPPED, None)
    assert six.problems == ("not an address of this machine", "dropped by the firewall")


def test_ha_ports(tmp_path: Path, body: Body) -> None:
    """One port stands for all; nobody can listen on every port."""
    lb = facts.derive(parse(body("gateway-ha-ports")))
    told = Told(OPEN, DROPPED)
    ways = seen(tmp_path, lb, told).ways
    assert [(way.dropped, way.listening) for way in ways] == [(False, None), (True, None)]
    assert ways[0].counter == Counter(packets=7, bytes=420)
    assert {(one.protocol, one.port) for one in told.asked} == {(6, 1)}
    assert set(told.absent) == {str(one.destination) for one in told.asked}


@pytest.mark.parametrize(("root", "why"), [(False, "only root may list it"), (True, "it rains")])
def test_a_firewall_that_is_not_seen(tmp_path: Path, lb: Facts, root: bool, why: str) -> None:
    """Is no problem of any rule; why is said once."""
    picture = seen(tmp_path, lb, Told(why=why), root=root)
    assert {way.verdict for way in picture.ways} == {None}
    assert picture.unseen[0].endswith(why)
    assert picture.firewall is None


def test_a_kernel_that_is_not_asked(tmp_path: Path, lb: Facts) -> None:
    """As below `--root`: nothing is said of its rules."""
    bare = altered(host(tmp_path), kernel=None)
    assert paths.seen(lb, bare, Told()).unseen[0] == "the firewall: not checked"


def test_a_socket_whose_process_is_not_seen(tmp_path: Path, lb: Facts) -> None:
    """Somebody listens; that no name is known is said once."""
    picture = seen(tmp_path, lb)
    assert [way.listening for way in picture.ways] == [(Process(),), (Process(),)]
    (said,) = picture.unseen
    assert "run as root to see most" in said


def test_the_socket_of_an_address_comes_before_that_of_any(tmp_path: Path, lb: Facts) -> None:
    """As in the kernel: who has the address itself gets what is sent to it."""
    made = waiting(tmp_path, "tcp,::,443", "tcp,10.1.0.4,443", "udp,10.1.0.4,443")
    for number, file in ((11, "tcp"), (12, "tcp6")):
        table = tmp_path / "proc/self/net" / file
        table.write_text(table.read_text().replace(" 1\n", f" {number}\n"))
    for pid, inode, name in ((7, 11, "own"), (8, 12, "any")):
        (tmp_path / f"proc/{pid}/fd").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/fd/3").symlink_to(f"socket:[{inode}]")
        (tmp_path / f"proc/{pid}/comm").write_text(name)
        (tmp_path / f"proc/{pid}/cgroup").write_text(f"0::/system.slice/{name}.service\n")
    there = altered(host(tmp_path / "x"), machine=Machine(made.root))
    assert [way.listening for way in paths.seen(lb, there, Told()).ways] == [
        (Process(program="own", unit="own.service"),),
        (Process(program="any", unit="any.service"),),
    ]
