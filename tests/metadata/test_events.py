"""What Azure has scheduled: the documented form, and nothing of any other."""

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbhook.errors import MetadataError
from lbhook.metadata import events, instance
from lbhook.metadata.events import Event

from ..strategies import encoded, json_values

# The sample of Microsoft's page, with a date that there is.
EVENT = {
    "EventId": "C7061BAC-AFDC-4513-B24B-AA5F13A16123",
    "EventStatus": "Scheduled",
    "EventType": "Reboot",
    "ResourceType": "VirtualMachine",
    "Resources": ["WestNO_0", "WestNO_1"],
    "NotBefore": "Mon, 19 Sep 2016 18:29:47 GMT",
    "Description": "Host server is undergoing maintenance.",
    "EventSource": "Platform",
    "DurationInSeconds": -1,
}


def body(*listed: object) -> bytes:
    """A body with these events."""
    return json.dumps({"DocumentIncarnation": 2, "Events": listed}).encode()


def test_the_documented_sample_is_read() -> None:
    """Type, time and names; the names without regard to case."""
    names = ("westno_0", "westno_1")
    expected = Event("C7061BAC-AFDC-4513-B24B-AA5F13A16123", "Reboot", 1474309787.0, names)
    assert events.parse(body(EVENT)) == ((expected,), ())
    started = {**EVENT, "EventStatus": "Started", "NotBefore": ""}
    assert events.parse(body(started)) == ((expected._replace(begins=0.0),), ())


def test_no_event_is_an_answer() -> None:
    """An empty list says that nothing is scheduled."""
    assert events.parse(body()) == ((), ())


@pytest.mark.parametrize(
    ("kind", "interrupts"),
    [
        *(("Reboot", True), ("Redeploy", True), ("Preempt", True), ("Terminate", True)),
        ("Freeze", False),
    ],
)
def test_a_freeze_interrupts_nothing(kind: str, interrupts: bool) -> None:
    """Every other type ends the VM's connections."""
    assert events.parse(body({**EVENT, "EventType": kind}))[0][0].interrupts is interrupts


def test_a_type_that_is_not_known_is_left_out() -> None:
    """And said; the events beside it count."""
    found, warnings = events.parse(body({**EVENT, "EventType": "Rekey"}, EVENT))
    assert [one.kind for one in found] == ["Reboot"]
    assert warnings == ("Events[0].EventType: 'Rekey' is not known; it is left out",)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"EventId": "x;\nlisten 1;"}, "Events[0].EventId: 'x;\\nlisten 1;' is nothing that"),
        ({"EventId": 5}, "Events[0].EventId: 5 is nothing that Azure gives"),
        ({"EventType": ["Reboot"]}, "Events[0].EventType: a list is nothing that Azure gives"),
        ({"EventStatus": "Completed"}, "Events[0].EventStatus: 'Completed' is neither Scheduled"),
        ({"Resources": "WestNO_0"}, "Events[0].Resources: 'WestNO_0' is not a list of names"),
        ({"Resources": ["a b"]}, "Events[0].Resources: a list is not a list of names"),
        ({"Resources": [7]}, "Events[0].Resources: a list is not a list of names"),
        ({"NotBefore": "soon"}, "Events[0].NotBefore: 'soon' is no time"),
        ({"NotBefore": ""}, "Events[0].NotBefore: '' is no time"),
        ({"NotBefore": "Mon, 99 Sep 2016 18:29:47 GMT"}, "Events[0].NotBefore: 'Mon, 99 Sep"),
    ],
)
def test_what_is_not_of_that_form_is_refused_whole(changed: dict[str, Any], problem: str) -> None:
    """With its place; the sound event beside it does not count either."""
    with pytest.raises(MetadataError) as raised:
        events.parse(body({**EVENT, **changed}, EVENT))
    assert raised.value.problems[0].startswith(problem)


def test_whose_an_event_is_must_be_known() -> None:
    """Of one that interrupts, and of one that can't be read: it may be this VM's, or not."""
    assert not events.takes_a_name(body())
    assert not events.takes_a_name(body({**EVENT, "EventType": "Freeze"}))
    assert events.takes_a_name(body(EVENT))
    assert events.takes_a_name(body({**EVENT, "NotBefore": "soon"}))


@pytest.mark.parametrize("mine", ["vm-7", "VM-7"])
def test_an_event_of_others_that_cant_be_read_is_left_out(mine: str) -> None:
    """With each of its problems; one that has this VM's name is refused."""
    odd = {**EVENT, "NotBefore": "soon", "Resources": ["a b"]}
    found, warnings = events.parse(body(EVENT, odd), mine)
    assert len(found) == 1
    assert [one.partition(":")[0] for one in warnings] == [
        "Events[1].NotBefore",
        "Events[1].Resources",
    ]
    with pytest.raises(MetadataError):
        events.parse(body({**odd, "Resources": ["a b", "vm-7"]}), mine)


@pytest.mark.parametrize(
    "listed",
    [b"[]", b"{}", b'{"Events": null}', b'{"Events": {}}', b'{"error": "x"}', b"<html>", b"null"],
)
def test_what_has_no_list_is_refused(listed: bytes) -> None:
    """Absent is not empty."""
    with pytest.raises(MetadataError):
        events.parse(listed)


@pytest.mark.parametrize("value", [None, 5, "x", []])
def test_an_event_that_is_none_is_refused(value: object) -> None:
    """And nothing else happens."""
    with pytest.raises(MetadataError):
        events.parse(body(value))


def test_more_events_than_there_can_be_are_refused() -> None:
    """A list of thousands is not Azure's."""
    with pytest.raises(MetadataError):
        events.parse(body(*[EVENT] * 1001))


def compute(**keys: object) -> bytes:
    """A body of /metadata/instance."""
    return json.dumps({"compute": keys}).encode()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"tagsList": [{"name": "lbhook", "value": "hold"}]}, "hold"),
        ({"tagsList": [{"name": "LBHook", "value": " Drain "}]}, "drain"),
        ({"tagsList": []}, ""),
        ({"tagsList": [{"name": "other", "value": "hold"}]}, ""),
        ({"tags": ""}, ""),
        ({"tagsList": [{"name": "lbhook", "value": "hodl"}]}, None),
        ({"tagsList": [{"name": "lbhook", "value": 5}]}, None),
        ({"tagsList": [{"name": "lbhook", "value": "hold\n; drain"}]}, None),
        ({"tagsList": [{"name": n, "value": "hold"} for n in ("lbhook", "LBHOOK")]}, None),
        # The string can't be told apart: a tag `x` with the value `y;lbhook:hold` looks the same.
        ({"tags": "x:y;lbhook:hold"}, None),
        ({}, None),
        ({"tagsList": None}, None),
        ({"tagsList": {"lbhook": "hold"}}, None),
    ],
)
def test_what_the_tag_says(keys: dict[str, object], said: str | None) -> None:
    """A known word, no tag, or nothing that can be gone by."""
    assert instance.lever(compute(**keys)) == said


@pytest.mark.parametrize("listed", [b"[]", b"{}", b'{"compute": 5}', b"null"])
def test_half_a_body_tells_nothing_of_the_tag(listed: bytes) -> None:
    """That the tag is missing there does not mean that it is gone."""
    assert instance.lever(listed) is None
    assert instance.name(listed) == ""


def test_the_name_is_that_of_the_instance() -> None:
    """In a scale set as events have it."""
    assert instance.name(compute(name="vmss_3", vmScaleSetName="vmss")) == "vmss_3"
    assert instance.name(compute(name="a b")) == ""


@given(st.one_of(st.binary(max_size=200), json_values().map(encoded)))
def test_anything_else_is_refused_as_it_should_be(listed: bytes) -> None:
    """Whatever comes: events, or one kind of error."""
    with contextlib.suppress(MetadataError):
        events.parse(listed)
    with contextlib.suppress(MetadataError):
        assert instance.lever(listed) in (None, "", "hold", "drain")


@given(st.fixed_dictionaries({key: st.one_of(st.just(EVENT[key]), json_values()) for key in EVENT}))
def test_no_other_text_gets_through(value: dict[str, object]) -> None:
    """Of an event that is spoilt anywhere there is left what is of the documented form, or none."""
    with contextlib.suppress(MetadataError):
        for one in events.parse(body(value))[0]:
            assert re.fullmatch(r"[0-9A-Za-z-]+", one.id, re.ASCII)
            assert one.kind in (*events.INTERRUPTING, "Freeze")
            assert all(re.fullmatch(r"[a-z0-9_.()-]+", name, re.ASCII) for name in one.names)
