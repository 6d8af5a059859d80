"""A machine whose state another version wrote: it boots with its firewall, follows Azure and gives
back what was there."""

import json
from pathlib import Path

import pytest

from lbhook.runs.restoration import Restoration
from lbhook.runs.undo import Undo

from ..damage import laid
from ..program import BODIES, REPO
from ..stand import GROUP, USER, Stand

STATES = sorted((REPO / "tests" / "states").glob("*.json"))
NEXT = BODIES / "documented.json"
MOTD = "{% for r in lb.inbound_rules %}{{ r.frontend_port }}\n{% endfor %}\n"
CONFIGURATION = f"""
[targets.nftables]
[targets.nginx]
vars = {{ ports = [443] }}
[targets.haproxy]
vars = {{ ports = [80], backend = "web" }}
[targets.floating-ip]
[targets.motd]
template = "motd.j2"
path = "/etc/motd"
owner = "{USER}"
group = "{GROUP}"
"""


@pytest.fixture(params=STATES, ids=lambda file: file.stem)
def stand(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    """A machine in a state of the past; of its programs, those of the firewall are there."""
    stand = Stand(tmp_path, find=lambda name: "/usr/sbin/nft" if name == "nft" else None)
    stand.template("motd.j2", MOTD)
    laid(json.loads(request.param.read_text(encoding="utf-8")), stand.disk, BOOT="boot-1")
    return stand


def test_it_boots_with_its_firewall(stand: Stand) -> None:
    """Before there is a network, from the last good answer that the other version kept."""
    stand.boot_id = "boot-2"
    settings = stand.settings(CONFIGURATION)
    report = Restoration(stand.context(settings)).carry_out()
    assert (report.status, report.problems, stand.warnings) == (0, (), [])
    loaded = [argv for argv in stand.runner.calls if argv[:2] == ("nft", "-f")]
    assert any("/etc/nftables.d/lbhook.nft" in argv[2] for argv in loaded), stand.runner.calls


def test_it_follows_azure_in_the_same_boot(stand: Stand) -> None:
    """As an upgrade does without a reboot; the second run finds it in step."""
    settings = stand.settings(CONFIGURATION)
    stand.time = 100_000.0  # long after the answer that the other version applied
    assert stand.apply(settings, NEXT.read_bytes()).status == 0
    again = stand.apply(settings, NEXT.read_bytes())
    assert (again.status, again.outcome) == (0, "unchanged")
    assert not [one for one in stand.warnings if ".json" in one]
    assert stand.text("/etc/motd") == "80\n80\n"


def test_it_is_cleaned(stand: Stand) -> None:
    """What was there before the other version is there again."""
    report = Undo(stand.context(stand.settings(CONFIGURATION))).clean()
    assert (report.status, report.problems) == (0, ())
    assert stand.text("/etc/motd") == "welcome\n"
    assert not list((stand.disk / "var/lib/lbhook").glob("*"))
