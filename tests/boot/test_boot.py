"""Boots: what is up when they end, whatever the metadata service does."""

from __future__ import annotations

import re
import time
from functools import partial

import pytest

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from .azure import Azure
from .machine import CONFIGURATION, LISTEN, RESTING, SETTINGS, UNITS, Machine

NFT = "/etc/nftables.d/lbhook.nft"
IMPATIENT = SETTINGS.replace("[imds]", '[imds]\nwait = "2s"')
LATE = """
title = "a cold boot on a busy VM"

[[step]]
for = "10s"
fault = "refuse"

[[step]]
for = "10s"
answer = "enabling"

[[step]]
requests = 1
fault = "throttle"
"""
# A target whose reload takes its time: the power is cut in the middle of an apply.
SLOW = """
[targets.slow]
template = "slow.j2"
path = "/etc/slow/port"
reload = ["sh", "-c", "test -e /etc/quick || { touch /run/reloading; sleep 60; }"]
"""


# The timer's, without the minutes in between.
SOON = """[Timer]
OnBootSec=
OnUnitInactiveSec=
OnBootSec=1s
OnUnitInactiveSec=1s
RandomizedDelaySec=0
AccuracySec=100ms
"""
# More of each than one run asks for.
WRONG = """
guarded = true

[[step]]
requests = 2
fault = "denied"

[[step]]
requests = 3
fault = "unsigned"

[[step]]
requests = 3
fault = "not-json"
content_type = "text/html"

[[step]]
requests = 3
fault = "status"
status = 500
"""


def _listens(machine: Machine, port: int) -> bool:
    return machine.listeners() == {f"0.0.0.0:{port}", f"[::]:{port}"}


def test_boots_with_an_answer(machine: Machine, azure: Azure) -> None:
    """The first boot puts the rules in force before nginx starts; the second, with the same
    files, loads the table again; the third follows rules that changed while it was down."""
    azure.send(8080)
    machine.boot()
    assert machine.status()["outcome"] == "changed"
    machine.assert_listens(":8080")
    assert machine.firewall_ports() == {8080}
    assert azure.ask(8080) == f"{VM4}:8080"
    machine.power_off()
    machine.boot()
    outcomes = {one["name"]: one["outcome"] for one in machine.status()["targets"]}
    assert outcomes == dict.fromkeys(("env", "nftables", "nginx"), "unchanged")
    assert machine.firewall_ports() == {8080}
    machine.power_off()
    azure.send(8081)
    machine.boot()
    machine.assert_listens(":8081")
    assert machine.firewall_ports() == {8081}


def test_an_unchanged_run_in_its_sandbox_asks_nobody(machine: Machine, azure: Azure) -> None:
    """The unit may ask the kernel whether anything has changed: lbhook runs neither nft nor
    systemctl, until somebody changes a rule."""
    azure.send(8080)
    for name in ("nft", "systemctl"):
        words = f'echo {name} "$1" >>/run/lbhook/asked\nPATH=/usr/sbin:/usr/bin exec {name} "$@"\n'
        machine.write(f"/usr/local/sbin/{name}", f"#!/bin/sh\n{words}")
        machine.path(f"/usr/local/sbin/{name}").chmod(0o755)
    machine.boot()
    machine.stop_timer()

    def asked() -> list[str]:
        machine.write("/run/lbhook/asked", "")
        machine.run(["/usr/bin/systemctl", "start", "lbhook-refresh.service"])
        assert machine.status()["outcome"] == "unchanged"
        # What the unit runs itself, after lbhook.
        own = "systemctl --quiet"
        return [line for line in machine.read("/run/lbhook/asked").splitlines() if line != own]

    assert asked() == ["nft --stateless", "systemctl show"]
    assert asked() == []
    machine.run(["/usr/sbin/nft", "add table inet somebodys"])
    assert asked() == ["nft --stateless"]
    assert asked() == []


def test_metadata_silent_with_a_last_good_answer(machine: Machine, azure: Azure) -> None:
    """nginx starts within 20 s of when it would have, with the last good listeners, behind the last
    good firewall."""
    azure.send(8080)
    machine.boot()
    answered = _until_nginx(machine)
    machine.power_off()
    azure.fall_silent()
    machine.boot(failed=["lbhook-fetch.service"])
    assert _until_nginx(machine) - answered < 20
    told = "lbhook-fetch: ActiveState=failed ExecMainStatus=75 Result=exit-code"
    assert told in machine.results()
    assert (machine.status()["source"], machine.status()["status"]) == ("cache", 0)
    machine.assert_listens(":8080")
    assert machine.firewall_ports() == {8080}


def _until_nginx(machine: Machine) -> float:
    """Seconds from the first question until nginx has started."""
    asked = machine.seconds("lbhook-fetch", "ExecMainStart")
    return machine.seconds("nginx", "ActiveEnter") - asked


def test_metadata_silent_at_the_first_boot(machine: Machine, azure: Azure) -> None:
    """Without any answer the boot goes on: nginx runs at rest, and the units say that they
    failed. The timer's unit tries again by itself; when it has the answer, none is failed."""
    azure.fall_silent()
    machine.write("/etc/lbhook/lbhook.toml", IMPATIENT)
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    assert (machine.status()["outcome"], machine.status()["status"]) == ("failed", 75)
    machine.assert_listens("127.0.0.127:10009")
    assert machine.firewall_ports() == set()
    machine.drop_in("lbhook-refresh.service", "[Service]\nRestartSec=1s\n")
    machine.run(["systemctl", "start", "lbhook-refresh.service"], check=False)
    azure.speak()
    azure.send(8080)
    wait_for(partial(_listens, machine, 8080), "another try", timeout=20)
    assert machine.firewall_ports() == {8080}
    machine.wait_for_state("lbhook", "active")
    machine.assert_sound()


@pytest.mark.parametrize("answers", [True, False], ids=["answer", "silence"])
def test_power_cut_in_the_middle_of_an_apply(machine: Machine, azure: Azure, answers: bool) -> None:
    """The next boot settles what was half done, with or without an answer: each file is whole,
    all are of one answer, and that is in force. It is the new one: firewall and listeners had
    followed it, and so it was the last good one (decision 11)."""
    azure.send(8080)
    machine.write("/etc/lbhook/lbhook.toml", SETTINGS.replace("[imds]", '[imds]\nwait_cached="1s"'))
    machine.write("/etc/quick", "")
    machine.boot()
    machine.write("/etc/lbhook/lbhook.toml.d/slow.toml", SLOW)
    machine.write("/etc/lbhook/templates/slow.j2", "{{ lb.listeners[0].port }}\n")
    machine.run(["lbhook", "install"])
    machine.run(["lbhook", "apply"])
    old = machine.read(LISTEN)
    azure.send(8081)
    machine.path("/etc/quick").unlink()
    machine.run(["systemctl", "--no-block", "reload", "lbhook"])
    wait_for(machine.path("/run/reloading").exists, "the slow reload")
    assert machine.read(LISTEN) != old
    machine.kill()
    machine.write("/etc/quick", "")
    if not answers:
        azure.fall_silent()
    machine.boot(failed=() if answers else ["lbhook-fetch.service"])
    assert "did not finish" in machine.said("--unit=lbhook-restore")
    machine.assert_listens(":8081")
    assert machine.firewall_ports() == {8081}
    assert machine.read("/etc/slow/port") == "8081\n"
    assert machine.active("nginx") == "active"
    assert "owed" not in machine.reloads().values()


def test_metadata_late(machine: Machine, azure: Azure) -> None:
    """Nobody listens for 10 s, for 10 more the endpoint is being enabled, then others have used
    up the VM's share: nginx waits, and starts with the answer."""
    azure.send(8080)
    played = time.monotonic()
    azure.play(LATE)
    machine.boot(timeout=60)
    report = machine.status()
    assert (report["outcome"], report["source"]) == ("changed", "imds")
    # All by the kernel's clock, since a busy host boots later: no answer before the 20 s are over,
    # and all of them waited but what the boot took, and 2 s to begin with.
    network = machine.seconds("network-online.target", "ActiveEnter") - played
    assert machine.seconds("lbhook-fetch", "ExecMainExit") - played > 20
    assert report["waited_seconds"] > 20 - network - 2
    machine.assert_listens(":8080")
    assert machine.firewall_ports() == {8080}
    assert azure.ask(8080) == f"{VM4}:8080"


def test_joined_to_the_pool_after_boot(machine: Machine, azure: Azure) -> None:
    """A VM without a load balancer boots green, at rest; the timer finds it in its pool later,
    and rules that change when nobody is looking."""
    machine.drop_in("lbhook-refresh.timer", SOON)
    azure.leave_pool()
    machine.boot()
    assert machine.status()["outcome"] == "absent"
    assert machine.read(LISTEN).endswith(RESTING)
    azure.join_pool()
    for port in (8080, 8081):
        azure.send(port)
        listener = f"{VM4}:{port}"
        wait_for(partial(_listens, machine, port), listener)
        assert azure.ask(port) == listener
        assert machine.firewall_ports() == {port}
    machine.assert_sound()


def test_no_answer_ends_the_timer(machine: Machine, azure: Azure) -> None:
    """Denied, not signed, a page and an error, one after the other, each for more than a run: the
    port opens all the same when the answer is good, and nobody has started anything."""
    machine.write(CONFIGURATION, IMPATIENT.replace("2s", "1s"))
    machine.drop_in("lbhook-refresh.timer", SOON)
    machine.drop_in("lbhook-refresh.service", "[Service]\nRestartSec=1s\n")
    azure.send(8080)
    azure.play(WRONG)
    wait_for(azure.fabric.serves_metadata, "metadata service")
    machine.switch_on()
    machine.wait_until_up()
    assert not _listens(machine, 8080)
    wait_for(partial(_listens, machine, 8080), "the port", timeout=120)
    said = machine.said("--unit=lbhook-fetch")
    for one in ("403", "401", "not JSON", "500"):
        assert one in said, one
    machine.wait_for_state("lbhook", "active")
    machine.assert_sound()
    assert machine.firewall_ports() == {8080}


def test_configuration_edited(machine: Machine, azure: Azure) -> None:
    """With the path unit, an edit is in force at once; a mistake changes nothing, and the edit
    that fixes it is."""
    machine.enable("lbhook-refresh.path", "paths.target")
    azure.send(8080, 8081)
    machine.boot()
    machine.assert_listens(":8080", ":8081")
    machine.write(CONFIGURATION, f"{SETTINGS}vars = {{ ports = [8081] }}\n")
    wait_for(partial(_listens, machine, 8081), "the edit")
    machine.wait_for_state("lbhook-refresh", "inactive")
    machine.write(CONFIGURATION, f"{SETTINGS}vars = {{ prots = [8080] }}\n")
    machine.wait_for_state("lbhook-refresh", "failed")
    assert "did you mean" in machine.journal("--unit=lbhook-refresh")
    machine.assert_listens(":8081")
    machine.write(CONFIGURATION, f"{SETTINGS}vars = {{ ports = [8080] }}\n")
    wait_for(partial(_listens, machine, 8080), "the edit that fixes it")
    machine.wait_for_state("lbhook-refresh", "inactive")
    machine.assert_sound()


def test_units_by_the_measure_of_this_systemd(machine: Machine, azure: Azure) -> None:
    """They load without a word, and expose no more than 1.2 and 1.8; those that the shipped
    targets need more than that are not there. A target of one's own that writes elsewhere is
    told what it lacks."""
    machine.boot()
    for unit in ("lbhook-fetch", "lbhook", "lbhook-refresh", "lbhook-restore"):
        argv = ["systemd-analyze", "security", f"{unit}.service", "--no-pager"]
        level = re.search(r"exposure level for \S+: ([\d.]+)", machine.run(argv).stdout)
        assert level
        assert float(level[1]) <= (1.2 if unit == "lbhook-fetch" else 1.8)
    loaded = machine.run(["systemd-analyze", "verify", "--man=no", f"/{UNITS}/lbhook.service"])
    assert loaded.stderr == ""
    machine.write("/etc/lbhook/lbhook.toml.d/slow.toml", SLOW)
    machine.write("/etc/lbhook/templates/slow.j2", "{{ lb.listeners | length }}\n")
    assert machine.run(["systemctl", "reload", "lbhook"], check=False).returncode
    said = machine.said("--unit=lbhook")
    assert "lbhook's units can't write /etc/slow, run `sudo lbhook install`" in said
