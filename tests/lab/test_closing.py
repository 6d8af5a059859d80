"""What the firewall keeps open for operators and what it closes, seen from outside."""

from __future__ import annotations

import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

from .fabric import CLIENT4, VM4, VM6, body, rule
from .hosts import REPO, Popen, wait_for
from .knock import one
from .lab import Lab
from .neighbours import choose, configure
from .rules import ALL, FRONT4, OWN, WEB
from .talk import Talk
from .vm import NFT, Vm

# A program with the name of sshd, for which the kernel takes that of the script.
SSHD = f"""#!{sys.executable}
import runpy
runpy.run_path("{Path(__file__).parent}/standin.py", run_name="__main__")
"""
# Says so when it can hear, and then each time that something has come.
ROUTER = """
import socket, sys
router = socket.socket(socket.AF_INET, socket.SOCK_RAW, int(sys.argv[1]))
print("hears", flush=True)
while True:
    router.recv(100)
    print("heard", flush=True)
"""
ADVERTISE = f"""
import socket, sys
router = socket.socket(socket.AF_INET, socket.SOCK_RAW, int(sys.argv[1]))
router.sendto(bytes(20), ("{VM4}", 0))
"""
SCTP = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
server.bind(("0.0.0.0", 3868))
server.listen()
print("hears", flush=True)
server.accept()
"""
DHCP = """
import socket, time
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"virbr0")
server.bind(("", 67))
time.sleep(60)
"""
# What ends at this machine without a program, if its kernel has the kind: the commands that make
# it, what a plan and an apply say, and what lets it in.
ENDS = (
    (
        f"ip link add vxlan0 type vxlan id 7 local {VM4} dstport 4789; ip link set vxlan0 up",
        ("udp   4789  0.0.0.0  vxlan0", "udp 4789 on 0.0.0.0 (vxlan0)"),
        '{ protocol = "udp", port = 4789 }',
    ),
    (
        f"ip link add gre1 type gre local {VM4} remote 10.1.0.9; ip link set gre1 up",
        (f"gre         {VM4}  gre1", f"gre on {VM4} (gre1)"),
        '{ protocol = "gre" }',
    ),
    (
        f"ip xfrm state add src 10.1.0.9 dst {VM4} proto esp spi 1 mode tunnel"
        f" aead 'rfc4106(gcm(aes))' 0x{'01' * 20} 128",
        (f"esp         {VM4}  ipsec", f"esp on {VM4} (ipsec)"),
        '{ protocol = "esp" }',
    ),
)


def sshd(vm: Vm, *specs: str, name: str = "sshd") -> Popen:
    """Start a stand-in for sshd at each `protocol,address,port`."""
    vm.write(f"/run/{name}", SSHD)
    vm.run(["chmod", "755", f"/run/{name}"])
    process = vm.spawn([f"/run/{name}", *specs])
    for _, _, port in (spec.split(",") for spec in specs):
        wait_for(partial(vm.listens, "tcp", int(port)), f"port {port}")
    return process


def stop(vm: Vm, process: Popen, port: int) -> None:
    """End it, and wait until its port is free."""
    process.kill()
    process.wait()
    wait_for(lambda: not vm.listens("tcp", port), f"the end of port {port}")


def states(lab: Lab, *places: tuple[str, int]) -> list[str]:
    """What a client finds at these places."""
    return [one(lab.client, "tcp", ip, port).state for ip, port in places]


@pytest.mark.parametrize("policy", ["enforce", "prerouting"])
def test_sshd_stays_open_where_it_listens_for_as_long_as_it_does(lab: Lab, policy: str) -> None:
    """Whatever its ports; another program that takes one of them later is closed again."""
    choose(lab.vm, policy)
    lab.balance(ALL)
    process = sshd(lab.vm, f"tcp,{VM4},2222", "tcp,::,2223")
    report = lab.vm.apply()
    assert "closes" in report
    places = [(VM4, 2222), (VM6, 2222), (VM4, 2223), (VM6, 2223), (VM4, 9000)]
    assert states(lab, *places) == ["open", "filtered", "open", "open", "filtered"]
    assert lab.vm.apply()["outcome"] == "unchanged"
    stop(lab.vm, process, 2223)
    sshd(lab.vm, "tcp,::,2222", name="game")
    assert lab.vm.apply()["outcome"] == "changed"
    assert states(lab, *places[:3]) == ["filtered"] * 3


def test_an_sshd_that_moves_is_followed_by_the_next_run(lab: Lab) -> None:
    """By one with the last good answer alone, as the timer's."""
    lab.balance(ALL)
    process = sshd(lab.vm, "tcp,::,2222")
    lab.vm.apply()
    stop(lab.vm, process, 2222)
    sshd(lab.vm, "tcp,::,2224")
    plan = lab.vm.lbhook("plan", "--cached").stdout
    assert '-\t\ttcp dport 2222 counter accept comment "sshd"' in plan
    assert '+\t\ttcp dport 2224 counter accept comment "sshd"' in plan
    lab.vm.apply("--cached", "--skip-refused")
    assert states(lab, (VM4, 2222), (VM4, 2224)) == ["filtered", "open"]


@pytest.mark.parametrize("variable", ["follow_sshd = false", "ssh_ports = []"])
def test_the_configuration_may_say_otherwise(lab: Lab, variable: str) -> None:
    """Then it is closed like any other, and said so."""
    configure(lab.vm, "enforce", variable)
    lab.balance(ALL)
    sshd(lab.vm, "tcp,::,2222")
    done = lab.vm.lbhook("apply")
    assert "tcp 2222 on :: (sshd)" in done.stderr
    assert states(lab, (VM4, 2222)) == ["filtered"]
    assert "sshd" not in lab.vm.read(NFT)


def test_apply_says_what_it_has_closed_and_loudly_what_is_in_use(lab: Lab) -> None:
    """In its messages and in status.json, once, though rules come and go; the connection stays."""
    talk = Talk.connect(lab.client, VM4, 9000)
    lab.balance(ALL)
    assert "9000  ::  python" in lab.vm.lbhook("plan").stdout
    done = lab.vm.lbhook("apply")
    assert "nftables: tcp 9000 on :: (python" in done.stderr
    assert "IN USE: 1 connection from outside: these stay open, new ones are dropped" in done.stderr
    assert "closed to the outside, because no rule or setting opens it" in done.stderr
    (closed,) = json.loads(lab.vm.read("/run/lbhook/status.json"))["closes"]
    assert (closed["port"], closed["connections"]) == (9000, 1)
    assert talk.ask("still there") == "still there"
    assert "9000" not in lab.vm.lbhook("apply").stderr
    lab.balance(body(*WEB, rule(FRONT4, 8099, VM4, 8099)))
    changed = lab.vm.apply()
    assert changed["outcome"] == "changed"
    assert {one["port"] for one in changed["closes"]} == {8081, 5353}


@pytest.mark.parametrize(
    ("name", "number", "allowed"),
    [("vrrp", 112, '"vrrp"'), ("vrrp", 112, "112"), ("ospf", 89, '"ospf"')],
)
def test_a_raw_socket_is_told_and_let_in_by_name(
    lab: Lab, name: str, number: int, allowed: str
) -> None:
    """Of VRRP, without which two machines are master, or OSPF: listed, dropped, named by `doctor`,
    and open by `allow`."""
    router = lab.vm.spawn([sys.executable, "-c", ROUTER, str(number)])
    assert router.stdout
    assert router.stdout.readline() == "hears\n"
    lab.balance(ALL)
    assert f"#   {name}        0.0.0.0  python" in lab.vm.lbhook("plan").stdout
    assert f"{name} on 0.0.0.0 (python" in lab.vm.lbhook("apply").stderr
    lab.client.run([sys.executable, "-c", ADVERTISE, str(number)])
    dropped = lab.vm.run(["nft", "list", "chain", "inet", "lbhook", "input"]).stdout
    assert 'counter packets 1 bytes 40 comment "dropped"' in dropped
    assert f"{name} on 0.0.0.0 (python" in kept_closed(lab)
    configure(lab.vm, "enforce", f"allow = [{{ protocol = {allowed} }}]")
    lab.vm.apply()
    lab.client.run([sys.executable, "-c", ADVERTISE, str(number)])
    assert router.stdout.readline() == "heard\n"
    assert name not in kept_closed(lab)


def kept_closed(lab: Lab) -> str:
    """What `doctor` says that the firewall keeps closed."""
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    return said.partition("closes these")[2].partition("`allow`")[0]


def test_what_ends_in_the_kernel_is_told(lab: Lab) -> None:
    """Tunnels, IPsec and SCTP, as far as this kernel has them, beside a raw socket of OSPF: in the
    plan, the apply and by `doctor`, until `allow` has each."""
    router = lab.vm.spawn([sys.executable, "-c", ROUTER, "89"])
    server = lab.vm.spawn([sys.executable, "-c", SCTP])
    assert router.stdout
    assert server.stdout
    assert router.stdout.readline() == "hears\n"
    made = [
        (said, allowed)
        for command, said, allowed in ENDS
        if not lab.vm.run(["sh", "-euc", command], check=False).returncode
    ]
    made.append(
        (("ospf        0.0.0.0  python", "ospf on 0.0.0.0 (python"), '{ protocol = "ospf" }')
    )
    if server.stdout.readline():
        said = ("sctp  3868  0.0.0.0  python", "sctp 3868 on 0.0.0.0 (python")
        made.append((said, '{ protocol = "sctp", port = 3868 }'))
    lab.balance(ALL)
    plan, applied = lab.vm.lbhook("plan").stdout, lab.vm.lbhook("apply").stderr
    kept = kept_closed(lab)
    for (planned, named), _ in made:
        assert f"#   {planned}" in plan, plan
        assert named in applied, applied
        assert named in kept, kept
    more = ", ".join(allowed for _, allowed in made)
    configure(lab.vm, "enforce", f'allow = [{{ protocol = "tcp" }}, {{ port = 5353 }}, {more}]')
    assert lab.vm.lbhook("apply").stderr == ""
    assert kept_closed(lab) == ""


def test_what_another_table_has_closed_is_not_listed(lab: Lab) -> None:
    """The other way round, what lbhook alone keeps closed is told by the doctor."""
    lab.vm.run(["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "9000", "-j", "DROP"])
    lab.vm.run(["ip6tables", "-A", "INPUT", "-p", "tcp", "--dport", "9000", "-j", "DROP"])
    lab.balance(ALL)
    lab.vm.serve("tcp,::,9001")
    done = lab.vm.lbhook("apply")
    assert "tcp 9001 on ::" in done.stderr
    assert "9000" not in done.stderr


def test_a_machine_without_ipv4_has_nothing_to_close_there(lab: Lab) -> None:
    """lbhook's own listener at every IPv4 address, and a stranger's: nobody can come to them, and
    neither plan, apply nor doctor says that they are closed. With an address they are named."""
    lab.balance(body(WEB[1]))
    lab.vm.lbhook("fetch")
    lab.vm.run(["ip", "addr", "del", f"{VM4}/24", "dev", "eth0"])
    lab.vm.serve("tcp,0.0.0.0,9001")
    done = [lab.vm.lbhook(one, "--cached", check=False) for one in ("plan", "apply", "doctor")]
    found = [one.stdout + one.stderr for one in done]
    assert lab.vm.listens("tcp", 443, "0.0.0.0")
    assert [one for one in found if "0.0.0.0" in one] == []
    assert [one for one in found if "9000" not in one] == []
    lab.vm.run(["ip", "addr", "add", f"{VM4}/24", "dev", "eth0"])
    choose(lab.vm, "prerouting")
    assert "9001  0.0.0.0" in lab.vm.lbhook("plan", "--cached").stdout


def test_what_takes_ipv6_alone_is_reached_by_ipv6_alone(lab: Lab) -> None:
    """An entry for IPv4 lets nobody come to it, and it is listed; on a machine without IPv6 nobody
    could come before."""
    allow = '[targets.nftables]\nvars.allow = [{ from = "198.51.100.0/24", port = 9001 }]\n'
    lab.vm.write("/etc/lbhook/lbhook.toml", allow)
    lab.balance(body(WEB[0]))
    lab.vm.lbhook("fetch")
    server = lab.vm.serve("tcp,[::],9001")
    assert "9001  ::" in lab.vm.lbhook("plan", "--cached").stdout
    server.terminate()
    server.wait()
    server = lab.vm.serve("tcp,::,9001")
    assert "9001  ::" not in lab.vm.lbhook("plan", "--cached").stdout
    server.terminate()
    server.wait()
    lab.vm.serve("tcp,[::],9001")
    lab.vm.run(["ip", "-6", "addr", "flush", "dev", "eth0"])
    assert "9001  ::" not in lab.vm.lbhook("plan", "--cached").stdout


def test_the_doctor_names_what_the_firewall_keeps_closed(lab: Lab) -> None:
    """Without -v, and no fault: nobody but the operator knows what is meant to be reached."""
    lab.balance(ALL)
    lab.vm.apply()
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert (
        "? nftables closes these, because no rule or setting opens them: tcp 9000 on :: (" in said
    )
    configure(lab.vm, "enforce", 'allow = [{ protocol = "tcp", port = 9000 }, { port = 5353 }]')
    lab.vm.apply()
    # Where lbhook itself has nginx listen nobody is told.
    lab.vm.run(["ip", "addr", "add", "10.1.0.44/24", "dev", "eth0"])
    assert lab.vm.listens("tcp", 443, "0.0.0.0")
    assert "closes these" not in lab.vm.lbhook("doctor", check=False).stdout


def test_a_socket_of_a_bridge_is_its_guests_affair(lab: Lab) -> None:
    """As that of a DHCP server: the doctor says whom to trust, and then it is closed no more."""
    lab.balance(body(WEB[1]))
    lab.vm.run(["ip", "link", "add", "virbr0", "up", "type", "bridge"])
    lab.vm.run(["ip", "addr", "add", "192.168.122.1/24", "dev", "virbr0"])
    lab.vm.spawn([sys.executable, "-c", DHCP])
    wait_for(lambda: lab.vm.listens("udp", 67), "port 67")
    lab.vm.apply()
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert re.search(r"keeps what comes by virbr0 from these: [^`]*udp 67 on 0.0.0.0%virbr0", said)
    configure(lab.vm, "enforce", 'trusted_interfaces = ["virbr0"]')
    lab.vm.apply()
    assert "udp 67" not in lab.vm.lbhook("doctor", check=False).stdout


def test_a_socket_at_the_address_of_a_vpn_is_for_those_who_come_by_it(lab: Lab) -> None:
    """The doctor says what lets these in alone: `allow` would let in others, too."""
    lab.balance(body(WEB[1]))
    lab.vm.links("tuntap add tailscale0 mode tun")
    lab.vm.links("addr add 100.64.0.2/32 dev tailscale0\nlink set tailscale0 up")
    lab.vm.serve("tcp,100.64.0.2,3000")
    configure(lab.vm, "enforce")
    lab.vm.apply()
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert re.search(r"what comes by tailscale0 from these: [^`]*tcp 3000 on 100.64.0.2", said)
    assert '`trusted_interfaces = ["tailscale0"]`' in said


def test_a_port_that_rules_send_elsewhere_is_told_before_it_is_closed(lab: Lab) -> None:
    """It may be an operator's way to sshd, or a container's without a proxy: no socket has it, and
    only what is judged before destination NAT closes it."""
    lab.balance(body(WEB[1], public=[(OWN, VM4)]))
    sent = "iptables -t nat -A {} -p tcp --dport {} -j REDIRECT --to-ports 9000"
    for chain, port in (("PREROUTING", "2222"), ("OUTPUT", "2223"), ("PREROUTING", "8001:8002")):
        lab.vm.run(["sh", "-euc", sent.format(chain, port)])
    chain = "chain p { type nat hook prerouting priority dstnat; "
    rule = "ip protocol tcp redirect to :tcp dport map { 8003 : 9000, 8004 : 9000 }; }"
    lab.vm.run(["nft", "-f", "-"], stdin=f"table ip own {{\n{chain}{rule}\n}}")
    told = []
    for policy in ("enforce", "prerouting"):
        configure(lab.vm, policy, "allow = [{ port = 9000 }]")
        told.append(re.findall(r"tcp +(\d+) +0.0.0.0 +translated", lab.vm.lbhook("plan").stdout))
        assert one(lab.client, "tcp", OWN, 2222).state == "open"
    assert told == [[], ["2222", "8001", "8002", "8003", "8004"]]
    assert {2222, 8001, 8002} <= {it["port"] for it in lab.vm.apply()["closes"]}
    assert one(lab.client, "tcp", OWN, 2222).state == "filtered"
    assert "translated" not in lab.vm.lbhook("plan").stdout


def test_what_is_redirected_to_a_port_that_closes_is_told(lab: Lab) -> None:
    """The rule leads to 80, a server has 8085, and a rule of nat is between: unsaid, the site
    would be down. Judged before that, it goes on."""
    lab.balance(body(rule(FRONT4, 80, VM4, 80), rule(FRONT4, 81, VM4, 9000)))
    lab.vm.serve("tcp,::,8085")
    redirect = "iptables -t nat -A PREROUTING -p tcp --dport {} -j REDIRECT --to-ports {}"
    for ports in ((80, 8085), (9000, 22)):
        lab.vm.run(["sh", "-euc", redirect.format(*ports)])
    told = []
    for policy in ("enforce", "prerouting"):
        configure(lab.vm, policy)
        told.append(re.findall(r"tcp +(\d+) .* redirected to (.*)", lab.vm.lbhook("plan").stdout))
    assert told == [[("80", f"{VM4}:8085")], []]
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    configure(lab.vm, "enforce")
    assert f"tcp 80 on {VM4} (redirected to {VM4}:8085)" in lab.vm.lbhook("apply").stderr
    assert one(lab.client, "tcp", FRONT4, 80).state == "filtered"
    assert "redirected to" not in lab.vm.lbhook("plan").stdout


def test_where_a_server_is_closed_that_a_rule_leads_to_is_told(lab: Lab) -> None:
    """It waits at all addresses, and the rule leads to one of them."""
    configure(lab.vm, "enforce")
    lab.balance(body(rule(FRONT4, 81, VM4, 9001)))
    lab.vm.serve("tcp,::,9001")
    lab.vm.lbhook("fetch")
    assert f"9001  {VM6}" in lab.vm.lbhook("plan", "--cached").stdout
    said = lab.vm.lbhook("apply", "--cached").stderr
    assert re.findall(r"tcp 9001 on (\S+)", said) == [VM6]


@pytest.mark.parametrize(
    "command",
    [
        "iptables -t raw -A PREROUTING -p udp --sport 53 -j CT --notrack",
        "nft add table ip r; nft add chain ip r out { type filter hook output priority raw \\; };"
        " nft add rule ip r out udp dport 53 notrack",
    ],
)
def test_udp_that_is_not_tracked_has_no_answers_and_the_doctor_says_so(
    lab: Lab, command: str
) -> None:
    """The answer to a question of this machine's is dropped; by `allow` it comes."""
    lab.client.spawn([*lab.client.python("standin.py"), "udp,::,53"])
    wait_for(partial(lab.client.listens, "udp", 53), "a server")
    lab.balance(ALL)
    lab.vm.apply()
    assert one(lab.vm, "udp", CLIENT4, 53).state == "open"
    assert "notrack" not in lab.vm.lbhook("doctor", check=False).stdout
    lab.vm.run(["sh", "-euc", command])
    assert one(lab.vm, "udp", CLIENT4, 53).state == "filtered"
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert "takes UDP out of connection tracking" in said
    configure(lab.vm, "enforce", f'allow = [{{ protocol = "udp", from = "{CLIENT4}" }}]')
    lab.vm.apply()
    assert one(lab.vm, "udp", CLIENT4, 53).state == "open"


@pytest.mark.parametrize("policy", ["enforce", "prerouting"])
def test_an_icmp_error_about_what_is_not_tracked_arrives(lab: Lab, policy: str) -> None:
    """Without it, a server never learns that its packets are too large for the way."""
    configure(lab.vm, policy)
    lab.balance(body(rule(FRONT4, 81, VM4, 9001)))
    lab.vm.serve("tcp,::,9001")
    lab.vm.apply()
    notrack = ("PREROUTING -p tcp --dport", "OUTPUT -p tcp --sport")
    rules = [f"iptables -t raw -A {one} 9001 -j CT --notrack" for one in notrack]
    lab.vm.run(["sh", "-euc", "\n".join(rules)])
    lab.fabric.links(f"route replace {CLIENT4} dev client0 mtu 1000")
    talk = Talk.connect(lab.client, FRONT4, 81)
    talk.send("x" * 2000)
    heard = 0
    while heard < 2000:
        said = talk.receive()
        assert said
        heard += len(str(said))


@pytest.mark.parametrize(
    ("policy", "what"), [("enforce", "this machine is open"), ("mark", "nothing is marked")]
)
def test_a_table_that_is_gone_is_said(lab: Lab, policy: str, what: str) -> None:
    """By show, in text and as JSON, by doctor, and as the reason of the next reload."""
    configure(lab.vm, policy)
    lab.balance(ALL)
    lab.vm.apply()
    assert "is gone" not in lab.vm.lbhook("show").stdout
    lab.vm.run(["nft", "flush", "ruleset"])
    gone = f"nftables: the table is gone (`nft flush ruleset` removes it): {what}"
    for words in (("show",), ("doctor",), ("plan",)):
        said = " ".join(lab.vm.lbhook(*words, check=False).stdout.replace("#", "").split())
        assert gone.replace("nftables: ", "") in said, words
    (warning,) = json.loads(lab.vm.lbhook("show", "--json").stdout)["warnings"]
    assert warning == f"{gone}; `sudo lbhook apply` loads it again"
    lab.vm.apply()
    assert "is gone" not in lab.vm.lbhook("show").stdout
    assert "table inet lbhook" in lab.vm.run(["nft", "list", "tables"]).stdout


# As Debian ships it.
NFTABLES_CONF = """#!/usr/sbin/nft -f

flush ruleset

table inet filter {
	chain input {
		type filter hook input priority filter;
	}
}
"""


def test_the_line_of_the_page_brings_the_table_back_in_the_same_transaction(lab: Lab) -> None:
    """Loaded by hand, nftables.conf takes lbhook's table away without it; with it nothing is open
    for a moment, and without a file of lbhook's nothing is refused."""
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^include .*$", page.split("### nftables.service", 1)[1], re.M)
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.write("/etc/nftables.conf", NFTABLES_CONF)
    lab.vm.run(["nft", "-f", "/etc/nftables.conf"])
    assert states(lab, (VM4, 9000)) == ["open"]
    lab.vm.write("/etc/nftables.conf", f"{NFTABLES_CONF}{line}\n")
    lab.vm.run(["nft", "-f", "/etc/nftables.conf"])
    assert states(lab, (VM4, 9000), (VM4, 22)) == ["filtered", "open"]
    assert lab.vm.apply()["outcome"] == "unchanged"
    lab.vm.path(NFT).unlink()
    lab.vm.run(["nft", "-f", "/etc/nftables.conf"])
    assert "lbhook" not in lab.vm.run(["nft", "list", "tables"]).stdout


def test_a_table_of_ones_own_lets_in_what_is_marked(lab: Lab) -> None:
    """The page's line, in a table that drops all else; the page's command for a line by hand."""
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    section = page.split("\n### A table of your own\n", 1)[1].split("\n### ", 1)[0]
    (rule,) = re.findall(r"^meta mark .*$", section, re.M)
    (command,) = re.findall(r"^nft insert .*$", section, re.M)
    own = NFTABLES_CONF.replace("priority filter;", "priority filter; policy drop;\nWHAT")
    tracked = "ct state established,related accept"
    lab.vm.write("/etc/nftables.conf", own.replace("WHAT", tracked))
    lab.vm.run(["nft", "-f", "/etc/nftables.conf"])
    configure(lab.vm, "mark")
    lab.balance(ALL)
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80).state == "filtered"
    said = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert f"let in what lbhook marks: `{command}`" in said
    lab.vm.run(["sh", "-euc", command])
    assert "what lbhook marks" not in lab.vm.lbhook("doctor", check=False).stdout
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    lab.vm.write("/etc/nftables.conf", own.replace("WHAT", f"{tracked}\n{rule}"))
    lab.vm.run(["nft", "-f", "/etc/nftables.conf"])
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert states(lab, (VM4, 9000)) == ["filtered"]


def test_what_was_never_open_is_no_news(lab: Lab) -> None:
    """A port of nginx at every address, with a rule for one of them; but a program that waits at
    every address before there is a firewall loses the others."""
    lab.vm.run(["ip", "address", "add", "10.1.0.5/24", "dev", "eth0"])
    lab.vm.serve("tcp,0.0.0.0,8443")
    said = []
    for ports in ((8443,), (8443, 80), (8443, 80, 81)):
        lab.balance(body(*(rule(FRONT4, port, VM4, port) for port in ports)))
        said.append({(it["port"], it["ip"]) for it in lab.vm.apply().get("closes", [])})
    assert (8443, "10.1.0.5") in said[0]
    assert said[1:] == [set(), set()]
