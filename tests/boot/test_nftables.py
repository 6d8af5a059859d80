"""nftables.service, which flushes every table whenever it does anything; packets are the judge."""

from __future__ import annotations

import pytest

from ..lab.hosts import wait_for
from .azure import Azure
from .machine import Machine

VERBS = ("reload", "restart", "stop", "start")
OPEN, CLOSED = 8080, 9000
# Listens where no rule of Azure's leads to; nothing but the firewall keeps anybody out.
SERVER = f"""
[Service]
ExecStart=/usr/bin/python3 -c "import http.server as h; \\
    h.test(h.SimpleHTTPRequestHandler, port={CLOSED})"
"""


@pytest.fixture
def guarded(machine: Machine, azure: Azure) -> Machine:
    """The machine with nftables.service enabled, and a server behind the firewall; off."""
    machine.enable("nftables.service", "sysinit.target")
    machine.write("/usr/lib/systemd/system/server.service", SERVER)
    machine.enable("server.service")
    azure.send(OPEN, unsaid=[CLOSED])
    return machine


def passes(azure: Azure, port: int) -> bool:
    """Whether the client gets through; where it should not, it is not waited for long."""
    return azure.ask(port, seconds=30 if port == OPEN else 0.5) != ""


def test_lbhooks_table_comes_back(guarded: Machine, azure: Azure) -> None:
    """After each verb: what Azure sends comes in, and what it does not stays out. Somebody
    else's rules are as nftables.service has them."""
    guarded.boot()
    wait_for(lambda: guarded.listeners("python3") == {f"0.0.0.0:{CLOSED}"}, "the server")
    assert not passes(azure, CLOSED)
    for verb in VERBS:
        guarded.run(["systemctl", verb, "nftables"])
        assert guarded.firewall_ports() == {OPEN}
        assert (passes(azure, OPEN), passes(azure, CLOSED)) == (True, False), verb
    assert "table inet filter" in guarded.run(["nft", "list", "tables"]).stdout
    guarded.run(["nft", "delete", "table", "inet", "lbhook"])
    assert passes(azure, CLOSED)
    guarded.power_off()
    guarded.boot()
    assert not passes(azure, CLOSED)
