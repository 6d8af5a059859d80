"""lbhook from end to end: the real command in a VM, and packets that say what it came to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fabric import CLIENT4, CLIENT6, IMDS, PROBE4, PROBE6, VM4, VM6, body, rule
from .knock import Target, one, states
from .lab import Lab, laboratory
from .neighbours import POLICIES, choose
from .rules import ADMIN, ALL, FRONT4, FRONT6, NAMES, OWN, PAIRS, WEB
from .talk import Talk
from .vm import LISTEN

each_policy = pytest.mark.usefixtures("policy")
# Those that drop anything: under the third it is the other firewall that does.
dropping = pytest.mark.parametrize("policy", ["enforce", "prerouting"], indirect=True)


@pytest.fixture(scope="module", params=POLICIES)
def applied(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """All rules in force under each policy; for tests that only look."""
    with laboratory() as lab:
        choose(lab.vm, request.param)
        lab.vm.serve("tcp,::,8086")
        lab.balance(ALL)
        lab.vm.apply()
        yield lab


@pytest.mark.parametrize(
    ("frontend", "client", "vm"), [(FRONT4, CLIENT4, VM4), (FRONT6, CLIENT6, VM6)]
)
def test_client_reaches_nginx_through_each_rule(
    applied: Lab, frontend: str, client: str, vm: str
) -> None:
    """Through the frontend to the backend port, and the log has the client's own address."""
    for port, backend in ((80, 443), (81, 8081)):
        answer = one(applied.client, "tcp", frontend, port)
        assert answer.reply.endswith(f"\n{client} {vm}:{backend}\n"), answer
        log = applied.vm.read("/var/log/nginx/access.log").splitlines()
        assert f"{client} {vm}:{backend}" in log


@pytest.mark.parametrize("frontend", [FRONT4, FRONT6])
def test_client_reaches_a_udp_rule(applied: Lab, frontend: str) -> None:
    """A rule for UDP opens its port to whatever program serves it."""
    assert one(applied.client, "udp", frontend, 53).state == "open"


def test_every_other_port_is_closed(applied: Lab) -> None:
    """What no rule leads to is silent, by every address that packets can take to the VM."""
    opened = {("tcp", 22), ("tcp", 443), ("tcp", 8081), ("udp", 5353)}
    ports = [*range(1, 130), 443, 3306, 5353, 6443, 8080, 8081, 8086, 9000, 32526, 65535]
    doors = [(protocol, port) for protocol in ("tcp", "udp") for port in ports]
    closed = [
        Target(protocol, ip, port)
        for ip in (VM4, VM6, OWN)
        for protocol, port in doors
        if (protocol, port) not in opened
    ]
    assert states(applied.client, *closed) == {"filtered"}


def test_frontend_port_opens_nothing_by_itself(applied: Lab) -> None:
    """A rule from port 80 to 443 opens 443 of the VM; its port 80 stays closed."""
    targets = [Target("tcp", ip, port) for ip in (VM4, VM6, OWN) for port in (80, 81, 53)]
    assert states(applied.client, *targets) == {"filtered"}


def test_ssh_stays_open(applied: Lab) -> None:
    """No rule leads to port 22, and the operator gets in all the same."""
    assert states(applied.client, *(Target("tcp", ip, 22) for ip in (OWN, VM4, VM6))) == {"open"}


@pytest.mark.parametrize("port", [9000, 8086, 443])
def test_probes_reach_any_port(applied: Lab, port: int) -> None:
    """The metadata does not say where probes go, so they pass by their source."""
    assert one(applied.fabric, "tcp", VM4, port, PROBE4).state == "open"
    assert one(applied.fabric, "tcp", VM6, port, f"{PROBE6}%vm0").state == "open"


def test_nobody_else_on_the_network_passes_for_a_probe(applied: Lab) -> None:
    """A neighbour in the virtual network gets at the rules' ports and no others."""
    assert one(applied.fabric, "tcp", VM4, 9000, "10.1.0.1").state == "filtered"
    assert one(applied.fabric, "tcp", VM4, 443, "10.1.0.1").state == "open"


def test_udp_of_a_probe_source_is_no_probe(applied: Lab) -> None:
    """Probes are TCP; from the same address UDP opens nothing."""
    assert one(applied.fabric, "udp", VM4, 54, PROBE4).state == "filtered"


def test_vm_still_reaches_the_outside(applied: Lab) -> None:
    """Answers to the VM's own connections come back in."""
    assert one(applied.vm, "tcp", IMDS, 80).state == "open"
    there = Talk.listen(applied.client, 7100)
    here = Talk.connect(applied.vm, CLIENT6, 7100)
    there.send("welcome")
    assert here.receive() == "welcome"


def test_neighbours_are_still_found(applied: Lab) -> None:
    """Neighbour discovery passes: without it IPv6 dies when the caches run out."""
    for host in (applied.vm, applied.fabric):
        host.run(["ip", "-6", "neigh", "flush", "all"])
    assert one(applied.client, "tcp", FRONT6, 80).state == "open"


def test_env_file_says_what_is_in_force(applied: Lab) -> None:
    """Every name is there, as a shell reads it, and anybody may read it."""
    names = [f"LB_INBOUND_{number}" for number in range(6)]
    show = ". /run/lbhook/lb.env; set | grep ^LB_"
    lines = applied.vm.run(["env", "-i", "/bin/sh", "-euc", show]).stdout.splitlines()
    read = {name: value.strip("'") for name, _, value in (line.partition("=") for line in lines)}
    assert {read.pop(name) for name in names} == {
        f"tcp,{FRONT4},80,{VM4},443",
        f"tcp,{FRONT6},80,{VM6},443",
        f"tcp,{FRONT4},81,{VM4},8081",
        f"tcp,{FRONT6},81,{VM6},8081",
        f"udp,{FRONT4},53,{VM4},5353",
        f"udp,{FRONT6},53,{VM6},5353",
    }
    assert read == {
        "LB_PUBLIC_IPV4": OWN,
        "LB_PUBLIC_IPV6": "",
        "LB_FRONTEND_IPV4": FRONT4,
        "LB_FRONTEND_IPV6": FRONT6,
        "LB_OUTBOUND_IPV4": FRONT4,
        "LB_OUTBOUND_IPV6": FRONT6,
        "LB_TCP_PORTS": "443,8081",
        "LB_UDP_PORTS": "5353",
        "LB_INBOUND_COUNT": "6",
    }
    assert applied.vm.path("/run/lbhook/lb.env").stat().st_mode & 0o7777 == 0o644


@each_policy
@pytest.mark.parametrize("frontend", [FRONT4, FRONT6])
def test_removed_rule_closes_its_port_and_cuts_no_connection(lab: Lab, frontend: str) -> None:
    """New connections are over; requests under way, on this rule or another, are answered."""
    lab.balance(ALL)
    lab.vm.apply()
    talks = [Talk.connect(lab.client, frontend, port) for port in (80, 81)]
    for talk in talks:
        talk.send("GET / HTTP/1.1\r\nHost: lab\r\n")
    # The load balancer keeps sending to the old port, so that it is the VM that decides.
    lab.fabric.answer(body(*WEB, *NAMES, **PAIRS))
    assert lab.vm.apply()["outcome"] == "changed"
    answers = [str(talk.ask("Connection: close\r\n\r\n")) for talk in talks]
    assert [answer.rsplit(":", 1)[1] for answer in answers] == ["443\n", "8081\n"]
    assert one(lab.client, "tcp", frontend, 81).state == "filtered"
    assert one(lab.client, "tcp", frontend, 80).state == "open"


@each_policy
def test_added_rule_opens_its_port(lab: Lab) -> None:
    """A rule that Azure gets later is served after the next apply."""
    lab.balance(body(*WEB))
    lab.vm.apply()
    lab.balance(body(*WEB, *ADMIN))
    targets = [Target("tcp", front, 81) for front in (FRONT4, FRONT6)]
    assert states(lab.client, *targets) == {"filtered"}
    lab.vm.apply()
    assert states(lab.client, *targets) == {"open"}


@dropping
@pytest.mark.parametrize("ip", [VM4, VM6])
@pytest.mark.parametrize("port", [22, 9000, 9001])
def test_incoming_connection_older_than_the_firewall_lives_on(
    lab: Lab, policy: str, ip: str, port: int
) -> None:
    """Before the first apply the kernel tracks no connections; those there are still pass, be
    their listener one for any address or, at port 9001, for this one."""
    lab.vm.serve(f"tcp,{VM4},9001", f"tcp,{VM6},9001")
    lab.balance(ALL)
    talk = Talk.connect(lab.client, ip, port)
    assert talk.ask("before") == "before"
    lab.vm.apply()
    assert talk.ask("after") == "after"
    assert talk.ask("and on") == "and on"
    closed = [Target("tcp", ip, number) for number in (9000, 9001)]
    assert states(lab.client, *closed) == {"filtered"}


@dropping
@pytest.mark.parametrize("ip", [CLIENT4, CLIENT6])
def test_outgoing_connection_older_than_the_firewall_lives_on(
    lab: Lab, policy: str, ip: str
) -> None:
    """The hard case: after the first apply the peer is the first to speak."""
    lab.balance(ALL)
    there = Talk.listen(lab.client, 7000)
    here = Talk.connect(lab.vm, ip, 7000)
    here.send("before")
    assert there.receive() == "before"
    lab.vm.apply()
    there.send("after")
    assert here.receive() == "after"
    here.send("and back")
    assert there.receive() == "and back"


@each_policy
def test_floating_ip_is_served_at_the_frontend_address(lab: Lab) -> None:
    """The guest owns the frontend address; its own addresses get nothing of the rule."""
    lab.vm.links(f"addr add {FRONT4}/32 dev lo\naddr add {FRONT6}/128 dev lo nodad")
    lab.balance(body(rule(FRONT4, 99, FRONT4, 99), rule(FRONT6, 99, FRONT6, 99)))
    lab.vm.apply()
    answers = [one(lab.client, "tcp", front, 99).reply for front in (FRONT4, FRONT6)]
    assert answers[0].endswith(f"\n{CLIENT4} {FRONT4}:99\n")
    assert answers[1].endswith(f"\n{CLIENT6} {FRONT6}:99\n")
    others = [Target("tcp", ip, 9000) for ip in (FRONT4, FRONT6)]
    assert states(lab.client, *others, Target("tcp", VM4, 99), Target("tcp", VM6, 99)) == {
        "filtered"
    }


def test_floating_ip_that_the_guest_lacks_costs_no_other_rule(lab: Lab) -> None:
    """nginx could not bind that address; it is left out with a warning that names it."""
    lab.balance(body(*WEB, rule("50.0.0.9", 99, "50.0.0.9", 99)))
    done = lab.vm.lbhook("apply")
    assert "50.0.0.9" in done.stderr
    assert "50.0.0.9" not in lab.vm.read(LISTEN)
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


@each_policy
def test_ha_ports_open_everything_at_their_address(lab: Lab) -> None:
    """Every port and protocol of that address, none of another; nginx listens at none."""
    lab.vm.serve("tcp,::,9002", "udp,::,53")
    lab.balance(body(rule(FRONT4, 0, VM4, 0, "All")))
    lab.vm.apply()
    assert states(lab.client, Target("tcp", FRONT4, 9002), Target("udp", FRONT4, 53)) == {"open"}
    unserved = [Target(protocol, FRONT4, 9003) for protocol in ("tcp", "udp")]
    assert states(lab.client, *unserved) == {"refused"}
    assert states(lab.client, Target("tcp", VM6, 9002), Target("udp", VM6, 53)) == {"filtered"}
    assert not lab.vm.listens("tcp", 80)


def test_nat_rule_to_ssh_does_not_become_a_web_server(lab: Lab) -> None:
    """An inbound NAT rule to port 22 reaches the SSH server, and nginx leaves the port alone."""
    lab.balance(body(*WEB, rule(FRONT4, 50001, VM4, 22)))
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 50001).reply == "GET / HTTP/1.0\r\n\r\n"
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


def test_bracketed_addresses_mean_the_same(lab: Lab) -> None:
    """Azure writes IPv6 in brackets, whatever its documentation says."""
    lab.fabric.load_balance(body(*WEB))
    front, private = f"[{FRONT6}]", f"[{VM6}]"
    lab.fabric.answer(body(rule(FRONT4, 80, VM4, 443), rule(front, 80, private, 443)))
    lab.vm.apply()
    targets = [Target("tcp", ip, 80) for ip in (FRONT4, FRONT6)]
    assert states(lab.client, *targets) == {"open"}


SETTINGS = f"""
ssh_ports = [22, 2222]
ssh_from = ["{CLIENT4}/32", "2001:db8:7::7/128"]
allow = [
  {{ protocol = "tcp", port = 9000, from = "198.51.100.0/28" }},
  {{ protocol = "udp", port = 5353 }},
]
"""


def test_settings_of_the_firewall_decide_about_packets(lab: Lab, policy: str) -> None:
    """SSH from some networks, and doors that the configuration opens by itself."""
    other = "198.51.100.77"
    lab.client.links(f"addr add {other}/24 dev eth0")
    lab.vm.serve("tcp,::,2222")
    choose(lab.vm, policy, SETTINGS)
    lab.balance(body(*WEB, public=[(OWN, VM4)]))
    lab.vm.apply()
    ssh = [Target("tcp", OWN, port) for port in (22, 2222)]
    assert states(lab.client, *ssh) == {"open"}
    assert states(lab.client, Target("tcp", VM6, 22), Target("tcp", VM6, 2222)) == {"open"}
    assert states(lab.client, *ssh, source=other) == {"filtered"}
    assert one(lab.client, "tcp", OWN, 9000).state == "open"
    assert one(lab.client, "tcp", OWN, 9000, source=other).state == "filtered"
    assert one(lab.client, "tcp", VM6, 9000).state == "filtered"
    assert states(lab.client, Target("udp", OWN, 5353), Target("udp", VM6, 5353)) == {"open"}
    assert one(lab.client, "tcp", FRONT4, 80, source=other).state == "open"


@each_policy
def test_gateway_tunnel_passes_from_its_gateway_alone(lab: Lab) -> None:
    """A backend of a gateway load balancer takes UDP at the tunnel's port, from the gateway."""
    tunnel = {
        "gatewayIpAddress": "10.1.0.7",
        "gatewayPort": 2666,
        "identifier": 800,
        "type": "internal",
        "protocol": "vxlan",
        "localIpAddress": VM4,
        "localPort": 5353,
    }
    said = body(*WEB)
    said["loadbalancer"]["tunnelInterfaces"] = [tunnel]
    lab.fabric.links("addr add 10.1.0.7/24 dev vm0")
    lab.balance(said)
    lab.vm.apply()
    assert one(lab.fabric, "udp", VM4, 5353, "10.1.0.7").state == "open"
    assert one(lab.fabric, "udp", VM4, 5353, "10.1.0.1").state == "filtered"
    assert one(lab.fabric, "tcp", VM4, 5353, "10.1.0.7").state == "filtered"
