"""The doctor, on machines that run: nothing to find where all is well, and what is not well."""

from __future__ import annotations

import json

from .azure import Azure
from .machine import CONFIGURATION, Machine
from .test_boot import IMPATIENT


def found(machine: Machine) -> set[str]:
    """What is wrong, by the doctor."""
    done = machine.run(["lbhook", "doctor", "--json", "--wait", "1s"], check=False)
    findings = json.loads(done.stdout)["findings"]
    wrong = {one["text"] for one in findings if one["level"] == "wrong"}
    assert done.returncode == bool(wrong)
    return wrong


def test_a_machine_that_is_well(machine: Machine, azure: Azure) -> None:
    """Nothing is wrong after a boot."""
    azure.send(8080)
    machine.boot()
    assert found(machine) == set()


def test_units_that_do_not_do_their_work(machine: Machine, azure: Azure) -> None:
    """Stopped, not enabled, masked."""
    azure.send(8080)
    machine.boot()
    machine.run(["systemctl", "stop", "lbhook-refresh.timer"])
    machine.run(["systemctl", "disable", "lbhook.service"])
    machine.run(["systemctl", "mask", "lbhook-fetch.service"])
    assert found(machine) == {
        "lbhook-refresh.timer does not run: a rule added later in Azure is not seen",
        "lbhook.service is not enabled: nothing is applied at boot",
        "lbhook-fetch.service is masked: lbhook does not ask Azure",
    }


def test_units_that_wait_for_each_other(machine: Machine, azure: Azure) -> None:
    """A circle that systemd would break at the next boot, by leaving one of them out."""
    azure.send(8080)
    machine.boot()
    machine.drop_in("lbhook.service", "[Unit]\nAfter=nginx.service\n")
    (circle,) = found(machine)
    assert circle.startswith("the units have an ordering cycle: ")


def test_units_that_have_failed(machine: Machine, azure: Azure) -> None:
    """With the reason: nobody answers."""
    azure.fall_silent()
    machine.write(CONFIGURATION, IMPATIENT)
    failed = ["lbhook-fetch.service", "lbhook.service"]
    machine.boot(failed=failed)
    wrong = found(machine)
    assert {f"{name} has failed" for name in failed} <= wrong
    assert any("no usable answer" in one for one in wrong)
