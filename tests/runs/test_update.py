"""Whole applies: what is owed, queued, refused, dropped, drifted, old or another VM's."""

import json
import random
import signal
from pathlib import PurePosixPath

import pytest

from lbhook.context import Options
from lbhook.imds.last_good import LastGood
from lbhook.metadata.facts import Facts
from lbhook.plan import Outcome, Reload
from lbhook.runs.update import Update
from lbhook.storage import lock
from lbhook.system.netlink import Kernel

from ..stand import (
    GROUP,
    NO_ENV,
    USER,
    Runner,
    Stand,
    body,
    contents,
    everything,
    outcomes,
    target,
)

A, B = body(80, 443), body(80, 8443)
ONE = NO_ENV + target("one")
TWO = ONE + target("two")
# One reload makes one group of them.
PAIR = NO_ENV + target("one", reload=["load", "pair"]) + target("two", reload=["load", "pair"])
RUNTIME = ("run",)
NO_RELOAD = Options(load=False)


def failing(*words: str) -> Runner:
    """A runner whose commands with one of these words fail."""
    return Runner(lambda argv: (1, "it is broken") if set(words) & set(argv) else None)


def test_an_apply_installs_and_reloads_each_target(stand: Stand) -> None:
    """The first apply writes the files and loads each of them."""
    report = stand.apply(stand.settings(TWO), A)
    assert (report.status, report.outcome) == (0, "changed")
    assert outcomes(report) == {"one": ("created", "done"), "two": ("created", "done")}
    assert stand.runner.taken() == ["load one", "load two"]
    assert stand.text("/etc/one") == "80\n443\n"


def test_a_run_without_a_difference_writes_nothing_outside_the_runtime_directory(
    stand: Stand,
) -> None:
    """Neither a file nor its inode nor a time changes, and nothing is reloaded."""
    settings = stand.settings(TWO)
    stand.apply(settings, A)
    stand.runner.taken()
    before = everything(stand.disk, without=RUNTIME)
    report = stand.apply(settings, A)
    assert everything(stand.disk, without=RUNTIME) == before
    assert (report.outcome, stand.runner.taken()) == ("unchanged", [])
    assert outcomes(report) == {"one": ("unchanged", "none"), "two": ("unchanged", "none")}


def test_a_reload_that_was_left_out_is_owed_and_paid_by_the_next_run(stand: Stand) -> None:
    """--no-reload installs; the plan names the debt, and the next run pays it, once."""
    settings = stand.settings(ONE)
    report = stand.apply(settings, A, NO_RELOAD)
    assert outcomes(report) == {"one": ("created", "owed")}
    assert stand.runner.taken() == []
    assert [one.reload for one in stand.plan(settings, A).changes] == [Reload.DUE]
    report = stand.apply(settings, A)
    assert (report.outcome, outcomes(report)) == ("changed", {"one": ("unchanged", "done")})
    assert stand.runner.taken() == ["load one"]
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "none")}


def test_a_debt_stays_a_debt_with_no_reload(stand: Stand) -> None:
    """Two runs with --no-reload owe the same reload, and say so twice."""
    settings = stand.settings(ONE)
    stand.apply(settings, A, NO_RELOAD)
    report = stand.apply(settings, A, NO_RELOAD)
    assert (report.outcome, outcomes(report)) == ("unchanged", {"one": ("unchanged", "owed")})


def test_what_is_owed_is_paid_without_an_answer(stand: Stand) -> None:
    """Promise 3: nothing is forgotten; an owed reload needs no answer."""
    settings = stand.settings(ONE)
    stand.apply(settings, A, NO_RELOAD)
    report = stand.apply(settings, None)
    assert (report.status, stand.runner.taken()) == (75, ["load one"])
    assert outcomes(report) == {"one": ("unchanged", "done")}


def test_after_a_boot_every_reload_is_owed_once(stand: Stand) -> None:
    """Kernel state does not survive a boot; files do."""
    settings = stand.settings(TWO)
    stand.apply(settings, A)
    stand.runner.taken()
    stand.boot_id = "boot-2"
    assert {one.reason for one in stand.plan(settings, A).changes} == {
        "first load since this machine booted"
    }
    report = stand.apply(settings, A)
    assert outcomes(report) == {"one": ("unchanged", "done"), "two": ("unchanged", "done")}
    assert stand.runner.taken() == ["load one", "load two"]
    stand.apply(settings, A)
    assert stand.runner.taken() == []


def test_a_debt_that_can_not_be_paid_keeps_no_answer_away(stand: Stand) -> None:
    """A program that refuses its old file may take the new one; the other debts are paid."""
    settings = stand.settings(TWO)
    stand.apply(settings, A, NO_RELOAD)
    stand.runner = Runner(
        lambda argv: (
            (1, "old") if argv[1] == "one" and stand.text("/etc/one") != "80\n8443\n" else None
        )
    )
    report = stand.apply(settings, B)
    assert stand.warnings == ["one: `load one` ended with status 1\n  old"]
    assert (report.status, stand.text("/etc/one")) == (0, "80\n8443\n")
    assert outcomes(report) == {"one": ("changed", "done"), "two": ("changed", "done")}


def test_a_debt_that_is_refused_again_is_a_failure_and_stays_owed(stand: Stand) -> None:
    """Where no file differs a failing reload is reported, and the next run tries again."""
    settings = stand.settings(TWO)
    stand.apply(settings, A, NO_RELOAD)
    stand.runner = failing("one")
    report = stand.apply(settings, A)
    assert report.status == 69
    assert report.problems == ("one: `load one` ended with status 1\n  it is broken",)
    assert outcomes(report) == {"one": ("unchanged", "failed"), "two": ("unchanged", "done")}
    stand.runner = Runner()
    assert outcomes(stand.apply(settings, A))["one"] == ("unchanged", "done")


def test_an_answer_that_must_not_be_acted_on_changes_nothing(stand: Stand) -> None:
    """Promise 1: failed is not empty: a body that is not understood whole changes nothing."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    before = everything(stand.disk, without=RUNTIME)
    for damaged in (b"", b"{}", A[:-5], A.replace(b"10.0.0.4", b"10.0.0.4%eth0")):
        assert stand.apply(settings, damaged).status == 65
        assert everything(stand.disk, without=RUNTIME) == before
    assert stand.runner.taken() == ["load one"]


def test_no_answer_changes_nothing_that_is_there(stand: Stand) -> None:
    """Promise 1: no answer is no reason to empty a file, nor to claim one that others wrote."""
    settings = stand.settings(TWO)
    stand.put("/etc/two", "mine\n")
    stand.apply(stand.settings(ONE), A)
    stand.apply(settings, None)
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("80\n443\n", "mine\n")
    report = stand.apply(settings, A)
    assert [one.original for one in report.changes] == [False, True]


def test_no_load_balancer_brings_back_only_what_is_missing(stand: Stand) -> None:
    """Promise 1: empty is not absent: without an answer a missing file comes in its resting
    form."""
    settings = stand.settings(TWO)
    stand.put("/etc/one", "mine\n")
    report = stand.apply(settings, None)
    assert (report.status, report.outcome) == (75, "failed")
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("mine\n", "none\n")


def test_a_failed_reload_puts_every_file_back(stand: Stand) -> None:
    """Promise 2: all or nothing: content and mode come back, a created file is gone again, and
    what was reloaded is reloaded with the old files."""
    first = NO_ENV + target("one", mode="0600")
    stand.put("/etc/two", "mine\n", 0o640)
    stand.apply(stand.settings(first), A)
    before = contents(stand.disk, without=RUNTIME)
    stand.runner = failing("bad")
    trio = {"reload": ["load", "trio"]}
    more = target("one", mode="0600", **trio) + target("two", **trio)
    more += target("bad", **trio, verify=["bad"])
    report = stand.apply(stand.settings(NO_ENV + more), B)
    assert report.status == 69
    assert report.problems == (
        "bad: its verification failed: `bad` ended with status 1\n  it is broken",
        f"put back: {stand.disk}/etc/one",
        f"put back: {stand.disk}/etc/two",
        f"put back: {stand.disk}/etc/bad",
        "reloaded with the old files: one, two, bad",
    )
    assert outcomes(report) == {
        "one": ("unchanged", "none"),
        "two": ("unchanged", "none"),
        "bad": ("unchanged", "failed"),
    }
    assert stand.runner.taken() == ["load trio", "bad", "load trio"]
    after = contents(stand.disk, without=RUNTIME)
    assert after == {**before, **{k: v for k, v in after.items() if k.endswith("originals")}}


def test_a_failed_verification_puts_every_file_back(stand: Stand) -> None:
    """Promise 2: a program that took the file but does not work with it is put back, too."""
    settings = stand.settings(NO_ENV + target("one", verify=["probe", "{path}"]))
    stand.apply(settings, A)
    stand.runner = Runner(
        lambda argv: (
            (1, "mute") if argv[0] == "probe" and "8443" in str(stand.text("/etc/one")) else None
        )
    )
    report = stand.apply(settings, B)
    assert report.status == 69
    assert report.problems == (
        f"one: its verification failed: `probe {stand.disk}/etc/one` ended with status 1\n  mute",
        f"put back: {stand.disk}/etc/one",
        "reloaded with the old files: one",
    )
    assert stand.text("/etc/one") == "80\n443\n"
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "none")}


def test_a_put_back_that_fails_is_the_next_runs(stand: Stand) -> None:
    """Promise 3: what could not be put back is named, and the next run puts it back first."""
    settings = stand.settings(PAIR)
    stand.apply(settings, A)
    stand.runner = failing("pair")
    renames: list[str] = []

    def full_afterwards(name: str, path: PurePosixPath) -> None:
        renames.append(name) if str(path) == "/etc/one" and name == "rename" else None
        if len(renames) > 1 and str(path) == "/etc/one":
            raise OSError(28, "No space left on device")

    stand.step = full_afterwards
    report = stand.apply(settings, B)
    assert report.status == 73
    assert report.problems == (
        "one: `load pair` ended with status 1\n  it is broken",
        f"could not be put back: {stand.disk}/etc/one: No space left on device",
        f"put back: {stand.disk}/etc/two",
        "one, two: the reload with the old file failed too: one: `load pair` ended with status 1\n"
        "  it is broken",
    )
    assert outcomes(report) == {"one": ("changed", "failed"), "two": ("unchanged", "failed")}
    assert report.hint == "free some space; the next run tries again before anything else"
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("80\n8443\n", "80\n443\n")
    stand.step, stand.runner = lambda _name, _path: None, Runner()
    report = stand.apply(settings, None)
    assert stand.warnings[0] == "an earlier run did not finish; its files are put back"
    assert stand.text("/etc/one") == "80\n443\n"
    assert stand.runner.taken() == ["load pair"]


def test_what_failed_is_tried_again_by_every_run(stand: Stand) -> None:
    """Also with --skip-refused: nobody can list what heals a program, or a check."""
    settings = stand.settings(ONE + target("two", check=["check", "{staged}"]))
    stand.runner = failing("one", "check")
    first = stand.apply(settings, A)
    again = stand.apply(settings, A, Options(skip_refused=True))
    assert (first.status, again.status, again.problems) == (78, 78, first.problems)
    stand.runner = Runner()
    assert stand.apply(settings, A, Options(skip_refused=True)).status == 0


@pytest.mark.parametrize("how", ["edited", "removed", "chmod"])
def test_drift_is_put_right(stand: Stand, how: str) -> None:
    """A file that somebody touched is restored, loaded again, and in the plan before that."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    stand.runner.taken()
    file = stand.disk / "etc/one"
    if how == "edited":
        file.write_text("edited\n")
    elif how == "removed":
        file.unlink()
    else:
        file.chmod(0o666)
    assert [one.outcome for one in stand.plan(settings, A).changes] == [Outcome.RESTORED]
    assert outcomes(stand.apply(settings, A)) == {"one": ("restored", "done")}
    assert (stand.text("/etc/one"), file.stat().st_mode & 0o777) == ("80\n443\n", 0o644)
    assert stand.runner.taken() == ["load one"]


def test_a_table_that_somebody_flushed_is_loaded_again(stand: Stand) -> None:
    """`observe` finds what no file shows."""
    shown = ["table"]
    stand.runner = Runner(lambda argv: (0, shown[0]) if argv[0] == "list" else None)
    settings = stand.settings(NO_ENV + target("one", observe=["list"]))
    stand.apply(settings, A)
    stand.runner.taken()
    shown[0] = ""
    plan = stand.plan(settings, A)
    assert [one.reason for one in plan.changes] == ["`list` differs from what was loaded"]
    report = stand.apply(settings, A)
    assert outcomes(report) == {"one": ("unchanged", "done")}
    assert "load one" in stand.runner.taken()


def test_commands_of_an_installed_file_know_its_name(stand: Stand) -> None:
    """`{path}` and, without its suffix, `{stem}`, in each command that follows the install."""
    keys = {"path": "/etc/one.d/web.xml", "reload": ["load", "{path}", "{stem}"]}
    keys |= {"verify": ["see", "{stem}"], "observe": ["list", "{stem}"]}
    settings = stand.settings(NO_ENV + target("one", **keys, remove=["unload", "{stem}"]))
    stand.apply(settings, A)
    path = f"{stand.disk}/etc/one.d/web.xml"
    assert stand.runner.taken() == [f"load {path} web", "see web", "list web"]
    stand.apply(stand.settings(NO_ENV), A)
    assert stand.runner.taken() == ["unload web"]


def test_what_no_longer_works_is_put_right_before_anybody_is_asked(stand: Stand) -> None:
    """A table that lost its rules may drop the very answer that is waited for."""
    order: list[str] = []
    stand.runner = Runner(lambda argv: (0, str(len(order))) if argv[0] == "list" else None)
    settings = stand.settings(NO_ENV + target("one", observe=["list"]))
    stand.apply(settings, A)
    stand.runner.taken()
    order.append("flushed")

    def asked() -> bytes:
        order.extend(stand.runner.taken())
        return A

    stand.asking(settings, asked).apply()
    assert "load one" in order


def test_a_dropped_target_is_undone(stand: Stand) -> None:
    """Its file goes, or what was there before comes back; then `remove`, or its reload."""
    stand.put("/etc/two", "mine\n", 0o640)
    dropped = target("one", remove=["unload", "one"]) + target("two")
    stand.apply(stand.settings(NO_ENV + dropped), A)
    stand.runner.taken()
    settings = stand.settings(NO_ENV)
    assert [one.reason for one in stand.plan(settings, A).changes] == [
        "no longer in the configuration"
    ] * 2
    report = stand.apply(settings, A)
    assert outcomes(report) == {"one": ("removed", "done"), "two": ("restored", "done")}
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == (None, "mine\n")
    assert (stand.disk / "etc/two").stat().st_mode & 0o777 == 0o640
    assert stand.runner.taken() == ["unload one", "load two"]
    assert list((stand.disk / "var/lib/lbhook/originals").iterdir()) == []
    assert stand.apply(settings, A).changes == ()


def test_a_dropped_targets_file_that_was_edited_stays(stand: Stand) -> None:
    """Only what is still what lbhook wrote is taken away; the rest is said."""
    stand.apply(stand.settings(NO_ENV + target("one", remove=["unload", "one"])), A)
    stand.put("/etc/one", "edited\n")
    stand.runner.taken()
    report = stand.apply(stand.settings(NO_ENV), A)
    assert stand.warnings == [f"one: {stand.disk}/etc/one was edited since and stays"]
    assert outcomes(report) == {"one": ("unchanged", "done")}
    assert (stand.text("/etc/one"), stand.runner.taken()) == ("edited\n", ["unload one"])


def test_a_dropped_targets_reload_can_be_owed(stand: Stand) -> None:
    """The file goes at once, its `remove` when reloads are wanted; the original stays put."""
    stand.put("/etc/two", "mine\n")
    stand.apply(stand.settings(NO_ENV + target("one", remove=["gone"]) + target("two")), A)
    stand.runner.taken()
    settings = stand.settings(NO_ENV)
    report = stand.apply(settings, A, NO_RELOAD)
    assert outcomes(report) == {"one": ("removed", "owed"), "two": ("restored", "owed")}
    report = stand.apply(settings, A)
    assert outcomes(report) == {"one": ("unchanged", "done"), "two": ("unchanged", "done")}
    assert stand.runner.taken() == ["gone", "load two"]
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == (None, "mine\n")


def test_a_renamed_target_keeps_its_file_and_its_original(stand: Stand) -> None:
    """Another name for the same path changes nothing on the disk."""
    stand.put("/etc/one", "mine\n")
    stand.apply(stand.settings(ONE), A)
    renamed = stand.settings(NO_ENV + target("other", path="/etc/one", reload=["load", "one"]))
    report = stand.apply(renamed, A)
    assert outcomes(report) == {"other": ("unchanged", "none")}
    stand.apply(stand.settings(NO_ENV), A)
    assert stand.text("/etc/one") == "mine\n"


def test_a_moved_target_leaves_nothing_behind(stand: Stand) -> None:
    """With another path the old file is undone and the new one written, in one transaction."""
    stand.put("/etc/one", "mine\n")
    stand.put("/etc/new", "mine too\n")
    stand.apply(stand.settings(ONE), A)
    moved = stand.settings(NO_ENV + target("one", path="/etc/new"))
    report = stand.apply(moved, A)
    found = [(str(one.path), one.outcome.value) for one in report.changes]
    assert found == [("/etc/new", "changed"), ("/etc/one", "restored")]
    assert (stand.text("/etc/one"), stand.text("/etc/new")) == ("mine\n", "80\n443\n")
    assert stand.apply(moved, A).outcome == "unchanged"
    stand.apply(stand.settings(NO_ENV), A)
    assert (stand.text("/etc/one"), stand.text("/etc/new")) == ("mine\n", "mine too\n")


def test_an_included_file_that_is_dropped_rests(stand: Stand) -> None:
    """nginx fails for good over a missing include, so its file goes to its resting form."""
    stand.live = False
    stand.runner = Runner(lambda argv: (1, "syntax is ok") if argv[0] == "nginx" else None)
    nginx = f'[targets.nginx]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
    stand.apply(stand.settings(NO_ENV + nginx), A)
    report = stand.apply(stand.settings(NO_ENV), A)
    assert outcomes(report) == {"nginx": ("removed", "none")}
    assert "\nlisten 127.0.0.127:10009;\n" in str(stand.text("/etc/nginx/lbhook/listen.conf"))


def test_an_original_is_kept_before_it_is_replaced_and_named_in_the_plan(stand: Stand) -> None:
    """Promise 9: what was there is named in the first plan and kept with its mode."""
    stand.put("/etc/one", "mine\n", 0o640)
    settings = stand.settings(ONE)
    assert [one.original for one in stand.plan(settings, A).changes] == [True]
    stand.apply(settings, A)
    [kept] = (stand.disk / "var/lib/lbhook/originals").iterdir()
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == ("mine\n", 0o640)
    stand.apply(settings, B)
    assert kept.read_text() == "mine\n"


def test_an_original_outlives_a_lost_record(stand: Stand) -> None:
    """Without its record lbhook does not take its own file for the original."""
    stand.put("/etc/one", "mine\n")
    stand.apply(stand.settings(ONE), A)
    (stand.disk / "var/lib/lbhook/installed.json").write_text("{")
    report = stand.apply(stand.settings(ONE), B)
    damaged = "damaged: not JSON, or cut; what can't be read is ignored, and kept in"
    file = stand.disk / "var/lib/lbhook/installed.json"
    assert stand.warnings == [f"{file}: {damaged} installed.json.damaged"]
    assert report.status == 0
    stand.apply(stand.settings(NO_ENV), B)
    assert stand.text("/etc/one") == "mine\n"


UNIT = NO_ENV + target("one", reload=None, reload_unit="app.service")


def unit(stand: Stand, **values: str) -> Runner:
    """A runner for a machine with systemd, on which app.service is active."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True, exist_ok=True)
    shown = {"ActiveState": "active", "Job": "0", "ReloadResult": "success", **values}
    text = "".join(f"{name}={value}\n" for name, value in shown.items())
    return Runner(lambda argv: (0, text) if argv[:2] == ("systemctl", "show") else None)


def test_a_queued_reload_is_verified_when_its_job_has_run(stand: Stand) -> None:
    """Queued while its job is pending, then done; in between nothing is put back or repeated."""
    stand.runner = unit(stand, Job="7")
    settings = stand.settings(UNIT)
    report = stand.apply(settings, A)
    assert (report.status, outcomes(report)) == (0, {"one": ("created", "queued")})
    assert "systemctl --no-block reload app.service" in stand.runner.taken()
    report = stand.apply(settings, A)
    assert (report.outcome, outcomes(report)) == ("unchanged", {"one": ("unchanged", "queued")})
    stand.runner = unit(stand)
    assert [one.reload for one in stand.plan(settings, A).changes] == [Reload.DONE]
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "done")}
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "none")}
    assert "systemctl --no-block reload app.service" not in stand.runner.taken()


def test_a_queued_reload_that_failed_is_tried_again(stand: Stand) -> None:
    """What systemd says of the last reload counts."""
    stand.runner = unit(stand)
    stand.apply(stand.settings(UNIT), A)
    stand.runner = unit(stand, ReloadResult="exit-code")
    plan = stand.plan(stand.settings(UNIT), A)
    assert [one.reason for one in plan.changes] == ["the reload of app.service failed"]
    assert outcomes(stand.apply(stand.settings(UNIT), A)) == {"one": ("unchanged", "queued")}


def test_equal_reloads_run_once(stand: Stand) -> None:
    """Two files of one program are one reload."""
    both = target("one", reload=["load"]) + target("two", reload=["load"])
    stand.apply(stand.settings(NO_ENV + both), A)
    assert stand.runner.taken() == ["load"]


def test_reload_reloads_what_does_not_differ(stand: Stand) -> None:
    """--reload, and a failure of it, is not forgotten."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    assert outcomes(stand.apply(settings, A, Options(reload=True))) == {
        "one": ("unchanged", "done")
    }
    stand.runner = failing("one")
    assert stand.apply(settings, A, Options(reload=True)).status == 69
    stand.runner = Runner()
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "done")}


def test_only_leaves_the_others_alone_but_pays_their_debts(stand: Stand) -> None:
    """--only is about this answer; what is owed is owed."""
    settings = stand.settings(TWO)
    stand.apply(settings, A, NO_RELOAD)
    report = stand.apply(settings, B, Options(only=("one",)))
    assert outcomes(report) == {"one": ("changed", "done"), "two": ("unchanged", "done")}
    assert stand.text("/etc/two") == "80\n443\n"


def test_an_answer_older_than_the_one_in_force_is_dropped(stand: Stand) -> None:
    """While one run waits, another applies what it read later."""
    settings = stand.settings(ONE)
    read: list[float] = []

    def overtaken() -> bytes:
        read.append(stand.time)
        stand.time += 10
        stand.apply(settings, B)
        return A

    context = stand.asking(settings, overtaken).context
    late = context._replace(boottime=lambda: read.pop() if read else stand.time)
    report = Update(late).apply()
    assert stand.warnings == ["a later answer has been applied meanwhile; this one is dropped"]
    assert (report.status, report.outcome, stand.text("/etc/one")) == (0, "kept", "80\n8443\n")
    assert report.summary() == "kept: a later answer is in force"
    assert report.lb == Facts()


def test_a_boot_time_that_goes_back_keeps_no_answer_out(stand: Stand) -> None:
    """A snapshot, or a container that was restarted with its /run: the boot is the same, and
    younger. The machine follows at once, also from what it has."""
    settings = stand.settings(ONE)
    stand.time = 90_000.0
    stand.apply(settings, A)
    stand.time = 20.0
    report = stand.apply(settings, B)
    assert (report.outcome, stand.text("/etc/one"), stand.warnings) == ("changed", "80\n8443\n", [])
    assert stand.apply(settings, B).outcome == "unchanged"


def test_the_second_of_two_runs_gives_up_and_says_who_holds_the_lock(stand: Stand) -> None:
    """It waits briefly, then 75, and leaves the status of the other alone."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    status = stand.text("/run/lbhook/status.json")
    with lock.held(stand.disk / "run/lbhook/lock", clock=lambda: stand.time):
        report = stand.apply(settings, B)
    assert report.status == 75
    [problem] = report.problems
    assert problem.startswith("another run of lbhook, pid ")
    assert problem.endswith(" has held the lock for 6 s")
    assert stand.text("/run/lbhook/status.json") == status


def test_a_captured_disk_is_put_to_rest(stand: Stand) -> None:
    """Another VM's files rest before anything reads them, though nobody answers."""
    settings = stand.settings(TWO)
    stand.put("/etc/own", "mine\n")
    stand.apply(settings, A)
    host = stand.host(settings)
    LastGood(host.tree, settings, host.machine).keep(A)
    (stand.place / "uuid").write_text("99999999-2222-3333-4444-555555555555\n")
    stand.runner.taken()
    report = stand.apply(settings, None)
    assert report.status == 75
    assert (
        stand.warnings[0]
        == "this disk was captured from another VM: its files go back to their resting forms"
    )
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("none\n", "none\n")
    assert stand.runner.taken() == ["load one", "load two"]
    assert outcomes(report)["one"] == ("changed", "done")
    # Its rules came to another VM.
    assert not host.state.history()["changes"]
    assert stand.apply(settings, A).rules


def test_a_captured_disk_keeps_no_rule_whose_template_needs_one(stand: Stand) -> None:
    """A file that can't be made without rules is another VM's no longer: it goes."""
    stand.template("own.j2", "{% for one in lb.listeners %}{{ one.port }}{% endfor %}")
    settings = stand.settings(NO_ENV + target("one", template="own.j2"))
    stand.apply(settings, A)
    host = stand.host(settings)
    LastGood(host.tree, settings, host.machine).keep(A)
    (stand.place / "uuid").write_text("99999999-2222-3333-4444-555555555555\n")
    stand.apply(settings, None)
    assert stand.text("/etc/one") is None


@pytest.mark.parametrize("end", [KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_status_is_left_however_an_apply_ends(stand: Stand, end: type[BaseException]) -> None:
    """status.json tells of an interrupt and of a bug as well."""
    settings = stand.settings(ONE)

    def fail(argv: tuple[str, ...]) -> None:
        raise end

    stand.runner = Runner(fail)
    with pytest.raises(end):
        stand.apply(settings, A)
    expected = {KeyboardInterrupt: 130, SystemExit: 143, ZeroDivisionError: 70}[end]
    status = json.loads(str(stand.text("/run/lbhook/status.json")))
    assert (status["outcome"], status["status"]) == ("failed", expected)
    assert stand.text("/etc/one") is None


def test_an_old_status_is_not_the_last_word(stand: Stand) -> None:
    """Where status.json can't be written, there is none: who reads it must not be misled."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)

    def full(name: str, path: PurePosixPath) -> None:
        if name == "write" and "status" in path.name:
            raise OSError(28, "No space left on device")

    stand.step = full
    assert stand.apply(settings, B).status == 0
    assert stand.text("/run/lbhook/status.json") is None


def test_below_a_root_nothing_is_run_but_checks(stand: Stand) -> None:
    """--root: no reload, no verification, no live check, nothing owed."""
    stand.live = False
    keys = {"verify": ["probe"], "observe": ["list"], "check_live": ["live"], "remove": ["gone"]}
    text = NO_ENV + target("one", check=["check", "{staged}"], **keys)
    report = stand.apply(stand.settings(text), A)
    assert outcomes(report) == {"one": ("created", "none")}
    assert stand.runner.taken() == [f"check {stand.disk}/etc/.one.lbhook"]
    stand.apply(stand.settings(text), A)
    stand.apply(stand.settings(NO_ENV), A)
    assert stand.runner.taken() == []


def test_a_plan_changes_nothing(stand: Stand) -> None:
    """Not a file, not a time, not a lock."""
    settings = stand.settings(TWO)
    before = everything(stand.disk)
    stand.plan(settings, A)
    assert everything(stand.disk) == before


@pytest.mark.parametrize("seed", range(12))
def test_a_plan_is_exactly_what_an_apply_does(stand: Stand, seed: int) -> None:
    """Random answers, configurations and drift: the plan names each change and each reload, and a
    second apply has nothing to do."""
    dice = random.Random(seed)
    names = ("one", "two", "three", "four")
    stand.put("/etc/two", "mine\n")
    for _ in range(8):
        chosen = [name for name in names if dice.random() < 0.7]
        modes = {name: dice.choice(["0644", "0600"]) for name in chosen}
        text = "".join(
            target(name, mode=modes[name], path=f"/etc/{dice.choice([name, name, name + '2'])}")
            for name in chosen
        )
        settings = stand.settings(NO_ENV + text)
        answer = body(*dice.sample((22, 80, 443, 8443), dice.randint(0, 4)))
        drifted = dice.choice(names)
        if stand.text(f"/etc/{drifted}") and dice.random() < 0.5:
            stand.put(f"/etc/{drifted}", "edited\n")
        stand.boot_id = f"boot-{dice.randint(1, 2)}"
        plan = stand.plan(settings, answer)
        report = stand.apply(settings, answer)
        assert report.status == 0
        planned = [(one.target.name, one.path, one.outcome) for one in plan.changes]
        assert planned == [(one.target.name, one.path, one.outcome) for one in report.changes]
        due = [one.path for one in plan.changes if one.reload is Reload.DUE]
        assert due == [one.path for one in report.changes if one.reload is Reload.DONE]
        quiet = everything(stand.disk, without=RUNTIME)
        again = stand.apply(settings, answer)
        assert (again.outcome, stand.plan(settings, answer).to_do) == ("unchanged", False)
        assert everything(stand.disk, without=RUNTIME) == quiet


FIREWALL = {"reload": ["load", "{path}"], "remove": ["unload"]}


def test_a_moved_firewall_stays_loaded(stand: Stand) -> None:
    """What the old file had loaded is taken over by the new one, not unloaded behind it; and if
    the move fails, the old one is loaded last."""
    stand.apply(stand.settings(NO_ENV + target("one", **FIREWALL)), A)
    stand.runner.taken()
    moved = NO_ENV + target("one", path="/etc/new", **FIREWALL)
    report = stand.apply(stand.settings(moved), A)
    found = [(str(one.path), one.outcome.value, one.reload.value) for one in report.changes]
    assert found == [("/etc/new", "created", "done"), ("/etc/one", "removed", "done")]
    assert stand.runner.taken() == [f"load {stand.disk}/etc/new"]
    back = NO_ENV + target("one", verify=["works"], **FIREWALL)
    stand.runner = failing("works")
    assert stand.apply(stand.settings(back), A).status == 69
    assert stand.runner.taken() == [
        *(f"load {stand.disk}/etc/one", "works", "unload", f"load {stand.disk}/etc/new"),
    ]


def test_what_a_dropped_target_owes_is_paid_without_an_answer(stand: Stand) -> None:
    """Promise 3: with or without an answer, whichever target is asked for."""
    stand.apply(stand.settings(NO_ENV + target("one", remove=["unload"])), A)
    settings = stand.settings(NO_ENV)
    stand.apply(settings, A, NO_RELOAD)
    stand.runner.taken()
    report = stand.apply(settings, None)
    assert (report.status, outcomes(report)) == (75, {"one": ("unchanged", "done")})
    assert stand.runner.taken() == ["unload"]
    stand.apply(settings, None)
    assert stand.runner.taken() == []


def test_a_dropped_target_whose_program_is_gone_is_undone(stand: Stand) -> None:
    """Nothing runs what is not installed, and nothing else waits for it."""
    stand.apply(stand.settings(NO_ENV + target("one", requires=["app"], remove=["app"])), A)
    stand.find = lambda _: None
    stand.runner = failing("app")
    report = stand.apply(stand.settings(NO_ENV + target("two")), A)
    assert (report.status, stand.text("/etc/one")) == (0, None)
    assert stand.runner.taken() == ["load two"]


def test_a_target_without_a_reload_is_verified(stand: Stand) -> None:
    """After it is installed, and on each run."""
    settings = stand.settings(NO_ENV + target("one", reload=None, verify=["works"]))
    report = stand.apply(settings, A)
    assert (report.status, stand.runner.taken()) == (0, ["works"])
    stand.runner = failing("works")
    report = stand.apply(settings, A)
    assert (report.status, report.problems) == (
        69,
        ("one: its verification failed: `works` ended with status 1\n  it is broken",),
    )
    assert stand.apply(settings, B).status == 69
    assert stand.text("/etc/one") == "80\n443\n"


def test_of_a_unit_that_was_stopped_nothing_is_expected(stand: Stand) -> None:
    """Its verification fails, and that is as it should be."""
    active = unit(stand, ActiveState="inactive").answers
    stand.runner = Runner(lambda argv: (1, "no") if argv[0] == "works" else active(argv))
    settings = stand.settings(UNIT + 'verify = ["works"]\n')
    assert stand.apply(settings, A).status == 0
    assert not stand.plan(settings, A).to_do
    assert stand.apply(settings, A).outcome == "unchanged"


def test_a_unit_that_fails_after_it_was_started_is_said(stand: Stand) -> None:
    """Queued, then failed: status 69, once."""
    stand.runner = unit(stand, ActiveState="failed", UnitFileState="enabled")
    settings = stand.settings(UNIT)
    assert outcomes(stand.apply(settings, A)) == {"one": ("created", "queued")}
    report = stand.apply(settings, A)
    assert (report.status, outcomes(report)) == (69, {"one": ("unchanged", "failed")})
    assert report.problems == (
        "one: app.service was started and failed; `systemctl status` says why",
    )
    assert stand.apply(settings, A).status == 0


def test_an_edited_file_that_was_dropped_and_named_again_is_an_original(stand: Stand) -> None:
    """Promise 9: the older original is put aside, and what somebody made of the file is kept."""
    stand.put("/etc/one", "mine\n")
    stand.apply(stand.settings(ONE), A)
    stand.put("/etc/one", "mine, too\n")
    stand.apply(stand.settings(NO_ENV), A)
    kept = stand.disk / "var/lib/lbhook/originals"
    [aside] = kept.iterdir()
    assert stand.warnings == [
        f"one: {stand.disk}/etc/one was edited since and stays; what was there before lbhook is"
        f" in {aside}"
    ]
    assert aside.read_text() == "mine\n"
    stand.apply(stand.settings(ONE), A)
    stand.apply(stand.settings(NO_ENV), A)
    assert (stand.text("/etc/one"), aside.read_text()) == ("mine, too\n", "mine\n")


def test_a_file_that_was_there_with_the_same_content_is_an_original(stand: Stand) -> None:
    """Promise 9: it changes with the first rule, and comes back all the same."""
    stand.put("/etc/one", "80\n443\n")
    assert [one.original for one in stand.plan(stand.settings(ONE), A).changes] == [True]
    assert outcomes(stand.apply(stand.settings(ONE), A)) == {"one": ("unchanged", "done")}
    stand.apply(stand.settings(ONE), B)
    stand.apply(stand.settings(NO_ENV), B)
    assert stand.text("/etc/one") == "80\n443\n"


def test_what_failed_keeps_nothing_missing(stand: Stand) -> None:
    """A file that somebody removed comes back from the last good answer."""
    settings = stand.settings(ONE)
    host = stand.host(settings)
    LastGood(host.tree, settings, host.machine).keep(A)
    stand.apply(settings, A)
    (stand.disk / "etc/one").unlink()
    stand.runner = Runner(
        lambda _: (1, "it is broken") if "8443" in str(stand.text("/etc/one")) else None
    )
    report = stand.apply(settings, B)
    assert (report.status, outcomes(report)) == (69, {"one": ("restored", "done")})
    assert stand.text("/etc/one") == "80\n443\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_signal_does_not_disturb_the_put_back(stand: Stand, number: int) -> None:
    """Promise 2: it ends lbhook when everything is back."""

    def impatient(argv: tuple[str, ...]) -> tuple[int, str] | None:
        if argv == ("load", "pair") and "8443" in str(stand.text("/etc/two")):
            raise KeyboardInterrupt
        if argv == ("load", "pair") and stand.text("/etc/one") == "80\n443\n":
            signal.raise_signal(number)
        return None

    class EndedError(BaseException):
        pass

    def end(_number: int, _frame: object) -> None:
        raise EndedError

    settings = stand.settings(PAIR)
    stand.apply(settings, A)
    stand.runner = Runner(impatient)
    old = signal.signal(number, end)
    try:
        with pytest.raises(EndedError):
            stand.apply(settings, B)
    finally:
        signal.signal(number, old)
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("80\n443\n", "80\n443\n")
    assert not stand.host(settings).journal.unfinished()
    stand.runner = Runner()
    assert stand.apply(settings, A).status == 0


def test_a_disk_that_fails_when_all_is_in_force_is_a_warning(stand: Stand) -> None:
    """Once the journal is closed there is nothing to put back: the answer is in force."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)

    def fail(name: str, path: PurePosixPath) -> None:
        if name == "rename" and path.name in ("previous.old", "previous"):
            raise OSError(5, "Input/output error")

    stand.step = fail
    report = stand.apply(settings, B)
    assert (report.status, report.outcome, stand.text("/etc/one")) == (0, "changed", "80\n8443\n")
    assert stand.warnings == [f"{stand.disk}/var/lib/lbhook/previous: Input/output error"]
    stand.step = lambda _name, _path: None
    assert stand.apply(settings, B).outcome == "unchanged"


def test_a_plan_beside_another_run_takes_it_for_no_failure(stand: Stand) -> None:
    """The journal of a run that is under way is no unfinished one."""
    settings = stand.settings(ONE)
    seen: list[tuple[str, ...]] = []

    def look(argv: tuple[str, ...]) -> None:
        seen.append(stand.plan(settings, A).warnings)

    stand.runner = Runner(look)
    stand.apply(settings, A)
    assert seen == [()]


def test_what_is_loaded_is_verified_once_in_a_moment(stand: Stand) -> None:
    """Before Azure is asked, and again only if it took its time to answer."""
    settings = stand.settings(NO_ENV + target("one", verify=["sound", "{path}"]))
    stand.apply(settings, A)

    def verifications(wait: float) -> int:
        stand.runner = Runner()

        def slow() -> bytes:
            stand.time += wait
            return A

        assert stand.asking(settings, slow).apply().outcome == "unchanged"
        return sum(argv[0] == "sound" for argv in stand.runner.calls)

    assert [verifications(wait) for wait in (0.0, 1.0)] == [1, 2]


class Told(Kernel):
    """A kernel that says what it is told to."""

    def __init__(self) -> None:
        self.rules, self.sockets = "1", "a"

    def generation(self) -> str:
        """What `rules` is set to."""
        return self.rules

    def listeners(self) -> str:
        """What `sockets` is set to."""
        return self.sockets


LISTS = ["nft", "list", "table", "inet", "one"]


@pytest.mark.parametrize(
    ("observe", "rules", "asked"),
    [
        (LISTS, ["1", "1", "1"], [True, False, False]),
        (LISTS, ["1", "2", "2"], [True, True, False]),
        # It can't tell, or not of this command.
        (LISTS, ["", "", ""], [True, True, True]),
        (["list"], ["1", "1", "1"], [True, True, True]),
    ],
)
def test_nobody_is_asked_what_the_kernel_knows_to_be_unchanged(
    stand: Stand, observe: list[str], rules: list[str], asked: list[bool]
) -> None:
    """A program is verified again once somebody has committed a change to nftables."""
    stand.kernel = kernel = Told()
    settings = stand.settings(NO_ENV + target("one", observe=observe))
    stand.apply(settings, A)
    stand.runner.taken()
    for generation, looked in zip(rules, asked, strict=True):
        kernel.rules = generation
        assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "none")}
        assert stand.runner.taken() == ([" ".join(observe)] if looked else [])


def test_what_changed_while_it_was_verified_is_looked_at_again(stand: Stand) -> None:
    """What the kernel says is asked for first: a proof holds what was before."""
    stand.kernel = kernel = Told()
    settings = stand.settings(NO_ENV + target("one", observe=LISTS))
    stand.apply(settings, A)

    def interrupted(argv: tuple[str, ...]) -> None:
        kernel.rules += "1"

    stand.runner = Runner(interrupted)
    stand.apply(settings, A)
    stand.runner = Runner(lambda argv: (0, "flushed"))
    assert outcomes(stand.apply(settings, A)) == {"one": ("unchanged", "done")}


def test_a_verification_of_ones_own_is_always_done(stand: Stand) -> None:
    """Nobody knows what it looks at."""
    stand.kernel = Told()
    settings = stand.settings(NO_ENV + target("one", verify=["sound"], observe=LISTS))
    for _ in range(3):
        stand.runner.taken()
        stand.apply(settings, A)
        assert "sound" in stand.runner.taken()
