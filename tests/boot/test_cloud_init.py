"""The ways in by cloud-init: the real one, with the examples as they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ..lab.hosts import REPO
from ..packages import built as built_once
from .azure import Azure
from .machine import CONFIGURATION, LISTEN, RESTING, Machine

# Packages come from the disk, a network is there, and nobody has locales.
CLOUD = """
datasource_list: [NoCloud]
network: {config: disabled}
locale: false
preserve_hostname: true
apt: {preserve_sources_list: true}
"""
SEED = "/var/lib/cloud/seed/nocloud"
# This is no Azure machine.
ENDPOINT = '[imds]\nendpoint = "http://169.254.169.254"\n'
NO_NGINX = "dpkg --purge $(dpkg-query --show --showformat '${Package} ' '*nginx*')"
# What a user fetches, by the name of the example.
BUILT = {"package": built_once.deb, "single-file": built_once.pyz}


def hand_in(machine: Machine, user_data: str) -> None:
    """Let cloud-init find this user-data at the next boot."""
    machine.path("/etc/cloud/cloud-init.disabled").unlink()
    machine.write("/etc/cloud/cloud.cfg.d/99-test.cfg", CLOUD)
    machine.write(f"{SEED}/meta-data", "instance-id: vm\n")
    machine.write(f"{SEED}/user-data", user_data)
    machine.write(f"{CONFIGURATION}.d/endpoint.toml", ENDPOINT)


def example(name: str) -> str:
    """A cloud-config of examples/."""
    return (REPO / "examples" / name).read_text(encoding="utf-8")


def assert_early(machine: Machine) -> None:
    """The last good firewall was there before any network."""
    restored = machine.seconds("lbhook-restore", "ExecMainExit")
    assert restored <= machine.seconds("network-pre.target", "ActiveEnter")
    assert restored <= machine.seconds("cloud-init-local", "InactiveExit")


def assert_serves(machine: Machine, azure: Azure, port: int, idle: Sequence[str] = ()) -> None:
    """cloud-init has come to its end, and what Azure sends is answered."""
    machine.run(["cloud-init", "status", "--wait"], check=False, timeout=90)
    machine.assert_sound(idle=idle)
    machine.assert_listens(f":{port}")
    assert machine.firewall_ports() == {port}
    assert azure.ask(port) != ""


def test_configuration_for_an_image(machine: Machine, azure: Azure) -> None:
    """The image has everything but the configuration: the first boot is right, before nginx
    starts, and so is the second."""
    machine.path(CONFIGURATION).unlink()
    hand_in(machine, example("cloud-init.yaml"))
    azure.send(8080)
    for _ in ("first", "second"):
        machine.boot(timeout=60)
        assert_early(machine)
        assert_serves(machine, azure, 8080)
        machine.power_off()


@pytest.mark.parametrize(("port", "laid_down"), [(8080, False), (80, True)])
def test_nginx_that_cloud_init_installs(
    machine: Machine, azure: Azure, port: int, laid_down: bool
) -> None:
    """Its package tries to start it, which it does not do before its listeners are there; where
    the image has their resting form, Debian's own site has port 80 at first."""
    azure.send(port)
    machine.boot()
    machine.stop_timer()
    machine.run(["lbhook", "clean"])
    machine.run(["sh", "-c", NO_NGINX])
    machine.run(["rm", "-rf", "/etc/nginx", CONFIGURATION])
    machine.run(["mkdir", "-p", "/etc/nginx/lbhook"])
    if laid_down:
        machine.write(LISTEN, RESTING)
    machine.power_off()
    hand_in(machine, example("cloud-init-nginx.yaml"))
    if laid_down:
        # nginx runs already when lbhook is started once more.
        machine.switch_on()
        machine.wait_until_up()
    else:
        machine.boot()
    assert ("unmet condition check" in machine.journal("--unit=nginx")) != laid_down
    assert_serves(machine, azure, port)
    machine.power_off()
    machine.boot(timeout=60)
    assert_early(machine)
    assert_serves(machine, azure, port)


@pytest.fixture(params=BUILT)
def built(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """What `make deb dist` builds, and by which example it is installed."""
    name: str = request.param
    return name, BUILT[name]()


def test_installed_at_the_first_boot(bare: Machine, azure: Azure, built: tuple[str, Path]) -> None:
    """Fetched and installed by runcmd, while nginx runs; the second boot is in order."""
    name, file = built
    bare.path("/srv").mkdir()
    bare.path(f"/srv/lbhook{file.suffix}").write_bytes(file.read_bytes())
    hand_in(bare, example(f"cloud-init-{name}.yaml").replace("https://example.com", "file:///srv"))
    azure.send(8080)
    bare.switch_on()
    bare.wait_until_up(90)
    assert_serves(bare, azure, 8080, idle=["lbhook-restore.service"])
    bare.power_off()
    bare.boot(timeout=60)
    assert_early(bare)
    assert_serves(bare, azure, 8080)
