"""The serial console: what an operator can still read when SSH is shut."""

from __future__ import annotations

import re

from ..lab.hosts import wait_for
from .azure import Azure
from .machine import Machine

# With the time before it, unless the kernel was told to leave that out. systemd's own line about a
# job that takes its time has no end, and may stand before it.
_LINE = re.compile(r"(?:\[ *\d+\.\d+\] )?lbhook\[\d+\]: (.*)")


def said(machine: Machine) -> list[str]:
    """What lbhook has on the console, without what journald puts before it: 80 columns at most."""
    found = [*_LINE.finditer(machine.console.replace("\r", "\n"))]
    assert not [one[0] for one in found if len(one[0]) > 80]
    return [one[1] for one in found]


def test_a_boot_that_is_well(machine: Machine, azure: Azure) -> None:
    """One line of each unit of a first boot, and no more: nothing is there to restore. The timer's
    runs are the journal's alone."""
    azure.send(8080)
    machine.boot()
    last = "changed: 1 inbound rule, 1 listener here"
    wait_for(lambda: last in said(machine), "the line of lbhook.service")
    assert sorted(said(machine)) == sorted(
        [
            "fetched: 1 inbound rule; handed over",
            last,
        ]
    )
    assert re.search(r"^nginx +(created|changed) ", machine.journal("--unit=lbhook"), re.M)
    azure.send(8081)
    machine.run(["systemctl", "start", "lbhook-refresh.service"])
    assert machine.firewall_ports() == {8081}
    assert said(machine).count(last) == 1


def test_a_boot_without_an_answer(machine: Machine, azure: Azure) -> None:
    """Each error and what to do about it, folded where it would not fit; the journal has the same
    lines as errors."""
    azure.fall_silent()
    machine.write("/etc/lbhook/lbhook.toml.d/wait.toml", '[imds]\nwait = "2s"\n')
    machine.boot(failed=["lbhook-fetch.service", "lbhook.service"])
    wait_for(lambda: any("failed: " in one for one in said(machine)), "the last line")
    errors = machine.journal("_COMM=lbhook", "--priority=err").splitlines()
    assert len(errors) > 2
    assert not {line.strip() for line in errors} - {line.strip() for line in said(machine)}
    whole = re.sub(r"\s+", " ", " ".join(said(machine)))
    assert "no usable answer from the metadata service" in whole
    assert "hint: " in whole
