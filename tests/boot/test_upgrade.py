"""A machine whose state an earlier build wrote: it boots with its firewall."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ..program import REPO
from .azure import Azure
from .machine import CONFIGURATION, SETTINGS, Machine

STATES = sorted((REPO / "tests" / "states").glob("*.json"))
# As tests/states/README.md has it.
UUID = "11111111-2222-3333-4444-555555555555"
FIREWALL = "etc/nftables.d/lbhook.nft"
IMPATIENT = SETTINGS.replace("[imds]", '[imds]\nwait_cached = "1s"')


@pytest.mark.parametrize("image", ["trixie"], indirect=True)
@pytest.mark.parametrize("state", STATES, ids=lambda file: file.stem)
def test_it_boots_with_its_firewall(machine: Machine, azure: Azure, state: Path) -> None:
    """While Azure is silent: before there is a network, by the answer that the other build kept.
    What is in /run was lost with the boot."""
    files = json.loads(state.read_text(encoding="utf-8"))
    for path, text in files.items():
        if path.startswith(("etc/", "var/lib/")):
            machine.write(f"/{path}", text)
    machine.write(CONFIGURATION, IMPATIENT)
    # One of its targets is a user's own, as docs/units.md has it.
    machine.drop_in("lbhook.service", "[Service]\nReadWritePaths=/etc\n")
    machine.identify(UUID)
    azure.fall_silent()
    machine.boot(failed=["lbhook-fetch.service"])
    wanted = {int(port) for port in re.findall(r" (?:tcp|udp) \. (\d+)", files[FIREWALL])}
    assert wanted
    assert machine.firewall_ports() == wanted
    assert "(reload done)" in machine.said("--unit=lbhook-restore")
    assert machine.status()["status"] == 0
