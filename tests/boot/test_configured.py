"""Rules that Azure does not tell, as docs/configuration.md prints them, on a booted machine."""

from __future__ import annotations

import json
from pathlib import Path

from ..lab.fabric import VM4, body, rule
from ..program import Desk
from ..test_docs import blocks
from .azure import FRONT, Azure
from .machine import CONFIGURATION, LISTEN, SETTINGS, Machine
from .test_reloads import apply

(PRINTED,) = (
    one.text for one in blocks("docs/configuration.md", "toml") if "[rules.global]" in one.text
)
GLOBAL, SERVICE = "52.1.2.3", "10.1.0.9"
FLOATING = "\n[targets.floating-ip]\n"
SHORT = SETTINGS.replace("[imds]", '[imds]\nwait = "2s"\nwait_cached = "1s"') + FLOATING


def laid(place: Path) -> str:
    """The resting form that an installation puts down for nginx."""
    desk = Desk(place)
    desk.configure("[targets.nginx]\n")
    (place / "empty.json").write_text(json.dumps(body()), encoding="utf-8")
    return desk.run("render", "nginx", "--metadata", place / "empty.json").out


def ask(azure: Azure, frontend: str, port: int) -> str:
    """What the client gets from a frontend; empty if nothing in time."""
    argv = ["curl", "-s", "--max-time", "5", f"http://{frontend}:{port}/"]
    return azure.client.run(argv, check=False).stdout.strip()


def balance(azure: Azure, port: int) -> None:
    """Let Azure send what the page's rules are about, the service's to a port, and one rule that
    it tells itself."""
    told = rule(FRONT, 8080, VM4, 8080)
    untold = (rule(GLOBAL, 443, GLOBAL, 443), rule(SERVICE, port, VM4, port))
    azure.fabric.load_balance(body(told, *untold))
    azure.fabric.answer(body(told))


def assert_reached(machine: Machine, azure: Azure, service: int, *told: int) -> None:
    """A client reaches both of the page's rules, and what Azure has told; nothing else is open."""
    assert machine.firewall_ports() == {443, service, *told}
    assert ask(azure, GLOBAL, 443) == f"{GLOBAL}:443"
    assert ask(azure, SERVICE, service) == f"{VM4}:{service}"
    assert [ask(azure, FRONT, port) for port in told] == [f"{VM4}:{port}" for port in told]


def test_rules_of_the_configurations_own(machine: Machine, azure: Azure, tmp_path: Path) -> None:
    """At a first boot without an answer they are in force before nginx starts, and at the next
    before there is a network; beside Azure's when it answers; and an edit comes by the timer."""
    machine.write(CONFIGURATION, SHORT)
    machine.write(f"{CONFIGURATION}.d/rules.toml", PRINTED)
    machine.write(LISTEN, laid(tmp_path))
    balance(azure, 8443)
    azure.fall_silent()
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    assert machine.status()["status"] == 75
    assert machine.show("lbhook", "ExecMainStatus") == "75"
    assert_reached(machine, azure, 8443)
    machine.power_off()
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    said = machine.journal("--unit=lbhook-restore")
    assert "/etc/nftables.d/lbhook.nft  (reload done)" in said
    assert "/run/lbhook/floating-ips  (reload done)" in said
    assert "restored: 2 inbound rules of the configuration" in " ".join(said.split())
    assert_reached(machine, azure, 8443)
    azure.speak()
    assert apply(machine, "timer") == 0
    assert_reached(machine, azure, 8443, 8080)
    edited = PRINTED.replace("8443", "8444")
    machine.write(f"{CONFIGURATION}.d/rules.toml", edited)
    balance(azure, 8444)
    assert apply(machine, "timer") == 0
    assert_reached(machine, azure, 8444, 8080)
