"""Hooks, metrics and messages within the limits of the units."""

from __future__ import annotations

import json
import re

from ..lab.hosts import wait_for
from ..test_docs import blocks
from .azure import Azure
from .machine import CONFIGURATION, Machine
from .test_reloads import apply

(METRICS,) = (one.text for one in blocks("docs/monitoring.md", "toml"))
TEXTFILE = re.findall(r'"(.*)"', METRICS)[0]
HOOK = '[hooks]\nchanged = ["tee", "/run/lbhook/told"]\n'


def ports(machine: Machine, file: str) -> list[int]:
    """The ports that a hook was told of."""
    return [one["port"] for one in json.loads(machine.read(file))["new"]["listeners"]]


def handle(machine: Machine) -> str:
    """What the kernel calls lbhook's table; another one each time that it is replaced."""
    first = machine.run(["nft", "-a", "list", "table", "inet", "lbhook"]).stdout.splitlines()[0]
    assert "# handle " in first
    return first


def test_a_boot_tells_neighbours_and_leaves_metrics(machine: Machine, azure: Azure) -> None:
    """The hook and the file that the pages show work within the limits of the units."""
    machine.write(f"{CONFIGURATION}.d/more.toml", HOOK + METRICS)
    machine.write(TEXTFILE.replace("lbhook", "other"), "")
    azure.send(8080)
    machine.boot()
    assert ports(machine, "/run/lbhook/told") == [8080]
    assert 'lbhook_last_run_status{command="apply"} 0\n' in machine.read(TEXTFILE)
    table = handle(machine)
    azure.send(8080, 8081)
    assert apply(machine, "timer") == 0
    assert ports(machine, "/run/lbhook/told") == [8080, 8081]
    # Only what differs went into the kernel, and what it counts is told.
    assert handle(machine) == table
    assert machine.firewall_ports() == {8080, 8081}
    assert 'lbhook_listeners{command="apply"} 2\n' in machine.read(TEXTFILE)
    assert re.search(r"^lbhook_inbound_rules\{.*\} 2$", machine.read(TEXTFILE), re.M)


def test_a_hook_that_fails_is_an_error_of_the_journal(machine: Machine, azure: Azure) -> None:
    """And undoes nothing: what Azure sends is in force; the next run tells it."""
    azure.send(8080)
    machine.boot()
    machine.write(f"{CONFIGURATION}.d/more.toml", HOOK.replace("/run/", "/nowhere/"))
    azure.send(8080, 8081)
    assert apply(machine, "timer") == 69
    assert machine.firewall_ports() == {8080, 8081}
    said = ("--unit=lbhook-refresh", "--priority=err")
    wait_for(lambda: "hooks.changed: `tee" in machine.journal(*said), "the error in the journal")
    machine.write(f"{CONFIGURATION}.d/more.toml", HOOK)
    assert apply(machine, "timer") == 0
    assert ports(machine, "/run/lbhook/told") == [8080, 8081]
