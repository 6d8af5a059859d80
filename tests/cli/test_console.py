"""Messages: for people, as JSON, and for the journal."""

import json
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lbhook.cli import console
from lbhook.cli.console import Console

from ..program import BODIES, ENVIRONMENT, NOBODY_THERE, Desk, argv, run_lbhook

TYPO = ("--metadata", BODIES / "documented-2021-typo.json")
WARNING = (
    "loadbalancer.outboundRules[1].frontendIpAddress: missing; the entry is left out",
    "loadbalancer.outboundRules[1].frotendIpAddress: unknown key; it is ignored",
)


def read(text: str) -> list[dict[str, Any]]:
    """Messages, each an object in a line of its own."""
    said = [json.loads(line) for line in text.splitlines()]
    assert all([*one] == ["level", "message", "hint", "command"] for one in said)
    return said


def short(text: str) -> list[tuple[str, str]]:
    """Level and text of each."""
    return [(one["level"], one["message"]) for one in read(text)]


def test_each_message_is_a_line_of_json() -> None:
    """With its level and the command's name, and without a program's name or a colour."""
    ended = run_lbhook("show", "--log-format", "json", "-v", *TYPO)
    assert read(ended.err)[0]["command"] == "show"
    assert short(ended.err) == [("warning", WARNING[0]), ("debug", WARNING[1])]
    assert ended.out.startswith("Public addresses")


def test_what_follows_is_said_of_each_problem() -> None:
    """Who reads lines one by one has the hint in each."""
    ended = run_lbhook("show", "--log-format=json", "--wait", "0")
    hints = {one["hint"] for one in read(ended.err)}
    assert len(read(ended.err)) == 2
    assert hints == {"it answers the primary NIC and its primary address only"}


def test_of_several_lines_json_makes_one(tmp_path: Path) -> None:
    """A refused check, with what its command printed."""
    desk = Desk(tmp_path)
    desk.own_target("x\n", 'check = ["grep", "y", "{staged}"]\n')
    [said] = [
        one for one in read(desk.apply("--log-format", "json").err) if one["level"] == "error"
    ]
    assert "\n" in said["message"]
    assert (said["level"], said["command"]) == ("error", "apply")


def test_what_a_run_came_to_is_json_too(tmp_path: Path) -> None:
    """Each line of it; nothing else is printed."""
    ended = Desk(tmp_path).apply("--log-format", "json")
    said = read(ended.err)
    assert ended.out == ""
    assert said[-1]["message"] == "changed: 2 inbound rules, 2 listeners here"
    assert {one["level"] for one in said} == {"info"}


def test_a_bug_is_a_line_of_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Its traceback is one message; for people it is what Python prints."""
    trace = "Traceback (most recent call last):\n  ...\nValueError\n"
    Console(as_json=True, command="apply").bug(trace)
    assert short(capsys.readouterr().err) == [("error", trace)]
    Console().bug(trace)
    assert capsys.readouterr().err == trace


def test_waiting_is_said_in_json_on_a_terminal_too() -> None:
    """No line is written over."""
    ended = run_lbhook("show", "--log-format", "json", "--wait", "1s")
    level, text = short(ended.err)[0]
    assert (level, text.startswith("waiting up to 1 s: ")) == ("info", True)


@pytest.mark.parametrize(
    ("line", "as_json"),
    [
        ("show", True),
        ("--log-format plain show", False),
        ("--log-format json show --log-format plain", False),
        ("--log-format plain show --log-format json", True),
    ],
)
def test_who_decides(line: str, as_json: bool) -> None:
    """The command line outweighs the environment, and what is later what is before."""
    ended = run_lbhook(*line.split(), *TYPO, env={"LBHOOK_LOG_FORMAT": "json"})
    assert ended.err.startswith("{") is as_json


def test_mistakes_on_the_command_line_too() -> None:
    """As soon as it is known in which format."""
    for words in (["aply"], ["apply", "--bogus"]):
        (said,) = read(run_lbhook("--log-format", "json", *words).err)
        assert said["level"] == "error"


def to_journal(*words: str, stream: str) -> str:
    """What lbhook writes to a socket that is its stderr, told that the journal is `stream`."""
    ours, theirs = os.pipe()
    found = os.fstat(theirs)
    env = {**ENVIRONMENT, "JOURNAL_STREAM": stream.format(found.st_dev, found.st_ino)}
    with subprocess.Popen(argv(*words), env=env, stderr=theirs, stdout=subprocess.DEVNULL):
        os.close(theirs)
        with os.fdopen(ours) as said:
            return said.read()


def test_the_journal_gets_a_priority_before_each_line() -> None:
    """Of each line, hints among them, whatever the format; and nobody else does."""
    words = ("show", "--wait", "0", "--endpoint", NOBODY_THERE)
    plain = to_journal(*words, stream="{}:{}").splitlines()
    assert [line[:3] for line in plain] == ["<3>"] * 3
    assert plain[-1].startswith("<3>  hint: ")
    both = to_journal(*words, "--log-format", "json", stream="{}:{}").splitlines()
    assert all(line.startswith('<3>{"level": "error"') for line in both)
    for stream in ("1:{1}", "", "nonsense"):
        assert to_journal(*words, stream=stream).startswith("lbhook: ")


def in_a_boot_unit(*words: str | Path, columns: str = "80") -> tuple[list[str], list[str]]:
    """What lbhook writes to stdout and to stderr, each a socket of its own, in lines."""
    pairs = [socket.socketpair() for _ in range(2)]
    found = os.fstat(pairs[1][1].fileno())
    env = {**ENVIRONMENT, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "COLUMNS": columns}
    out, err = (theirs for _, theirs in pairs)
    with subprocess.Popen(argv(*words), env=env, stdout=out.fileno(), stderr=err.fileno()):
        out.close()
        err.close()
        said, warned = (_all_of(ours).splitlines() for ours, _ in pairs)
        return said, warned


def _all_of(ours: socket.socket) -> str:
    with ours, ours.makefile(encoding="utf-8") as lines:
        return lines.read()


def test_the_serial_console_gets_what_matters(tmp_path: Path) -> None:
    """Of a run that is well the last line; everything else is on stdout, with its level."""
    desk = Desk(tmp_path)
    words = ("-c", desk.config, "apply", "--root", desk.root, *TYPO)
    out, err = in_a_boot_unit(*words)
    assert err == ["<6>changed: 2 inbound rules, 2 listeners here"]
    assert out[0].startswith("<4>lbhook: warning: ")
    assert out[-1].startswith("env ")


def test_errors_on_a_serial_console() -> None:
    """Each on lines that fit beside what journald puts before them, hints among them; nothing is
    lost, no word is cut, and nobody says twice who speaks."""
    words = ("show", "--wait", "0", "--endpoint", NOBODY_THERE)
    out, err = in_a_boot_unit(*words)
    assert out == []
    assert all(line.startswith("<3>") for line in err)
    assert max(len(line.removeprefix("<3>")) for line in err) <= 80 - len(
        "[12345.678901] lbhook[4]: "
    )
    whole = [line.removeprefix("<3>") for line in to_journal(*words, stream="{}:{}").splitlines()]
    folded = " ".join(line.removeprefix("<3>").strip() for line in err)
    assert folded == " ".join(line.removeprefix("lbhook: ").strip() for line in whole)


def test_a_command_is_not_folded() -> None:
    """Nor is a piece of JSON: both are there to be copied."""
    command, rule = (
        "`lbhook apply --wait 90s --only nftables --only nginx`",
        '{"a": 1, "b": [2, 3]}',
    )
    lines = console._folded(f"lbhook: the words before are folded; run {command} with {rule}", 80)
    assert max(map(len, lines)) > 48
    assert any(command in line for line in lines)
    assert any(rule in line for line in lines)


def test_messages_for_programs_are_not_folded() -> None:
    """Each is an object still."""
    words = ("--log-format", "json", "show", "--wait", "0", "--endpoint", NOBODY_THERE)
    _, err = in_a_boot_unit(*words)
    assert {one["level"] for one in read("\n".join(line[3:] for line in err))} == {"error"}


@pytest.mark.parametrize("columns", ["", "wide"])
def test_without_a_serial_console(tmp_path: Path, columns: str) -> None:
    """A unit that names no width has none."""
    desk = Desk(tmp_path)
    words = ("-c", desk.config, "apply", "--root", desk.root, *TYPO)
    out, err = in_a_boot_unit(*words, columns=columns)
    assert out[-1] == "changed: 2 inbound rules, 2 listeners here"
    assert err[0].startswith("<4>lbhook: warning: ")


def test_results_that_go_into_a_file_stay_whole(tmp_path: Path) -> None:
    """Whatever the unit is: only a socket can be the journal."""
    file = tmp_path / "out.json"
    ours, theirs = socket.socketpair()
    found = os.fstat(theirs.fileno())
    env = {**ENVIRONMENT, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}", "COLUMNS": "80"}
    with file.open("wb") as out:
        words = argv("show", "--json", *TYPO)
        subprocess.run(words, env=env, stdout=out, stderr=theirs.fileno(), check=True)
    theirs.close()
    assert _all_of(ours).startswith("<4>lbhook: warning: ")
    assert json.loads(file.read_text())["version"] == 1
