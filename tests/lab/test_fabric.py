"""The laboratory itself, before anybody trusts what it says about lbhook."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .fabric import CLIENT4, CLIENT6, IMDS, PROBE4, PROBE6, VM4, VM6, body, rule
from .hosts import REPO, Host, require, wait_for
from .knock import Target, knock, one
from .lab import Lab, laboratory
from .rules import FRONT4, FRONT6, OWN, PAIRS, WEB
from .talk import Talk

RULES = body(*WEB, **PAIRS)
LISTEN = f"listen {VM4}:443; listen [{VM6}]:443;\n"

# Written for these tests alone: it drops everything but connections to port 443.
WALL = """
table inet wall {
    chain input {
        type filter hook input priority filter; policy drop
        ct state established accept
        meta l4proto { icmp, ipv6-icmp } accept
        tcp dport 443 accept
        tcp dport 444 reject with tcp reset
    }
}
"""


@pytest.fixture(scope="module")
def balanced() -> Iterator[Lab]:
    """Rules for both families, nginx behind them, and no firewall."""
    with laboratory() as lab:
        lab.vm.write("/etc/nginx/lbhook/listen.conf", LISTEN)
        lab.vm.run(["nginx", "-s", "reload"])
        wait_for(lambda: lab.vm.listens("tcp", 443), "nginx on 443")
        lab.balance(RULES)
        yield lab


def far_ends(host: Host, port: int) -> list[str]:
    """Return the addresses that are connected to a port of a host."""
    lines = host.run(["ss", "-Htn", f"sport = :{port}"]).stdout.splitlines()
    return [line.split()[-1].rpartition(":")[0].strip("[]") for line in lines]


def test_client_reaches_the_backend_port_with_its_own_address(balanced: Lab) -> None:
    """A rule changes address and port of the destination, and leaves the source alone."""
    assert one(balanced.client, "tcp", FRONT4, 80).reply.endswith(f"\n{CLIENT4} {VM4}:443\n")
    assert one(balanced.client, "tcp", FRONT6, 80).reply.endswith(f"\n{CLIENT6} {VM6}:443\n")
    log = balanced.vm.read("/var/log/nginx/access.log").splitlines()
    assert {f"{CLIENT4} {VM4}:443", f"{CLIENT6} {VM6}:443"} <= set(log)


def test_fabric_says_nothing_at_a_port_without_a_rule(balanced: Lab) -> None:
    """A frontend is no machine: what no rule takes is gone, without an answer."""
    targets = [
        Target(p, ip, n) for p in ("tcp", "udp") for ip in (FRONT4, FRONT6) for n in (81, 443)
    ]
    answers = knock(balanced.client, *targets)
    assert {answer.state for answer in answers.values()} == {"filtered"}


def test_public_address_passes_every_port(balanced: Lab) -> None:
    """The VM's own public address is translated, whatever the port."""
    answers = [one(balanced.client, "tcp", OWN, port).state for port in (22, 443, 9000, 9001)]
    assert answers == ["open", "open", "open", "refused"]


@pytest.mark.parametrize(("peer", "seen"), [(CLIENT4, OWN), (CLIENT6, FRONT6)])
def test_outgoing_connections_come_from_the_public_address(
    balanced: Lab, peer: str, seen: str
) -> None:
    """An own public address goes before an outbound rule; the peer never sees the private one."""
    port = 7000 + len(peer)
    there = Talk.listen(balanced.client, port)
    here = Talk.connect(balanced.vm, peer, port)
    here.send("hello")
    assert there.receive() == "hello"
    assert far_ends(balanced.client, port) in ([f"::ffff:{seen}"], [seen])


def test_floating_ip_arrives_untouched(lab: Lab) -> None:
    """With Floating IP the destination is the frontend address, and the guest must own it."""
    lab.balance(body(rule(FRONT4, 99, FRONT4, 99), rule(FRONT6, 99, FRONT6, 99)))
    lab.vm.links(f"addr add {FRONT4}/32 dev lo\naddr add {FRONT6}/128 dev lo nodad")
    lab.vm.serve(f"tcp,{FRONT4},99", f"tcp,{FRONT6},99")
    assert one(lab.client, "tcp", FRONT4, 99).state == "open"
    assert one(lab.client, "tcp", FRONT6, 99).state == "open"
    assert one(lab.client, "tcp", VM4, 99).state == "refused"
    lab.balance(body())
    assert one(lab.client, "tcp", FRONT4, 99).state == "filtered"


def test_ha_ports_pass_every_port_and_protocol(lab: Lab) -> None:
    """A rule for all ports sends each port to itself, after the rules for single ports."""
    lab.balance(body(rule(FRONT4, 0, VM4, 0, "All"), rule(FRONT4, 80, VM4, 9000)))
    lab.vm.serve("tcp,::,9002", "udp,::,53")
    answers = [one(lab.client, "tcp", FRONT4, port).state for port in (80, 9002, 9003)]
    assert answers == ["open", "open", "refused"]
    assert one(lab.client, "udp", FRONT4, 53).state == "open"
    assert one(lab.client, "udp", FRONT4, 54).state == "refused"


def test_probes_come_from_azure_and_reach_any_port(balanced: Lab) -> None:
    """The fabric can knock from both probe sources, as the VM sees them."""
    at4 = one(balanced.fabric, "tcp", VM4, 443, PROBE4)
    at6 = one(balanced.fabric, "tcp", VM6, 443, f"{PROBE6}%vm0")
    assert at4.reply.endswith(f"\n{PROBE4} {VM4}:443\n")
    assert at6.reply.endswith(f"\n{PROBE6} {VM6}:443\n")
    assert one(balanced.fabric, "tcp", VM6, 9000, f"{PROBE6}%vm0").state == "open"


def test_metadata_service_answers_the_vm(lab: Lab) -> None:
    """The VM gets the body from the real address, and the next one as soon as it is there."""
    url = f"http://{IMDS}/metadata/loadbalancer?api-version=2020-10-01"
    ask = (
        "import urllib.request as u;"
        f"print(u.urlopen(u.Request('{url}', headers={{'Metadata': 'true'}})).read().decode())"
    )
    for said in (RULES, body()):
        lab.fabric.answer(said)
        assert json.loads(lab.vm.run([sys.executable, "-ISc", ask]).stdout) == said


def test_knock_tells_open_refused_and_filtered_apart(lab: Lab) -> None:
    """Dozens of doors are tried at once, so that silence costs its patience only once."""
    lab.vm.serve("tcp,::,443")
    lab.vm.run(["nft", "-f", "-"], stdin=WALL)
    silent = [Target(p, ip, n) for p in ("tcp", "udp") for ip in (VM4, VM6) for n in range(1, 60)]
    some = [Target("tcp", ip, port) for ip in (VM4, VM6) for port in (443, 444)]
    answers = knock(lab.client, *silent, *some)
    assert {answers[target].state for target in silent} == {"filtered"}
    assert [answers[target].state for target in some] == ["open", "refused"] * 2


def test_connection_keeps_its_way_when_the_rules_change(lab: Lab) -> None:
    """A load balancer that drops a rule lets connections be: only new ones are affected."""
    lab.vm.serve("tcp,::,443")
    lab.balance(RULES)
    talk = Talk.connect(lab.client, FRONT4, 80)
    assert talk.ask("before") == "before"
    lab.balance(body())
    assert talk.ask("after") == "after"
    assert one(lab.client, "tcp", FRONT4, 80).state == "filtered"


def test_talk_notices_silence(lab: Lab) -> None:
    """A connection that a firewall cuts is None, not an error in the test."""
    talk = Talk.connect(lab.client, VM4, 9000)
    assert talk.ask("hello") == "hello"
    lab.vm.run(["nft", "-f", "-"], stdin=WALL.replace("ct state established accept", ""))
    assert talk.ask("anyone?") is None


def test_reload_makes_new_workers(lab: Lab) -> None:
    """Worker processes tell whether nginx was reloaded."""
    before = lab.vm.workers()
    assert lab.vm.workers() == before
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: not lab.vm.workers() & before, "new workers")


def test_failed_command_fails_with_what_it_said(lab: Lab) -> None:
    """A harness that hides standard error costs an hour each time."""
    with pytest.raises(AssertionError, match=r"^vm: \['sh', '-c', .*status 3\nover there\n$"):
        lab.vm.run(["sh", "-c", "echo over there >&2; exit 3"])


def test_this_machine_is_left_alone(lab: Lab) -> None:
    """Files, interfaces, kernel settings and firewall of the VM are its own."""
    settings = ("ipv4/ip_forward", "ipv6/conf/all/forwarding", "ipv6/conf/default/accept_dad")
    before = [Path("/proc/sys/net", setting).read_text() for setting in settings]
    places = ("/etc", "/run", "/tmp", "/var/lib", "/var/log")
    for place in places:
        lab.vm.run(["touch", f"{place}/lbhook-laboratory"])
    lab.vm.run(["sh", "-ec", "cd /proc/sys/net; for it in $*; do echo 1 >$it; done", "", *settings])
    assert [Path("/proc/sys/net", setting).read_text() for setting in settings] == before
    assert not any(Path(place, "lbhook-laboratory").exists() for place in places)
    assert not Path("/sys/class/net/vm0").exists()


@pytest.mark.usefixtures("balanced")
def test_nothing_survives_a_killed_run() -> None:
    """Even without a chance to clean up, hosts and the daemons in them are gone."""
    code = (
        "import sys; from tests.lab.lab import laboratory\n"
        "with laboratory() as lab:\n"
        "    print(lab.client.pid, lab.fabric.pid, lab.vm.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, cwd=REPO, stdin=-1, stdout=-1, text=True) as run:
        assert run.stdout
        hosts = [Path("/proc", pid) for pid in run.stdout.readline().split()]
        assert len([host for host in hosts if host.exists()]) == 3
        os.kill(run.pid, signal.SIGKILL)
    wait_for(lambda: not any(host.exists() for host in hosts), "the hosts are gone")


def test_killed_command_ends_inside(lab: Lab) -> None:
    """The process that was started goes with the one that entered the host for it."""
    server = lab.vm.serve("tcp,::,9004")
    server.kill()
    wait_for(lambda: not lab.vm.listens("tcp", 9004), "the listener is gone")


def test_missing_program_is_a_skip_or_in_ci_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without nginx may skip; a build that skips must not look like one that passed."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^not installed: no-such-program$"):
        require("sh", "no-such-program")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"^not installed: no-such-program$"):
        require("sh", "no-such-program")
