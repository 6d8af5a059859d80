"""What a firewall closes: all that waits here, but what is closed already."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.deployment import plan_report, report
from lbhook.firewall.kernel import Firewall, FirewallError
from lbhook.firewall.verdict import Door, Verdict
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.plan import Change, Closed, FileState, Outcome, Plan, Reload
from lbhook.planning import closing
from lbhook.planning.closing import Closing
from lbhook.programs.host import Host
from lbhook.system.netlink import Kernel

from ..programs.test_nftables import machine
from ..stand import Runner, Stand, altered, body

RULES = facts.derive(parse(body(80)))
NEW = FileState(content=b"new\n", mode=0o644)
ADDRESSES = [{"ifname": "eth0", "addr_info": [{"local": "10.0.0.4"}]}]


def firewall(text: str = "", name: str = "nftables") -> Target:
    """A shipped target, the firewall with these variables."""
    found = config.parse(f"[targets.nftables.vars]\n{text}\n").targets
    return next(one for one in found if one.name == name)


def change(of: Target, outcome: Outcome = Outcome.CHANGED) -> Change:
    """A change of its file."""
    return Change(target=of, expected=NEW, actual=None, outcome=outcome)


class Told(Firewall):
    """Rules that make this of the first packet to some ports, and let in others."""

    def __init__(self, verdicts: Mapping[int, Verdict] | None = None) -> None:
        self.verdicts = verdicts

    def judge(self, doors: Sequence[Door], absent: Mapping[str, str]) -> list[Verdict]:
        """What becomes of them; without verdicts nothing can be told."""
        if self.verdicts is None:
            raise FirewallError("not here")
        return [self.verdicts.get(one.port, Verdict(action="accept")) for one in doors]


def host(place: Path, *sockets: str, **shown: object) -> Host:
    """A host where these wait, with what `ip` lists of it."""
    said = {"address": json.dumps(ADDRESSES), **shown}

    def answers(argv: tuple[str, ...]) -> tuple[int, str] | None:
        word = next((one for one in said if one in argv), "")
        return (0, str(said[word])) if word else (1, "")

    (place / "stand").mkdir()
    stand = Stand(place / "stand", runner=Runner(answers), kernel=Kernel())
    built = stand.host(stand.settings(""))
    tree = altered(built.tree, privileged=True)
    return altered(built, machine=machine(place, *sockets), tree=tree)


@pytest.mark.parametrize(
    "other",
    [
        change(firewall(), Outcome.UNCHANGED),
        change(firewall(), Outcome.SKIPPED),
        change(firewall('policy = "mark"')),
        change(firewall()._replace(template="", vars={}), Outcome.REMOVED),
        change(firewall(name="nginx")),
    ],
)
def test_nothing_is_closed_by_what_does_not_filter_anew(tmp_path: Path, other: Change) -> None:
    """A firewall that stays as it is, drops nothing or goes; or another target."""
    assert closing.closes([other], RULES, host(tmp_path, "tcp,0.0.0.0,9000"), Told({})) == ()


def test_a_closed_socket_is_named_once_with_its_program(tmp_path: Path) -> None:
    """Several processes may share an address and a port."""
    here = host(tmp_path, "tcp,0.0.0.0,9000", "tcp,0.0.0.0,9000")
    (tmp_path / "proc/7/fd").mkdir(parents=True)
    (tmp_path / "proc/7/fd/3").symlink_to("socket:[1]")
    (tmp_path / "proc/7/comm").write_text("python3\n")
    assert closing.closes([change(firewall())], RULES, here, Told({})) == (
        Closed(protocol="tcp", port=9000, ip="0.0.0.0", program="python3"),
    )


def test_what_is_closed_already_will_not_be_closed(tmp_path: Path) -> None:
    """By a table of one's own, or lbhook's before; also what a container gets instead."""
    sockets = ("tcp,0.0.0.0,9000", "tcp,0.0.0.0,9001", "tcp,10.0.0.4,9002")
    rules = Told({9000: Verdict(action="drop"), 9001: Verdict(action="translated")})
    here = host(tmp_path, *sockets)
    assert [one.port for one in Closing(firewall(), RULES, here, rules).coming] == [9002]
    # Before destination NAT a published port is judged by lbhook.
    before = firewall('policy = "prerouting"')
    assert [one.port for one in Closing(before, RULES, here, rules).coming] == [9001, 9002]


class Published(Firewall):
    """A port that comes by eth0 is a container's; everything else is let in."""

    def __init__(self, port: int = 9001) -> None:
        self.port = port

    def judge(self, doors: Sequence[Door], absent: Mapping[str, str]) -> list[Verdict]:
        """By the port and the interface."""
        taken = [(one.port, one.device) == (self.port, "eth0") for one in doors]
        return [Verdict(action="translated" if one else "accept") for one in taken]


@pytest.mark.parametrize(
    ("kind", "outside", "used", "listed"),
    [
        ("bridge", "eth0", False, [9000]),
        ("bridge", "eth0", True, [9000, 9001]),
        ("bridge", "br0", False, [9000, 9001]),
        ("veth", "eth0", False, [9000, 9001]),
    ],
)
def test_what_stands_in_for_a_published_port_is_its_containers_affair(
    tmp_path: Path, kind: str, outside: str, used: bool, listed: list[int]
) -> None:
    """They come to it by their bridge, and nobody is cut off while none does; what comes by a
    network, which may be on a bridge, is the machine's."""
    more = {"ifname": "br0", "addr_info": [{"local": "172.17.0.1"}]}
    links = [{"ifname": "br0", "linkinfo": {"info_kind": kind}}]
    sockets = ("tcp,0.0.0.0,9000", "tcp,0.0.0.0,9001")
    shown = {"address": json.dumps([*ADDRESSES, more]), "link": json.dumps(links)}
    here = host(tmp_path, *sockets, route=json.dumps([{"dev": outside}]), **shown)
    if used:
        with (tmp_path / "proc/self/net/tcp").open("a") as file:
            file.write("0: 010011AC:2329 020011AC:9000 01 0 0 0 0 0 9\n")
    assert [one.port for one in Closing(firewall(), RULES, here, Published()).coming] == listed


@pytest.mark.parametrize(("published", "listed"), [(80, []), (9001, ["172.17.0.1"])])
def test_what_a_rule_leads_to_is_closed_to_containers(
    tmp_path: Path, published: int, listed: list[str]
) -> None:
    """They come by the address of their bridge, which no rule leads to; what stands in there for a
    published port is a container's affair."""
    more = {"ifname": "br0", "addr_info": [{"local": "172.17.0.1"}]}
    links = json.dumps([{"ifname": "br0", "linkinfo": {"info_kind": "bridge"}}])
    shown = {"address": json.dumps([*ADDRESSES, more]), "link": links}
    route = json.dumps([{"dev": "eth0"}])
    here = host(tmp_path, "tcp,0.0.0.0,80", route=route, **shown)
    found = Closing(firewall(), RULES, here, Published(published)).coming
    assert [one.ip for one in found] == listed


def test_a_connection_is_counted_where_it_came(tmp_path: Path) -> None:
    """Those to the address that a rule leads to are not in danger."""
    near = [{"ifname": "eth0", "addr_info": [{"local": f"10.0.0.{n}"} for n in (4, 5)]}]
    here = host(tmp_path, "tcp,0.0.0.0,80", address=json.dumps(near))
    with (tmp_path / "proc/self/net/tcp").open("a") as file:
        for own, number in (("0400000A", 1), ("0400000A", 2), ("0500000A", 3)):
            file.write(f"0: {own}:0050 090071CB:900{number} 01 0 0 0 0 0 {number}\n")
    (found,) = Closing(firewall(), RULES, here, Told({})).coming
    assert (found.ip, found.connections) == ("10.0.0.5", 1)


@pytest.mark.parametrize("told", [Told(), Told({})])
@pytest.mark.parametrize(
    ("addresses", "listed"),
    [
        (("2001:db8::4", "fe80::4"), [("::", 9001)]),
        (("10.0.0.4",), [("0.0.0.0", 9000), ("10.0.0.9", 9002), ("::", 9001)]),
        (("127.0.0.1", "::1"), [("0.0.0.0", 9000), ("10.0.0.9", 9002), ("::", 9001)]),
    ],
)
def test_a_family_of_which_the_machine_has_no_address(
    tmp_path: Path, told: Told, addresses: Sequence[str], listed: list[tuple[str, int]]
) -> None:
    """Nobody comes to what waits at all of its addresses; before there is any address, and at one
    that may come yet, nobody can tell."""
    there = [{"ifname": "eth0", "addr_info": [{"local": one} for one in addresses]}]
    sockets = ["tcp,0.0.0.0,9000", "tcp,::,9001"]
    sockets += ["tcp,10.0.0.9,9002"] if len(listed) > 1 else []
    here = host(tmp_path, *sockets, address=json.dumps(there))
    closed = Closing(firewall(), RULES, here, told)
    for found in (closed.coming, closed.standing):
        assert sorted((one.ip, one.port) for one in found) == listed


def test_what_some_reach_will_be_closed(tmp_path: Path) -> None:
    """From sources that a rule names, or by another address."""
    rules = Told({9000: Verdict(action="drop", by_source=True)})
    here = host(tmp_path, "tcp,0.0.0.0,9000")
    assert [one.port for one in Closing(firewall(), RULES, here, rules).coming] == [9000]


def test_what_lbhook_keeps_closed_is_told_apart(tmp_path: Path) -> None:
    """It is not closed again by the next plan; the doctor names it."""
    rules = Told({9000: Verdict(action="drop", chain="inet lbhook input")})
    closed = Closing(firewall(), RULES, host(tmp_path, "tcp,0.0.0.0,9000"), rules)
    assert (closed.coming, [one.port for one in closed.standing]) == ((), [9000])


def test_where_the_kernel_is_not_asked_each_is_said_once(tmp_path: Path) -> None:
    """In a unit, which may make no namespace: what was said in this boot is known."""
    here = host(tmp_path, "tcp,0.0.0.0,9000", "tcp,0.0.0.0,9001")
    here.state.keep_closed(["tcp 9000 on 0.0.0.0"])
    (closed,) = Closing(firewall(), RULES, here, Told()).coming
    assert str(closed) == "tcp 9001 on 0.0.0.0"


@pytest.mark.parametrize(("reload", "count"), [(Reload.DUE, 1), (Reload.NONE, 0)])
def test_a_firewall_that_is_loaded_again(tmp_path: Path, reload: Reload, count: int) -> None:
    """Whoever has flushed it, it closes what is open since; one that stays as it is closes
    nothing."""
    here = host(tmp_path, "tcp,0.0.0.0,9000")
    one = change(firewall(), Outcome.UNCHANGED)._replace(reload=reload)
    assert len(closing.closes([one], RULES, here, Told({}))) == count


def test_tunnels_are_named_by_their_interface(tmp_path: Path) -> None:
    """GRE, IPsec that is not in UDP, and a UDP port of the kernel's."""
    data = {"local": "10.0.0.4", "remote": "10.0.0.9"}
    links = [
        {"ifname": "gre1", "linkinfo": {"info_kind": "gretap", "info_data": data}},
        {"ifname": "vx0", "linkinfo": {"info_kind": "vxlan", "info_data": {"port": 4789}}},
        {"ifname": "t6", "linkinfo": {"info_kind": "ip6tnl", "info_data": {"proto": "ip6ip6"}}},
        {"ifname": "eth0"},
    ]
    states = (
        "src 10.0.0.9 dst 10.0.0.4\n\tproto esp spi 0x01 reqid 1 mode tunnel\n"
        "src fd00::9 dst fd00::4\n\tproto esp spi 0x02 reqid 1 mode tunnel\n"
        "\tencap type espinudp sport 4500 dport 4500 addr ::\n"
    )
    here = host(tmp_path, "udp,0.0.0.0,4789", link=json.dumps(links), state=states)
    assert [str(one) for one in closing.closes([change(firewall())], RULES, here, Told({}))] == [
        "esp on 10.0.0.4 (ipsec)",
        "gre on 10.0.0.4 (gre1)",
        "ipv6 on :: (t6)",
        "udp 4789 on 0.0.0.0 (vx0)",
    ]


def test_what_is_in_use_from_outside_is_said_loudly(tmp_path: Path) -> None:
    """Connections stay, and who has them is told before the next ones fail; those of this machine
    are no matter."""
    here = host(tmp_path, "tcp,0.0.0.0,5432", "tcp,0.0.0.0,9000")
    with (tmp_path / "proc/self/net/tcp").open("a") as file:
        for there in ("0900000A", "0A00000A", "0100007F"):
            file.write(f"0: 0400000A:1538 {there}:9000 01 0 0 0 0 0 9\n")
    closed = closing.closes([change(firewall())], RULES, here, Told({}))
    told = plan_report.plan_json(Plan(closes=closed))["closes"]
    assert [one.get("connections") for one in told] == [2, None]
    assert (
        "#   tcp  5432  0.0.0.0    IN USE: 2 connections from outside\n"
        in plan_report.plan_text(Plan(closes=closed))
    )
    assert [(one.port, one.connections) for one in closed] == [(5432, 2), (9000, 0)]
    assert report.closed_warnings("nftables", closed) == (
        "nftables: tcp 5432 on 0.0.0.0: IN USE: 2 connections from outside: these stay open,"
        " new ones are dropped",
        "nftables: closed to the outside, because no rule or setting opens it:"
        " tcp 5432 on 0.0.0.0, tcp 9000 on 0.0.0.0",
    )


SENT = """table ip nat {
	chain OUTPUT {
		type nat hook output priority -100; policy accept;
		ip daddr != 127.0.0.0/8 tcp dport 443 redirect to :3128
	}

	chain PREROUTING {
		type nat hook prerouting priority dstnat; policy accept;
		tcp dport 2222 redirect to :22
	}
}
"""


def test_what_this_machine_sends_elsewhere_is_no_port_of_it(tmp_path: Path) -> None:
    """As by a proxy of its own; also where the kernel can't be asked, as in a unit."""
    here = host(tmp_path, ruleset=SENT)
    prerouting = change(firewall('policy = "prerouting"'))
    closed = Closed(protocol="tcp", port=2222, ip="0.0.0.0", program="translated")
    assert closing.closes([prerouting], RULES, here, Told(None)) == (closed,)


def test_where_the_kernel_is_not_asked_no_rule_of_it_is_listed(tmp_path: Path) -> None:
    """Nobody could say what they come to; a unit at a boot has no time to lose."""
    run = Runner(lambda _: (0, "[]"))
    here = altered(host(tmp_path, "tcp,0.0.0.0,9000"), run=run)
    assert len(closing.closes([change(firewall())], RULES, here, Told(None))) == 1
    assert [one for one in run.taken() if one.startswith("nft")] == []
