"""Azure's word: a tag and scheduled events move the levers, and leave an operator's alone."""

import contextlib
import json
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest

from lbhook.context import Options, Reporter
from lbhook.errors import BusyError, UsageError
from lbhook.imds.answer import Answer, Fetched
from lbhook.levers import standstill
from lbhook.levers.azure import AzuresLevers
from lbhook.levers.drain import Drain
from lbhook.levers.standstill import Hold
from lbhook.memory.drains import Drained
from lbhook.runs.undo import Undo
from lbhook.runs.update import Update

from ..stand import NO_ENV, Stand, body, target

NOW = 1_790_000_000.0
BOTH = "instance = true\nobey_tag = true\n[drain]\nscheduled_events = true\n"
CONFIG = BOTH + NO_ENV + target("one")
NEITHER = NO_ENV + target("one")
ID = "C7061BAC-AFDC-4513-B24B-AA5F13A16123"
GONE: tuple[dict[str, object], ...] = ()
QUIET: dict[str, object] = {"tagsList": []}


def event(kind: str = "Reboot", after: float = 600.0, **keys: object) -> dict[str, object]:
    """An event of this VM that begins so many seconds after NOW."""
    return {
        "EventId": ID,
        "EventType": kind,
        "EventStatus": "Scheduled",
        "Resources": ["vmss_2", "VMSS_3"],
        "NotBefore": formatdate(NOW + after, usegmt=True),
        **keys,
    }


def heard(
    events: tuple[dict[str, object], ...] | bytes | None,
    compute: Mapping[str, object] | None = None,
    *,
    news: bool = True,
) -> Fetched:
    """An answer with such events and such tags; None: it does not say."""
    said = events if isinstance(events, bytes | None) else json.dumps({"Events": events}).encode()
    instance = json.dumps({"compute": {"name": "vmss_3", **(compute or {})}}).encode()
    answer = Answer(metadata=None, source="imds", attempts=1, instance=instance)
    return Fetched(answer, None, 1.0, news=news, events=said)


def tagged(value: str) -> dict[str, object]:
    """What IMDS says of a VM with this tag."""
    return {"tagsList": [{"name": "lbhook", "value": value}]}


def heed(stand: Stand, fetched: Fetched | None, config: str = CONFIG, now: float = NOW) -> Any:
    """Obey an answer, and return the drain that is in force then."""
    context = stand.context(stand.settings(config))
    assert AzuresLevers(context, lambda: now).heed(fetched) is None
    return Drain(context).known()


def draining(stand: Stand) -> Drain:
    """What an operator drains with."""
    return Drain(stand.context(stand.settings(CONFIG)), lambda: NOW)


@pytest.mark.parametrize("kind", ["Reboot", "Redeploy", "Preempt", "Terminate"])
def test_an_event_drains_and_its_end_undrains(stand: Stand, kind: str) -> None:
    """It says whose word it is, and for what."""
    drained = heed(stand, heard((event(kind),), QUIET))
    assert drained.text == (f"drained since 2026-09-21 14:13 UTC by Azure's scheduled event {kind}")
    assert (drained.source, drained.events, drained.persist) == ("scheduled event", (ID,), False)
    assert drained.to_json()["source"] == "scheduled event"
    started = event(kind, EventStatus="Started", NotBefore="")
    stand.runner.taken()
    assert heed(stand, heard((started,), QUIET)) == drained
    assert stand.runner.taken() == []
    assert heed(stand, heard(GONE, QUIET)) is None
    assert stand.warnings[-1] == (
        "Azure's scheduled event is over: health probes are answered again"
    )


@pytest.mark.parametrize(
    "listed",
    [
        event("Freeze"),
        event(Resources=["vmss_2", "vmss_30"]),
        event(Resources=[]),
        event(after=901.0),
        event("Recalibrate"),
    ],
    ids=["Freeze", "another VM", "nobody", "days away", "unknown"],
)
def test_what_does_not_drain(stand: Stand, listed: dict[str, object]) -> None:
    """A pause, another VM's event, one that is far away, and one that nobody knows."""
    assert heed(stand, heard((listed,), QUIET)) is None


def test_one_that_was_far_away_drains_in_time(stand: Stand) -> None:
    """A quarter of an hour before it, and whatever becomes of the clock then."""
    later = heard((event(after=86400.0),), QUIET)
    assert heed(stand, later) is None
    assert heed(stand, later, now=NOW + 86400.0 - 900.0)
    assert heed(stand, later)
    assert heed(stand, later, now=0.0)


@pytest.mark.parametrize(
    "events", [None, b"<html>", b'{"Events": null}', b'{"error": "not now"}'], ids=str
)
def test_what_is_not_said_moves_nothing(stand: Stand, events: bytes | None) -> None:
    """Neither begins nor ends a drain."""
    assert heed(stand, heard(events, QUIET)) is None
    drained = heed(stand, heard((event(),), QUIET))
    assert heed(stand, heard(events, QUIET)) == drained
    assert heed(stand, heard((event(), {**event(), "EventStatus": "?"}), QUIET)) == drained


def test_a_neighbours_event_that_cant_be_read_counts_for_nothing(stand: Stand) -> None:
    """It keeps this VM's own neither from draining nor from being over; and it is named."""
    odd = event(EventId="other", Resources=["vmss_2", "a b"], NotBefore="soon")
    assert heed(stand, heard((odd, event()), QUIET)).events == (ID,)
    assert heed(stand, heard((odd,), QUIET)) is None
    left = "Events[0].NotBefore: 'soon' is no time; it is not this VM's, and left out"
    assert f"/metadata/scheduledevents: {left}" in stand.warnings


@pytest.mark.parametrize("names", [["VMSS_3", "a b"], ["vmss_2", 7], "vmss_2", None])
def test_one_that_may_be_this_vms_is_read_strictly(stand: Stand, names: object) -> None:
    """Of half of it nothing follows: what was in force stays."""
    drained = heed(stand, heard((event(),), QUIET))
    odd = event(EventId="other", Resources=names, NotBefore="soon")
    assert heed(stand, heard((odd,), QUIET)) == drained


def test_without_the_vms_name_nothing_follows(stand: Stand) -> None:
    """Whose event it is can't be told."""
    assert heed(stand, heard((event(),), {"name": "", **QUIET})) is None
    assert "/metadata/scheduledevents: the VM's name is not known; nothing follows from it" in (
        stand.warnings
    )


def test_an_answer_from_elsewhere_moves_nothing(stand: Stand) -> None:
    """A body from a file, or the last good answer, is no news."""
    assert heed(stand, heard((event(),), tagged("drain"), news=False)) is None
    assert heed(stand, None) is None


def test_an_operators_drain_is_not_ended_by_an_events_end(stand: Stand) -> None:
    """Nor does an event take its place."""
    mine = draining(stand).begin("ann", reason="disk")
    assert heed(stand, heard((event(),), QUIET)) == mine
    assert heed(stand, heard(GONE, QUIET)) == mine


def test_an_operator_takes_over_an_events_drain(stand: Stand) -> None:
    """From then on it is the operator's, with its time."""
    since = heed(stand, heard((event(),), QUIET)).since
    draining(stand).begin("ann")
    drained = heed(stand, heard(GONE, QUIET))
    assert (drained.by, drained.since, drained.source) == ("ann", since, "operator")


def test_an_operator_who_took_over_waives_the_event_too(stand: Stand) -> None:
    """`undrain` means it: the event that had drained the VM does not drain it again."""
    heed(stand, heard((event(),), QUIET))
    draining(stand).begin("ann")
    draining(stand).end()
    assert heed(stand, heard((event(),), QUIET)) is None


def test_undrain_waives_an_event(stand: Stand) -> None:
    """The timer does not drain for it again, nor does a boot; for another event it does."""
    one, other = event(), event(EventId="other")
    heed(stand, heard((one,), QUIET))
    draining(stand).end()
    assert heed(stand, heard((one,), QUIET)) is None
    stand.boot_id = "boot-2"
    assert heed(stand, heard((one,), QUIET)) is None
    assert heed(stand, heard((one, other), QUIET)).events == ("other",)
    assert heed(stand, heard((one,), QUIET)) is None
    heed(stand, heard((other,), QUIET))
    assert heed(stand, heard((one,), QUIET)).events == (ID,)  # it was gone meanwhile


def test_undrain_while_a_run_obeys_comes_before_or_after(stand: Stand) -> None:
    """What an operator ends, no run begins again that was deciding meanwhile."""
    heed(stand, heard((event(),), QUIET))
    ended = []

    def deciding() -> float:
        with contextlib.suppress(BusyError):
            ended.append(draining(stand).end())
        return NOW

    listed = heard((event(), event(EventId="other")), QUIET)
    context = stand.context(stand.settings(CONFIG))
    assert AzuresLevers(context, deciding).heed(listed) is None
    known = Drain(context).known()
    assert not (ended and known and ID in known.events)
    draining(stand).end()
    assert heed(stand, listed) is None


def test_a_tag_drains_until_it_goes(stand: Stand) -> None:
    """It outlasts a reboot, since the tag does; Azure's word alone ends it."""
    drained = heed(stand, heard(GONE, tagged("drain")))
    assert drained.text == "drained since 2026-09-21 14:13 UTC by Azure's tag lbhook: drain"
    assert (drained.source, drained.persist) == ("tag", True)
    with pytest.raises(UsageError, match=r"undrain: drained since .* by Azure's tag") as raised:
        draining(stand).end()
    assert raised.value.hint == "take the tag from the VM in Azure: the next run ends it"
    for unclear in ({}, tagged("dran"), {"tagsList": None}):
        assert heed(stand, heard(GONE, unclear)) == drained
    assert heed(stand, heard(GONE, QUIET)) is None


def test_an_event_takes_over_where_the_tag_goes(stand: Stand) -> None:
    """And the other way round; the VM is in rotation at no time between."""
    heed(stand, heard((event(),), tagged("drain")))
    assert heed(stand, heard((event(),), QUIET)).source == "scheduled event"
    assert heed(stand, heard((event(),), tagged("drain"))).source == "tag"
    assert heed(stand, heard(GONE, tagged("drain"))).source == "tag"


def test_a_tag_holds_until_it_goes(stand: Stand) -> None:
    """`resume` says what to do, and ends the operator's own hold all the same."""
    context = stand.context(stand.settings(CONFIG))
    heed(stand, heard(GONE, tagged("hold")))
    found = standstill.in_force(context.host.state)
    assert found
    assert found.text == "held since 2026-09-21 14:13 UTC by Azure's tag lbhook: hold"
    lever = Hold(context, "ann", lambda: NOW)
    lever.begin(reason="disk")
    assert standstill.in_force(context.host.state) != found
    with pytest.raises(UsageError, match=r"resume: held since .* by Azure's tag") as raised:
        lever.end()
    assert raised.value.hint.startswith("take the tag from the VM in Azure;")
    assert standstill.in_force(context.host.state) == found
    heed(stand, heard(GONE, tagged("hodl")))
    assert standstill.in_force(context.host.state) == found
    heed(stand, heard(GONE, QUIET))
    assert standstill.in_force(context.host.state) is None


def test_what_is_switched_off_ends(stand: Stand) -> None:
    """A configuration that no longer asks for it is the operator's last word."""
    heed(stand, heard((event(),), tagged("drain")))
    assert heed(stand, None, NEITHER) is None
    heed(stand, heard((event(),), tagged("hold")))
    assert heed(stand, None, NEITHER) is None
    assert standstill.in_force(stand.host(stand.settings(NEITHER)).state) is None


def test_neither_is_obeyed_unless_it_is_configured(stand: Stand) -> None:
    """Both are off."""
    assert heed(stand, heard((event(),), tagged("drain")), NEITHER) is None
    heed(stand, heard(GONE, tagged("hold")), NEITHER)
    assert standstill.in_force(stand.host(stand.settings(NEITHER)).state) is None


def test_clean_leaves_no_word_of_azures(stand: Stand) -> None:
    """An image must not hold the machines that are made of it."""
    heed(stand, heard((event(),), tagged("hold")))
    draining(stand).end()
    Undo(stand.context(stand.settings(CONFIG))).clean()
    assert (stand.text("/var/lib/lbhook/tag.json"), stand.text("/var/lib/lbhook/waived.json")) == (
        None,
        None,
    )


def test_a_drain_that_can_not_be_is_the_runs_failure(stand: Stand) -> None:
    """A machine without nft follows Azure's rules all the same."""
    stand.find = lambda name: None if name == "nft" else f"/usr/bin/{name}"
    context = stand.context(stand.settings(CONFIG))
    error = AzuresLevers(context, lambda: NOW).heed(heard((event(),), QUIET))
    assert error
    assert error.status == 69
    assert "nft is not installed" in str(error)


def hand_over(stand: Stand, fetched: Fetched, answer: bytes) -> None:
    """What the unit that asks leaves for `apply --cached`."""
    update = stand.update(stand.settings(CONFIG), None)
    update.fetcher.hand_over(fetched._replace(body=answer, read=stand.time))


def cached(stand: Stand) -> Any:
    """The timer's apply."""
    stand.time += 1.0
    options = Options(cached=True, by_hand=False, levers=True)
    return stand.update(stand.settings(CONFIG), None, options).apply()


def test_a_late_answer_ends_no_drain(stand: Stand) -> None:
    """What a run has asked before another one drained, and obeys after it, says nothing of that."""
    config = f'stale_after = "1s"\n{CONFIG}'
    hand_over(stand, heard(GONE, QUIET), body(443))
    stand.time += 5.0
    said = []

    def meanwhile(text: str) -> None:
        said.append(text)
        if len(said) == 1:  # that the answer is old
            hand_over(stand, heard((near(),), QUIET), body(80))
            assert cached(stand).drained

    context = stand.context(stand.settings(config))._replace(
        options=Options(cached=True, by_hand=False, levers=True), reporter=Reporter(warn=meanwhile)
    )
    report = Update(context).apply()
    assert (report.outcome, stand.text("/etc/one")) == ("kept", "80\n")
    assert report.drained


def near() -> dict[str, object]:
    """An event that begins soon, by the clock of this machine."""
    return event(NotBefore=formatdate(time.time() + 600, usegmt=True))


def test_the_timer_obeys_what_was_handed_over(stand: Stand) -> None:
    """Rules and drain of one answer; the last line says both."""
    hand_over(stand, heard((near(),), QUIET), body(80))
    report = cached(stand)
    assert (report.status, stand.text("/etc/one")) == (0, "80\n")
    assert report.summary().endswith("by Azure's scheduled event Reboot")
    hand_over(stand, heard(GONE, QUIET), body(443))
    report = cached(stand)
    assert (report.drained, stand.text("/etc/one")) == (None, "443\n")


def test_under_a_hold_rules_stand_still_and_events_do_not(stand: Stand) -> None:
    """The operator's hold keeps rules; connections must be saved from a reboot all the same."""
    hand_over(stand, heard(GONE, QUIET), body(80))
    cached(stand)
    Hold(stand.context(stand.settings(CONFIG)), "ann").begin()
    hand_over(stand, heard((near(),), QUIET), body(443))
    report = cached(stand)
    assert (report.outcome, stand.text("/etc/one")) == ("held", "80\n")
    assert isinstance(report.drained, Drained)


def test_a_hold_by_tag_reads_on_and_applies_nothing(stand: Stand) -> None:
    """It sees the tag go, and then applies what is new."""
    hand_over(stand, heard(GONE, QUIET), body(80))
    cached(stand)
    for _ in range(2):
        hand_over(stand, heard(GONE, tagged("hold")), body(443))
        report = cached(stand)
        assert (report.status, report.outcome, stand.text("/etc/one")) == (0, "held", "80\n")
        assert report.to_json()["standstill"]["kind"] == "tag"
    hand_over(stand, heard(GONE, {}), body(443))
    assert cached(stand).outcome == "held"
    hand_over(stand, heard(GONE, QUIET), body(443))
    assert (cached(stand).outcome, stand.text("/etc/one")) == ("changed", "443\n")


def test_a_hold_by_tag_outlasts_a_silent_service(stand: Stand) -> None:
    """Without an answer what Azure said last stays in force, after a boot, too; by hand it is 75,
    unless --despite-hold."""
    hand_over(stand, heard(GONE, QUIET), body(80))
    cached(stand)
    hand_over(stand, heard(GONE, tagged("hold")), body(443))
    cached(stand)
    stand.boot_id = "boot-2"
    settings = stand.settings(CONFIG)
    assert stand.apply(settings, None, Options(by_hand=False, levers=True)).outcome == "held"
    report = stand.apply(settings, body(443), Options(levers=True))
    assert (report.status, report.outcome, stand.text("/etc/one")) == (75, "held", "80\n")
    report = stand.apply(settings, body(443), Options(levers=True, despite_hold=True))
    assert (report.outcome, stand.text("/etc/one")) == ("changed", "443\n")


def test_a_hold_that_comes_while_a_run_asks_counts(stand: Stand) -> None:
    """Between question and answer the lock is free; nothing new is applied after it."""
    settings = stand.settings(NEITHER)
    stand.apply(settings, body(80))

    def read() -> bytes:
        Hold(stand.context(settings), "ann").begin()
        return body(443)

    report = stand.asking(settings, read).apply()
    assert (report.status, report.outcome, stand.text("/etc/one")) == (75, "held", "80\n")


def test_a_drain_that_comes_while_a_run_asks_counts(stand: Stand) -> None:
    """The run says so in its last line, and the rules go on."""
    settings = stand.settings(NEITHER)

    def read() -> bytes:
        draining(stand).begin("ann")
        return body(443)

    report = stand.asking(settings, read).apply()
    assert (report.status, stand.text("/etc/one")) == (0, "443\n")
    assert report.summary().endswith("by ann")
