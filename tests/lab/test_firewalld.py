"""A running firewalld with lbhook's policy, and packets that say what is open."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from . import firewalld
from .fabric import CLIENT4, CLIENT6, PROBE4, PROBE6, VM4, VM6, body, rule
from .firewalld import POLICY
from .knock import Target, one, states
from .lab import Lab, laboratory
from .rules import ADMIN, ALL, FRONT4, FRONT6, OWN, WEB
from .talk import Talk

# firewalld rejects aloud, but the kernel limits how often.
CLOSED = {"unreachable", "filtered"}
ECHO = (rule(FRONT4, 90, VM4, 9000), rule(FRONT6, 90, VM6, 9000))
NAMES = (rule(FRONT4, 53, VM4, 5353, "Udp"), rule(FRONT6, 53, VM6, 5353, "Udp"))
FRONTS = [Target("tcp", ip, 90) for ip in (FRONT4, FRONT6)]


def begin(lab: Lab, configuration: str = "[targets.firewalld]\n") -> Lab:
    """Start firewalld, and configure lbhook for it; nothing is applied yet."""
    firewalld.start(lab.vm)
    lab.vm.write("/etc/lbhook/lbhook.toml", configuration)
    return lab


@pytest.fixture(scope="module")
def applied() -> Iterator[Lab]:
    """All rules in force, nginx behind them; for tests that only look."""
    with laboratory() as lab:
        begin(lab, "[targets.firewalld]\n[targets.nginx]\n")
        lab.vm.serve("tcp,::,8086")
        lab.balance(ALL)
        lab.vm.apply()
        yield lab


@pytest.fixture
def walled(lab: Lab) -> Lab:
    """Ports 9000 and 5353 behind a rule in each family, not applied yet."""
    begin(lab).balance(body(*ECHO, *NAMES))
    return lab


def reload_of(lab: Lab, *words: str) -> str:
    """Apply, and return what became of firewalld's reload."""
    targets = {one["name"]: one for one in lab.vm.apply(*words)["targets"]}
    return str(targets["firewalld"]["reload"])


def shut(lab: Lab, *targets: Target, source: str = "") -> bool:
    """Say whether no packet of the client's gets through to any of these."""
    return states(lab.client, *targets, source=source) <= CLOSED


# What is open


@pytest.mark.parametrize(
    ("frontend", "client", "vm"), [(FRONT4, CLIENT4, VM4), (FRONT6, CLIENT6, VM6)]
)
def test_client_gets_through_each_rule(applied: Lab, frontend: str, client: str, vm: str) -> None:
    """TCP to nginx, with the client's own address, and UDP to whatever serves it."""
    for port, backend in ((80, 443), (81, 8081)):
        answer = one(applied.client, "tcp", frontend, port)
        assert answer.reply.endswith(f"\n{client} {vm}:{backend}\n"), answer
    assert one(applied.client, "udp", frontend, 53).state == "open"


def test_only_rules_and_the_zone_open_a_port(applied: Lab) -> None:
    """By every address that packets can take to the VM; ssh is the zone's own."""
    opened = {("tcp", 22), ("tcp", 443), ("tcp", 8081), ("udp", 5353)}
    ports = [*range(1, 130), 443, 546, 3306, 5353, 8080, 8081, 8086, 9000, 32526, 65535]
    doors = {(protocol, port) for protocol in ("tcp", "udp") for port in ports}
    for ip in (VM4, VM6, OWN):
        assert shut(applied, *(Target(protocol, ip, port) for protocol, port in doors - opened))
    assert states(applied.client, *(Target("tcp", ip, 22) for ip in (VM4, VM6, OWN))) == {"open"}


@pytest.mark.parametrize("port", [8086, 9000])
def test_probes_reach_any_port_and_nobody_else_does(applied: Lab, port: int) -> None:
    """By their source: a neighbour and the probes' own UDP stay outside."""
    assert one(applied.fabric, "tcp", VM4, port, PROBE4).state == "open"
    assert one(applied.fabric, "tcp", VM6, port, f"{PROBE6}%vm0").state == "open"
    assert one(applied.fabric, "tcp", VM4, port, "10.1.0.1").state in CLOSED
    assert one(applied.fabric, "udp", VM4, port, PROBE4).state in CLOSED


def test_ha_ports_open_everything_at_their_address(walled: Lab) -> None:
    """Every port and protocol of that address, none of another."""
    walled.balance(body(rule(FRONT4, 0, VM4, 0, "All")))
    walled.vm.apply()
    served = [Target("tcp", FRONT4, 9000), Target("udp", FRONT4, 5353)]
    assert states(walled.client, *served) == {"open"}
    assert one(walled.client, "tcp", FRONT4, 9003).state == "refused"
    assert shut(walled, Target("tcp", VM6, 9000), Target("udp", VM6, 5353))


def test_gateway_tunnel_passes_from_its_gateway_alone(walled: Lab) -> None:
    """A backend of a gateway load balancer takes UDP at the tunnel's port, from the gateway."""
    ends = {"gatewayIpAddress": "10.1.0.7", "localIpAddress": VM4}
    ports = {"gatewayPort": 2666, "localPort": 5353}
    said = body(*WEB)
    kind = {"identifier": 800, "type": "internal", "protocol": "vxlan"}
    said["loadbalancer"]["tunnelInterfaces"] = [{**ends, **ports, **kind}]
    walled.fabric.links("addr add 10.1.0.7/24 dev vm0")
    walled.balance(said)
    walled.vm.apply()
    assert one(walled.fabric, "udp", VM4, 5353, "10.1.0.7").state == "open"
    assert one(walled.fabric, "udp", VM4, 5353, "10.1.0.1").state in CLOSED
    assert one(walled.fabric, "tcp", VM4, 5353, "10.1.0.7").state in CLOSED


# What changes, and what does not


def test_rules_come_and_go_and_connections_stay(walled: Lab) -> None:
    """A new connection follows the rules of the last apply, an old one lives on."""
    assert shut(walled, *FRONTS)
    assert reload_of(walled) == "done"
    assert states(walled.client, *FRONTS) == {"open"}
    talks = [Talk.connect(walled.client, ip, 90) for ip in (FRONT4, FRONT6)]
    assert [talk.ask("before") for talk in talks] == ["before", "before"]
    walled.fabric.answer(body(*NAMES))
    assert reload_of(walled) == "done"
    assert shut(walled, *FRONTS)
    assert states(walled.client, Target("udp", FRONT4, 53), Target("udp", FRONT6, 53)) == {"open"}
    assert [talk.ask("after") for talk in talks] == ["after", "after"]


def test_unchanged_apply_does_not_reload(walled: Lab) -> None:
    """firewalld's table is the same one after a second apply."""

    def handles() -> list[int]:
        listed = json.loads(walled.vm.run(["nft", "-j", "list", "tables"]).stdout)["nftables"]
        return [one["table"]["handle"] for one in listed if "table" in one]

    walled.vm.apply()
    before = handles()
    assert reload_of(walled) == "none"
    assert handles() == before != []


def test_reload_by_hand_keeps_the_policy(walled: Lab) -> None:
    """It is part of the permanent configuration; lbhook has nothing to do about it."""
    walled.vm.apply()
    for way in ("--reload", "--complete-reload"):
        walled.vm.run(["firewall-cmd", way])
        assert states(walled.client, *FRONTS) == {"open"}
        assert reload_of(walled) == "none"


@pytest.mark.parametrize(
    "damage",
    [
        ["nft", "flush", "ruleset"],
        ["nft", "flush", "chain", "inet", "firewalld", "filter_IN_policy_lbhook_allow"],
        ["firewall-cmd", "--policy=lbhook", "--add-rich-rule=rule family=ipv4 port port=9001"
         " protocol=tcp accept"],
    ],
)  # fmt: skip
def test_what_somebody_did_to_the_policy_is_put_right(walled: Lab, damage: list[str]) -> None:
    """The file is as it was, the kernel is not: a run compares with both."""
    walled.vm.serve("tcp,::,9001")
    walled.vm.apply()
    walled.vm.run(damage)
    assert reload_of(walled) == "done"
    assert states(walled.client, *FRONTS) == {"open"}
    assert shut(walled, Target("tcp", VM4, 9001))
    assert reload_of(walled) == "none"


def test_dropped_target_is_closed_again(walled: Lab) -> None:
    """Its file is gone, and firewalld is told so."""
    walled.vm.apply()
    walled.vm.write("/etc/lbhook/lbhook.toml", "")
    assert reload_of(walled) == "done"
    assert not walled.vm.path(POLICY).exists()
    assert shut(walled, *FRONTS)
    assert walled.vm.run(["firewall-cmd", "--get-policies"]).stdout == "allow-host-ipv6\n"


def test_second_policy(walled: Lab) -> None:
    """The name of its file is its name, and both are in force."""
    second = '[targets.probes]\nlike = "firewalld"\npath = "/etc/firewalld/policies/other.xml"\n'
    walled.vm.write("/etc/lbhook/lbhook.toml", f"[targets.firewalld]\n{second}")
    walled.vm.apply()
    policies = walled.vm.run(["firewall-cmd", "--get-active-policies"]).stdout.split()
    assert {"lbhook", "other"} <= set(policies)
    assert reload_of(walled) == "none"


def test_stopped_firewalld_stays_stopped(walled: Lab) -> None:
    """There is nothing to reload, and it starts with the policy that it finds."""
    firewalld.stop(walled.vm)
    assert reload_of(walled) == "none"
    assert not firewalld.running(walled.vm)
    firewalld.start_again(walled.vm)
    assert states(walled.client, *FRONTS) == {"open"}
    assert shut(walled, Target("tcp", VM4, 8086), Target("tcp", VM6, 8086))


def test_somebody_elses_mistake_blocks_this_target_alone(walled: Lab) -> None:
    """firewalld would refuse to reload: it keeps what it has, and other targets go on."""
    walled.vm.apply()
    walled.vm.write("/etc/lbhook/lbhook.toml", "[targets.firewalld]\n[targets.nginx]\n")
    walled.vm.write("/etc/firewalld/zones/own.xml", "<zone><no-such-element/></zone>")
    walled.balance(body(*ADMIN))
    done = walled.vm.lbhook("apply", "--json", check=False)
    report = json.loads(done.stdout)
    outcomes = {one["name"]: one["outcome"] for one in report["targets"]}
    assert outcomes == {"env": "changed", "firewalld": "blocked", "nginx": "changed"}
    assert done.returncode == 69
    assert "Unexpected element no-such-element" in report["problems"][0]
    assert shut(walled, Target("tcp", FRONT4, 81))
    walled.vm.path("/etc/firewalld/zones/own.xml").unlink()
    assert reload_of(walled) == "done"
    assert one(walled.client, "tcp", FRONT4, 81).state == "open"


def test_bad_policy_of_a_users_own_is_refused(walled: Lab) -> None:
    """firewalld's checker ends with 0 over a rule that it leaves out; lbhook does not."""
    own = walled.vm.lbhook("render", "firewalld").stdout.replace("9000", "90000")
    walled.vm.write("/etc/lbhook/templates/lbhook.xml.j2", own)
    done = walled.vm.lbhook("apply", check=False)
    assert done.returncode == 78
    assert "WARNING: INVALID_PORT: 90000" in done.stderr
    assert not walled.vm.path(POLICY).exists()


# Neighbours: what docs/targets.md says of them


def test_zones_keep_nobody_out_but_an_earlier_policy_does(walled: Lab) -> None:
    """Policies come before zones; among them the lower priority comes first."""
    other = "198.51.100.77"
    walled.client.links(f"addr add {other}/24 dev eth0")
    walled.vm.apply()
    door = Target("tcp", FRONT4, 90)
    walled.vm.run(["firewall-cmd", "--zone=drop", f"--add-source={other}"])
    assert states(walled.client, door, source=other) == {"open"}
    for words in (
        ["--new-policy=keepout"],
        ["--policy=keepout", "--add-ingress-zone=ANY"],
        ["--policy=keepout", "--add-egress-zone=HOST"],
        ["--policy=keepout", "--set-priority=-20"],
        ["--policy=keepout", f"--add-rich-rule=rule family=ipv4 source address={other} drop"],
    ):
        walled.vm.run(["firewall-cmd", "--permanent", *words])
    walled.vm.run(["firewall-cmd", "--reload"])
    assert shut(walled, door, source=other)
    assert states(walled.client, door) == {"open"}


def test_reload_forgets_what_is_not_permanent(walled: Lab) -> None:
    """A port that was opened without --permanent is closed by the next change of a rule."""
    walled.vm.serve("tcp,::,9001")
    walled.vm.apply()
    walled.vm.run(["firewall-cmd", "--add-port=9001/tcp"])
    assert reload_of(walled) == "none"
    assert one(walled.client, "tcp", VM4, 9001).state == "open"
    walled.balance(body(*ECHO))
    walled.vm.apply()
    assert shut(walled, Target("tcp", VM4, 9001))


def test_beside_the_nftables_target_both_must_accept(walled: Lab) -> None:
    """What the zone opens, lbhook's own table drops."""
    walled.vm.write("/etc/lbhook/lbhook.toml", "[targets.firewalld]\n[targets.nftables]\n")
    walled.vm.serve("tcp,::,9001")
    walled.vm.run(["firewall-cmd", "--permanent", "--add-port=9001/tcp"])
    walled.vm.run(["firewall-cmd", "--reload"])
    door = Target("tcp", VM4, 9001)
    assert states(walled.client, door) == {"open"}
    walled.vm.apply()
    assert states(walled.client, door) == {"filtered"}
    assert states(walled.client, *FRONTS, Target("tcp", VM4, 22)) == {"open"}


def test_new_connections_wait_for_a_reload(walled: Lab) -> None:
    """firewalld builds its table anew; a connection that begins meanwhile comes about a second
    later, and none gets through to a closed port."""
    walled.vm.serve("tcp,::,9001")
    walled.vm.apply()
    reload = walled.vm.spawn(["sh", "-c", "for i in 1 2 3 4 5; do firewall-cmd --reload; done"])
    while reload.poll() is None:
        assert shut(walled, Target("tcp", VM4, 9001))
        assert Talk.connect(walled.client, FRONT4, 90).ask("hello") == "hello"
