"""Neighbours: told what changed, once, whatever fails or dies meanwhile."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from lbhook import processes
from lbhook.context import Options
from lbhook.deployment.report import Report

from ..stand import NO_ENV, Runner, Stand, body, everything, target
from ..test_docs import names, rows

A, B = body(80, 443), body(80, 8443)
TELL = '[hooks]\nchanged = ["tell", "{summary}"]\n'
ONE = NO_ENV + TELL + target("one")
TWO = ONE + target("two")
FIRST = "tell 2 inbound rules, 2 listeners here; changed: one"


def told(stand: Stand) -> list[str]:
    """How the hook was called since the last time."""
    return [line for line in stand.runner.taken() if line.startswith("tell")]


def event(stand: Stand) -> Any:
    """What the hook was given to read when it was called last."""
    return json.loads([one for one in stand.runner.read if one][-1])


def ports(model: Any) -> list[int]:
    """The ports of a model."""
    return [one["port"] for one in model["listeners"]]


def refuse(stand: Stand, *words: str) -> None:
    """From now on commands with one of these words fail."""
    stand.runner = Runner(lambda argv: (1, "no") if set(words) & set(argv) else None)


def test_the_first_apply_tells_the_whole(stand: Stand) -> None:
    """There is no old model, and every file is new; the line sums up."""
    report = stand.apply(stand.settings(TWO), A)
    assert told(stand) == [f"{FIRST}, two"]
    said = event(stand)
    assert (report.status, said["old"], ports(said["new"])) == (0, None, [80, 443])
    assert said["changes"] == [
        {"name": "one", "path": "/etc/one", "outcome": "created"},
        {"name": "two", "path": "/etc/two", "outcome": "created"},
    ]


def test_the_model_is_that_of_show(stand: Stand) -> None:
    """What `lbhook show --json` prints of the same answer."""
    update = stand.update(stand.settings(ONE), A)
    update.apply()
    from lbhook.metadata import facts
    from lbhook.traffic import model_json

    metadata = update.ask().answer.metadata
    assert metadata
    assert event(stand)["new"] == model_json.model(facts.derive(metadata), metadata)


def test_nothing_is_told_twice(stand: Stand) -> None:
    """A run without a difference runs no hook and writes nothing; nor does one after a boot,
    which only reloads; nor one without an answer."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    told(stand)
    before = everything(stand.disk, without=("run",))
    stand.apply(settings, A)
    stand.boot_id = "boot-2"
    stand.apply(settings, A)
    stand.apply(settings, None)
    assert told(stand) == []
    assert everything(stand.disk, without=("run",)) == before


def test_a_change_is_told_with_what_was_before(stand: Stand) -> None:
    """The old model is the one that was told last."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    stand.apply(settings, B)
    said = event(stand)
    assert (ports(said["old"]), ports(said["new"])) == ([80, 443], [80, 8443])
    assert said["changes"] == [{"name": "one", "path": "/etc/one", "outcome": "changed"}]


def test_a_file_alone_is_a_change(stand: Stand) -> None:
    """Another template, or another target, tells the same model with the files that changed."""
    stand.apply(stand.settings(TWO), A)
    stand.template("ports.j2", "other\n")
    stand.apply(stand.settings(ONE), A)
    said = event(stand)
    assert said["old"] == said["new"]
    outcomes = [(one["name"], one["outcome"]) for one in said["changes"]]
    assert outcomes == [("one", "changed"), ("two", "removed")]


def test_rules_alone_are_a_change(stand: Stand) -> None:
    """A rule that no file shows is told all the same."""
    stand.template("ports.j2", "the same\n")
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    stand.apply(settings, body(80))
    assert told(stand)[-1] == "tell 1 inbound rule, 1 listener here; changed: no file"


def test_a_failure_undoes_nothing_and_is_tried_again(stand: Stand) -> None:
    """The files stay, the run ends with 69, and the next one tells it, whatever it hears."""
    settings = stand.settings(ONE)
    refuse(stand, "tell")
    report = stand.apply(settings, A)
    assert (report.status, report.outcome) == (69, "changed")
    assert report.problems == (f"hooks.changed: `{FIRST}` ended with status 1\n  no",)
    assert "the next apply runs the hook again" in report.hint
    assert stand.text("/etc/one") == "80\n443\n"
    refuse(stand)
    assert stand.apply(settings, None).status == 75
    assert (told(stand), event(stand)["old"]) == ([FIRST], None)
    assert stand.apply(settings, A).status == 0
    assert told(stand) == []


def test_failures_in_a_row_are_told_as_one_change(stand: Stand) -> None:
    """What was told last is the old model, and what is in force the new one."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    refuse(stand, "tell")
    stand.apply(settings, body(1))
    stand.apply(settings, B)
    refuse(stand)
    stand.apply(settings, B)
    said = event(stand)
    assert (ports(said["old"]), ports(said["new"])) == ([80, 443], [80, 8443])


def test_what_changed_back_is_not_told(stand: Stand) -> None:
    """Nobody was told of the change, so that there is nothing to tell."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    refuse(stand, "tell")
    stand.apply(settings, B)
    refuse(stand)
    assert stand.apply(settings, A).status == 0
    assert told(stand) == []


def test_another_failure_keeps_its_status(stand: Stand) -> None:
    """A hook that fails, too, adds its problem to those that there are."""
    settings = stand.settings(ONE)
    refuse(stand, "tell")
    stand.apply(settings, A)
    report = stand.apply(settings, None)
    assert report.status == 75
    assert [one for one in report.problems if one.startswith("hooks.changed")]


def test_what_was_put_back_is_not_told(stand: Stand) -> None:
    """A reload that fails leaves nothing to tell."""
    refuse(stand, "load")
    assert stand.apply(stand.settings(ONE), A).status == 69
    assert told(stand) == []


def test_no_reload_owes_the_hook_too(stand: Stand) -> None:
    """--no-reload only installs; the next run tells it."""
    settings = stand.settings(ONE)
    stand.apply(settings, A, Options(load=False))
    assert told(stand) == []
    stand.apply(settings, A)
    assert told(stand) == [FIRST]


def test_neither_plan_nor_a_directory_runs_it(tmp_path: Path, stand: Stand) -> None:
    """Nobody is told what is not in force on this machine, and nothing is owed."""
    stand.plan(stand.settings(ONE), A)
    (tmp_path / "other").mkdir()
    below = Stand(tmp_path / "other", live=False)
    below.template("ports.j2")
    below.apply(below.settings(ONE), A)
    assert told(stand) == told(below) == []
    assert below.text("/var/lib/lbhook/told.json") is None


def test_another_vm_s_neighbours_were_not_told(stand: Stand) -> None:
    """On a captured disk the hook begins anew."""
    settings = stand.settings(ONE)
    update = stand.update(settings, A)
    update.fetcher.last_good.keep(A)
    update.apply()
    (stand.place / "uuid").write_text("99999999-2222-3333-4444-555555555555\n")
    stand.apply(settings, A)
    assert event(stand)["old"] is None


def test_a_record_that_is_damaged_is_told_anew(stand: Stand) -> None:
    """Better twice than never."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    told(stand)
    stand.put("/var/lib/lbhook/told.json", "{")
    stand.apply(settings, A)
    assert told(stand) == [FIRST]


class Killed(BaseException):
    """What stands for SIGKILL."""


@pytest.mark.parametrize("number", [1, 2])
def test_a_kill_forgets_nothing(stand: Stand, number: int) -> None:
    """Whether it comes before what is owed is written down, or when the hook has run: the next
    run tells it."""
    steps = 0

    def step(name: str, path: Any) -> None:
        nonlocal steps
        if path.name == "told.json" and name == "rename":
            steps += 1
            if steps == number:
                raise Killed

    settings = stand.settings(ONE)
    stand.step = step
    with pytest.raises(Killed):
        stand.apply(settings, A)
    told(stand)
    stand.apply(settings, A)
    assert told(stand) == [FIRST]


def report_of(stand: Stand, *argv: str, timeout: str = "30s") -> Report:
    """An apply whose hook is a real process."""
    text = f'[hooks]\nchanged = {json.dumps(argv)}\ntimeout = "{timeout}"\n'
    run: Any = processes.run
    stand.runner = run
    return stand.apply(stand.settings(NO_ENV + text + target("one", reload=None)), A)


def test_a_real_command_reads_one_line_of_json(stand: Stand) -> None:
    """As a shell script would read it."""
    file = stand.place / "heard"
    script = f"read -r line; printf '%s' \"$line\" >{shlex.quote(str(file))}; ! read -r line"
    assert report_of(stand, "sh", "-c", script).status == 0
    said = json.loads(file.read_text())
    documented = [*rows("docs/configuration.md", "### What the hook reads")]
    assert [*said] == [names(key)[0] for key, _ in documented]
    assert names(documented[-1][1])[: len(said["changes"][0])] == [*said["changes"][0]]


def test_a_command_that_hangs_is_ended(stand: Stand) -> None:
    """At its time limit, and it is owed."""
    report = report_of(stand, "sleep", "60", timeout="100ms")
    assert report.status == 69
    assert "took longer than" in report.problems[0]
    assert "owed" in json.loads(stand.text("/var/lib/lbhook/told.json") or "")


def test_a_command_that_is_missing_is_a_problem(stand: Stand) -> None:
    """And not a bug."""
    assert report_of(stand, "no-such-program").problems == (
        "hooks.changed: `no-such-program` was not found\n  No such file or directory",
    )
