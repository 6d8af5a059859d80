"""An apply that is put back unless somebody confirms it in time."""

import shutil
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config.settings import Settings
from lbhook.context import Options
from lbhook.errors import LbhookError, UsageError
from lbhook.levers import standstill
from lbhook.runs.restoration import Restoration
from lbhook.runs.unconfirmed import Unconfirmed
from lbhook.runs.undo import Undo

from ..stand import GROUP, NO_ENV, USER, Stand, body, contents, target

ONE = NO_ENV + target("one")
OWNED = f'owner = "{USER}"\ngroup = "{GROUP}"\n'
FIREWALL = f"[targets.nftables]\n{OWNED}"
UNIT = Options(by_hand=False)
THIS = Options(confirmed=False)
NOON = 1_800_000_000.0
REVERT = ("/usr/bin/python3", "/usr/bin/lbhook", "rollback", "--unconfirmed")


def waiting(stand: Stand, config: str = ONE) -> Unconfirmed:
    """The apply of the stand that waits."""
    context = stand.context(stand.settings(config))
    return Unconfirmed(context, "anna", REVERT, lambda: NOON)


@pytest.fixture
def booted(stand: Stand) -> Stand:
    """A stand with systemd and one rule in force."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True)
    stand.apply(stand.settings(ONE), body(80))
    stand.runner.taken()
    return stand


def unconfirmed(stand: Stand, config: str = ONE) -> Settings:
    """A machine on which an apply waits for 120 s; it has taken 80 to 443."""
    settings = stand.settings(config)
    waiting(stand, config).begin(120.0)
    assert stand.apply(settings, body(443), THIS).outcome == "changed"
    assert waiting(stand, config).settle()
    stand.runner.taken()
    return settings


def test_a_timer_is_there_before_anything_is_applied(booted: Stand) -> None:
    """Whoever is gone by then, the service manager puts it back, and says so loudly."""
    waiting(booted).begin(120.0)
    stop, start = booted.runner.taken()
    assert stop == "systemctl stop lbhook-revert.timer"
    assert start.startswith("systemd-run --quiet --collect --unit=lbhook-revert ")
    assert " --on-active=120s " in start
    assert "StandardError=journal+console" in start
    assert start.endswith(f" -- {' '.join(REVERT)}")
    assert booted.text("/etc/one") == "80\n"


def test_confirmed(booted: Stand) -> None:
    """It stays, the timer goes, and Azure is followed again."""
    settings = unconfirmed(booted)
    waiting(booted).confirm()
    assert booted.runner.taken() == ["systemctl stop lbhook-revert.timer"]
    assert waiting(booted).revert().outcome == "unchanged"
    assert booted.text("/etc/one") == "443\n"
    assert booted.apply(settings, body(8443), UNIT).outcome == "changed"


def test_not_confirmed(booted: Stand) -> None:
    """It is put back and reloaded, and the timer does not apply it again."""
    settings = unconfirmed(booted)
    report = waiting(booted).revert()
    assert (report.status, booted.text("/etc/one")) == (0, "80\n")
    assert report.standstill
    assert report.standstill.kind == "reverted"
    assert "load one" in booted.runner.taken()
    for _ in range(2):
        later = booted.apply(settings, body(443), UNIT)
        assert (later.status, later.outcome, booted.text("/etc/one")) == (0, "held", "80\n")
    assert later.summary().startswith("put back: nobody confirmed the apply of anna")


def test_a_second_revert_does_nothing(booted: Stand) -> None:
    """A rollback of the rollback would be the apply again."""
    unconfirmed(booted)
    waiting(booted).revert()
    before = contents(booted.disk)
    assert waiting(booted).revert().outcome == "unchanged"
    assert contents(booted.disk) == before


def test_a_person_applies_again(booted: Stand) -> None:
    """By hand it needs no option, and from then on the timer goes on."""
    settings = unconfirmed(booted)
    waiting(booted).revert()
    assert booted.apply(settings, body(443)).outcome == "changed"
    assert booted.apply(settings, body(8443), UNIT).outcome == "changed"


def test_resume_lets_the_timer_go_on(booted: Stand) -> None:
    """After the revert, not before: there it says what to run."""
    settings = unconfirmed(booted)
    lever = standstill.Hold(booted.context(settings), "anna")
    with pytest.raises(UsageError, match="resume: unconfirmed"):
        lever.end()
    waiting(booted).revert()
    assert lever.end()
    assert booted.apply(settings, body(443), UNIT).outcome == "changed"


def test_the_timer_holds_still_meanwhile(booted: Stand) -> None:
    """And so does everybody who applies by hand."""
    settings = unconfirmed(booted)
    assert booted.apply(settings, body(8443), UNIT).outcome == "held"
    report = booted.apply(settings, body(8443), Options(despite_hold=True))
    assert (report.status, report.hint) == (
        75,
        "`lbhook confirm` keeps it; `lbhook rollback` puts it back now",
    )
    with pytest.raises(UsageError, match="--confirm: unconfirmed"):
        waiting(booted).begin(60.0)


def test_nothing_changed(booted: Stand) -> None:
    """Then nothing waits, and what was applied before is not put back."""
    booted.apply(booted.settings(ONE), body(443))
    waiting(booted).begin(120.0)
    assert booted.apply(booted.settings(ONE), body(443), THIS).outcome == "unchanged"
    booted.runner.taken()
    assert waiting(booted).settle() is None
    assert booted.runner.taken() == ["systemctl stop lbhook-revert.timer"]
    assert waiting(booted).revert().outcome == "unchanged"
    assert booted.text("/etc/one") == "443\n"


def test_killed_before_anything_was_applied(booted: Stand) -> None:
    """The timer comes and finds nothing to put back; Azure is followed again."""
    waiting(booted).begin(120.0)
    report = waiting(booted).revert()
    assert (report.status, report.standstill, booted.text("/etc/one")) == (0, None, "80\n")
    assert booted.apply(booted.settings(ONE), body(443), UNIT).outcome == "changed"


def test_what_a_killed_run_has_left_to_do_is_no_part_of_it(booted: Stand) -> None:
    """Where the run before was killed between two targets, a revert goes back to there."""
    (booted.disk / "var/lib/lbhook/previous/more").touch()
    unconfirmed(booted)
    assert waiting(booted).revert().status == 0
    assert booted.text("/etc/one") == "80\n"


@pytest.mark.parametrize("when", ["another boot", "of a container", "the timer is lost"])
def test_the_next_run_puts_back_what_is_overdue(booted: Stand, when: str) -> None:
    """A reboot is no confirmation; and a clock that jumps changes nothing, since none is asked."""
    settings = unconfirmed(booted)
    if when == "another boot":
        booted.boot_id = "boot-2"
    elif when == "of a container":
        shutil.rmtree(booted.disk / "run/lbhook")
    else:
        booted.time += 121.0
    report = booted.apply(settings, body(443), UNIT)
    assert (report.status, report.outcome, booted.text("/etc/one")) == (0, "held", "80\n")
    assert booted.warnings == [report.summary()]


def test_a_boot_puts_back_before_there_is_a_network(booted: Stand) -> None:
    """The first thing that a boot does with lbhook."""
    config = ONE + FIREWALL
    booted.apply(booted.settings(config), body(80))
    settings = unconfirmed(booted, config)
    firewall = booted.text("/etc/nftables.d/lbhook.nft") or ""
    assert "443" in firewall
    booted.boot_id = "boot-2"
    report = Restoration(booted.context(settings)).carry_out()
    assert (report.status, booted.text("/etc/one")) == (0, "80\n")
    assert "443" not in (booted.text("/etc/nftables.d/lbhook.nft") or "")


def test_rollback_by_hand_needs_no_waiting(booted: Stand) -> None:
    """What the command does while an apply waits is `revert`: once, and the timer keeps off."""
    settings = unconfirmed(booted)
    assert waiting(booted).waits()
    waiting(booted).revert()
    assert not waiting(booted).waits()
    assert booted.apply(settings, body(443), UNIT).outcome == "held"


def test_a_firewall_is_put_back_whatever_else_fails(booted: Stand) -> None:
    """Another target's check that fails must not leave somebody shut out."""
    config = NO_ENV + target("one", verify=["verify", "one"]) + FIREWALL
    booted.apply(booted.settings(config), body(80))
    unconfirmed(booted, config)
    broken = ("verify", "load")
    booted.runner.answers = lambda argv: (1, "broken") if argv[0] in broken else None
    report = waiting(booted, config).revert()
    assert "443" not in (booted.text("/etc/nftables.d/lbhook.nft") or "443")
    assert report.status in (69, 78)
    assert report.problems[-1] == "only the firewall was put back"
    assert report.standstill
    assert report.standstill.kind == "reverted"


def test_a_revert_that_fails_is_tried_again(booted: Stand) -> None:
    """It waits on, loudly, until a run succeeds."""
    settings = unconfirmed(booted)
    fail = True
    booted.runner.answers = lambda argv: (1, "no") if fail and argv[0] == "load" else None
    report = waiting(booted).revert()
    assert (report.status, booted.text("/etc/one")) == (69, "443\n")
    booted.boot_id = "boot-2"
    assert booted.apply(settings, body(443), UNIT).status == 69
    fail = False
    assert booted.apply(settings, body(443), UNIT).outcome == "held"
    assert booted.text("/etc/one") == "80\n"


@pytest.mark.parametrize(
    ("broken", "problem"),
    [("systemd-run", "`systemd-run --quiet"), ("", "systemd does not run here")],
)
def test_refused(booted: Stand, broken: str, problem: str) -> None:
    """Without somebody who puts back nothing is begun."""
    booted.runner.answers = lambda argv: (1, "no") if argv[0] == broken else None
    if not broken:
        (booted.place / "machine/run/systemd/system").rmdir()
    with pytest.raises(LbhookError) as raised:
        waiting(booted).begin(120.0)
    assert raised.value.problems[0].partition(": ")[2].startswith(problem)
    assert not waiting(booted).waits()


def test_confirm_without_anything(booted: Stand) -> None:
    """Nothing waits, or it is too late: both are said."""
    with pytest.raises(UsageError, match="confirm: no apply waits"):
        waiting(booted).confirm()
    unconfirmed(booted)
    waiting(booted).revert()
    with pytest.raises(UsageError, match="confirm: too late"):
        waiting(booted).confirm()


class PowerCut(BaseException):
    """The machine is off."""


def test_killed_at_each_step_of_a_revert(
    booted: Stand, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The next run finishes it: the old file is in force, once, and stays."""
    unconfirmed(booted)
    place, at = tmp_path_factory.mktemp("killed"), 0
    while True:
        stand = Stand(Path(shutil.copytree(booted.place, place / str(at))))
        left = at

        def step(_name: str, _path: PurePosixPath) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise PowerCut

        stand.step = step
        try:
            waiting(stand).revert()
            break
        except PowerCut:
            at += 1
        stand.step = lambda _name, _path: None
        stand.boot_id = "boot-2"
        report = stand.apply(stand.settings(ONE), body(443), UNIT)
        assert (report.status, report.outcome, stand.text("/etc/one")) == (0, "held", "80\n"), at
    assert at > 10


def test_clean_ends_it(booted: Stand) -> None:
    """Its timer comes and finds nothing."""
    settings = unconfirmed(booted)
    Undo(booted.context(settings)).clean()
    assert waiting(booted).revert().outcome == "unchanged"
    assert not waiting(booted).waits()
