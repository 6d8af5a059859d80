"""The way of each rule through a machine: a made-up /proc, and what nft says in each edition."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from lbhook.metadata import facts, model
from lbhook.metadata.facts import Facts
from lbhook.programs.host import Host
from lbhook.storage.files import Tree
from lbhook.system.machine import Machine
from lbhook.traffic import paths
from lbhook.traffic.paths import Picture, Process
from lbhook.traffic.ruleset import Counter, Verdict

from ..programs.test_nftables import machine as waiting
from ..stand import Runner, Stand, altered

Body = Callable[[str], bytes]
# An element of a set, without and with a counter, as nft prints it.
PLAIN = {"concat": ["10.1.0.4", 6, 443]}
COUNTED = {"elem": {"val": PLAIN, "counter": {"packets": 7, "bytes": 420}}}
TABLE = {"family": "inet", "table": "lbhook"}
INPUT = {"name": "input", "hook": "input", "prio": 10, "policy": "drop"}
PLACE = [{"payload": {"protocol": "ip", "field": "daddr"}}, {"meta": {"key": "l4proto"}}]
PORT = {"payload": {"protocol": "th", "field": "dport"}}


def host(place: Path, listed: object = None, *, root: bool = True) -> Host:
    """A machine that listens on 443 of all its addresses; nft prints what is given."""
    said = (1, "Error: No such file or directory") if listed is None else (0, json.dumps(listed))
    place.mkdir(exist_ok=True)
    stand = Stand(place, Runner(lambda _: said))
    settings = stand.settings("")
    made = stand.host(settings)
    tree = Tree(root=stand.disk, privileged=root)
    return altered(made, tree=tree, machine=waiting(place / "proc", "tcp,::,443"))


def ruleset(*elements: object, left: object = None, name: str = "listeners4") -> object:
    """A table that lets in what is in one set, as nft prints it."""
    asked = {"op": "==", "left": left or {"concat": [*PLACE, PORT]}, "right": f"@{name}"}
    rule = {"chain": "input", "handle": 7, "expr": [{"match": asked}, {"accept": None}]}
    found = ("chain", INPUT), ("set", {"name": name, "elem": list(elements)}), ("rule", rule)
    return {"nftables": [{"metainfo": {}}, *({kind: {**TABLE, **one}} for kind, one in found)]}


def seen(place: Path, lb: Facts, listed: object = None, *, root: bool = True) -> Picture:
    """The picture of such a machine."""
    return paths.seen(lb, host(place, listed, root=root))


@pytest.fixture
def lb(body: Body) -> Facts:
    """Rules to 443 of 10.1.0.4 and of an IPv6 address."""
    return facts.derive(model.parse(body("documented")))


def test_a_machine_that_is_not_looked_at(lb: Facts) -> None:
    """Nothing is known of the ways, and nothing is wrong with them."""
    ways = paths.told(lb).ways
    assert [way.rule for way in ways] == list(lb.inbound_rules)
    assert {(way.local, way.listening, way.verdict, way.problems) for way in ways} == {
        (None, None, None, ())
    }


def test_counters_of_the_firewall(tmp_path: Path, lb: Facts) -> None:
    """Of each element; a rule whose element is missing is not let in."""
    four, six = seen(tmp_path, lb, ruleset(COUNTED)).ways
    assert four.verdict
    assert (four.verdict.action, four.counter) == ("accept", Counter(packets=7, bytes=420))
    dropped = Verdict(action="drop", chain="inet lbhook input", rule="policy drop")
    assert (six.verdict, six.counter) == (dropped, None)
    assert six.problems == ("not an address of this machine", "dropped by the firewall")


@pytest.mark.parametrize("element", [PLAIN, {"elem": {"val": PLAIN}}])
def test_elements_without_counters(tmp_path: Path, lb: Facts, element: object) -> None:
    """A table of an own template may have none."""
    way = seen(tmp_path, lb, ruleset(element)).ways[0]
    assert way.verdict
    assert (way.verdict.action, way.counter) == ("accept", None)


def test_ha_ports(tmp_path: Path, body: Body) -> None:
    """An address is an element by itself; nobody can listen on every port."""
    lb = facts.derive(model.parse(body("gateway-ha-ports")))
    counted = {"elem": {"val": "10.1.0.8", "counter": {"packets": 2, "bytes": 9}}}
    ways = seen(tmp_path, lb, ruleset(counted, left=PLACE[0], name="ha_ports4")).ways
    assert [(way.dropped, way.listening) for way in ways] == [(False, None), (True, None)]
    assert ways[0].counter == Counter(packets=2, bytes=9)


@pytest.mark.parametrize(
    ("listed", "root", "why"),
    [
        (ruleset(), False, "only root may list it"),
        (None, True, "nft does not list it in a way that is known here"),
        ([], True, "nft does not list it in a way that is known here"),
    ],
)
def test_a_firewall_that_is_not_seen(
    tmp_path: Path, lb: Facts, listed: object, root: bool, why: str
) -> None:
    """Is no problem of any rule; why is said once."""
    picture = seen(tmp_path, lb, listed, root=root)
    assert {way.verdict for way in picture.ways} == {None}
    assert picture.unseen[0].startswith("the firewall: ")
    assert picture.unseen[0].endswith(why)


def test_without_nft(tmp_path: Path, lb: Facts) -> None:
    """Nothing is run that is not there."""
    made = host(tmp_path, ruleset())
    bare = altered(made, find=lambda _: None)
    assert paths.seen(lb, bare).unseen[0] == "the firewall: nft is not installed"


def test_a_socket_whose_process_is_not_seen(tmp_path: Path, lb: Facts) -> None:
    """Somebody listens; that no name is known is said once."""
    picture = seen(tmp_path, lb)
    assert [way.listening for way in picture.ways] == [(Process(),), (Process(),)]
    assert len(picture.unseen) == 2
    assert "root sees" in picture.unseen[1]


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
    assert [way.listening for way in paths.seen(lb, there).ways] == [
        (Process(program="own", unit="own.service"),),
        (Process(program="any", unit="any.service"),),
    ]
