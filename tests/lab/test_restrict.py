"""Ports that only some may come to, where packets tell whether it is so: under each policy."""

from __future__ import annotations

import json
import re
from itertools import product

import pytest

from .dhcp import offer
from .fabric import CLIENT4, CLIENT6, PROBE4, PROBE6, VM4, VM6, body, rule
from .hosts import REPO, wait_for
from .knock import Target, knock, one, states
from .lab import Lab
from .neighbours import choose, configure
from .rules import ADMIN, ALL, FRONT4, FRONT6, OWN, PAIRS, WEB
from .talk import Talk
from .test_closing import SSHD
from .test_neighbours import container

OTHER4, OTHER6 = "198.51.100.77", "2001:db8:7::8"
WITHIN, BEYOND = (CLIENT4, CLIENT6), (OTHER4, OTHER6)
OFFICE = '["198.51.100.0/28", "2001:db8:7::7"]'
FRONTS = (Target("tcp", FRONT4, 80), Target("tcp", FRONT6, 80))
# The other firewall, which owns the policy under `mark`, lets everybody in by itself.
OPEN_TO_ALL = """
iptables-nft -I INPUT -p tcp --dport 443 -j ACCEPT
ip6tables-nft -I INPUT -p tcp --dport 443 -j ACCEPT
"""


def restricted(sources: str = OFFICE, port: str = "443", protocol: str = "tcp") -> str:
    """The lines of one entry."""
    kind = f'protocol = "{protocol}"\n' if protocol else ""
    return f"[[targets.nftables.restrict]]\n{kind}port = {port}\nsources = {sources}\n"


def limit(lab: Lab, policy: str, *entries: str, variables: str = "") -> None:
    """The configuration with these entries, applied."""
    configure(lab.vm, policy, f"{variables}\n{''.join(entries)}")
    lab.vm.apply()


def populate(lab: Lab) -> None:
    """Rules, and a second address of each family for the client."""
    links = f"addr add {OTHER4}/24 dev eth0\naddr add {OTHER6}/64 dev eth0 nodad"
    lab.client.links(links)
    lab.balance(ALL)


def answers(lab: Lab, *doors: Target) -> tuple[set[str], set[str]]:
    """What the sources that may come get at these doors, and what the others get."""
    found = []
    for sources in (WITHIN, BEYOND):
        pairs = ((door, one) for door, one in product(doors, sources))
        alike = [(door, one) for door, one in pairs if (":" in door.ip) == (":" in one)]
        found.append({knock(lab.client, door, source=one)[door].state for door, one in alike})
    return found[0], found[1]


def test_only_they_come_in(lab: Lab, policy: str) -> None:
    """In both families, by the frontends and past them; Azure's probes do, other ports are as they
    were, and also where another firewall lets everybody in."""
    populate(lab)
    lab.vm.apply()
    assert answers(lab, *FRONTS) == ({"open"}, {"open"})
    if policy == "mark":
        lab.vm.run(["sh", "-euc", OPEN_TO_ALL])
    limit(lab, policy, restricted())
    straight = (Target("tcp", VM4, 443), Target("tcp", OWN, 443), Target("tcp", VM6, 443))
    assert answers(lab, *FRONTS, *straight) == ({"open"}, {"filtered"})
    assert one(lab.fabric, "tcp", VM4, 443, PROBE4).state == "open"
    assert one(lab.fabric, "tcp", VM6, 443, f"{PROBE6}%vm0").state == "open"
    others = [Target("tcp", FRONT4, 81), Target("tcp", FRONT6, 81)]
    assert answers(lab, *others) == ({"open"}, {"open"})


def test_who_is_connected_stays_and_does_not_come_again(lab: Lab, policy: str) -> None:
    """A restriction that comes, and one that lets in fewer, end no connection. A plan and an apply
    say who is connected, once."""
    populate(lab)
    lab.vm.serve("tcp,::,8443")
    lab.balance(body(rule(FRONT4, 8443, VM4, 8443), rule(FRONT6, 8443, VM6, 8443), **PAIRS))
    lab.vm.apply()
    talks = [
        Talk.connect(lab.client, FRONT6 if ":" in source else FRONT4, 8443, source)
        for source in (*WITHIN, *BEYOND)
    ]
    entries = [
        restricted(port="8443"),
        restricted(f'["{CLIENT4}"]', port="8443"),
    ]
    used = []
    for entry in entries:
        configure(lab.vm, policy, entry)
        plan = json.loads(lab.vm.lbhook("plan", "--json").stdout)
        used.append({it["ip"]: it for it in plan["closes"] if it["port"] == 8443})
        report = lab.vm.apply()
        told = {it["ip"]: it for it in report.get("closes", []) if it["port"] == 8443}
        assert told == used[-1]
        assert {talk.ask("still") for talk in talks} == {"still"}
    assert {ip: it["connections"] for ip, it in used[0].items()} == {VM4: 1, VM6: 1}
    assert used[0][VM4]["only_from"] == "only from 198.51.100.0/28"
    # Who was kept out before is no news; the client's first IPv6 address is.
    assert {ip: it["connections"] for ip, it in used[1].items()} == {VM6: 1}
    assert used[1][VM6]["only_from"] == "only from another family"
    doors = [Target("tcp", FRONT4, 8443), Target("tcp", FRONT6, 8443)]
    assert states(lab.client, doors[0], source=CLIENT4) == {"open"}
    assert states(lab.client, doors[0], source=OTHER4) == {"filtered"}
    assert states(lab.client, doors[1], source=CLIENT6) == {"filtered"}
    lab.balance(body(rule(FRONT4, 8443, VM4, 8443), **PAIRS))
    assert all(it["port"] != 8443 for it in lab.vm.apply().get("closes", []))


def test_udp_and_both_protocols(lab: Lab, policy: str) -> None:
    """An entry without a protocol is about TCP and UDP, and a range about each of its ports."""
    populate(lab)
    limit(lab, policy, restricted(port='"5300-5400"', protocol=""))
    names = (Target("udp", FRONT4, 53), Target("udp", FRONT6, 53))
    assert answers(lab, *names) == ({"open"}, {"filtered"})
    limit(lab, policy, restricted(port="5353", protocol="tcp"))
    assert answers(lab, *names) == ({"open"}, {"open"})


def test_a_udp_flow_goes_on_and_another_does_not_begin(lab: Lab, policy: str) -> None:
    """As docs/targets.md has it: who was answered goes on as long as the kernel tracks that."""
    populate(lab)
    lab.vm.apply()
    talks = [Talk.flow(lab.client, front, 53) for front in (FRONT4, FRONT6)]
    assert all(talk.ask("before") for talk in talks)
    limit(lab, policy, restricted('["192.0.2.1", "2001:db8:9::1"]', port="5353", protocol="udp"))
    assert all(talk.ask("still") for talk in talks)
    assert not any(Talk.flow(lab.client, one, 53).ask("new") for one in (FRONT4, FRONT6))


def test_dhcp_goes_on(lab: Lab, policy: str) -> None:
    """Whatever ports are restricted: a lease that is not renewed takes the address along. What is
    no answer of a DHCP server's is dropped."""
    populate(lab)
    lab.vm.serve("udp,0.0.0.0,68", "udp,::,546")
    limit(lab, policy, restricted(port='"1-65535"', protocol="udp"))
    if policy == "mark":
        # The firewall that owns the policy has a word of its own.
        words = ["ip6tables-nft", "-I", "INPUT", "-p", "udp", "--dport", "546", "-j", "ACCEPT"]
        lab.vm.run(words)
    here = lab.vm.run(["ip", "-6", "-br", "addr", "show", "scope", "link", "dev", "eth0"]).stdout
    near = here.split()[2].partition("/")[0]
    assert offer(lab.fabric, "vm0", (PROBE4, 67), VM4) == "offer"
    assert offer(lab.fabric, "vm0", (PROBE6, 547), near) == "offer"
    assert offer(lab.fabric, "vm0", (PROBE4, 66), VM4) == ""
    assert offer(lab.fabric, "vm0", (PROBE6, 548), near) == ""


def test_every_port_of_ha_ports_can_be_limited(lab: Lab, policy: str) -> None:
    """A rule of HA ports has each port; the entry limits its own."""
    populate(lab)
    lab.vm.serve("tcp,::,7000")
    lab.balance(body(rule(FRONT4, 0, VM4, 0, "All"), **PAIRS))
    limit(lab, policy, restricted(port="7000"))
    assert answers(lab, Target("tcp", FRONT4, 7000)) == ({"open"}, {"filtered"})
    assert answers(lab, Target("tcp", FRONT4, 9000)) == ({"open"}, {"open"})
    assert "tcp 7000 only from 198.51.100.0/28" in lab.vm.lbhook("show").stdout


def test_a_published_port_is_limited(lab: Lab, policy: str) -> None:
    """Before it is translated: `enforce` sees nothing of it, and limits it all the same."""
    populate(lab)
    with container(lab) as inside:
        lab.balance(body(rule(FRONT4, 80, VM4, 8080), **PAIRS))
        lab.vm.apply()
        assert answers(lab, Target("tcp", FRONT4, 80)) == ({"open"}, {"open"})
        limit(lab, policy, restricted(port="8080"))
        assert answers(lab, Target("tcp", FRONT4, 80)) == ({"open"}, {"filtered"})
        # What is forwarded is not for this machine.
        there = Talk.listen(lab.client, 8080)
        here = Talk.connect(inside, CLIENT4, 8080)
        here.send("out")
        assert there.receive() == "out"


def test_allow_opens_nothing_to_others(lab: Lab) -> None:
    """Whoever opens the port to everybody as well: the entry stands."""
    populate(lab)
    wide = "allow = [{ port = 443 }]"
    limit(lab, "enforce", restricted(), variables=wide)
    assert answers(lab, *FRONTS) == ({"open"}, {"filtered"})


@pytest.mark.parametrize("policy", ["enforce"], indirect=True)
def test_an_ack_is_no_way_in(lab: Lab, policy: str) -> None:
    """Without a handshake nothing is connected: a listener's own address, mid-stream, then a
    beginning."""
    populate(lab)
    lab.vm.serve(f"tcp,{VM4},8443")
    limit(lab, policy, restricted(port="8443"))
    stray = f"""
import socket, struct
def summed(data):
    total = sum(struct.unpack(f"!{{len(data) // 2}}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
ends = socket.inet_aton("{OTHER4}") + socket.inet_aton("{VM4}")
head = struct.pack("!HHIIBBHHH", 45555, 8443, 1000, 2000, 80, 16, 65535, 0, 0)
check = summed(ends + struct.pack("!BBH", 0, 6, len(head)) + head)
line = socket.socket(socket.AF_INET, socket.SOCK_RAW, 6)
line.bind(("{OTHER4}", 0))
line.sendto(head[:16] + struct.pack("!H", check) + head[18:], ("{VM4}", 0))
call = socket.socket()
call.settimeout(0.5)
call.bind(("{OTHER4}", 45555))
try:
    call.connect(("{VM4}", 8443))
    print("open")
except TimeoutError:
    print("filtered")
"""
    assert lab.client.run(["python3", "-c", stray]).stdout == "filtered\n"


def test_thousands_of_networks(lab: Lab, policy: str) -> None:
    """As many as services have, in both families, in any order and twice."""
    populate(lab)
    # In a user namespace nft has no room for more.
    four = [f"{1 + n // 256}.{n % 256}.0.0/24" for n in range(600)]
    six = [f"2600:{n:x}::/48" for n in range(600)]
    many = json.dumps([*four, *six, *four[::-1], "198.51.100.0/28", "2001:db8:7::7"])
    limit(lab, policy, restricted(many))
    assert answers(lab, *FRONTS) == ({"open"}, {"filtered"})
    shown = lab.vm.lbhook("show").stdout
    assert "only from 1.0.0.0/24, 1.1.0.0/24 and 599 more" in shown
    assert json.loads(lab.vm.lbhook("plan", "--json").stdout)["to_do"] is False


def test_the_picture_says_who_may_come(lab: Lab, policy: str) -> None:
    """As the kernel has it: before the apply that it is still to come, afterwards that it is so.
    The doctor says the same, and finds nothing wrong with it."""
    populate(lab)
    lab.vm.apply()
    configure(lab.vm, policy, restricted())
    before = lab.vm.lbhook("show").stdout
    assert "only from 198.51.100.0/28, once it is applied" in before
    wrong = lab.vm.lbhook("doctor", check=False).stdout
    assert "443 (frontend 50.0.0.1:80) is open to everybody" in " ".join(wrong.split())
    lab.vm.apply()
    shown = lab.vm.lbhook("show").stdout
    lines = [line.strip() for line in shown.splitlines()]
    assert "only from 198.51.100.0/28" in lines
    assert "only from 2001:db8:7::7/128" in lines
    assert "!" not in shown
    here = json.loads(lab.vm.lbhook("show", "--json", "--here").stdout)["here"]
    limits = [way.get("limits") for way in here["inbound_rules"]]
    entry = {"protocol": "tcp", "port": "443", "sources": ["198.51.100.0/28"]}
    assert limits.count([entry]) == 1
    assert limits.count(None) == 4
    said = " ".join(lab.vm.lbhook("doctor", "-v", check=False).stdout.split())
    assert "10.1.0.4 tcp 443 (frontend 50.0.0.1:80): only from 198.51.100.0/28" in said
    assert "443 (frontend 50.0.0.1:80) is open to everybody" not in said


def test_one_family_alone(lab: Lab) -> None:
    """Where a rule leads by the other one nobody comes: it is said before, and the doctor knows the
    remedy."""
    choose(lab.vm, "enforce")
    populate(lab)
    limit(lab, "enforce", restricted(f'["{CLIENT4}"]'))
    plan = lab.vm.lbhook("plan").stderr
    assert "tcp 443 has no IPv6 source, so nobody reaches it by IPv6" in " ".join(plan.split())
    assert states(lab.client, FRONTS[1]) == {"filtered"}
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert "is dropped by chain inet lbhook restrict" in said
    assert "add who is to reach it to its `sources`" in said


def test_a_restriction_of_nothing_is_said(lab: Lab) -> None:
    """No rule leads there: it may be a slip, and it holds all the same."""
    lab.balance(body(*ADMIN, *WEB, **PAIRS))
    configure(lab.vm, "enforce", restricted(port="9443"))
    assert "nftables: restrict: no rule leads to tcp 9443" in lab.vm.lbhook("apply").stderr


def logged(lab: Lab) -> dict[str, int]:
    """How many packets each line that logs has written down, by its prefix."""
    said = lab.vm.run(["nft", "list", "table", "inet", "lbhook"]).stdout
    found = re.findall(r'counter packets (\d+) bytes \d+ log prefix "([^"]*)"', said)
    return {prefix: int(number) for number, prefix in found}


def test_what_is_dropped_is_logged_and_no_more(lab: Lab, policy: str) -> None:
    """With a prefix, each family, a flood by a fraction; what is let in is not, and by default
    nothing is. A network namespace has no kernel log: the line that writes has counted."""
    populate(lab)
    limit(lab, policy, restricted())
    assert logged(lab) == {}
    limit(lab, policy, restricted(), variables="log_dropped = true")
    dropped = {} if policy == "mark" else {"lbhook-dropped: ": 0}
    assert logged(lab) == {"lbhook-restricted: ": 0, **dropped}
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    (pattern,) = re.findall(r"^journalctl --dmesg --grep '(.*)'$", page, re.M)
    assert all(re.match(pattern, one) for one in logged(lab))
    assert answers(lab, FRONTS[0]) == ({"open"}, {"filtered"})
    four = logged(lab)["lbhook-restricted: "]
    assert answers(lab, FRONTS[1]) == ({"open"}, {"filtered"})
    six = logged(lab)["lbhook-restricted: "]
    assert 0 < four < six
    if policy != "mark":
        assert logged(lab)["lbhook-dropped: "] == 0
        knock(lab.client, *(Target("tcp", VM4, 9000 + n) for n in range(200)))
        said = lab.vm.run(["nft", "list", "table", "inet", "lbhook"]).stdout
        (number,) = re.findall(r'packets (\d+) bytes \d+ (?:drop )?comment "dropped"', said)
        assert 0 < logged(lab)["lbhook-dropped: "] < int(number)


def test_sshd_in_a_restricted_port_is_said(lab: Lab) -> None:
    """SSH is limited where its port was written by hand, and nobody is locked out unawares; SSH at
    its own port is as it was."""
    populate(lab)
    lab.vm.write("/run/sshd", SSHD)
    lab.vm.run(["chmod", "755", "/run/sshd"])
    lab.vm.spawn(["/run/sshd", "tcp,::,2222"])
    wait_for(lambda: lab.vm.listens("tcp", 2222), "sshd")
    configure(lab.vm, "enforce", restricted(port='"2000-3000"'))
    said = "restrict: sshd listens on tcp 2222: SSH comes there from its sources alone"
    assert said in " ".join(lab.vm.lbhook("plan").stderr.split())
    assert said in " ".join(lab.vm.lbhook("apply").stderr.split())
    straight = (Target("tcp", VM4, 2222), Target("tcp", VM6, 2222))
    assert answers(lab, *straight) == ({"open"}, {"filtered"})
    assert answers(lab, Target("tcp", VM4, 22)) == ({"open"}, {"open"})
