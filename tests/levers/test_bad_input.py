"""What a person, a disk or a clock can do wrong to the levers: nothing is lost, and it is said."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from lbhook.context import Context, Options
from lbhook.errors import BusyError, LbhookError, RightsError, WriteError
from lbhook.levers import standstill
from lbhook.levers.azure import AzuresLevers
from lbhook.levers.drain import Drain
from lbhook.levers.standstill import Hold
from lbhook.runs.unconfirmed import Unconfirmed
from lbhook.storage.files import Tree

from ..program import Desk, run_lbhook
from ..stand import Stand, altered, body, contents
from .test_azure import CONFIG, GONE, QUIET, cached, event, hand_over, heard, tagged

NOW = 1_790_000_000.0
# What leaves the state directory alone, and what each lever is called with.
LEVERS: dict[str, Callable[[Context], object]] = {
    "drain": lambda context: Drain(context).begin("ann"),
    "undrain": lambda context: Drain(context).end(),
    "hold": lambda context: Hold(context, "ann").begin(),
    "resume": lambda context: Hold(context, "ann").end(),
    "apply --confirm": lambda context: Unconfirmed(context, "ann", ("true",)).begin(120.0),
    "confirm": lambda context: Unconfirmed(context, "ann", ("true",)).confirm(),
}


@pytest.fixture
def booted(stand: Stand) -> Stand:
    """A stand with systemd and one rule in force, which is drained, held and unconfirmed."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True)
    stand.apply(stand.settings(CONFIG), body(80))
    return stand


def context(stand: Stand) -> Context:
    """What a command on the stand is given."""
    return stand.context(stand.settings(CONFIG))


@pytest.mark.parametrize("lever", LEVERS)
def test_while_another_has_the_lock(booted: Stand, lever: str) -> None:
    """75, with who has it; nothing has changed."""
    before = contents(booted.disk)
    one = context(booted)
    with one.host.locked(one.settings.paths.runtime):
        with pytest.raises(BusyError, match="another run of lbhook, pid") as raised:
            LEVERS[lever](context(booted))
        assert raised.value.status == 75
    assert contents(booted.disk) == before


@pytest.mark.parametrize("lever", LEVERS)
def test_without_root(booted: Stand, lever: str) -> None:
    """77, and what to do."""
    one = context(booted)
    host = altered(one.host, tree=Tree(root=booted.disk, privileged=False))
    before = contents(booted.disk)
    with pytest.raises(RightsError, match=f"{lever}: not root") as raised:
        LEVERS[lever](one._replace(host=host))
    assert (raised.value.status, raised.value.hint) == (77, "use sudo")
    assert contents(booted.disk) == before


def spoil(stand: Stand, place: str, error: int) -> None:
    """From now on nothing can be written or removed below a directory."""

    def step(_: str, path: PurePosixPath) -> None:
        if str(path).startswith(place) and path.name != "lock":
            raise OSError(error, os.strerror(error))

    stand.step = step


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
@pytest.mark.parametrize("lever", ["hold", "apply --confirm"])
def test_a_disk_that_can_not_be_written(booted: Stand, lever: str, error: int) -> None:
    """73: what was not written down is not in force, and nothing is applied because of it."""
    before = contents(booted.disk / "var")
    spoil(booted, "/var", error)
    with pytest.raises(WriteError, match=os.strerror(error)) as raised:
        LEVERS[lever](context(booted))
    assert raised.value.status == 73
    assert standstill.in_force(booted.host(booted.settings(CONFIG)).state) is None
    assert contents(booted.disk / "var") == before


@pytest.mark.parametrize(("begin", "end"), [("hold", "resume"), ("apply --confirm", "confirm")])
def test_a_record_that_can_not_be_removed(booted: Stand, begin: str, end: str) -> None:
    """73, and the lever is in force as it was: the next try ends it."""
    LEVERS[begin](context(booted))
    before = standstill.in_force(context(booted).host.state)
    assert before
    spoil(booted, "/var", errno.EROFS)
    with pytest.raises(WriteError, match="Read-only"):
        LEVERS[end](context(booted))
    assert standstill.in_force(context(booted).host.state) == before
    booted.step = lambda _name, _path: None
    LEVERS[end](context(booted))
    assert standstill.in_force(context(booted).host.state) is None


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS], ids=["full", "read-only"])
def test_azures_word_that_can_not_be_written_down(booted: Stand, error: int) -> None:
    """73, and nothing new is applied: Azure has said hold. The next run writes it down."""
    spoil(booted, "/var/lib/lbhook/tag", error)
    hand_over(booted, heard(GONE, tagged("hold")), body(443))
    report = cached(booted)
    assert (report.status, booted.text("/etc/one")) == (73, "80\n")
    assert standstill.in_force(context(booted).host.state) is None
    booted.step = lambda _name, _path: None
    report = cached(booted)
    assert (report.status, report.outcome, booted.text("/etc/one")) == (0, "held", "80\n")


def test_a_waiver_that_can_not_be_written_down(booted: Stand) -> None:
    """The VM stays drained: an `undrain` that the next run took back would be none."""
    AzuresLevers(context(booted), lambda: NOW).heed(heard((event(),), QUIET))
    spoil(booted, "/var", errno.EROFS)
    with pytest.raises(WriteError, match=r"waived\.json: Read-only"):
        Drain(context(booted)).end()
    assert Drain(context(booted)).known()


def test_all_levers_at_once(booted: Stand) -> None:
    """Each counts, whichever came first, and each ends by itself: the apply that waits, the hold,
    the drain."""
    settings = booted.settings(CONFIG)
    LEVERS["apply --confirm"](context(booted))
    LEVERS["hold"](context(booted))
    LEVERS["drain"](context(booted))
    assert "unconfirmed: the apply of ann" in _says(booted)
    with pytest.raises(LbhookError, match="resume: unconfirmed"):
        LEVERS["resume"](context(booted))
    LEVERS["confirm"](context(booted))
    assert "held since" in _says(booted)
    report = booted.apply(settings, body(443), Options(by_hand=False))
    assert (report.outcome, booted.text("/etc/one"), report.drained is None) == (
        "held",
        "80\n",
        False,
    )
    LEVERS["undrain"](context(booted))
    assert "held since" in _says(booted)
    LEVERS["resume"](context(booted))
    assert booted.apply(settings, body(443), Options(by_hand=False)).outcome == "changed"


def _says(stand: Stand) -> str:
    found = standstill.in_force(context(stand).host.state)
    return found.text if found else ""


@pytest.mark.parametrize("jump", [-1e9, 1e9])
def test_a_clock_that_jumps(booted: Stand, jump: float) -> None:
    """A hold without an end goes on; an apply waits by the seconds of the boot."""
    now = time.time()
    Hold(context(booted), "ann", lambda: now).begin()
    state = context(booted).host.state
    assert standstill.in_force(state, lambda: now + jump)
    Hold(context(booted), "ann", lambda: now + jump).begin(until=now + jump + 60.0)
    assert standstill.in_force(state, lambda: now + jump)
    waits = Unconfirmed(context(booted), "ann", ("true",), lambda: now + jump)
    waits.begin(120.0)
    assert (waits.waits(), waits.overdue()) == (True, False)
    booted.time += 120.0
    assert waits.overdue()


@pytest.mark.parametrize(
    "words",
    [
        *(("drain", "--for"), ("drain", "--wait"), ("hold", "--for"), ("apply", "--confirm")),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("length", ["soon", "5 minutes", "-5m", "5", "", "1y", "9999w", "1e3s"])
def test_a_length_of_time_that_is_none(words: tuple[str, str], length: str) -> None:
    """2, with the option, before anything is looked at."""
    ended = run_lbhook(*words, length)
    assert (ended.status, ended.out) == (2, "")
    assert words[1] in ended.err
    assert "Traceback" not in ended.err


def test_a_hold_without_systemd(tmp_path: Path) -> None:
    """It needs none: date(1) reads its time, and a file holds it."""
    desk = Desk(tmp_path, body="")
    begun = desk.run("hold", "--until", "tomorrow 09:00", "--reason", "no systemd here")
    assert (begun.status, "until" in begun.out) == (0, True)
    ended = desk.run("hold", "--until", "when it is done")
    assert (ended.status, "is no time" in ended.err) == (2, True)
    assert desk.run("resume").status == 0
