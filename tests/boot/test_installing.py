"""docs/install.md: its commands, run on a machine on which lbhook has never been."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

from ..lab.hosts import REPO, wait_for
from ..packages.built import deb, pyz
from ..test_docs import read
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine

PAGE = read("docs/install.md")


@pytest.fixture
def bare(machine: Machine, azure: Azure) -> Machine:
    """A machine that runs and has what was built, where the page has it."""
    machine.boot()
    for path, file in (("/root/lbhook.pyz", pyz()), (f"/root/{deb().name}", deb())):
        machine.write(path, "")
        machine.path(path).write_bytes(file.read_bytes())
    machine.run(["dpkg", "--force-confold", "--install", f"/root/{deb().name}"])
    machine.run(["dpkg", "--purge", "lbhook"])
    # This machine's chassis is not Azure's: without an endpoint nobody would be asked.
    endpoint = '[imds]\nendpoint = "http://169.254.169.254"\n'
    machine.write(f"{CONFIGURATION}.d/imds.toml", endpoint)
    azure.send(8080)
    return machine


def section(heading: str) -> str:
    """What is below a heading."""
    return re.split(r"^## ", PAGE.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]


def commands(heading: str) -> list[str]:
    """The commands of root's in the console blocks below a heading."""
    blocks = re.findall(r"^```console\n(.*?)^```$", section(heading), re.M | re.S)
    return [line.removeprefix("# ") for block in blocks for line in block.splitlines()]


def run(machine: Machine, lines: Sequence[str]) -> None:
    """Run commands one after the other, as a shell does that root has opened."""
    assert lines
    for line in lines:
        machine.run(["sh", "-c", f"cd /root && {line}"])


def assert_in_force(machine: Machine, port: int) -> None:
    """nginx and the firewall have the load balancer's port, and the timer is waiting."""
    machine.assert_listens(f":{port}")
    assert machine.firewall_ports() == {port}
    assert machine.active("lbhook-refresh.timer") == "active"


def test_from_a_package(bare: Machine, azure: Azure) -> None:
    """It is in force at once, then by hand after a change, and purged it is gone."""
    run(bare, commands("1. At boot, from a package"))
    assert_in_force(bare, 8080)
    azure.send(8081)
    run(bare, commands("3. By hand"))
    assert_in_force(bare, 8081)
    run(bare, commands("Taking it away"))
    assert bare.firewall_ports() == set()
    bare.assert_listens("127.0.0.127:10009")


def test_the_single_file(bare: Machine) -> None:
    """It installs itself, and takes itself away."""
    bare.write(f"{CONFIGURATION}.d/vm.toml", SETTINGS)
    first, last = commands("The single file")
    run(bare, [first])
    assert_in_force(bare, 8080)
    run(bare, [last])
    assert bare.firewall_ports() == set()
    bare.assert_listens("127.0.0.127:10009")


def test_under_a_strict_umask(bare: Machine) -> None:
    """As hardened images have it: the user that asks Azure can read what `install` puts down. A
    configuration that he can't read is said, by its directories too, with the commands that fix it;
    until then he refuses to ask without it."""
    bare.run(["rm", "-r", "/etc/lbhook"])
    place = f"{CONFIGURATION}.d"
    run(bare, [f"umask 027; mkdir -p {place}; cat >{place}/vm.toml <<END\n{SETTINGS}END\n"])
    said = bare.run(["sh", "-c", "umask 027; python3 /root/lbhook.pyz install"]).stderr
    fixes = re.findall(r"the user lbhook, .*can't read it; `(.*)`", said)
    assert [one.split()[-1] for one in fixes] == ["/etc/lbhook", place, f"{place}/vm.toml"]
    assert "can't read it" in bare.run(["lbhook", "plan"]).stderr
    bare.run(["systemctl", "start", "lbhook-fetch"], check=False)
    assert "lbhook.toml: Permission denied" in bare.said("--unit=lbhook-fetch")
    run(bare, fixes)
    assert "can't read it" not in bare.run(["lbhook", "plan"]).stderr
    run(bare, ["systemctl start lbhook.service lbhook-refresh.timer"])
    assert_in_force(bare, 8080)


@pytest.mark.parametrize("number", [0, 1], ids=["single file", "package"])
def test_by_cloud_init(bare: Machine, number: int) -> None:
    """What `runcmd` has, but for the download, which has been made."""
    bare.write(f"{CONFIGURATION}.d/vm.toml", SETTINGS)
    bare.run(["cp", "/root/lbhook.pyz", "/run"])
    bare.run(["cp", f"/root/{deb().name}", "/run/lbhook.deb"])
    block = section("2. By cloud-init").split("runcmd:\n")[1:][number]
    lines = [re.findall(r'[^\s,"\[\]]+', line) for line in re.findall(r"^  - (.*)$", block, re.M)]
    assert lines[0][0] == "curl"
    for argv in lines[1:]:
        bare.run(argv)
    assert_in_force(bare, 8080)


def readme() -> list[list[str]]:
    """The commands of root's in the README, block by block."""
    text = read("README.md").split("\n## Use it\n", 1)[1]
    found = re.findall(r"^```console\n(# .*?)^```$", text, re.M | re.S)
    return [[line.removeprefix("# ") for line in block.splitlines()] for block in found]


def test_the_readme(bare: Machine, azure: Azure) -> None:
    """On a machine whose site has `listen 80;`. An apply that is not confirmed leaves the site up
    behind the firewall of before; the next one is confirmed, and outlasts a reboot."""
    site = "/etc/nginx/conf.d/site.conf"
    for file in (f"dist/{deb().name}", "examples/vm.toml"):
        bare.write(f"/root/{file}", "")
        bare.path(f"/root/{file}").write_bytes(
            (deb() if ".deb" in file else REPO / file).read_bytes()
        )
    bare.write(site, 'server { listen 80; return 200 "own\\n"; }\n')
    bare.run(["systemctl", "restart", "nginx.service"])
    azure.send(80)
    assert ask(azure) == "own"
    first, second, third = readme()
    run(bare, first)
    (include,) = re.findall(r"`(include /etc/nginx\S+;)`", read("README.md"))
    bare.write(site, f'server {{ {include} return 200 "shared\\n"; }}\n')
    run(bare, second)
    wait_for(lambda: ask(azure) == "shared", "the site with lbhook's listeners")
    assert bare.firewall_ports() == {80}
    run(bare, ["lbhook rollback --unconfirmed"])
    assert bare.firewall_ports() == set()
    assert ask(azure) == "shared"
    run(bare, second)
    run(bare, third)
    bare.power_off()
    bare.boot()
    assert_in_force(bare, 80)
    assert ask(azure) == "shared"


def ask(azure: Azure) -> str:
    """What a client gets at the frontend."""
    argv = ["curl", "-s", "--max-time", "10", f"http://{FRONT}/"]
    return azure.client.run(argv, check=False).stdout.strip()
