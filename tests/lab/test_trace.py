"""`lbhook trace` beside whatever filters on the machine: packets of a client, and who decides."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import pytest

from . import firewalld
from .fabric import CLIENT4, CLIENT6, FORWARD, VM4, VM6, body, rule
from .hosts import REPO, Popen, wait_for
from .knock import one
from .lab import Lab
from .neighbours import build, commands, configure
from .rules import ALL, FRONT4, FRONT6
from .test_neighbours import container
from .test_rulesets import PROGRAMS

FAMILIES = [(VM4, CLIENT4), (VM6, CLIENT6)]
STRANGER4, STRANGER6 = "198.51.100.99", "2001:db8:7::99"
PLENTY = "120s"


def tables(lab: Lab) -> list[str]:
    """The tables that mark packets."""
    words = lab.vm.run(["nft", "list", "tables"]).stdout.split()
    return [word for word in words if word.startswith("lbhook_trace")]


def begin(lab: Lab, *words: str) -> Popen:
    """A trace that marks packets already."""
    before = len(tables(lab))
    argv = [sys.executable, "-m", "lbhook", "trace", *words]
    process = lab.vm.spawn(argv, env=lab.vm.environment)
    wait_for(lambda: len(tables(lab)) > before, "the table that marks packets")
    return process


def end(process: Popen) -> str:
    """What it has printed, in one screen."""
    assert process.stdout
    said = process.stdout.read()
    assert process.wait() == 0
    assert max(map(len, said.splitlines())) <= 80
    assert len(said.splitlines()) < 24
    return said


def told(lab: Lab, ip: str, port: int, source: str = "", protocol: str = "tcp") -> dict[str, Any]:
    """What the JSON says of one packet, and the text says, too."""
    found = []
    for words in ((), ("--json",)):
        words = (str(port), "--count", "1", "--wait", PLENTY, *words)
        tracing = begin(lab, *words, *(("--from", source) if source else ()))
        one(lab.client, protocol, ip, port, source)
        assert tracing.stdout
        found.append(tracing.stdout.read())
        assert tracing.wait() == 0
    (packet,) = json.loads(found[1])["packets"]
    text = " ".join(found[0].split())
    assert max(map(len, found[0].splitlines())) <= 80
    assert len(found[0].splitlines()) < 24
    assert f"from {packet['from']}: 1 packet" in text
    for key in ("text", "remedy"):
        assert " ".join(packet[key].split()) in text
    assert not packet["chain"] or f"chain {packet['chain']} ({packet['rule']})" in text
    assert tables(lab) == []
    return dict(packet)


@pytest.mark.parametrize(("ip", "client"), FAMILIES)
def test_lbhook_s_own_firewall(lab: Lab, ip: str, client: str) -> None:
    """A port that no rule leads to, and one that a rule does: dropped and let in, each by name."""
    lab.balance(ALL)
    lab.vm.apply()
    shut = told(lab, ip, 9000, client)
    assert (shut["outcome"], shut["from"], shut["to"]) == ("dropped", client, ip)
    assert (shut["chain"], shut["rule"]) == ("inet lbhook input", "policy drop")
    assert shut["remedy"].startswith("no rule of the load balancer and no setting opens it")
    let_in = told(lab, ip, 443)
    assert (let_in["outcome"], let_in["listener"], let_in["remedy"]) == ("passed", "nginx", "")
    assert "@listeners" in let_in["text"]
    udp = told(lab, ip, 5353, protocol="udp")
    assert (udp["protocol"], udp["outcome"]) == ("udp", "passed")


@pytest.mark.parametrize("firewall", ["ufw", "iptables-nft"])
@pytest.mark.parametrize(("ip", "stranger"), [(VM4, STRANGER4), (VM6, STRANGER6)])
def test_beside_another_firewall(lab: Lab, firewall: str, ip: str, stranger: str) -> None:
    """The other one has not been told of the mark: it drops, and the page's rule is the remedy."""
    lab.client.links(f"addr add {STRANGER4}/24 dev eth0\naddr add {STRANGER6}/64 dev eth0 nodad")
    configure(lab.vm, "mark")
    build(lab.vm, firewall)
    lab.balance(ALL)
    lab.vm.apply()
    found = told(lab, ip, 443, stranger)
    six = "6" * (ip == VM6)
    assert found["outcome"] == "dropped"
    assert (found["chain"], found["rule"]) == (f"ip{six} filter INPUT", "policy drop")
    line = found["remedy"].split("`")[1]
    assert line in commands(firewall)


@pytest.mark.parametrize(("ip", "client"), FAMILIES)
def test_beside_firewalld(lab: Lab, ip: str, client: str) -> None:
    """A rule of firewalld refuses what its zone does not open."""
    firewalld.start(lab.vm)
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.env]\n")
    lab.balance(ALL)
    lab.vm.apply()
    found = told(lab, ip, 9000, client)
    assert (found["outcome"], found["chain"][:14]) == ("dropped", "inet firewalld")
    assert "reject" in found["text"]
    assert found["remedy"] == "turn on the target firewalld"


def test_beside_docker(lab: Lab) -> None:
    """A published port is led to the container, not to a socket of the VM."""
    with container(lab):
        lab.vm.apply()
        found = told(lab, VM4, 8080)
        assert (found["outcome"], found["redirected_to"]) == ("forwarded", "172.17.0.2:80")
        lab.vm.run(["sh", "-euc", "echo 0 >/proc/sys/net/ipv4/ip_forward"])
        found = told(lab, VM4, 8080)
        assert (found["outcome"], found["redirected_to"]) == ("lost", "")


def test_beside_kube_proxy(lab: Lab) -> None:
    """A service without an endpoint is refused there, one with endpoints is led to a pod."""
    lab.vm.run(["sh", "-euc", FORWARD])
    lab.vm.run(["nft", "-f", "-"], stdin=PROGRAMS["kube-proxy, nftables"])
    lab.vm.links("route add 10.244.0.0/16 via 10.1.0.1")
    lab.balance(ALL)
    lab.vm.apply("--only", "nftables")
    found = told(lab, VM4, 80)
    assert (found["outcome"], found["chain"]) == ("dropped", "ip kube-proxy none")
    assert "reject" in found["text"]
    tracing = begin(lab, "443", "--count", "1", "--wait", PLENTY)
    one(lab.client, "tcp", VM4, 443)
    said = end(tracing)
    assert "let through by chain ip kube-proxy end-" in said
    assert ".5:8080" in said


def test_the_page_s_example(lab: Lab) -> None:
    """What docs/troubleshooting.md shows is what is said, but for numbers that the kernel gives."""
    page = (REPO / "docs/troubleshooting.md").read_text(encoding="utf-8")
    section = page.split("\n### Watched\n", 1)[1]
    shown = section.split("```console\n", 1)[1].split("```", 1)[0]
    command, *lines = shown.splitlines()
    assert command.startswith("# lbhook trace 8443 --from 203.0.113.9")
    lab.client.links("addr add 203.0.113.9/24 dev eth0")
    lab.fabric.links("route add 203.0.113.9/32 dev client0")
    lab.balance(ALL)
    lab.vm.apply()
    tracing = begin(lab, *command.split()[3:], "--count", "3", "--wait", PLENTY)
    for _ in range(3):
        one(lab.client, "tcp", VM4, 8443, "203.0.113.9")
    assert end(tracing).splitlines() == lines


def test_an_answer_that_is_dropped(lab: Lab) -> None:
    """Let in and answered, and somebody's output chain keeps the answer."""
    lab.balance(ALL)
    lab.vm.apply()
    chain = "chain out { type filter hook output priority 0; tcp sport 443 drop; }"
    rules = f"table inet own {{\n{chain}\n}}"
    lab.vm.run(["nft", "-f", "-"], stdin=rules)
    found = told(lab, VM4, 443)
    assert (found["outcome"], found["chain"]) == ("unanswered", "inet own out")
    assert found["text"] == "tcp sport 443 drop"


def test_a_port_that_nobody_serves(lab: Lab) -> None:
    """Let in, and no program listens."""
    lab.balance(body(rule(FRONT4, 1000, VM4, 1000)))
    lab.vm.lbhook("apply", "--only", "nftables")
    found = told(lab, VM4, 1000)
    assert (found["outcome"], found["listener"]) == ("passed", "")
    assert found["remedy"] == "start the program that should listen there"


def test_a_drained_vm(lab: Lab) -> None:
    """The table that refuses probes is named, with the command that ends it."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.lbhook("drain")
    tracing = begin(lab, "443", "--count", "1", "--wait", PLENTY)
    one(lab.fabric, "tcp", VM4, 443, "168.63.129.16")
    assert "`sudo lbhook undrain` ends it" in " ".join(end(tracing).split())


def test_only_from_where_it_is_asked(lab: Lab) -> None:
    """A network, and only as many packets as are asked for; the busy port goes on."""
    lab.client.links(f"addr add {STRANGER4}/24 dev eth0")
    lab.balance(ALL)
    lab.vm.apply()
    tracing = begin(lab, "443", "--from", f"{CLIENT4}/32", "--count", "3", "--wait", PLENTY)
    for source in [STRANGER4] * 5 + [CLIENT4] * 3:
        assert one(lab.client, "tcp", FRONT4, 80, source).state == "open"
    said = end(tracing)
    assert f"from {CLIENT4}: 3 packets" in said
    assert STRANGER4 not in said


def test_it_says_so_when_it_marks_packets(lab: Lab) -> None:
    """Not before: whoever reads it sends one at once."""
    lab.balance(ALL)
    lab.vm.apply()
    trace = f"{sys.executable} -m lbhook trace 443 --count 1 --wait {PLENTY}"
    tracing = lab.vm.spawn(["sh", "-c", f"exec {trace} 2>&1"], env=lab.vm.environment)
    assert tracing.stdout
    assert tracing.stdout.readline().startswith("tracing port 443")
    assert len(tables(lab)) == 1
    one(lab.client, "tcp", VM4, 443)
    assert "let in by" in end(tracing)


def test_what_iptables_legacy_drops(lab: Lab) -> None:
    """No trace has it, and the routing is not blamed."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.run(["iptables-legacy", "-A", "INPUT", "-p", "tcp", "--dport", "443", "-j", "DROP"])
    found = told(lab, VM4, 443)
    assert (found["outcome"], found["chain"]) == ("unseen", "")


def test_what_is_redirected_and_closed(lab: Lab) -> None:
    """The port that it is redirected to is what has to be let in."""
    lab.balance(ALL)
    lab.vm.apply()
    chain = "chain p { type nat hook prerouting priority dstnat; tcp dport 443 redirect to :9443; }"
    lab.vm.run(["nft", "-f", "-"], stdin=f"table ip own {{\n{chain}\n}}")
    found = told(lab, VM4, 443)
    assert (found["outcome"], found["redirected_to"]) == ("dropped", f"{VM4}:9443")


def test_two_at_once(lab: Lab) -> None:
    """Each says what it was asked for, and neither takes the other's table."""
    lab.balance(ALL)
    lab.vm.apply()
    first = begin(lab, "443", "--count", "1", "--wait", PLENTY)
    second = begin(lab, "9000", "--count", "1", "--wait", PLENTY)
    assert one(lab.client, "tcp", FRONT6, 80).state == "open"
    assert "tcp [ace:cab:deca:deed::1]:443" in end(first)
    assert len(tables(lab)) == 1
    assert one(lab.client, "tcp", VM4, 9000).state == "filtered"
    assert "tcp 10.1.0.4:9000" in end(second)
    assert tables(lab) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_one_that_is_ended(lab: Lab, number: int) -> None:
    """Ctrl-C, SIGTERM, SIGKILL: its table goes with it."""
    begin(lab, "443", "--wait", PLENTY)
    (table,) = tables(lab)
    lab.vm.run(["kill", f"-{int(number)}", table.rpartition("_")[2]])
    wait_for(lambda: tables(lab) == [], "the end of the table")


def test_what_an_older_kernel_has_left_goes(lab: Lab) -> None:
    """A table whose process is gone: the next trace takes it away, and no other."""
    lab.vm.run(["nft", "add table inet lbhook_trace_999999"])
    lab.vm.run(["nft", "add table inet lbhook_tracer"])
    lab.vm.lbhook("trace", "443", "--wait", "1s", check=False)
    assert tables(lab) == ["lbhook_tracer"]


def test_no_packet_is_an_answer(lab: Lab) -> None:
    """Nothing came within the time: what that means, and status 75."""
    done = lab.vm.lbhook("trace", "8443", "--from", "203.0.113.9", "--wait", "1s", check=False)
    assert (done.returncode, done.stdout) == (75, "")
    assert "no packet to port 8443 from 203.0.113.9 came within 1s" in done.stderr
    assert "network security group" in done.stderr
    done = lab.vm.lbhook("trace", "8443", "--wait", "1s", "--json", check=False)
    assert (done.returncode, json.loads(done.stdout)["packets"]) == (75, [])


def test_a_kernel_that_does_not_trace(lab: Lab) -> None:
    """Root without the right to change nf_tables, as in a container: said, with what it needs."""
    words = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", sys.executable]
    words += ["-m", "lbhook", "trace", "443"]
    done = lab.vm.run(words, check=False, env=lab.vm.environment)
    assert done.returncode == 69
    assert "the kernel does not trace packets here (Operation not permitted)" in done.stderr
    assert "CAP_NET_ADMIN" in done.stderr


@pytest.mark.parametrize("words", [("0",), ("65536",), ("https",), ("443", "--from", "nowhere")])
def test_what_is_no_port_or_address(lab: Lab, words: tuple[str, ...]) -> None:
    """A usage error, before anything is marked."""
    done = lab.vm.lbhook("trace", *words, check=False)
    assert (done.returncode, done.stdout) == (2, "")
