"""Boots of a VM whose metadata is guarded: its agent is late, is updated, or denies.

Agent and service are the emulator's, on the machine itself, as the agent is on a VM; the agent's
own program is stood in for by one that asks the same path.
"""

from __future__ import annotations

import json

import pytest

from ..lab.fabric import IMDS, VM4, body, rule
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine

PROGRAM = """#!/usr/bin/python3
import json, sys, time, urllib.request

end = time.monotonic() + float(sys.argv[sys.argv.index("--wait") + 1])
headers = {"Metadata": "True"}
while True:
    try:
        request = urllib.request.Request("http://169.254.169.254/provision", headers=headers)
        said = json.load(urllib.request.urlopen(request, timeout=1))
        if said["finished"]:
            sys.exit(said["errorMessage"] and 2)
    except OSError:
        pass
    if time.monotonic() >= end:
        sys.exit(1)
    time.sleep(0.1)
"""
LISTENS = "until /usr/bin/python3 -c 'import socket; socket.create_connection((\"169.254.169.254\", 80))' 2>/dev/null; do sleep 0.1; done"  # noqa: E501
UNIT = """
[Unit]
Before=lbhook-fetch.service

[Service]
ExecStartPre=/usr/bin/ip address replace 169.254.169.254/32 dev lo
ExecStart=/usr/bin/lbhook emulate -q --listen 169.254.169.254:80 --body /etc/body.json {words}
ExecStartPost=/bin/sh -c "{listens}"
"""

# In a container it does not find Azure by itself, nor take the kernel's command line for its own,
# and its network is a veth. What udev's hardware database has of Azure: 40-imds.hwdb.
DAEMON = "/usr/lib/systemd/systemd-imds"
WORDS = " ".join(
    [
        "systemd.imds.vendor=microsoft-azure",
        "systemd.imds.data_url=http://169.254.169.254/metadata",
        "systemd.imds.data_url_suffix=?api-version=2025-04-07&format=text",
        "systemd.imds.extra_header=Metadata:true",
        "systemd.imds.address_ipv4=169.254.169.254",
    ]
)
VETH = f"""
[Match]
Kind=

[Network]
DHCP=no
Address={VM4}/24
Gateway=10.1.0.1
"""


def bring_daemon(machine: Machine) -> None:
    """Let systemd-imdsd be there, as its generator would."""
    machine.write("/etc/systemd/network/85-imds-early.network.d/veth.conf", VETH)
    machine.enable("systemd-imdsd.socket", "sockets.target")
    machine.enable("systemd-imds-early-network.service", "sysinit.target")
    machine.enable("systemd-networkd.service")


def lock(machine: Machine, network: str) -> None:
    """Let IMDS be `locked` or `unlocked` by it from the next boot on."""
    for unit in ("systemd-imds-early-network.service", "systemd-imdsd@.service"):
        words = f"{WORDS} systemd.imds.network={network}"
        machine.drop_in(unit, f"[Service]\nEnvironment='SYSTEMD_PROC_CMDLINE={words}'\n")


def guard(machine: Machine, playbook: str) -> None:
    """Let the machine have an agent from its boot on."""
    describe(machine, playbook)
    machine.enable("agent.service")


def describe(machine: Machine, playbook: str) -> None:
    """Say what the agent does, from its next start on."""
    said = json.dumps(body(rule(FRONT, 8080, VM4, 8080)))
    machine.write("/etc/body.json", said)
    words = f"--playbook {playbook}" if playbook else ""
    listens = LISTENS.replace("\\", "\\\\").replace('"', '\\"')
    unit = UNIT.format(words=words, listens=listens)
    machine.write("/usr/lib/systemd/system/agent.service", unit)


@pytest.mark.parametrize("program", [True, False], ids=["program", "no program"])
def test_the_agent_is_late(machine: Machine, azure: Azure, program: bool) -> None:
    """The boot waits for it in the unit that asks, with all its limits: by the word of the agent's
    own program, or else by asking again."""
    azure.send(8080)
    guard(machine, "agent-late")
    if program:
        machine.write("/usr/sbin/azure-proxy-agent", PROGRAM)
        machine.path("/usr/sbin/azure-proxy-agent").chmod(0o755)
    machine.boot(timeout=90)
    report = machine.status()
    assert (report["outcome"], report["source"], report["guarded"]) == ("changed", "imds", True)
    assert report["attempts"] <= 2 if program else report["attempts"] > 2
    machine.assert_listens(":8080")
    assert machine.firewall_ports() == {8080}


def test_the_agent_is_updated(machine: Machine, azure: Azure) -> None:
    """In the second of the question: the boot has its answer a little later."""
    azure.send(8080)
    guard(machine, "agent-update")
    machine.boot(timeout=90)
    assert machine.status()["outcome"] == "changed"
    machine.assert_listens(":8080")


def test_the_access_rules_deny_lbhook(machine: Machine, azure: Azure) -> None:
    """The unit says at once who was denied and what would let it in, others are served, and when
    the rules change the next run has its answer."""
    azure.send(8080)
    guard(machine, "agent-denies")
    machine.boot(timeout=90, failed=["lbhook-fetch.service", "lbhook.service"])
    assert machine.show("lbhook-fetch", "ExecMainStatus") == "76"
    said = machine.said("--unit=lbhook-fetch")
    assert "do not let in user lbhook, group lbhook" in said
    assert '{"name": "lbhook", "userName": "lbhook", "groupName": "lbhook"}' in said
    fetched = machine.run(["lbhook", "fetch", "--root", "/tmp", "--json"])
    assert json.loads(fetched.stdout)["guarded"] is True
    describe(machine, "")
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "restart", "agent.service"])
    machine.run(["systemctl", "start", "lbhook-refresh.service"])
    machine.assert_listens(":8080")
    machine.wait_for_state("lbhook", "active")


def test_metadata_is_locked_by_systemd(machine: Machine, azure: Azure) -> None:
    """By its prohibit route: the unit that asks says so, and what to set; what was good last stays
    in force."""
    azure.send(8080)
    machine.boot()
    machine.power_off()
    azure.network.links(f"route add prohibit {IMDS}")
    machine.write(CONFIGURATION, SETTINGS.replace("[imds]", '[imds]\nwait_cached = "1s"'))
    machine.boot(failed=["lbhook-fetch.service"])
    assert machine.show("lbhook-fetch", "ExecMainStatus") == "75"
    assert "systemd.imds.network=locked, systemd-imdsd" in machine.said("--unit=lbhook-fetch")
    assert (machine.status()["source"], machine.status()["status"]) == ("cache", 0)
    machine.assert_listens(":8080")
    assert machine.firewall_ports() == {8080}


@pytest.mark.parametrize("image", ["forky"], indirect=True)
def test_systemds_own_daemon_locks(machine: Machine, azure: Azure) -> None:
    """What Debian 14 has: locked, the daemon alone gets the answer; the unit that asks says whose
    route it is, and so does doctor. Unlocked, the next boot has its answer."""
    azure.send(8080)
    bring_daemon(machine)
    lock(machine, "locked")
    machine.write(CONFIGURATION, SETTINGS.replace("[imds]", '[imds]\nwait = "1s"'))
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    assert f"prohibit {IMDS}" in machine.run(["ip", "route"]).stdout
    assert machine.show("lbhook-fetch", "ExecMainStatus") == "75"
    assert "systemd.imds.network=locked, systemd-imdsd" in machine.said("--unit=lbhook-fetch")
    doctor = machine.run(["lbhook", "doctor"], check=False).stdout
    assert "a route of this machine prohibits it" in " ".join(doctor.split())
    told = machine.run([DAEMON, "/loadbalancer"]).stdout
    assert json.loads(told) == body(rule(FRONT, 8080, VM4, 8080))
    machine.power_off()
    lock(machine, "unlocked")
    machine.boot()
    assert machine.status()["outcome"] == "changed"
    machine.assert_listens(":8080")
    assert json.loads(machine.run([DAEMON, "/loadbalancer"]).stdout) == json.loads(told)
