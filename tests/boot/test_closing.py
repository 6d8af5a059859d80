"""What a firewall closes when it comes to a machine that serves already, by the units alone."""

from __future__ import annotations

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from ..lab.talk import Talk
from .azure import Azure
from .machine import CONFIGURATION, Machine
from .test_reloads import apply
from .test_targets import ENDPOINT

SERVER = """
import socket
server = socket.create_server(("", 9000))
other = socket.create_server(("", 9001))
client = server.accept()[0]
while said := client.recv(4096):
    client.sendall(said)
"""
IN_USE = "tcp 9000 on 0.0.0.0 (python3): IN USE: 1 connection from outside"
CLOSED = "closed to the outside, because no rule or setting opens it:"


def test_the_journal_of_the_timers_unit_says_what_is_closed(machine: Machine, azure: Azure) -> None:
    """Loudly what somebody is connected to, and the whole list; once. The connection stays, and no
    new one is let in."""
    machine.write(CONFIGURATION, f"{ENDPOINT}[targets.nginx]\n")
    azure.send(8080)
    machine.boot()
    machine.run(["systemd-run", "python3", "-c", SERVER])
    wait_for(lambda: "0.0.0.0:9001" in machine.listeners("python3"), "the server")
    talk = Talk.connect(azure.client, VM4, 9000)
    assert talk.ask("before") == "before"
    machine.write(f"{CONFIGURATION}.d/firewall.toml", "[targets.nftables]\n")
    assert apply(machine, "timer") == 0
    said = machine.said("--unit=lbhook-refresh")
    assert f"nftables: {IN_USE}: these stay open, new ones are dropped" in said
    listed = said.split(CLOSED, 1)[1]
    assert "tcp 9000 on 0.0.0.0 (python3), tcp 9001 on 0.0.0.0 (python3)" in listed
    assert talk.ask("after") == "after"
    new = azure.client.run(["curl", "-s", "--max-time", "2", f"http://{VM4}:9001/"], check=False)
    assert new.returncode == 28
    assert apply(machine, "timer") == 0
    said = machine.said("--unit=lbhook-refresh")
    assert (said.count("IN USE"), said.count(CLOSED)) == (1, 1)
