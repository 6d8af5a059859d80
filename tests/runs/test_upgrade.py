"""A machine whose state another version wrote: it boots with its firewall, follows Azure and gives
back what was there."""

import json
from pathlib import Path

import pytest

from lbhook.context import Options
from lbhook.imds.answer import Answer, Fetched
from lbhook.levers.azure import AzuresLevers
from lbhook.levers.drain import Drain
from lbhook.levers.standstill import Hold
from lbhook.runs.restoration import Restoration
from lbhook.runs.undo import Undo

from ..damage import laid
from ..program import BODIES, REPO
from ..stand import GROUP, NO_ENV, USER, Stand

STATES = sorted((REPO / "tests" / "states").glob("*.json"))
LEVERS = sorted((REPO / "tests" / "states" / "levers").glob("*.json"))
NEXT, OTHER = BODIES / "documented.json", BODIES / "floating-ip.json"
MOTD = "{% for r in lb.inbound_rules %}{{ r.frontend_port }}\n{% endfor %}\n"
OWN = f"""
[targets.motd]
template = "motd.j2"
path = "/etc/motd"
owner = "{USER}"
group = "{GROUP}"
"""
CONFIGURATION = f"""
[targets.nftables]
[targets.nginx]
vars = {{ ports = [443] }}
[targets.haproxy]
vars = {{ ports = [80], backend = "web" }}
[targets.floating-ip]
{OWN}"""
WATCHING = f"instance = true\n[drain]\nscheduled_events = true\n{NO_ENV}{OWN}"
# As the other version heard of it.
EVENT = {
    "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
    "EventType": "Reboot",
    "EventStatus": "Started",
    "Resources": ["vm"],
    "NotBefore": "",
}


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


@pytest.fixture(params=LEVERS, ids=lambda file: file.stem)
def pulled(request: pytest.FixtureRequest, tmp_path: Path) -> Stand:
    """A machine that an operator has drained and held, by another version."""
    stand = Stand(tmp_path)
    stand.template("motd.j2", MOTD)
    laid(json.loads(request.param.read_text(encoding="utf-8")), stand.disk, BOOT="boot-1")
    return stand


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
def test_its_operator_keeps_the_last_word(pulled: Stand, boot: str) -> None:
    """Drained and held it stays, in the same boot and in the next one."""
    pulled.boot_id = boot
    settings = pulled.settings(WATCHING)
    Restoration(pulled.context(settings)).carry_out()
    report = pulled.apply(settings, OTHER.read_bytes(), Options(by_hand=False))
    assert (report.status, report.outcome) == (0, "held")
    assert report.standstill
    assert report.standstill.text == "held since 2026-11-29 14:51 UTC by root: release"
    assert report.drained
    assert report.drained.text == "drained since 2026-11-29 14:51 UTC by root: new disk"
    assert pulled.text("/etc/motd") == "80\n80\n"


def test_its_operator_ends_both(pulled: Stand) -> None:
    """Azure is followed again; for the event that was waived it is not drained again."""
    settings = pulled.settings(WATCHING)
    context = pulled.context(settings)
    assert Hold(context, "ann").end()
    assert Drain(context).end()
    assert pulled.apply(settings, OTHER.read_bytes()).outcome == "changed"
    assert pulled.text("/etc/motd") == "80\n99\n"
    named = json.dumps({"compute": {"name": "vm"}}).encode()
    answer = Answer(metadata=None, source="imds", attempts=1, instance=named)
    for event, drained in ((EVENT, False), ({**EVENT, "EventId": "another"}, True)):
        listed = json.dumps({"Events": [event]}).encode()
        heard = Fetched(answer, None, 1.0, news=True, events=listed)
        assert AzuresLevers(context).heed(heard) is None
        assert bool(Drain(context).known()) is drained
