"""The doctor's whole walk, and how its findings are told."""

from pathlib import Path

from lbhook.doctor import walk
from lbhook.doctor.findings import Finding, Level, note, unsure
from lbhook.doctor.walk import Diagnosis

from ..program import BODIES, run_lbhook
from ..stand import NO_ENV, Runner, Stand, body

PLACES = {
    "Azure": (),
    "Rules": (
        Finding(text=f"it is wrong in a way that {'takes many words ' * 4}to say", remedy="fix it"),
        Finding(text="a command said\n  so:  much", remedy=""),
        unsure("nobody can tell"),
    ),
    "Network": (note("good to know"),),
}


def test_a_report_for_people() -> None:
    """Each place with its findings; what is wrong first in its line; never wider than 80."""
    found = Diagnosis(places=PLACES)
    assert found.to_text(notes=False) == (
        "Azure    ok\n"
        "Rules\n"
        "! it is wrong in a way that takes many words takes many words takes many words\n"
        "  takes many words to say\n"
        "    fix it\n"
        "! a command said\n"
        "    so:  much\n"
        "? nobody can tell\n"
        "Network  ok\n"
        "\n"
        "2 things are wrong.\n"
    )
    assert "Network  ok\n- good to know\n" in found.to_text(notes=True)


def test_a_report_for_programs() -> None:
    """All of it, whether or not -v is given."""
    value = Diagnosis(places=PLACES).to_json()
    assert (value["version"], value["wrong"], len(value["findings"])) == (1, 2, 4)
    last = {"place": "network", "level": "note", "text": "good to know", "remedy": ""}
    assert value["findings"][-1] == last
    assert {one["level"] for one in value["findings"]} == {one.value for one in Level}


def test_below_a_root_the_machine_is_not_looked_at(tmp_path: Path) -> None:
    """Only what Azure says, and the files that are there."""
    argv = ("doctor", "--metadata", BODIES / "documented.json", "--root", tmp_path)
    ended = run_lbhook(*argv)
    assert ended.status == 1
    assert ended.out.startswith(
        "Azure    ok\nTargets\n! env: /run/lbhook/lb.env is not there yet\n"
    )
    assert run_lbhook("apply", *argv[1:]).status == 0
    assert run_lbhook(*argv).out == "Azure    ok\nTargets  ok\n\nNothing is wrong.\n"


def test_without_any_answer_the_machine_is_looked_at(stand: Stand) -> None:
    """Why there is none comes first; nothing is planned."""
    stand.runner = Runner(lambda _: (0, "enabled"))
    found = walk.examine(stand.update(stand.settings(NO_ENV), None))
    assert list(found.places) == ["Azure", "Targets", "Units", "Traffic"]
    assert found.wrong == 1
    assert found.places["Azure"][0].text.startswith("no usable answer from the metadata service")


def test_what_is_wrong_with_the_answer_is_no_plan_s_fault(stand: Stand) -> None:
    """A body that must not be acted on is one finding, with its problems."""
    wrong = body(70000)
    found = walk.examine(stand.update(stand.settings(NO_ENV), wrong))
    assert "loadbalancer.inboundRules[0].frontendPort" in found.places["Azure"][0].text
    assert found.places["Targets"] == ()


def test_an_unreadable_file_is_a_usage_error() -> None:
    """As with every other command."""
    assert run_lbhook("doctor", "--metadata", "/no/such/file").status == 2
