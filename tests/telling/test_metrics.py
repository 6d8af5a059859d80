"""Metrics: what each run leaves, whatever its end, and what promtool says of it."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import pytest

from lbhook import __version__
from lbhook.context import Options
from lbhook.deployment.report import Report
from lbhook.emulator.server import Emulator
from lbhook.errors import NoAnswerError, TerminatedError
from lbhook.levers.drain import Drain
from lbhook.telling import metrics, publisher
from lbhook.telling.metrics import Measured

from ..program import Ended, run_lbhook
from ..stand import NO_ENV, USER, Runner, Stand, body, target

FILE = "/var/lib/prometheus/node-exporter/lbhook.prom"
WANTED = f'[metrics]\ntextfile = "{FILE}"\n'
ONE = NO_ENV + WANTED + target("one")
A = body(80, 443)


def samples(text: str | None) -> Mapping[str, float]:
    """The metrics of a file, by name and by the labels beside the command."""
    assert text
    found = re.findall(r'^lbhook_(\w+)\{command="\w+"(?:,(.*))?\} (\S+)$', text, re.M)
    assert len(found) == len([line for line in text.splitlines() if line[0] != "#"])
    return {name + labels: float(value) for name, labels, value in found}


def left(stand: Stand) -> Mapping[str, float]:
    """What the last apply left."""
    return samples(stand.text(FILE))


def outcome(found: Mapping[str, float]) -> list[str]:
    """What the last run came to."""
    return [one for one in metrics.OUTCOMES if found[f'last_run_outcomeoutcome="{one}"']]


def test_what_an_apply_leaves(stand: Stand) -> None:
    """How it ended and when, how long it took, and what is in force."""
    stand.apply(stand.settings(ONE), A)
    found = left(stand)
    assert outcome(found) == ["changed"]
    assert found["last_run_timestamp_seconds"] == found["last_success_timestamp_seconds"] > 1e9
    assert (found["last_run_status"], found["inbound_rules"], found["reloads_owed"]) == (0, 2, 0)
    assert found[f'infoversion="{__version__}"'] == 1


def test_a_failure_keeps_what_is_still_true(stand: Stand) -> None:
    """The last success was when it was, and the rules in force are those that were."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    before = left(stand)
    stand.apply(settings, b"{")
    found = left(stand)
    assert (outcome(found), found["last_run_status"], found["inbound_rules"]) == (["failed"], 65, 2)
    assert found["last_success_timestamp_seconds"] == before["last_success_timestamp_seconds"]
    assert found["last_run_timestamp_seconds"] > found["last_success_timestamp_seconds"]


def test_without_any_success_there_is_a_zero(stand: Stand) -> None:
    """So that an alert that subtracts it from now fires."""
    stand.apply(stand.settings(ONE), None)
    found = left(stand)
    names = ("last_success_timestamp_seconds", "answer_timestamp_seconds", "inbound_rules")
    assert [found[name] for name in names] == [0, 0, 0]
    assert (found["last_run_status"], found["last_run_attempts"]) == (75, 1)


def test_reloads_that_are_owed_are_counted(stand: Stand) -> None:
    """Left out, failed without a way back, or lost by a boot, until they are paid."""
    settings = stand.settings(ONE + target("two") + target("three", reload=None))
    stand.apply(settings, A, Options(load=False))
    assert left(stand)["reloads_owed"] == 2
    stand.runner = Runner(lambda argv: (1, "no") if "two" in argv else None)
    stand.apply(settings, A)
    assert left(stand)["reloads_owed"] == 1
    stand.runner = Runner()
    stand.apply(settings, A)
    assert left(stand)["reloads_owed"] == 0
    stand.boot_id = "boot-2"
    stand.apply(settings, A, Options(load=False))
    assert left(stand)["reloads_owed"] == 2


def test_since_when_a_vm_is_drained(stand: Stand) -> None:
    """0 when it is not, also after a run that failed."""
    settings = stand.settings(ONE)
    for answer in (A, b"{"):
        draining = Drain(stand.context(settings), now=lambda: 1_790_000_000.0)
        draining.begin("ann")
        stand.apply(settings, answer)
        assert left(stand)["drained_since_timestamp_seconds"] == 1_790_000_000
        draining.end()
        stand.apply(settings, answer)
        assert left(stand)["drained_since_timestamp_seconds"] == 0


def test_interrupted_runs_leave_theirs(stand: Stand) -> None:
    """Whatever the end."""

    def interrupted(argv: tuple[str, ...]) -> None:
        raise TerminatedError

    stand.runner = Runner(interrupted)
    with pytest.raises(TerminatedError):
        stand.apply(stand.settings(ONE), A)
    assert (left(stand)["last_run_status"], outcome(left(stand))) == (143, ["failed"])


def test_the_duration_is_that_of_the_run(stand: Stand) -> None:
    """By a clock that nobody sets."""
    stand.template("ports.j2")

    def slow(argv: tuple[str, ...]) -> None:
        stand.time += 1.25

    stand.runner = Runner(slow)
    stand.apply(stand.settings(ONE), A)
    assert left(stand)["last_run_duration_seconds"] == 1.25


def test_a_directory_is_no_machine(tmp_path: Path) -> None:
    """An image that is being built does not say when it was last well."""
    below = Stand(tmp_path, live=False)
    below.template("ports.j2")
    below.apply(below.settings(ONE), A)
    assert below.text(FILE) is None


def test_a_textfile_that_can_not_be_written_is_a_warning(stand: Stand) -> None:
    """It has no say in whether the run was a success."""
    stand.put("/var/lib/prometheus", "a file where the directory should be")
    report = stand.apply(stand.settings(ONE), A)
    assert report.status == 0
    (warning,) = stand.warnings
    assert warning == f"metrics: {stand.disk}{FILE}: Not a directory"


@pytest.mark.parametrize("value", ["many", "1.2.3", "007", "-1", "NaN", "9" * 400, "\u2003\n\0"])
def test_what_somebody_else_wrote_there_is_no_harm(stand: Stand, value: str) -> None:
    """What is no number of ours is not known."""
    stand.put(FILE, f'lbhook_inbound_rules{{command="apply"}} {value}\n')
    assert stand.apply(stand.settings(ONE), None).status == 75
    assert left(stand)["inbound_rules"] in (0, 7)


def test_clean_takes_them_away(stand: Stand) -> None:
    """An image has another machine's otherwise."""
    from lbhook.runs.undo import Undo

    settings = stand.settings(ONE)
    stand.apply(settings, A)
    gone = Undo(stand.context(settings)).clean().removed
    assert str(stand.disk / FILE.lstrip("/")) in gone
    assert stand.text(FILE) is None


def measured(
    before: str = "", *, age: float | None = None, now: float = 1e9
) -> Mapping[str, float]:
    """What a run leaves whose answer is so old."""
    run = Measured(command="apply", report=Report(outcome="kept", age=age), now=now, seconds=0.0)
    return samples(run.text(before))


def test_an_answer_does_not_become_older() -> None:
    """The last good one is kept with the time of an equal one from before; and a clock that was
    wrong is not believed for good."""
    name = "answer_timestamp_seconds"
    line = 'lbhook_answer_timestamp_seconds{{command="apply"}} {}\n'
    assert measured(age=50)[name] == 1e9 - 50
    assert measured(line.format("999999990.5"), age=50)[name] == 999999990.5
    assert measured(line.format("999999990.5"))[name] == 999999990.5
    assert measured(line.format("2000000000"), age=50)[name] == 1e9


def test_only_azure_s_answers_have_an_age(stand: Stand) -> None:
    """One from a file is nobody's word; one that is kept, and none for this VM, are Azure's."""
    settings = stand.settings(ONE)
    stand.apply(settings, A)
    assert left(stand)["answer_timestamp_seconds"] == 0
    stand.update(settings, None).fetcher.last_good.keep(A)
    stand.apply(settings, None)
    assert left(stand)["answer_timestamp_seconds"] > 1e9
    assert (outcome(left(stand)), left(stand)["last_run_status"]) == (["kept"], 75)


def test_whether_metadata_is_guarded_is_remembered() -> None:
    """A run that nobody told leaves what was last seen; before the first there is no sample."""
    name = "lbhook_metadata_guarded"

    def after(before: str, *, guarded: bool | None) -> str:
        report = Report(outcome="unchanged", guarded=guarded)
        return Measured(command="apply", report=report, now=1e9, seconds=0.0).text(before)

    assert name not in after("", guarded=None)
    seen = after("", guarded=True)
    assert f'{name}{{command="apply"}} 1' in seen
    assert f'{name}{{command="apply"}} 1' in after(seen, guarded=None)
    assert f'{name}{{command="apply"}} 0' in after(seen, guarded=False)


def test_the_outcomes_are_those_of_a_report() -> None:
    """Each has its line of text, so that none is forgotten here."""
    for one in metrics.OUTCOMES:
        assert Report(outcome=one).summary()
    with pytest.raises(KeyError):
        Report(outcome="other").summary()


# As programs


def configure(place: Path) -> Path:
    """A configuration with everything in one directory, as far as it is live."""
    file = place / "lbhook.toml"
    file.write_text(
        f'[paths]\nstate = "{place}/state"\nruntime = "{place}/run"\ntemplates = []\n'
        f'[metrics]\ntextfile = "{place}/lbhook.prom"\n[targets.env]\nowner = "{USER}"\n'
    )
    return file


def fetch(place: Path, *args: str, body: str = "documented") -> Ended:
    """A fetch from a metadata service of our own."""
    with Emulator(body=body) as imds:
        return run_lbhook("-c", configure(place), "fetch", "--endpoint", imds.url, *args)


def test_fetch_leaves_its_own(tmp_path: Path) -> None:
    """Beside those of apply, which it does not touch, and without a reload, which it has not."""
    assert fetch(tmp_path).status == 0
    found = samples((tmp_path / "lbhook-fetch.prom").read_text())
    assert (outcome(found), found["last_run_attempts"], found["inbound_rules"]) == (
        ["changed"],
        1,
        2,
    )
    assert found["answer_timestamp_seconds"] > found["last_run_timestamp_seconds"] - 5
    assert "reloads_owed" not in found
    assert run_lbhook("-c", tmp_path / "lbhook.toml", "fetch", "--wait", "0").status == 75
    found = samples((tmp_path / "lbhook-fetch.prom").read_text())
    assert (outcome(found), found["last_run_status"], found["inbound_rules"]) == (["failed"], 75, 2)
    assert not (tmp_path / "lbhook.prom").exists()


def test_who_hands_over_leaves_nothing(tmp_path: Path) -> None:
    """The unit that asks may not write there; that which applies measures the answer, too."""
    assert fetch(tmp_path, "--hand-over").status == 0
    assert not [*tmp_path.glob("*.prom")]
    assert run_lbhook("-c", tmp_path / "lbhook.toml", "apply", "--cached").status == 0
    found = samples((tmp_path / "lbhook.prom").read_text())
    assert (found["last_run_attempts"], found["inbound_rules"]) == (1, 2)
    assert found["answer_timestamp_seconds"] > found["last_run_timestamp_seconds"] - 60


def test_an_apply_that_could_not_begin_leaves_its_own(tmp_path: Path) -> None:
    """A mistake on the command line, too."""
    ended = run_lbhook("-c", configure(tmp_path), "apply", "--only", "nginx")
    assert ended.status == samples((tmp_path / "lbhook.prom").read_text())["last_run_status"] == 2


@pytest.mark.needs("promtool")
@pytest.mark.parametrize("command", ["apply", "fetch"])
@pytest.mark.parametrize("before", ["", "again"])
def test_promtool_has_nothing_to_say(command: str, before: str) -> None:
    """Of the first file, and of one that goes on from another."""
    owed = 1 if command == "apply" else None
    failed = Report(outcome="failed", status=NoAnswerError.status, age=3.5)
    run = Measured(command=command, report=failed, now=1e9 + 0.25, seconds=0.5, owed=owed)
    text = run.text(run.text("") if before else "")
    said = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")


def test_the_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    """node_exporter reads it whole, old or new, and nothing that is being written."""
    steps: list[tuple[str, str]] = []

    def step(name: str, path: PurePosixPath) -> None:
        if "prom" in path.name:
            steps.append((name, path.name))

    stand = Stand(tmp_path, step=step)
    stand.template("ports.j2")
    settings = stand.settings(ONE)
    after = publisher.Publisher(stand.context(settings))
    after.leave_metrics("apply", Report(outcome="kept"), 0.0)
    written = [one for one in steps if one[1] == "lbhook.prom"]
    assert [name for name, _ in written] == ["rename"]
    assert not any(name.endswith(".prom") for _, name in steps if name != "lbhook.prom")
    assert (stand.disk / FILE.lstrip("/")).stat().st_mode & 0o777 == 0o644
