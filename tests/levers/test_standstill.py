"""A hold: nothing new is applied, whatever Azure says, until somebody lets it."""

import pytest

from lbhook.config.settings import Settings
from lbhook.context import Options
from lbhook.deployment.report import Report
from lbhook.errors import LbhookError, UsageError
from lbhook.levers import standstill
from lbhook.levers.standstill import Hold
from lbhook.memory.records import Standstill
from lbhook.runs.undo import Undo

from ..stand import NO_ENV, Stand, body, contents, outcomes, target

ONE = NO_ENV + target("one")
UNIT = Options(by_hand=False)
NOON = 1_800_000_000.0


def lever(stand: Stand, now: float = NOON) -> Hold:
    """The hold of the stand, at a time."""
    return Hold(stand.context(stand.settings(ONE)), "anna", lambda: now)


def in_force(stand: Stand, now: float = NOON) -> Standstill | None:
    """What makes the stand stand still at a time."""
    return standstill.in_force(stand.host(stand.settings(ONE)).state, lambda: now)


def held(stand: Stand) -> Settings:
    """A machine with one rule, held without end."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80))
    lever(stand).begin(reason="moving disks")
    stand.runner.taken()
    return settings


def refused(report: Report) -> tuple[object, ...]:
    """What a person is told who applies while the machine is held."""
    return report.status, report.outcome, report.problems, report.hint


def test_the_timer_applies_nothing_new(stand: Stand) -> None:
    """It ends well, says why, and asks nobody."""
    settings = held(stand)
    before = contents(stand.disk, without=("run/lbhook",))
    report = stand.apply(settings, body(443), UNIT)
    assert (report.status, report.outcome) == (0, "held")
    assert report.summary() == "held since 2027-01-15 08:00 UTC by anna: moving disks"
    assert contents(stand.disk, without=("run/lbhook",)) == before
    assert stand.runner.taken() == []
    assert report.to_json()["standstill"] == {
        "kind": "hold",
        "since": "2027-01-15T08:00:00Z",
        "until": None,
        "by": "anna",
        "reason": "moving disks",
    }


def test_what_is_missing_comes_back(stand: Stand) -> None:
    """As it was in force, not as Azure has it by now."""
    settings = held(stand)
    stand.update(settings, None).fetcher.last_good.keep(body(80))
    (stand.disk / "etc/one").unlink()
    report = stand.apply(settings, body(443), UNIT)
    assert (report.status, outcomes(report)) == (0, {"one": ("restored", "done")})
    assert stand.text("/etc/one") == "80\n"


def test_a_boot_restores_and_applies_nothing_new(stand: Stand) -> None:
    """The reload that a boot owes is made; the new rule is not."""
    settings = held(stand)
    stand.boot_id = "boot-2"
    report = stand.apply(settings, body(443), UNIT)
    assert (report.outcome, outcomes(report)) == ("held", {"one": ("unchanged", "done")})
    assert stand.text("/etc/one") == "80\n"


def test_by_hand_it_takes_an_option(stand: Stand) -> None:
    """Without it 75; with it the hold goes on for all others."""
    settings = held(stand)
    report = stand.apply(settings, body(443))
    hint = "`lbhook resume` ends the hold; `lbhook apply --despite-hold` applies once"
    assert refused(report) == (75, "held", ("nothing new was applied",), hint)
    report = stand.apply(settings, body(443), Options(despite_hold=True))
    assert (report.outcome, stand.text("/etc/one")) == ("changed", "443\n")
    assert stand.apply(settings, body(80), UNIT).outcome == "held"


def test_resume(stand: Stand) -> None:
    """The next run applies; a second time there is nothing to end."""
    settings = held(stand)
    ended = lever(stand).end()
    assert ended
    assert ended.reason == "moving disks"
    assert lever(stand).end() is None
    assert stand.apply(settings, body(443), UNIT).outcome == "changed"


def test_it_ends_by_itself(stand: Stand) -> None:
    """At its time, and for a clock that goes back it is there again."""
    hold = lever(stand).begin(until=lever(stand).end_of(7200.0, None))
    assert hold.text == "held since 2027-01-15 08:00 UTC by anna until 2027-01-15 10:00 UTC"
    assert in_force(stand, NOON + 7199) == hold
    assert in_force(stand, NOON + 7200) is None
    assert in_force(stand, NOON - 900) == hold


def test_a_second_hold_takes_the_place_of_the_first(stand: Stand) -> None:
    """With its own end and reason."""
    held(stand)
    lever(stand, NOON + 60).begin(until=NOON + 3600, reason="still moving")
    found = in_force(stand, NOON + 61)
    assert found
    assert (found.since, found.reason) == (NOON + 60, "still moving")


@pytest.mark.parametrize(
    ("printed", "status", "end"),
    [("1800003600\n", 0, NOON + 3600), ("date: invalid date\n", 1, None)],
)
def test_a_time_is_read_by_date(stand: Stand, printed: str, status: int, end: object) -> None:
    """date(1) knows what people write; what it does not know is no time."""
    stand.runner.answers = lambda argv: (status, printed) if argv[0] == "date" else None
    if end:
        assert lever(stand).end_of(None, "9 o'clock") == end
        assert stand.runner.taken() == ["date --date=9 o'clock +%s"]
        return
    with pytest.raises(UsageError, match='--until "9 o\'clock" is no time'):
        lever(stand).end_of(None, "9 o'clock")


def test_a_time_that_is_past(stand: Stand) -> None:
    """Nothing is held, and the remedy is named."""
    with pytest.raises(UsageError, match="that time is past"):
        lever(stand).begin(until=NOON - 1)
    assert in_force(stand) is None


def test_a_disk_that_takes_nothing(stand: Stand) -> None:
    """A hold that could not be written down is none, and says so."""
    (stand.disk / "var/lib").mkdir(parents=True)
    (stand.disk / "var/lib/lbhook").write_text("in the way", encoding="ascii")
    with pytest.raises(LbhookError) as raised:
        lever(stand).begin()
    assert raised.value.status == 73


def test_clean_ends_it(stand: Stand) -> None:
    """An image that is captured must not hold the machines that are made of it."""
    settings = held(stand)
    Undo(stand.context(settings)).clean()
    assert in_force(stand) is None


def test_another_vms_hold_counts_for_nothing(stand: Stand) -> None:
    """A disk that was captured without `clean` follows its new VM."""
    settings = held(stand)
    stand.update(settings, None).fetcher.last_good.keep(body(80))
    (stand.place / "uuid").write_text("99999999-2222-3333-4444-555555555555\n", encoding="ascii")
    assert stand.apply(settings, body(443), UNIT).outcome == "changed"


def test_texts() -> None:
    """What every command says of each kind."""
    one = Standstill(kind="unconfirmed", since=NOON, by="anna", until=NOON + 120)
    assert one.text == (
        "unconfirmed: the apply of anna, 2027-01-15 08:00 UTC, is put back at 2027-01-15 08:02 UTC"
    )
    assert one._replace(kind="reverted", until=0.0).text == (
        "put back: nobody confirmed the apply of anna, 2027-01-15 08:00 UTC"
    )
