"""A machine that is switched off while somebody downloads: lbhook-drain.service."""

from __future__ import annotations

import threading

from ..lab.download import HALF, Download
from ..lab.fabric import PROBE4, VM4, body, rule
from ..lab.knock import one
from ..lab.prober import Prober
from .azure import FRONT, Azure
from .machine import Machine

PORT = 8080
SITE = """
server {
    include /etc/nginx/lbhook/listen.conf;
    send_timeout 10m;
    location / { return 200 "here\\n"; }
    location /large { root /srv; }
}
"""


def probe(azure: Azure) -> str:
    """What becomes of a single probe."""
    return one(azure.fabric, "tcp", VM4, PORT, PROBE4).state


def test_a_restart_of_nftables_ends_no_drain(machine: Machine, azure: Azure) -> None:
    """It flushes every table; its drop-in loads that of the drain again, and after the end of the
    drain no longer. The unit that drains at shutdown does nothing when it is only stopped."""
    machine.enable("lbhook-drain.service")
    azure.send(PORT)
    machine.boot()
    machine.run(["systemctl", "stop", "lbhook-drain"])
    assert probe(azure) == "open"
    machine.run(["lbhook", "drain"])
    assert probe(azure) == "refused"
    for verb in ("restart", "reload", "stop"):
        machine.run(["systemctl", verb, "nftables"])
        assert probe(azure) == "refused", verb
    machine.run(["lbhook", "undrain"])
    machine.run(["systemctl", "restart", "nftables"])
    assert probe(azure) == "open"


def test_a_download_ends_whole_at_shutdown(machine: Machine, azure: Azure) -> None:
    """The VM is switched off while it lasts: probes fail, nobody new is sent here, and nginx and
    the network are there until the download has ended."""
    machine.enable("lbhook-drain.service")
    machine.write("/etc/nginx/conf.d/site.conf", SITE)
    machine.write("/srv/large", "x" * (2 * HALF))
    azure.send(PORT)
    machine.boot()
    assert machine.active("lbhook-drain.service") == "active"
    found = body(rule(FRONT, PORT, VM4, PORT))
    probes = Prober(azure.fabric, found, (VM4, PORT), source=PROBE4)
    probes.wait_for(up=True)
    download = Download(azure.client, FRONT, PORT, "/large")
    off = threading.Thread(target=machine.power_off)
    off.start()
    probes.wait_for(up=False)
    assert azure.ask(PORT, seconds=2) == ""
    assert off.is_alive()
    assert download.rest() == 2 * HALF
    off.join()
