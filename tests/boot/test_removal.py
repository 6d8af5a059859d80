"""The Debian package on a machine that runs: installed, upgraded and taken away again."""

from __future__ import annotations

import pytest

from ..packages.built import deb, pyz
from .azure import Azure
from .machine import CONFIGURATION, LISTEN, SETTINGS, Machine

NFT = "/etc/nftables.d/lbhook.nft"


@pytest.fixture
def packaged(machine: Machine, azure: Azure) -> Machine:
    """A machine with port 8080 in force, onto which the package was installed while it ran."""
    machine.write("/lbhook.deb", "")
    machine.path("/lbhook.deb").write_bytes(deb().read_bytes())
    azure.send(8080)
    machine.boot()
    machine.run(["dpkg", "--force-confold", "--install", "/lbhook.deb"])
    machine.assert_listens(":8080")
    return machine


def test_an_upgrade_starts_and_stops_nothing(packaged: Machine, azure: Azure) -> None:
    """Units that ran go on, and new rules wait for the next run."""
    began = packaged.seconds("lbhook", "ExecMainStart")
    azure.send(8080, 8081)
    packaged.run(["dpkg", "--force-confold", "--install", "/lbhook.deb"])
    assert packaged.seconds("lbhook", "ExecMainStart") == began
    assert packaged.active("lbhook-refresh.timer") == "active"
    packaged.assert_listens(":8080")
    assert packaged.show("lbhook", "NeedDaemonReload") == "no"


def test_removal(packaged: Machine) -> None:
    """The table is gone, nginx listens at rest, the timer is stopped; so it is after a boot."""
    packaged.run(["dpkg", "--remove", "lbhook"])
    for _ in range(2):
        assert "lbhook" not in packaged.run(["nft", "list", "tables"]).stdout
        packaged.assert_listens("127.0.0.127:10009")
        assert packaged.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout == ""
        listed = packaged.run(["systemctl", "list-units", "--plain", "--no-legend", "lbhook*"])
        assert listed.stdout == ""
        packaged.power_off()
        packaged.switch_on()
        packaged.wait_until_up()


def test_purge(packaged: Machine) -> None:
    """What nginx includes stays at rest, and everything else of lbhook's is gone."""
    assert packaged.run(["dpkg", "--purge", "lbhook"]).stderr == ""
    assert "lbhook" not in packaged.run(["nft", "list", "tables"]).stdout
    packaged.assert_listens("127.0.0.127:10009")
    assert "127.0.0.127:10009" in packaged.read(LISTEN)
    gone = (NFT, "/etc/lbhook", "/var/lib/lbhook", "/run/lbhook", "/usr/bin/lbhook")
    assert [path for path in gone if packaged.path(path).exists()] == []
    packaged.run(["systemctl", "restart", "nginx"])


def test_the_single_file(packaged: Machine, azure: Azure) -> None:
    """Where no package is, it installs itself: in force at once if that is asked for, and at the
    next boot; uninstalled, nothing is."""
    packaged.run(["dpkg", "--purge", "lbhook"])
    packaged.write(CONFIGURATION, SETTINGS)
    packaged.write("/root/lbhook.pyz", "")
    packaged.path("/root/lbhook.pyz").write_bytes(pyz().read_bytes())
    packaged.run(["python3", "/root/lbhook.pyz", "install", "--now"])
    packaged.assert_listens(":8080")
    assert packaged.firewall_ports() == {8080}
    packaged.power_off()
    azure.send(8081)
    packaged.boot()
    assert [packaged.active(unit) for unit in ("lbhook", "nginx")] == ["active", "active"]
    packaged.assert_listens(":8081")
    packaged.run(["lbhook", "uninstall"])
    assert "lbhook" not in packaged.run(["nft", "list", "tables"]).stdout
    packaged.assert_listens("127.0.0.127:10009")
    assert not packaged.path("/usr/local/bin/lbhook").exists()
