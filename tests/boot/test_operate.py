"""docs/operate.md on booted machines: a hold, an apply that nobody confirms, a fleet restarted."""

from __future__ import annotations

import re
from pathlib import Path

from ..lab.fabric import PROBE4, VM4, body, rule
from ..lab.hosts import REPO, wait_for
from ..lab.prober import Prober
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, Machine
from .play import play
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


def test_the_page_works_as_printed(machine: Machine, azure: Azure) -> None:
    """Each command of docs/operate.md about an apply that waits does what is shown."""
    page = (REPO / "docs/operate.md").read_text(encoding="utf-8")
    section = page.split("\n## Confirm or revert\n")[1].split("\n## ")[0]
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S))
    typed = re.findall(r"^# (lbhook .*)\n((?:(?!# ).*\n)*)", blocks, re.M)
    assert [command for command, _ in typed] == ["lbhook apply --confirm 2m", "lbhook confirm"]
    up(machine, azure)
    for command, shown in typed:
        done = machine.run(["sh", "-c", f"{command} 2>&1"])
        said = " ".join(done.stdout.split())
        expected = re.escape(" ".join(shown.split())).replace(r"\.\.\.", ".*")
        assert re.fullmatch(expected, said), said
    assert machine.firewall_ports() == {80, 8443}
    assert not waits(machine)


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


def drains(machine: Machine) -> list[str]:
    """What the journal says of drains, in order."""
    said = machine.journal("-t", "lbhook", "-o", "cat")
    return re.findall(r"^(drained since|no longer drained)", said, re.M)


def test_a_fleet_is_restarted_one_after_another(
    machine: Machine, azure: Azure, tmp_path: Path
) -> None:
    """The page's playbook, word by word. The machine stands in for two VMs: the second is taken
    out of rotation only when the first is back. Where the first does not come back it stays
    drained, and the second is not touched."""
    page = (REPO / "docs/operate.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    azure.send(80)
    machine.boot()
    found = body(rule(FRONT, 80, VM4, 80))
    probes = Prober(azure.fabric, found, (VM4, 80), source=PROBE4)
    probes.wait_for(up=True)
    before = machine.show("nginx", "MainPID")

    def run() -> tuple[int, str]:
        return play(tmp_path, text, ["one", "two"], machine.entering, machine.path("/"))

    status, said = run()
    assert status == 0, said
    assert drains(machine) == ["drained since", "no longer drained"] * 2
    for up in (False, True, False, True):
        probes.wait_for(up=up, most=5000)
    assert machine.show("nginx", "MainPID") != before
    machine.write("/etc/nginx/conf.d/site.conf", "broken")
    status, said = run()
    assert status != 0
    assert "one" in said
    assert not re.search(r"^(changed|ok|fatal): \[two\]", said, re.M)
    assert drains(machine)[-1] == "drained since"
    assert len(drains(machine)) == 5


def test_the_page_has_the_example() -> None:
    """To the letter."""
    page = (REPO / "docs/operate.md").read_text(encoding="utf-8")
    example = (REPO / "examples/ansible/restart.yml").read_text(encoding="utf-8")
    assert f"```yaml\n{example}```\n" in page
