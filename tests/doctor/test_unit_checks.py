"""The doctor's checks of lbhook's units: a systemctl that says what a test wants."""

from dataclasses import replace
from pathlib import Path

import pytest

from lbhook.doctor import unit_checks
from lbhook.doctor.findings import Level

from ..stand import Runner, Stand
from .evidence import case, said


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("enabled", ""),
        ("static", ""),
        ("disabled", "is not enabled > `systemctl enable --now NAME`"),
        ("enabled-runtime", "is not enabled > `systemctl enable --now NAME`"),
        ("masked", "is masked > `systemctl unmask NAME`"),
        ("not-found", "is not installed > `sudo lbhook install`, or lbhook's package"),
    ],
)
def test_units_that_are_not(stand: Stand, state: str, found: str) -> None:
    """Each with what it is for, and what to do."""
    stand.runner = Runner(lambda argv: (0, state if argv[-1].endswith(".timer") else "enabled"))
    name = "lbhook-refresh.timer"
    problem, _, remedy = found.replace("NAME", name).partition(" > ")
    missed = "a rule added later in Azure is not seen"
    expected = [f"{name} {problem}: {missed} > {remedy}"] if found else []
    assert said(unit_checks.installed(case(stand))) == expected


@pytest.mark.parametrize(
    ("states", "found"),
    [
        (("active", "active"), []),
        (("inactive", "activating"), []),
        (
            ("failed", "inactive"),
            [
                "lbhook.service has failed > `journalctl -u lbhook.service` says why",
                "lbhook-refresh.timer does not run: a rule added later in Azure is not seen >"
                " `systemctl start lbhook-refresh.timer`",
            ],
        ),
    ],
)
def test_units_that_do_not_run(stand: Stand, states: tuple[str, str], found: list[str]) -> None:
    """Failed in this boot; or a timer that somebody stopped."""
    names = ("lbhook.service", "lbhook-refresh.timer")
    shown = (f"Id={name}\nActiveState={state}\n" for name, state in zip(names, states, strict=True))
    text = "\n".join(shown)
    stand.runner = Runner(lambda _: (0, text))
    assert said(unit_checks.running(case(stand))) == found


@pytest.mark.parametrize(("applied", "healed"), [(5.0, True), (50.0, False), (0.0, False)])
def test_a_failure_that_a_later_run_has_healed_is_history(
    stand: Stand, applied: float, healed: bool
) -> None:
    """The unit failed 10 seconds ago; an answer was put in force so many seconds ago, or never."""
    since = int((stand.time - 10.0) * 1e6)
    shown = f"Id=lbhook.service\nActiveState=failed\nStateChangeTimestampMonotonic={since}\n"
    stand.runner = Runner(lambda _: (0, shown))
    evidence = replace(case(stand), since_applied=applied)
    (found,) = unit_checks.running(evidence)
    assert (found.level is Level.NOTE) == healed
    assert found.text.endswith("has put Azure's answer in force") == healed


def test_without_systemd_there_are_no_units(tmp_path: Path) -> None:
    """Nor is anybody asked."""
    stand = Stand(tmp_path)
    assert [one for question in unit_checks.CHECKS for one in question(case(stand))] == []
    assert stand.runner.calls == []
