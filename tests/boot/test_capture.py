"""Images: a disk that was another VM's, with and without its state."""

from __future__ import annotations

from ..lab.fabric import VM4
from .azure import Azure
from .machine import CONFIGURATION, LISTEN, RESTING, SETTINGS, Machine

A, B = (f"{digit * 8}-2222-3333-4444-555555555555" for digit in "ab")
NFT, ENV = "/etc/nftables.d/lbhook.nft", "/run/lbhook/lb.env"
# Whoever takes A's answer for B's waits too long for a test.
IMPATIENT = SETTINGS.replace("[imds]", '[imds]\nwait = "2s"\nwait_cached = "90s"')


def built(machine: Machine, azure: Azure) -> None:
    """Let the image be made on A, whose load balancer sends port 8080; still on."""
    machine.write(CONFIGURATION, IMPATIENT)
    machine.enable("nftables.service", "sysinit.target")
    machine.identify(A)
    azure.send(8080)
    machine.boot()
    assert machine.firewall_ports() == {8080}
    assert "LB_TCP_PORTS=8080" in machine.read(ENV)


def test_state_of_another_vm(machine: Machine, azure: Azure) -> None:
    """B rests from the first moment, also while it gets no answer, and takes nothing of A for
    its own; the first answer is in force."""
    built(machine, azure)
    machine.power_off()
    machine.identify(B)
    azure.fall_silent()
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    early = machine.said("--unit=lbhook-restore")
    assert "this disk was captured from another VM" in early
    assert machine.firewall_ports() == set()
    assert "8080" not in machine.read(NFT) + machine.read(LISTEN) + machine.read(ENV)
    machine.assert_listens("127.0.0.127:10009")
    machine.run(["systemctl", "restart", "nftables"])
    assert machine.firewall_ports() == set()
    azure.speak()
    azure.send(8081)
    machine.run(["systemctl", "start", "lbhook-refresh"])
    assert azure.ask(8081) == f"{VM4}:8081"
    assert machine.firewall_ports() == {8081}
    machine.wait_for_state("lbhook", "active")
    machine.assert_sound()


def test_image_that_was_cleaned(machine: Machine, azure: Azure) -> None:
    """`lbhook clean` leaves nothing of A: B boots as if it were the first."""
    built(machine, azure)
    machine.stop_timer()
    machine.run(["lbhook", "clean"])
    assert not machine.path("/var/lib/lbhook/answer.json").exists()
    assert machine.read(LISTEN) == RESTING
    assert "8080" not in machine.read(NFT)
    assert machine.firewall_ports() == set()
    machine.power_off()
    machine.identify(B)
    azure.send(8081)
    machine.boot()
    assert azure.ask(8081) == f"{VM4}:8081"
    assert machine.firewall_ports() == {8081}
