"""docs/operate.md on booted machines: a hold, and an apply that nobody confirms."""

from __future__ import annotations

from ..lab.fabric import VM4, body, rule
from ..lab.hosts import wait_for
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine
from .test_reloads import apply

# Nothing here depends on how long it takes: the timer is systemd's.
SHORT = "3s"
QUIET = SETTINGS.replace("[imds]", '[imds]\nwait = "2s"\nwait_cached = "1s"')


def balance(azure: Azure, *ports: int) -> None:
    """Let Azure send these ports."""
    azure.fabric.answer(body(*(rule(FRONT, port, VM4, port) for port in ports)))


def up(machine: Machine, azure: Azure) -> None:
    """A machine with one rule in force, and a second one in Azure."""
    machine.write(CONFIGURATION, QUIET)
    balance(azure, 80)
    machine.boot()
    assert machine.firewall_ports() == {80}
    balance(azure, 80, 8443)


def waits(machine: Machine) -> bool:
    """Whether an apply waits for its confirmation, by the record."""
    record = "/var/lib/lbhook/unconfirmed.json"
    return machine.path(record).exists() and '"unconfirmed"' in machine.read(record)


def test_nobody_confirms(machine: Machine, azure: Azure) -> None:
    """The session has gone; systemd puts the firewall back, the serial console has it, and the
    timer does not apply it again until a person does."""
    up(machine, azure)
    script = f"exec setsid lbhook apply --confirm {SHORT} >/dev/null 2>&1 </dev/null"
    machine.run(["sh", "-c", script])
    said = "put back: nobody confirmed the apply of root"
    wait_for(lambda: said in machine.said("--unit=lbhook-revert"), "the revert", 120)
    assert machine.firewall_ports() == {80}
    wait_for(lambda: "put back: nobody confirmed" in machine.console, "the serial console", 60)
    assert apply(machine, "timer") == 0
    assert machine.status()["outcome"] == "held"
    assert machine.firewall_ports() == {80}
    machine.run(["lbhook", "apply", "--confirm", "1h"])
    assert machine.firewall_ports() == {80, 8443}
    machine.run(["lbhook", "confirm"])
    assert machine.active("lbhook-revert.timer") == "inactive"
    late = machine.run(["lbhook", "rollback", "--unconfirmed"])
    assert (late.stdout, late.stderr) == ("nothing to put back\n", "")
    assert apply(machine, "timer") == 0
    assert machine.status()["outcome"] == "unchanged"
    assert machine.firewall_ports() == {80, 8443}


def test_killed_while_it_applies(machine: Machine, azure: Azure) -> None:
    """Whatever a kill has left is settled, and what was applied by then is put back."""
    up(machine, azure)
    machine.run(["sh", "-c", f"timeout -s KILL 1.5 lbhook apply --confirm {SHORT} || true"])
    done = ("systemctl", "is-active", "lbhook-revert.timer", "lbhook-revert.service")
    wait_for(lambda: "active" not in machine.run([*done], check=False).stdout.split(), "its end")
    if waits(machine):
        # Killed before its timer was there, and so before anything was applied.
        wait_for(lambda: apply(machine, "timer") == 0 and not waits(machine), "a later run")
    else:
        assert machine.firewall_ports() == {80}


def test_a_reboot_is_no_confirmation(machine: Machine, azure: Azure) -> None:
    """Put back before there is a network, by the unit that restores; a hold goes on besides."""
    up(machine, azure)
    machine.run(["lbhook", "apply", "--confirm", "1h"])
    assert machine.firewall_ports() == {80, 8443}
    machine.kill()
    machine.boot()
    said = machine.said("--unit=lbhook-restore")
    assert "put back: nobody confirmed the apply of root" in said
    assert machine.firewall_ports() == {80}
    assert machine.status()["outcome"] == "held"
    machine.run(["lbhook", "resume"])
    assert apply(machine, "timer") == 0
    assert machine.firewall_ports() == {80, 8443}


def test_a_hold_lasts_across_a_reboot(machine: Machine, azure: Azure) -> None:
    """The boot has the firewall and the listeners of before, and nothing new."""
    up(machine, azure)
    machine.run(["lbhook", "hold", "--for", "2h", "--reason", "moving disks"])
    assert apply(machine, "timer") == 0
    machine.power_off()
    machine.boot()
    assert machine.firewall_ports() == {80}
    said = "held since"
    assert machine.status()["standstill"]["reason"] == "moving disks"
    assert said in machine.show("lbhook", "StatusText")
    refused = machine.run(["lbhook", "apply"], check=False)
    assert (refused.returncode, said in refused.stdout) == (75, True)
    machine.run(["lbhook", "resume"])
    assert "resumed by root" in machine.journal("-t", "lbhook")
    assert apply(machine, "timer") == 0
    assert machine.firewall_ports() == {80, 8443}
