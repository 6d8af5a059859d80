"""lbhook beside others who have a say about packets: firewalls, containers, routes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product

import pytest

from .fabric import CLIENT4, FORWARD, PROBE4, PROBE6, VM4, VM6, body, rule
from .hosts import Host, require, wait_for
from .knock import Target, one, states
from .lab import Lab
from .neighbours import build, choose, commands, configure, hand_over
from .rules import ADMIN, ALL, FRONT4, FRONT6, OWN, WEB
from .talk import Talk

OPENED = [Target("tcp", front, port) for front in (FRONT4, FRONT6) for port in (80, 81)]
NAMES = [Target("udp", front, 53) for front in (FRONT4, FRONT6)]
CLOSED = [Target("tcp", ip, 9000) for ip in (OWN, VM6)]


def found(lab: Lab) -> dict[str, list[str]]:
    """What `doctor` finds of the traffic, at each level: its texts and remedies."""
    said = json.loads(lab.vm.lbhook("doctor", "--json", check=False).stdout)["findings"]
    levels: dict[str, list[str]] = {"wrong": [], "unsure": [], "note": []}
    for it in said:
        levels[it["level"]].append(f"{it['text']} > {it['remedy']}")
    return levels


@pytest.mark.parametrize("firewall", ["ufw", "iptables-nft"])
def test_the_mark_is_followed_through_another_firewall(lab: Lab, firewall: str) -> None:
    """Of a client that no rule names: `doctor` and `show` say that it is dropped, with what the
    page says to do; when that is done there is nothing to say."""
    stranger4, stranger6 = "198.51.100.99", "2001:db8:7::99"
    lab.client.links(f"addr add {stranger4}/24 dev eth0\naddr add {stranger6}/64 dev eth0 nodad")
    configure(lab.vm, "mark")
    build(lab.vm, firewall)
    lab.balance(ALL)
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80, stranger4).state == "filtered"
    assert one(lab.client, "tcp", FRONT6, 80, stranger6).state == "filtered"
    before, page = found(lab), commands(firewall)
    assert (len(before["wrong"]), before["unsure"]) == (4, [])
    for text, _, remedy in (
        it.partition(" > let in what lbhook marks: ") for it in before["wrong"]
    ):
        assert f" is dropped by chain ip{'6' * (VM6 in text)} filter INPUT (policy drop)" in text
        line, *rest = remedy.split("`")[1::2]
        assert line in page, remedy
        assert all(word in page for word in rest), remedy
        assert remedy.count("before.rules") == (VM4 in text and firewall == "ufw")
    out = lab.vm.lbhook("show").stdout
    assert [out.count(f"dropped by ip{six} filter INPUT\n") for six in ("", "6")] == [3, 3]
    hand_over(lab.vm, firewall)
    assert one(lab.client, "tcp", FRONT4, 80, stranger4).state == "open"
    assert one(lab.client, "tcp", FRONT6, 80, stranger6).state == "open"
    after = found(lab)
    assert (after["wrong"], after["unsure"]) == ([], [])
    out = lab.vm.lbhook("show").stdout
    assert ("!" in out, out.count("  open, ")) == (False, 6)


def test_rules_of_iptables_legacy_are_seen_by_nobody(lab: Lab) -> None:
    """nft does not list them: `show` says so, like `doctor`, and calls nothing closed."""
    configure(lab.vm, "mark")
    build(lab.vm, "iptables-legacy")
    lab.balance(ALL)
    lab.vm.apply()
    programs = ("iptables-legacy", "ip6tables-legacy")
    texts = [f"{it} has rules, which are not judged here" for it in programs]
    assert [it.partition(" > ")[0] for it in found(lab)["unsure"]] == texts
    assert "\n".join(["Not seen", *(f"  {it}" for it in texts), ""]) in lab.vm.lbhook("show").stdout
    lab.vm.run(["sh", "-euc", "; ".join(f"{it} -F; {it} -P INPUT ACCEPT" for it in programs)])
    assert found(lab)["unsure"] == []
    assert "Not seen" not in lab.vm.lbhook("show").stdout


@pytest.mark.parametrize("firewall", ["ufw", "iptables-nft", "iptables-legacy"])
def test_another_firewall_lets_in_what_lbhook_marks(lab: Lab, firewall: str) -> None:
    """One rule of the documentation is all that it needs, for good: rules come and go, and what
    none leads to stays its own business, SSH among it."""
    configure(lab.vm, "mark")
    build(lab.vm, firewall)
    lab.balance(ALL)
    lab.vm.apply()
    assert states(lab.client, *OPENED, *NAMES, *CLOSED) == {"filtered"}
    hand_over(lab.vm, firewall)
    assert states(lab.client, *OPENED, *NAMES) == {"open"}
    assert states(lab.client, *CLOSED) == {"filtered"}
    assert one(lab.client, "tcp", OWN, 22).state == "open"
    assert one(lab.fabric, "tcp", VM4, 22, "10.1.0.1").state == "filtered"
    assert one(lab.fabric, "tcp", VM4, 9000, PROBE4).state == "open"
    assert one(lab.fabric, "tcp", VM6, 9000, f"{PROBE6}%vm0").state == "open"
    assert f"{CLIENT4} {VM4}:443" in lab.vm.read("/var/log/nginx/access.log")
    lab.balance(body(*WEB))
    lab.vm.apply()
    assert states(lab.client, *OPENED[::2]) == {"open"}
    lab.fabric.load_balance(ALL)
    assert states(lab.client, *OPENED[1::2]) == {"filtered"}


def table(lab: Lab) -> str:
    """lbhook's table as the kernel has it, without its counters."""
    return lab.vm.run(["nft", "--stateless", "list", "table", "inet", "lbhook"]).stdout


@pytest.mark.parametrize(
    ("firewall", "command"),
    [
        ("ufw", "ufw reload"),
        ("ufw", "ufw disable"),
        (
            "iptables-nft",
            "iptables-nft -F; iptables-nft -X; iptables-nft-save | iptables-nft-restore",
        ),
        ("iptables-legacy", "iptables-legacy -F; iptables-legacy-save | iptables-legacy-restore"),
    ],
)
def test_another_firewall_leaves_the_table_alone(lab: Lab, firewall: str, command: str) -> None:
    """Reloaded, emptied or switched off."""
    build(lab.vm, firewall)
    lab.balance(ALL)
    lab.vm.apply()
    before = table(lab)
    lab.vm.run(["sh", "-euc", command])
    assert table(lab) == before


# What dockerd does for a container with `--publish 8080:80 --publish 8090:80`.
PUBLISH = """
iptables-nft -t nat -N DOCKER
iptables-nft -t nat -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
iptables-nft -t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
for port in 8080 8090; do
    iptables-nft -t nat -A DOCKER ! -i docker0 -p tcp --dport $port \\
        -j DNAT --to-destination 172.17.0.2:80
done
"""
# The same in the form of its nftables backend (29 and later), which no Debian has yet.
PUBLISH_NFT = """
table ip docker-bridges {
    map leave { type ifname : verdict; elements = { "docker0" : jump leave-docker0 } }
    map enter { type ifname : verdict; elements = { "docker0" : jump enter-docker0 } }
    chain raw {
        type filter hook prerouting priority raw
        ip daddr 172.17.0.2 iifname != "docker0" counter drop
    }
    chain nat-in {
        type nat hook prerouting priority dstnat
        fib daddr type local counter jump ports
    }
    chain nat-own {
        type nat hook output priority -100
        ip daddr != 127.0.0.0/8 fib daddr type local counter jump ports
    }
    chain ports { iifname != "docker0" tcp dport { 8080, 8090 } counter dnat to 172.17.0.2:80; }
    chain forward {
        type filter hook forward priority filter
        oifname vmap @enter
        iifname vmap @leave
    }
    chain enter-docker0 {
        ct state established,related counter accept
        ip daddr 172.17.0.2 tcp dport 80 counter accept
        counter drop
    }
    chain leave-docker0 { counter accept; }
    chain nat-out {
        type nat hook postrouting priority srcnat
        ip saddr 172.17.0.0/16 oifname != "docker0" counter masquerade
    }
}
"""
BRIDGE = """
link add docker0 type bridge
link set veth0 up master docker0
link set docker0 up
addr add 172.17.0.1/16 dev docker0
"""
INSIDE = "link set eth0 up\naddr add 172.17.0.2/16 dev eth0\nroute add default via 172.17.0.1"


BACKENDS = pytest.mark.parametrize("backend", ["iptables", "nftables"])


@contextmanager
def container(lab: Lab, backend: str = "iptables") -> Iterator[Host]:
    """A container of the VM, on docker0, whose port 80 is published as 8080 and 8090."""
    require("iptables-nft")
    with Host("container", lab.client) as inside:
        lab.vm.cable("veth0", inside, "eth0")
        lab.vm.links(BRIDGE)
        inside.links(INSIDE)
        inside.spawn([*inside.python("standin.py"), "tcp,0.0.0.0,80"])
        wait_for(lambda: inside.listens("tcp", 80), "the container's server")
        by_nft = backend == "nftables"
        lab.vm.run(["sh", "-euc", FORWARD + ("" if by_nft else "\n" + PUBLISH)])
        lab.vm.run(["nft", "-f", "-"], stdin=PUBLISH_NFT if by_nft else "")
        yield inside


@BACKENDS
@pytest.mark.parametrize(
    ("policy", "state"), [("enforce", "open"), ("prerouting", "filtered")], indirect=["policy"]
)
def test_published_port_is_judged_before_it_is_translated(
    lab: Lab, policy: str, state: str, backend: str
) -> None:
    """A rule opens one published port; the other is closed, but not by a policy that sees input
    alone. Who was connected to it stays, and the container gets out and is answered."""
    with container(lab, backend) as inside:
        old = Talk.connect(lab.client, VM4, 8090)
        assert old.ask("before") == "before"
        lab.balance(body(rule(FRONT4, 80, VM4, 8080), public=[(OWN, VM4)]))
        lab.vm.apply()
        assert one(lab.client, "tcp", FRONT4, 80).state == "open"
        assert states(lab.client, Target("tcp", OWN, 8090), Target("tcp", VM4, 8090)) == {state}
        assert old.ask("after") == "after"
        there = Talk.listen(lab.client, 7000)
        here = Talk.connect(inside, CLIENT4, 7000)
        here.send("from inside")
        assert there.receive() == "from inside"
        there.send("welcome")
        assert here.receive() == "welcome"


@BACKENDS
def test_what_a_container_answers_is_not_closed_by_a_plan(lab: Lab, backend: str) -> None:
    """Under `enforce`: a program that holds a published port, as docker-proxy does, gets nothing of
    what comes from outside, and is not listed; one beside it is."""
    configure(lab.vm, "enforce")
    with container(lab, backend):
        lab.vm.serve("tcp,0.0.0.0,8080", "tcp,0.0.0.0,8070")
        lab.balance(body(public=[(OWN, VM4)]))
        assert one(lab.client, "tcp", OWN, 8080).state == "open"
        closes = json.loads(lab.vm.lbhook("plan", "--json").stdout)["closes"]
        assert {8070, 9000} <= {it["port"] for it in closes}
        assert 8080 not in {it["port"] for it in closes}
        assert " 8080 " not in lab.vm.lbhook("apply").stderr
        assert one(lab.client, "tcp", OWN, 8080).state == "open"
        assert one(lab.client, "tcp", OWN, 8070).state == "filtered"


@pytest.mark.parametrize("policy", ["prerouting"], indirect=True)
def test_allow_opens_a_published_port(lab: Lab, policy: str) -> None:
    """By the port that is published, not by that of the container."""
    choose(lab.vm, policy, 'allow = [{ protocol = "tcp", port = 8090 }]')
    with container(lab):
        lab.balance(body(public=[(OWN, VM4)]))
        lab.vm.apply()
        assert one(lab.client, "tcp", OWN, 8090).state == "open"
        assert one(lab.client, "tcp", OWN, 8080).state == "filtered"


@pytest.mark.parametrize("policy", ["enforce", "prerouting"], indirect=True)
def test_what_containers_ask_of_the_machine_is_a_matter_of_trust(lab: Lab, policy: str) -> None:
    """A bridge is an interface like any other until it is named."""
    with container(lab) as inside:
        lab.balance(ALL)
        lab.vm.apply()
        assert one(inside, "tcp", "172.17.0.1", 9000).state == "filtered"
        restrict = '[[targets.nftables.restrict]]\nport = 9000\nsources = ["192.0.2.0/24"]'
        for name, more in product(("docker0", "dock*"), ("", restrict)):
            choose(lab.vm, policy, f'trusted_interfaces = ["{name}"]\n{more}')
            assert "9000  172." not in lab.vm.lbhook("plan").stdout
            lab.vm.apply()
            assert one(inside, "tcp", "172.17.0.1", 9000).state == "open"
            assert one(lab.client, "tcp", OWN, 9000).state == "filtered"


FAR = "10.2.0.9"
# Towards FAR packets go through the VM, and back from there they do not.
INVALID = """
table ip control {
    chain forward {
        type filter hook forward priority filter + 20
        ct state invalid drop
    }
}
"""


@contextmanager
def one_way(lab: Lab) -> Iterator[Host]:
    """A server that is reached through the VM and answers past it."""
    with Host("far", lab.client) as far:
        lab.vm.cable("far0", far, "eth0")
        lab.vm.links("link set far0 up\naddr add 10.2.0.1/24 dev far0")
        lab.fabric.cable("back0", far, "eth1")
        lab.fabric.links("link set back0 up\naddr add 10.3.0.1/24 dev back0")
        lab.fabric.links(f"route add 10.2.0.0/24 via {VM4}")
        far.links("link set eth0 up\nlink set eth1 up")
        far.links(f"addr add {FAR}/24 dev eth0\naddr add 10.3.0.9/24 dev eth1")
        far.links("route add default via 10.3.0.1")
        far.spawn([*far.python("standin.py"), "tcp,0.0.0.0,9000"])
        wait_for(lambda: far.listens("tcp", 9000), "the far server")
        lab.vm.run(["sh", "-euc", FORWARD])
        yield far


def test_a_virtual_appliance_forwards_what_conntrack_calls_invalid(lab: Lab, policy: str) -> None:
    """It sees one direction only; a connection through it stands, to a port that is closed here.
    That its packets are invalid is shown by a rule that drops them."""
    with one_way(lab):
        lab.balance(ALL)
        lab.vm.apply()
        talk = Talk.connect(lab.client, FAR, 9000)
        assert talk.ask("one way") == "one way"
        assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
        lab.vm.run(["nft", "-f", "-"], stdin=INVALID)
        assert talk.ask("no way") is None


def test_the_table_comes_back_after_a_flush(lab: Lab, policy: str) -> None:
    """nftables.service flushes every table; the next run loads it again, and says what that closes.
    Left alone, and with traffic through it, it is not loaded twice."""
    lab.balance(body(*WEB, *ADMIN))
    lab.vm.apply()
    before = table(lab)
    assert states(lab.client, *OPENED) == {"open"}
    assert lab.vm.apply()["outcome"] == "unchanged"
    lab.vm.run(["nft", "flush ruleset"])
    report = lab.vm.apply()
    assert report["outcome"] == "changed"
    closed = {it["port"] for it in report.get("closes", ())}
    assert (9000 in closed) == (policy != "mark")
    assert table(lab) == before


# So many networks in so many sets, none of which has the client.
NETWORKS, SETS = 150_000, 30
SET = "set many{} {{ type ipv4_addr; flags interval; }}\n"
DROP = "ip saddr @many{} drop\n"
BESIDE = """
table ip own {{
    {sets}
    chain in {{
        type filter hook input priority 0
        {drops}
        tcp dport 8081 ip saddr != @many0 drop
    }}
}}
"""


def test_large_sets_beside_lbhook_s_table(lab: Lab) -> None:
    """Of networks that are shut out or, in another chain, let in alone: `show` and `doctor` say of
    everybody else what packets meet."""
    lab.balance(body(*WEB[:1], *ADMIN[:1], public=[(OWN, VM4)], outbound=[(FRONT4, VM4)]))
    lab.vm.apply()
    sets, drops = ("".join(map(line.format, range(SETS))) for line in (SET, DROP))
    lab.vm.run(["nft", "-f", "-"], stdin=BESIDE.format(sets=sets, drops=drops))
    nets = [f"{11 + (n >> 16)}.{n >> 8 & 255}.{n & 255}.0/24" for n in range(NETWORKS)]
    # An ordinary user's netlink message may not be as long as all of them.
    for at in range(SETS):
        more = f"add element ip own many{at} {{ {', '.join(nets[at::SETS])} }}\n"
        lab.vm.write("/run/more.nft", more)
        lab.vm.run(["nft", "-f", "/run/more.nft"])
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert one(lab.client, "tcp", FRONT4, 81).state == "filtered"
    shown = " ".join(lab.vm.lbhook("show").stdout.split())
    assert "tcp 80 → 443 nginx open, 1 packet ! tcp 81 → 8081 nginx dropped by ip own in" in shown
    levels = found(lab)
    assert not [it for it in levels["unsure"] if "can't tell" in it or "tried" in it]
    (wrong,) = levels["wrong"]
    assert wrong.startswith(
        f"{VM4} tcp 8081 (frontend {FRONT4}:81) is dropped by chain ip own in ("
    )
