"""What the emulator has scheduled, and the tag that it gives the VM."""

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

import pytest

from lbhook.emulator.playbook import Playbook, load, parse
from lbhook.emulator.server import Emulator
from lbhook.errors import ConfigError
from lbhook.metadata import events, instance

EVENTS = "/metadata/scheduledevents?api-version=2020-07-01"
INSTANCE = "/metadata/instance?api-version=2020-10-01"


@dataclass
class Clock:
    """A clock that only the test moves."""

    now: float = 1000.0

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def ask(imds: Emulator, path: str) -> bytes:
    """What a path says."""
    request = urllib.request.Request(f"{imds.url}{path}", headers={"Metadata": "true"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said: bytes = answer.read()
    return said


def playing(text: str) -> Emulator:
    """An emulator with one step that goes on for ever."""
    return Emulator(playbook=parse(f"[[step]]\n{text}"), limit=None)


def test_the_shipped_playbook() -> None:
    """Nothing, an event of this VM that is a quarter of an hour away, its beginning, nothing; the
    incarnation grows."""
    clock = Clock()
    with Emulator(playbook=load("scheduled-events"), limit=None, clock=clock) as imds:
        mine = instance.name(ask(imds, INSTANCE)).lower()
        found, numbers = [], []
        for _ in range(4):
            body = ask(imds, EVENTS)
            numbers.append(json.loads(body)["DocumentIncarnation"])
            found.append(events.parse(body)[0])
            clock.now += 20.0
    assert [len(one) for one in found] == [0, 1, 1, 0]
    (announced,), (begun,) = found[1:3]
    assert (announced.kind, announced.names, announced.id) == ("Reboot", (mine,), begun.id)
    assert 800.0 < announced.begins - time.time() <= 900.0
    assert begun.begins == 0.0
    assert numbers == [1, 2, 3, 4]


def test_an_event_in_all_its_keys() -> None:
    """Whose it is may be said, too."""
    keys = 'type = "Preempt", notice = "30s", id = "AB-1", names = ["vmss_3", "vmss_4"]'
    with playing(f"events = [{{ {keys} }}, {{}}]") as imds:
        (first, second), _ = events.parse(ask(imds, EVENTS))
    assert (first.kind, first.id, first.names) == ("Preempt", "AB-1", ("vmss_3", "vmss_4"))
    assert second.kind == "Reboot"


@pytest.mark.parametrize(
    ("query", "status"),
    [("api-version=2019-08-01", 200), ("api-version=2020-10-01", 400), ("", 400)],
)
def test_it_has_versions_of_its_own(query: str, status: int) -> None:
    """Those of Microsoft's page, and no others."""
    with playing("") as imds:
        try:
            ask(imds, f"/metadata/scheduledevents?{query}")
            found = 200
        except urllib.error.HTTPError as error:
            found = error.code
    assert found == status


@pytest.mark.parametrize("value", ["hold", "drain"])
def test_a_tag(value: str) -> None:
    """Beside those that the VM has, in both forms; without one there is none."""
    with playing(f'tag = "{value}"') as imds:
        body = ask(imds, INSTANCE)
        assert instance.lever(body) == value
        compute: dict[str, Any] = json.loads(body)["compute"]
        assert compute["tags"].endswith(f"lbhook:{value}")
        assert len(compute["tagsList"]) > 1
    with Emulator(playbook=Playbook(), limit=None) as imds:
        assert instance.lever(ask(imds, INSTANCE)) == ""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('events = [{ type = "Reebot" }]', "step[0].events[0].type"),
        ('events = [{ kind = "Reboot" }]', "step[0].events[0].kind: unknown key"),
        ('events = [{ status = "Completed" }]', "step[0].events[0].status"),
        ('events = [{ notice = "soon" }]', "step[0].events[0].notice"),
        ("events = [5]", "step[0].events[0]"),
        ('events = "Reboot"', "step[0].events"),
        ("tag = 5", "step[0].tag"),
    ],
)
def test_what_a_playbook_can_not_have(text: str, problem: str) -> None:
    """With its place."""
    with pytest.raises(ConfigError) as raised:
        parse(f"[[step]]\n{text}\n")
    assert problem in "\n".join(raised.value.problems)
