"""Real containers beside lbhook, of Docker and of Podman: ports that are published under each
policy, an engine that is started again, and a ruleset that somebody has flushed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..lab.fabric import CLIENT4, VM4, VM6, body, rule
from ..lab.hosts import wait_for
from ..lab.knock import Target, knock
from ..lab.rules import FRONT4, FRONT6, OWN
from .azure import Azure
from .machine import CONFIGURATION, Machine

pytestmark = pytest.mark.parametrize("image", ["forky-containers"], indirect=True)

SETTINGS = """
[imds]
endpoint = "http://169.254.169.254"

[targets.nftables.vars]
policy = "{}"
{}
"""
# A rule leads to the first alone. The third is a container's that has IPv6, too.
RULED, OTHER, DUAL = 8080, 8090, 8070
RULES = [rule(FRONT4, 80, VM4, RULED), rule(FRONT6, 80, VM6, RULED)]
PLACES = [Target("tcp", ip, port) for ip in (OWN, VM6) for port in (RULED, OTHER, DUAL)]

# The file system of a machine in a test can't carry overlays, nor its control groups limits; and
# to stop an init that ignores SIGTERM takes ten seconds.
FILES = {
    "/etc/resolv.conf": "nameserver 168.63.129.16\n",
    "/etc/docker/daemon.json": '{"storage-driver": "vfs"}\n',
    "/etc/containers/storage.conf": '[storage]\ndriver = "vfs"\n'
    'runroot = "/run/containers/storage"\ngraphroot = "/var/lib/containers/storage"\n',
    "/etc/containers/containers.conf": "[containers]\npids_limit = 0\n",
    "/etc/systemd/system/docker.service.d/often.conf": "[Unit]\nStartLimitIntervalSec=0\n",
}
IMAGE = """
cd /
mount -t proc proc /mnt
mount --bind /mnt/sys/net /proc/sys/net
umount /mnt
mkdir -p /image/bin /image/etc /image/tmp
cp /usr/bin/busybox /image/bin/
for name in sh httpd nc nslookup; do ln -s busybox /image/bin/$name; done
tar -C /image -c . >/image.tar
"""
RUN = """
cd /
{engine} import /image.tar box
{engine} network create --ipv6 {subnet} dual
{engine} run --detach {options} --name one --publish 8080:80 --publish 8090:80 \\
    box:latest /bin/httpd -f -p 80
{engine} run --detach {options} --name two --network dual --publish 8070:80 \\
    box:latest /bin/httpd -f -p 80
"""


@dataclass(frozen=True)
class Engine:
    """How it is used, and what of its ports is open under each policy, and after a flush."""

    name: str
    options: str
    restart: str
    open: dict[str, str]
    left: str
    start: str = "true"
    subnet: str = ""


# Docker translates IPv4 and, on its default network, lets docker-proxy have IPv6.
DOCKER = Engine(
    name="docker",
    start="systemctl start docker",
    subnet="--subnet fd00:d::/64",
    options="--restart always --stop-signal KILL",
    restart="systemctl restart docker",
    open={
        "enforce": "8070/4 8070/6 8080/4 8080/6 8090/4",
        "prerouting": "8080/4 8080/6",
        "mark": "8070/4 8070/6 8080/4 8080/6 8090/4 8090/6",
    },
    left="8080/4 8080/6",
)
# Podman has nobody at IPv6 where the network has none.
PODMAN = Engine(
    name="podman",
    options="",
    restart="podman restart --time 0 one two",
    open={
        "enforce": "8070/4 8070/6 8080/4 8090/4",
        "prerouting": "8080/4",
        "mark": "8070/4 8070/6 8080/4 8090/4",
    },
    left="",
)


@pytest.fixture
def vm(image: Path, azure: Azure, tmp_path: Path) -> Iterator[Machine]:
    """A machine that may run containers, booted, with lbhook's firewall in force."""
    built = Machine(image, tmp_path / "vm", azure.network, calls="@keyring bpf")
    for name, text in FILES.items():
        built.write(name, text)
    built.write(CONFIGURATION, SETTINGS.format("enforce", ""))
    answer = body(*RULES, public=[(OWN, VM4)], outbound=[(FRONT4, VM4), (FRONT6, VM6)])
    azure.fabric.load_balance(answer)
    azure.fabric.answer(answer)
    try:
        built.boot()
        built.stop_timer()
        shell(built, IMAGE)
        yield built
    finally:
        built.kill()


def shell(machine: Machine, script: str) -> str:
    """What a script says that runs where a root shell of the machine would."""
    return machine.run(["sh", "-euc", f"cd /\n{script}"]).stdout


def reached(azure: Azure) -> str:
    """The published ports that answer the client, by version of IP."""
    found = knock(azure.client, *PLACES)
    opened = [it for it in PLACES if found[it].state == "open"]
    return " ".join(sorted(f"{it.port}/{'6' if ':' in it.ip else '4'}" for it in opened))


def doctor(machine: Machine) -> list[str]:
    """What the doctor finds of the traffic, with what is to be done."""
    said = machine.run(["lbhook", "doctor", "--json"], check=False).stdout
    found = [it for it in json.loads(said)["findings"] if it["place"] == "traffic"]
    return [f"{it['text']} > {it['remedy']}" for it in found if it["level"] != "note"]


def apply(machine: Machine, policy: str, variables: str = "") -> str:
    """Have this policy; what is said."""
    machine.write(CONFIGURATION, SETTINGS.format(policy, variables))
    return machine.run(["lbhook", "apply"]).stderr


def begin(machine: Machine, azure: Azure, engine: Engine) -> None:
    """Start the engine and its containers, after lbhook."""
    shell(machine, engine.start)
    words = {"engine": engine.name, "subnet": engine.subnet, "options": engine.options}
    shell(machine, RUN.format(**words))
    expect(azure, engine.open["enforce"])


def expect(azure: Azure, places: str) -> None:
    """These answer, and the others do not: soon, for containers take a moment to start."""
    wait_for(lambda: reached(azure) == places, places)


@pytest.mark.parametrize("engine", [DOCKER, PODMAN], ids=lambda it: it.name)
def test_published_ports_under_each_policy(vm: Machine, azure: Azure, engine: Engine) -> None:
    """lbhook first or the engine first: it is the same, also when the engine has been restarted;
    and a container gets out."""
    begin(vm, azure, engine)
    azure.client.spawn([*azure.client.python("standin.py"), "tcp,0.0.0.0,7000"])
    wait_for(lambda: azure.client.listens("tcp", 7000), "a server outside")
    for policy in ("prerouting", "mark", "enforce"):
        apply(vm, policy)
        assert reached(azure) == engine.open[policy], policy
        shell(vm, engine.restart)
        expect(azure, engine.open[policy])
        assert "unchanged" in vm.run(["lbhook", "apply", "-v"]).stdout
        out = f"{engine.name} exec one sh -c 'echo hello | nc -w 5 {CLIENT4} 7000'"
        assert "hello" in shell(vm, out), policy


def test_docker_s_rules_that_somebody_has_flushed(vm: Machine, azure: Azure) -> None:
    """lbhook brings back its own and says what is closed by that; what the doctor says to do
    brings back Docker's."""
    begin(vm, azure, DOCKER)
    inner, outer = (it for it in doctor(vm) if "docker-proxy" in it)
    # The rule leads to the VM's address, and docker-proxy listens at the other network's, too.
    assert inner.startswith("nftables keeps what comes by br-")
    assert "from these: tcp 8080 on fd00:d::1 (docker-proxy) > " in inner
    assert outer == (
        "nftables closes these, because no rule or setting opens them: tcp 8090 on ::"
        " (docker-proxy) > if it is to be reached from outside, `allow` in its `vars` lets it in"
    )
    vm.run(["nft", "flush", "ruleset"])
    said = apply(vm, "enforce")
    assert "closed to the outside" in said
    assert "tcp 8090 on 0.0.0.0 (docker-proxy)" in said
    assert reached(azure) == DOCKER.left
    (gone,) = (it for it in doctor(vm) if "Docker's rules are gone" in it)
    assert "tcp 8070, tcp 8080, tcp 8090 > " in gone
    shell(vm, gone.split("`")[-2].removeprefix("sudo "))
    expect(azure, DOCKER.open["enforce"])
    assert not [it for it in doctor(vm) if "gone" in it]


def test_podman_s_rules_that_somebody_has_flushed(vm: Machine, azure: Azure) -> None:
    """The same: there, nothing at all answers at a published port until they are back."""
    begin(vm, azure, PODMAN)
    assert [it for it in doctor(vm) if "Podman" in it] == [
        f"nobody listens on {VM6} tcp 8080 (frontend [{FRONT6}]:80) > Podman publishes the port,"
        " and its container has no IPv6: give its network some"
    ]
    vm.run(["nft", "flush", "ruleset"])
    apply(vm, "enforce")
    (gone,) = (it for it in doctor(vm) if "because its rules are gone" in it)
    assert ": tcp 8070, tcp 8080, tcp 8090 > " in gone
    shell(vm, gone.split("`")[-2].removeprefix("sudo "))
    expect(azure, PODMAN.open["enforce"])
    assert not [it for it in doctor(vm) if "gone" in it]


def test_names_of_podman_s_containers(vm: Machine, azure: Azure) -> None:
    """aardvark-dns answers at the bridge's address: not before the bridge is trusted, which the
    doctor says."""
    begin(vm, azure, PODMAN)
    ask = "podman exec two nslookup -type=a two.dns.podman 10.89.0.1 || true"
    assert "10.89.0.2" not in shell(vm, ask)
    (closed,) = (it for it in doctor(vm) if "aardvark-dns" in it)
    assert closed.startswith(
        "nftables keeps what comes by podman1 from these: tcp 53 on 10.89.0.1 ("
    )
    setting = closed.split("`")[1]
    assert setting == 'trusted_interfaces = ["podman1"]'
    for policy in ("enforce", "prerouting"):
        apply(vm, policy, setting)
        assert "10.89.0.2" in shell(vm, ask)
        assert not [it for it in doctor(vm) if "aardvark-dns" in it]
