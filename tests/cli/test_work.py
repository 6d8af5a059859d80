"""What lbhook's units start: the same as by hand, without the time that a command line takes."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from lbhook.cli import work
from lbhook.cli.invocation import Invocation
from lbhook.cli.main import cli

from ..program import ENVIRONMENT, REPO

UNITS = [
    shlex.split(words)
    for file in sorted((REPO / "systemd").glob("*.service"))
    for words in re.findall(r"(?m)^ExecStart=/usr/bin/lbhook (.*)$", file.read_text())
]


def test_all_that_units_start_is_known() -> None:
    """And nothing else, but what `lbhook drain` needs, which is seldom run."""
    assert {tuple(words) for words in UNITS} == set(work.UNITS)


@pytest.mark.parametrize("words", UNITS, ids=" ".join)
def test_they_mean_what_a_command_line_means(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each option has the value that click gives it."""
    monkeypatch.delenv("LBHOOK_ENDPOINT", raising=False)
    invocation = Invocation()
    group = cli.make_context("lbhook", [*words], obj=invocation)
    name, command, rest = cli.resolve_command(group, [*words])
    assert isinstance(command, click.Command)
    context = command.make_context(name, rest, parent=group)
    variables = {str(one.envvar) for one in command.params if one.envvar}
    assert variables <= set(work.VARIABLES)
    run, options = work.UNITS[tuple(words)]
    assert {**options, "as_json": False} == context.params
    assert run is getattr(work, words[0])
    told = Invocation()
    assert work.of_a_unit(words, told)
    assert told.console.command == invocation.console.command == words[0]


def test_the_environment_and_other_words_are_a_command_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With an option more, or by a variable as in a drop-in, all of it is read."""
    assert not work.of_a_unit(["restore", "--json"], Invocation())
    assert not work.of_a_unit([], Invocation())
    monkeypatch.delenv("LBHOOK_ENDPOINT", raising=False)
    assert work.of_a_unit(["restore"], Invocation())
    for name in work.VARIABLES:
        monkeypatch.setenv(name, "")
        assert not work.of_a_unit(["restore"], Invocation())
        monkeypatch.delenv(name)


RUN = """
import sys
from lbhook.__main__ import main
sys.argv[1:] = {words}
try:
    main()
finally:
    print("click" in sys.modules, file=sys.stderr)
"""


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize(("words", "reads"), [(["restore"], False), (["restore", "-v"], True)])
def test_a_unit_reads_no_command_line(tmp_path: Path, words: list[str], reads: bool) -> None:
    """Whatever it says, and however it ends: here as somebody who may not."""
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ended = subprocess.run(
        [*(nobody if os.geteuid() == 0 else []), sys.executable, "-c", RUN.format(words=words)],
        env={name: ENVIRONMENT[name] for name in ("PATH", "PYTHONPATH")},
        cwd=tmp_path.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 77
    *said, last = ended.stderr.splitlines()
    assert (said[0], last) == ("lbhook: /run/lbhook: Permission denied", str(reads))
