"""Which rules came and went: said at each apply, and kept."""

import json
from pathlib import Path

from lbhook.context import Options
from lbhook.telling.history import Changed, History, to_text

from ..program import BODIES, run_lbhook
from ..stand import NO_ENV, Stand, body, target

A, B = body(80), body(443)
ONE = NO_ENV + target("one")
KEPT = "var/lib/lbhook/history.json"


def kept(stand: Stand) -> tuple[Changed, ...]:
    """The history of a stand."""
    return History(stand.host(stand.settings(ONE))).changes()


def test_a_rule_that_comes_and_one_that_goes_are_said(stand: Stand) -> None:
    """In the words of the plan, before the lines of the targets."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80, 443))
    report = stand.apply(settings, body(80, 8443))
    assert report.rules == (
        "- tcp 50.0.0.1:443 → 10.0.0.4:443",
        "+ tcp 50.0.0.1:8443 → 10.0.0.4:8443",
    )
    assert report.to_text().startswith("- tcp 50.0.0.1:443")
    assert report.to_json()["rules"] == list(report.rules)
    assert kept(stand)[-1].came == ("tcp 50.0.0.1:8443 → 10.0.0.4:8443",)


def test_a_run_without_a_difference_says_and_writes_nothing(stand: Stand) -> None:
    """Promise 8."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    before = (stand.disk / KEPT).stat().st_mtime_ns
    assert stand.apply(settings, A).rules == ()
    assert (stand.disk / KEPT).stat().st_mtime_ns == before
    assert len(kept(stand)) == 1


def test_the_last_rule_that_goes_is_a_warning(stand: Stand) -> None:
    """It may be what was meant; whoever reads the journal wants to know."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    stand.apply(settings, body(), Options(accept_empty=True))
    assert "the last inbound rule is gone" in stand.warnings


def test_what_a_killed_run_did_not_write_down_is_the_next_one_s(stand: Stand) -> None:
    """The rules that were in force last are kept with the history, and compared with."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    (stand.disk / KEPT).unlink()
    (stand.disk / "etc/one").unlink()
    assert stand.apply(settings, A).rules == ("+ tcp 50.0.0.1:80 → 10.0.0.4:80",)


def test_a_rule_that_changes_no_file_is_history_too(stand: Stand) -> None:
    """The frontend's port is in no file of this configuration."""
    settings = stand.settings(NO_ENV + target("one"))
    stand.apply(settings, A)
    moved = json.loads(A)
    moved["loadbalancer"]["inboundRules"][0]["frontendPort"] = 81
    assert stand.apply(settings, json.dumps(moved).encode()).rules == (
        "- tcp 50.0.0.1:80 → 10.0.0.4:80",
        "+ tcp 50.0.0.1:81 → 10.0.0.4:80",
    )


def test_what_is_kept_is_bounded(stand: Stand) -> None:
    """In changes, in rules of one, and in lines that a run says."""
    settings = stand.settings(ONE)
    report = stand.apply(settings, body(*range(1000, 1300)))
    assert len(report.rules) == 21
    assert report.rules[-1] == "... and 280 more rules"
    assert (len(kept(stand)[0].came), kept(stand)[0].more) == (100, 200)
    for _ in range(101):
        stand.apply(settings, A)
        stand.apply(settings, B)
    assert len(kept(stand)) == 200


def test_a_history_that_is_none_is_empty(stand: Stand) -> None:
    """Somebody's editor has been there; the next apply starts anew."""
    stand.put(f"/{KEPT}", '{"version": 1, "changes": [{}]}')
    assert to_text(kept(stand)).strip()
    stand.put(f"/{KEPT}", "no json")
    assert kept(stand) == ()


def test_the_command_lists_the_newest_last(tmp_path: Path) -> None:
    """With time, outcome and source; and as JSON."""
    root = ("--root", str(tmp_path))
    assert run_lbhook("history", *root).out == "No rule has come or gone.\n"
    for name in ("documented", "public-ip-only"):
        run_lbhook("apply", *root, "--accept-empty", "--metadata", BODIES / f"{name}.json")
    lines = run_lbhook("history", *root).out.splitlines()
    assert [line.partition("UTC")[2] for line in lines if "UTC" in line] == [
        "  changed, from a file"
    ] * 2
    assert lines[1].startswith("  + tcp 50.0.0.1:80 → ")
    last = json.loads(run_lbhook("history", *root, "-n", "1", "--json").out)
    assert [len(one["went"]) for one in last["changes"]] == [2]
