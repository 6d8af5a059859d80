"""A network that comes up late, or not at all, while lbhook's processes are there already."""

from __future__ import annotations

from ..lab.fabric import PROBE6, VM4
from .azure import Azure
from .machine import SETTINGS, Machine

# As by DHCP, between network-pre.target and network-online.target.
LATE = f"""
[Unit]
DefaultDependencies=no
After=local-fs.target network-pre.target
Before=network-online.target network.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
ExecStart=/bin/sleep 3
ExecStart=-{{}}ip link set eth0 up
ExecStart=-{{}}ip route replace default via 10.1.0.1
ExecStart=-{{}}ip -6 route replace default via {PROBE6} dev eth0
"""


def unplug(machine: Machine, azure: Azure, *, for_ever: bool = False) -> None:
    """Let the next boot begin without a network; after 3 s there is one, or none is waited for."""
    azure.network.links("link set eth0 down")
    text = LATE.format(*["/bin/true " if for_ever else "/usr/sbin/"] * 3)
    machine.write("/usr/lib/systemd/system/late.service", text)
    if machine.path("/etc/systemd/system/network-online.target.wants/late.service").is_symlink():
        return
    machine.enable("late.service", "network-online.target")


def test_network_late(machine: Machine, azure: Azure) -> None:
    """Those who ask and apply are there before it, ask once, and change nothing until it is up; a
    first boot does not restore, the next one does."""
    azure.send(8080)
    for restored in ("no", "yes"):
        unplug(machine, azure)
        machine.boot()
        online = machine.seconds("network-online.target", "ActiveEnter")
        assert machine.show("lbhook-restore", "ConditionResult") == restored
        for unit in ("lbhook-fetch", "lbhook"):
            assert machine.seconds(unit, "ExecMainStart") < online - 2
        assert machine.seconds("lbhook", "ExecMainExit") >= online
        report = machine.status()
        assert (report["source"], report["attempts"]) == ("imds", 1)
        machine.assert_listens(":8080")
        assert machine.firewall_ports() == {8080}
        assert azure.ask(8080) == f"{VM4}:8080"
        machine.power_off()


def test_network_that_never_comes(machine: Machine, azure: Azure) -> None:
    """Once nobody waits for it any more, the last good answer is put in force."""
    settings = SETTINGS.replace("[imds]", '[imds]\nwait_cached="2s"')
    machine.write("/etc/lbhook/lbhook.toml", settings)
    azure.send(8080)
    machine.boot()
    machine.power_off()
    unplug(machine, azure, for_ever=True)
    machine.boot(failed=["lbhook-fetch.service"])
    report = machine.status()
    assert (report["source"], report["status"]) == ("cache", 0)
    assert machine.firewall_ports() == {8080}
    assert machine.active("nginx") == "active"
