"""What works by hand works by the timer: the units' limits, and what docs/configuration.md and
docs/units.md say to do about them, on a booted machine."""

from __future__ import annotations

import json
import re

from lbhook.programs.unit_limits import UNITS as LIMITED

from ..lab.fabric import VM4
from ..test_docs import blocks
from .azure import Azure
from .machine import CONFIGURATION, UNITS, Machine
from .test_reloads import WAYS, apply
from .test_targets import ENDPOINT

PAGE = "docs/configuration.md"
TEMPLATE = "/etc/lbhook/templates/listeners.json.j2"
LISTENERS = f"{CONFIGURATION}.d/listeners.toml"
APP = "[Service]\nExecStart=/bin/sleep infinity\nExecReload=/bin/true\n"


def printed(page: str, word: str) -> list[str]:
    """The commands that a page prints together, one of which has this word; for root's shell."""
    texts = (one.text for one in blocks(page, "console") if word in one.text)
    return next(re.findall(r"^[#$] (?:sudo )?(.*)$", text, re.M) for text in texts)


def follow(machine: Machine, lines: list[str]) -> None:
    """Type commands into a shell of root's."""
    assert lines
    for line in lines:
        machine.run(["sh", "-c", line])


def ports(machine: Machine) -> list[str]:
    """The addresses in the file of the page's target."""
    found: list[str] = json.loads(machine.read("/etc/app/listeners.json"))["listen"]
    return found


def test_a_target_of_ones_own(machine: Machine, azure: Azure) -> None:
    """What the page prints, in its order, then a rule for each way of running lbhook. Until then
    plan and doctor say that the units may not write there."""
    machine.write(CONFIGURATION, ENDPOINT)
    machine.write(f"/{UNITS}/app.service", APP)
    machine.enable("app.service")
    azure.send(8080)
    machine.boot()
    for file in (TEMPLATE, LISTENERS):
        machine.write(file, next(one.text for one in blocks(PAGE) if one.file == file))
    machine.run(["mkdir", "/etc/app"])
    problem = "listeners: lbhook's units may not write /etc/app"
    assert problem in machine.run(["lbhook", "plan"]).stderr
    assert problem in machine.run(["lbhook", "doctor"], check=False).stdout
    machine.run(["rmdir", "/etc/app"])
    follow(machine, printed(PAGE, "lbhook render listeners"))
    assert ports(machine) == [f"{VM4}:8080"]
    follow(machine, printed(PAGE, "lbhook install"))
    assert problem not in machine.run(["lbhook", "plan"]).stderr
    assert problem not in machine.run(["lbhook", "doctor"], check=False).stdout
    for port, way in enumerate(WAYS, 8081):
        azure.send(port)
        assert apply(machine, way) == 0, way
        assert ports(machine) == [f"{VM4}:{port}"], way
    machine.power_off()
    azure.send(8090)
    machine.boot()
    assert ports(machine) == [f"{VM4}:8090"]


def test_the_limits_are_written_for_what_is_configured(machine: Machine, azure: Azure) -> None:
    """Files and directories of other users', and metrics; and no more when they are gone."""
    own = '[targets.{0}]\ntemplate = "a.j2"\npath = "{1}/{0}"\n{2}\n'
    machine.write("/etc/lbhook/templates/a.j2", "{{ lb.listeners[0].port }}\n")
    text = own.format("given", "/etc/app", 'owner = "daemon"\ngroup = "daemon"')
    text += own.format("theirs", "/srv/theirs", "") + own.format("home", "/home/app", "")
    text += '[metrics]\ntextfile = "/srv/metrics/lbhook.prom"\n'
    machine.write(f"{CONFIGURATION}.d/own.toml", text)
    for place in ("/srv/theirs", "/home/app", "/srv/metrics"):
        machine.path(place).mkdir(parents=True)
    azure.send(8080)
    machine.boot(failed=["lbhook.service"])
    machine.run(["chown", "daemon:daemon", "/srv/theirs"])
    machine.run(["lbhook", "install"])
    azure.send(8081)
    assert apply(machine, "timer") == 0
    for file in ("/etc/app/given", "/srv/theirs/theirs", "/home/app/home"):
        assert machine.read(file) == "8081\n"
    assert machine.run(["stat", "-c", "%U", "/etc/app/given"]).stdout == "daemon\n"
    assert "lbhook_inbound_rules" in machine.read("/srv/metrics/lbhook.prom")
    machine.path(f"{CONFIGURATION}.d/own.toml").unlink()
    assert apply(machine, "timer") == 0
    machine.run(["lbhook", "install"])
    for unit in LIMITED:
        assert "/etc/app" not in machine.show(unit, "ReadWritePaths")
        assert "cap_chown" not in machine.show(unit, "CapabilityBoundingSet")


# Beyond the limits twice: it opens a socket, and writes where the units may not.
BEYOND = """#!/bin/sh
python3 -c 'import socket; socket.create_server(("127.0.0.1", 0))' && echo "$1" >>/etc/beyond
"""
COMMANDS = ("check", "check_live", "reload", "verify", "observe")
OWN = """
[targets.env]
reload = ["beyond", "env"]

[targets.own]
template = "own.j2"
path = "/etc/nginx/lbhook/own"
"""

# Of what a unit may do before there is a D-Bus, as docs/targets.md has it.
TRY_RESTART = """
[targets.env]
reload = ["systemctl", "--no-block", "try-restart", "app.service"]
"""


def test_commands_of_ones_own(machine: Machine, azure: Azure) -> None:
    """They do by each way what they do by hand, and so does the hook; and a boot does not wait for
    one that lbhook-restore.service or lbhook.service runs."""
    machine.write("/usr/local/bin/beyond", BEYOND)
    machine.path("/usr/local/bin/beyond").chmod(0o755)
    machine.write("/etc/lbhook/templates/own.j2", "{{ lb.listeners[0].port }}\n")
    commands = "".join(f'{name} = ["beyond", "{name}"]\n' for name in COMMANDS)
    hook = '[hooks]\nchanged = ["beyond", "hook"]\n'
    machine.write(f"{CONFIGURATION}.d/own.toml", OWN + commands + hook)
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    for port, way in enumerate(WAYS, 8081):
        machine.write("/etc/beyond", "")
        azure.send(port)
        assert apply(machine, way) == 0, way
        assert {*machine.read("/etc/beyond").split()} == {*COMMANDS, "env", "hook"}, way
        assert apply(machine, way) == 0, way
        assert machine.reloads()["own"] == "none", way
    machine.power_off()
    machine.write("/etc/beyond", "")
    machine.write(f"/{UNITS}/app.service", APP)
    machine.write(f"{CONFIGURATION}.d/try.toml", TRY_RESTART)
    # As where cloud-init comes before sysinit.target: there is no D-Bus yet.
    machine.drop_in("lbhook-restore.service", "[Unit]\nBefore=sysinit.target\n")
    machine.boot()
    assert "lb.env  (reload done)" in machine.journal("--unit=lbhook-restore")
    assert "reload" in machine.read("/etc/beyond").split()


def test_what_is_written_by_hand(machine: Machine) -> None:
    """The drop-in that the page has for what `install` can't know reaches each unit that writes."""
    machine.boot()
    follow(machine, printed("docs/units.md", "app.conf"))
    for unit in LIMITED:
        assert "cap_kill" in machine.show(unit, "CapabilityBoundingSet")
