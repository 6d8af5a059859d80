"""A machine that is switched off while somebody downloads: lbhook-drain.service."""

from __future__ import annotations

import threading

from ..lab.download import HALF, Download
from ..lab.fabric import PROBE4, VM4, body, rule
from ..lab.hosts import wait_for
from ..lab.knock import one
from ..lab.prober import Prober
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine
from .test_reloads import apply

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


EVENT = '[[step]]\nevents = [{ type = "Reboot", status = "Started" }]\n'
DRAIN, TAG = "[drain]\nscheduled_events = true\n", "instance = true\nobey_tag = true"


def test_azures_word_at_a_boot(machine: Machine, azure: Azure) -> None:
    """By the units, of which one asks and the other may: drained from the boot on, as long as the
    event lasts, and held as long as the tag does; the status line says both."""
    machine.write(CONFIGURATION, SETTINGS.replace("[imds]", f"{DRAIN}[imds]\n{TAG}", 1))
    azure.send(PORT)
    azure.play(EVENT)
    wait_for(azure.fabric.serves_metadata, "metadata service")
    machine.boot()
    assert "by Azure's scheduled event Reboot" in machine.show("lbhook", "StatusText")
    assert machine.status()["drained"]["source"] == "scheduled event"
    assert probe(azure) == "refused"
    azure.play('[[step]]\ntag = "hold"\n')
    wait_for(azure.fabric.serves_metadata, "metadata service")
    azure.send(PORT, 8081)
    assert apply(machine, "timer") == 0
    assert probe(azure) == "open"
    assert "held since" in machine.show("lbhook-refresh", "StatusText")
    machine.power_off()
    machine.boot()
    assert "by Azure's tag lbhook: hold" in machine.show("lbhook", "StatusText")
    assert machine.firewall_ports() == {PORT}
    azure.play("[[step]]\n")
    wait_for(azure.fabric.serves_metadata, "metadata service")
    assert apply(machine, "timer") == 0
    assert machine.firewall_ports() == {PORT, 8081}
