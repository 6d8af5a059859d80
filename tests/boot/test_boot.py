"""Boots: what is up when they end, whatever the metadata service does."""

from __future__ import annotations

from functools import partial

import pytest

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from .azure import Azure
from .machine import LISTEN, RESTING, SETTINGS, Machine

NFT = "/etc/nftables.d/lbhook.nft"
IMPATIENT = SETTINGS.replace("[imds]", '[imds]\nwait = "2s"')
# A target whose reload takes its time: the power is cut in the middle of an apply.
SLOW = """
[targets.slow]
template = "slow.j2"
path = "/etc/slow"
reload = ["sh", "-c", "test -e /etc/quick || { touch /run/reloading; sleep 60; }"]
"""


def _listens(machine: Machine, listener: str) -> bool:
    return machine.listeners() == {listener}


def assert_green(machine: Machine) -> None:
    """No unit was dropped for a cycle, none failed, and lbhook came before nginx."""
    assert "ordering cycle" not in machine.console
    assert machine.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout == ""
    assert [machine.active(unit) for unit in ("lbhook", "nginx")] == ["active", "active"]
    assert machine.seconds("lbhook", "ExecMainExit") <= machine.seconds("nginx", "InactiveExit")
    assert "Traceback" not in machine.journal()


def test_boots_with_an_answer(machine: Machine, azure: Azure) -> None:
    """The first boot puts the rules in force before nginx starts; the second, with the same
    files, loads the table again; the third follows rules that changed while it was down."""
    azure.send(8080)
    machine.boot()
    assert_green(machine)
    assert machine.status()["outcome"] == "changed"
    machine.assert_listens(f"{VM4}:8080")
    assert machine.firewall_ports() == {8080}
    assert azure.ask(8080) == f"{VM4}:8080"
    machine.power_off()
    machine.boot()
    assert_green(machine)
    outcomes = {one["name"]: one["outcome"] for one in machine.status()["targets"]}
    assert outcomes == {"env": "restored", "nftables": "unchanged", "nginx": "unchanged"}
    assert machine.reloads()["nftables"] == "done"
    assert machine.firewall_ports() == {8080}
    machine.power_off()
    azure.send(8081)
    machine.boot()
    assert_green(machine)
    machine.assert_listens(f"{VM4}:8081")
    assert machine.firewall_ports() == {8081}


def test_metadata_silent_with_a_last_good_answer(machine: Machine, azure: Azure) -> None:
    """nginx starts within 20 s with the last good listeners, behind the last good firewall."""
    azure.send(8080)
    machine.boot()
    machine.power_off()
    azure.fall_silent()
    machine.boot(timeout=40)
    waited = machine.seconds("nginx", "ActiveEnter") - machine.seconds("lbhook", "ExecMainStart")
    assert waited < 20
    assert machine.active("nginx") == "active"
    assert machine.active("lbhook") == "failed"
    assert (machine.status()["outcome"], machine.status()["status"]) == ("kept", 75)
    machine.assert_listens(f"{VM4}:8080")
    assert machine.firewall_ports() == {8080}


def test_metadata_silent_at_the_first_boot(machine: Machine, azure: Azure) -> None:
    """Without any answer the boot goes on: nginx runs at rest, and the unit says that it failed;
    the timer's unit finds the answer later."""
    azure.fall_silent()
    machine.write("/etc/lbhook/lbhook.toml", IMPATIENT)
    machine.boot()
    assert [machine.active(unit) for unit in ("lbhook", "nginx")] == ["failed", "active"]
    assert (machine.status()["outcome"], machine.status()["status"]) == ("failed", 75)
    machine.assert_listens("127.0.0.127:9")
    assert machine.firewall_ports() == set()
    assert "ordering cycle" not in machine.console
    azure.speak()
    azure.send(8080)
    machine.run(["systemctl", "start", "lbhook-refresh.service"])
    machine.assert_listens(f"{VM4}:8080")
    assert machine.firewall_ports() == {8080}


@pytest.mark.parametrize("answers", [True, False], ids=["answer", "silence"])
def test_power_cut_in_the_middle_of_an_apply(machine: Machine, azure: Azure, answers: bool) -> None:
    """The next boot settles what was half done, with or without an answer: each file is whole,
    all are of one answer, and that is in force."""
    azure.send(8080)
    machine.write("/etc/lbhook/lbhook.toml", SETTINGS.replace("[imds]", '[imds]\nwait_cached="1s"'))
    machine.write("/etc/lbhook/lbhook.toml.d/slow.toml", SLOW)
    machine.write("/etc/lbhook/templates/slow.j2", "{{ lb.listeners[0].port }}\n")
    machine.write("/etc/quick", "")
    machine.boot()
    old = {path: machine.read(path) for path in (NFT, LISTEN, "/etc/slow")}
    azure.send(8081)
    machine.path("/etc/quick").unlink()
    machine.run(["systemctl", "--no-block", "reload", "lbhook"])
    wait_for(machine.path("/run/reloading").exists, "the slow reload")
    assert machine.read(LISTEN) != old[LISTEN]
    machine.kill()
    machine.write("/etc/quick", "")
    if not answers:
        azure.fall_silent()
    machine.boot()
    assert "did not come to its end" in machine.journal("--unit=lbhook")
    port = 8081 if answers else 8080
    machine.assert_listens(f"{VM4}:{port}")
    assert machine.firewall_ports() == {port}
    assert machine.read("/etc/slow") == f"{port}\n"
    assert answers or {path: machine.read(path) for path in old} == old
    assert machine.active("nginx") == "active"
    assert "owed" not in machine.reloads().values()
    assert "Traceback" not in machine.journal()


def test_timer_runs_its_unit_again_and_again(machine: Machine, azure: Azure) -> None:
    """Rules that change when nobody is looking are in force after the timer's next round."""
    soon = "OnBootSec=\nOnUnitInactiveSec=\nOnBootSec=1s\nOnUnitInactiveSec=1s\n"
    machine.drop_in(
        "lbhook-refresh.timer", f"[Timer]\n{soon}RandomizedDelaySec=0\nAccuracySec=100ms\n"
    )
    machine.boot()
    assert machine.read(LISTEN).endswith(RESTING)
    for port in (8080, 8081):
        azure.send(port)
        listener = f"{VM4}:{port}"
        wait_for(partial(_listens, machine, listener), listener)
        assert machine.firewall_ports() == {port}
