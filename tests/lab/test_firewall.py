"""The firewall's policies, where packets in a laboratory tell what no file does."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address
from itertools import product

import pytest

from ..packet import TCP, UDP, Packet, Table
from .dhcp import offer
from .fabric import CLIENT4, CLIENT6, PROBE4, VM4, VM6, body
from .knock import Target, knock, one
from .lab import Lab
from .neighbours import choose
from .rules import ALL, FRONT4, FRONT6, OWN, PAIRS, WEB
from .storm import Storm
from .vm import NFT

RELOADS = 250
# Each file in turn; the kernel has one or the other at any time, and never none.
IN_TURN = f"""
for _ in $(seq {RELOADS // 2}); do
    nft -f /run/many.nft
    nft -f /run/few.nft
done
"""
# For the kernel it has the name of its script, as those have that set it themselves.
NODE = f"""#!{sys.executable}
import sys
print("runs", flush=True)
sys.stdin.read()
"""
SETTINGS = f"""
ssh_ports = [22, 2222]
ssh_from = ["{CLIENT4}", "{CLIENT6}"]
allow = [
  {{ protocol = "tcp", port = "9000-9001", from = "198.51.100.0/28" }},
  {{ port = 53 }},
  {{ from = "2001:db8:7::8" }},
]
"""


def test_250_reloads_refuse_nobody_and_let_nobody_through(lab: Lab, policy: str) -> None:
    """While the table is replaced again and again, each new connection to a rule is let in at its
    first packet, and none to a closed port."""
    for rules, name in ((ALL, "many"), (body(*WEB, **PAIRS), "few")):
        lab.balance(rules)
        lab.vm.apply()
        lab.vm.write(f"/run/{name}.nft", lab.vm.read(NFT))
    opened, closed = [(FRONT4, 80), (FRONT6, 80)], [(OWN, 9000), (VM6, 9000)]
    storms = [Storm(lab.client, *opened), Storm(lab.client, *closed * 3, patience=0.05)]
    lab.vm.run(["sh", "-euc", IN_TURN], timeout=120)
    through, held = (storm.stop() for storm in storms)
    assert all(count.tries == count.opened >= RELOADS for count in through), through
    assert all(count.tries >= 25 and count.opened == 0 for count in held), held


def test_dhcp_replies_pass(lab: Lab, policy: str) -> None:
    """To everybody, since who asks has no address, and later to the VM alone. Conntrack knows of
    no question."""
    lab.vm.serve("udp,0.0.0.0,68")
    lab.balance(ALL)
    lab.vm.apply()
    assert offer(lab.fabric, "vm0", (PROBE4, 67), "255.255.255.255") == "offer"
    assert offer(lab.fabric, "vm0", (PROBE4, 67), VM4) == "offer"
    assert offer(lab.fabric, "vm0", (PROBE4, 66), VM4) == ""


def test_the_simulator_and_the_kernel_agree(lab: Lab, policy: str) -> None:
    """What the property tests go by is what happens to packets: hundreds, from several sources."""
    others = {"198.51.100.77": 4, "2001:db8:7::8": 6}
    lab.client.links("addr add 198.51.100.77/24 dev eth0\naddr add 2001:db8:7::8/64 dev eth0 nodad")
    choose(lab.vm, policy, SETTINGS)
    lab.balance(ALL)
    lab.vm.apply()
    table = Table(lab.vm.run(["nft", "-nnj", "list", "table", "inet", "lbhook"]).stdout)
    ports = (22, 53, 80, 443, 2222, 5353, 8081, 9000, 9001, 9002)
    # UDP is served wherever it is tried: the kernel is sparing with ICMP.
    lab.vm.serve(*(f"udp,::,{port}" for port in ports if port != 5353))
    found = set()
    for source, version in {CLIENT4: 4, CLIENT6: 6, **others}.items():
        vm = VM4 if version == 4 else VM6
        doors = [Target(protocol, vm, port) for protocol, port in product(("tcp", "udp"), ports)]
        for door, answer in knock(lab.client, *doors, source=source).items():
            packet = Packet(
                source=ip_address(source),
                destination=ip_address(vm),
                protocol={"tcp": TCP, "udp": UDP}[door.protocol],
                port=door.port,
            )
            verdict = table.judge(packet)
            let_in = verdict.mark != 0 if policy == "mark" else verdict.action == "accept"
            assert (answer.state != "filtered") is let_in, (source, door, answer)
            found.add(let_in)
    assert found == {True, False}


def test_counters_tell_which_rule_has_traffic(lab: Lab, policy: str) -> None:
    """Each listener and each probe source has one of its own, and those that are not used stay."""
    lab.balance(ALL)
    lab.vm.apply()
    one(lab.client, "tcp", FRONT4, 80)
    one(lab.fabric, "tcp", VM4, 9000, PROBE4)
    listed = json.loads(lab.vm.run(["nft", "-nnj", "list", "table", "inet", "lbhook"]).stdout)
    sets = [item["set"] for item in listed["nftables"] if "set" in item]
    elements = [elem["elem"] for one in sets for elem in one["elem"]]
    counted = [elem["val"] for elem in elements if elem["counter"]["packets"]]
    assert counted == [{"concat": [VM4, 6, 443]}, PROBE4]
    assert len(elements) == 8


def test_a_plan_names_the_sockets_that_it_will_close(lab: Lab) -> None:
    """Before the first apply: what neither rule nor setting opens, with its program."""
    lab.balance(ALL)
    plan = json.loads(lab.vm.lbhook("plan", "--json").stdout)
    (closed,) = plan["closes"]
    assert closed.pop("program").startswith("python")
    assert closed == {"protocol": "tcp", "port": 9000, "ip": "::"}
    assert "#   tcp  9000  ::  python" in lab.vm.lbhook("plan").stdout
    lab.vm.apply()
    assert json.loads(lab.vm.lbhook("plan", "--json").stdout)["closes"] == []


def refused(lab: Lab) -> None:
    """`enforce` ends with 78, a plan as well, and names the policy that fits; nothing is written,
    and a file can still be looked at."""
    for command in ("plan", "apply"):
        done = lab.vm.lbhook(command, check=False)
        assert (done.returncode, 'set policy = "mark"' in done.stderr) == (78, True), done.stderr
    assert not lab.vm.path(NFT).exists()
    assert "table inet lbhook" in lab.vm.lbhook("render", "nftables").stdout


@pytest.mark.parametrize(
    "place",
    ["/var/lib/kubelet", "/var/lib/k0s", "/var/lib/rancher/k3s", "/var/lib/rancher/rke2"],
)
def test_enforce_is_refused_on_a_kubernetes_node(lab: Lab, place: str) -> None:
    """Whatever the distribution keeps there; `mark` is then accepted."""
    lab.vm.path(place).mkdir(parents=True)
    lab.balance(ALL)
    refused(lab)
    choose(lab.vm, "mark")
    assert lab.vm.apply()["status"] == 0


@pytest.mark.parametrize("name", ["kubelite", "k3s-server"])
def test_a_kubelet_that_runs_is_seen_without_its_directory(lab: Lab, name: str) -> None:
    """A real process of that name, wherever it keeps what it has; for as long as it runs."""
    lab.vm.write(f"/run/{name}", NODE)
    lab.vm.run(["chmod", "755", f"/run/{name}"])
    node = lab.vm.spawn([f"/run/{name}"])
    assert node.stdout
    assert node.stdout.readline() == "runs\n"
    lab.balance(ALL)
    refused(lab)
    assert node.stdin
    node.stdin.close()
    node.wait()
    assert lab.vm.apply()["status"] == 0
