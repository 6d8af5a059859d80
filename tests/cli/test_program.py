"""How a run ends that could not go on."""

import subprocess
import sys
from pathlib import Path

import pytest

from ..program import ENVIRONMENT

SCRIPT = """
import os, sys
from lbhook import program
from lbhook.cli import main
def cli(**_):
    if {replaced}:
        os.replace(sys.argv[0] + ".new", sys.argv[0])
        sys.modules["lbhook.system.journald"] = None
    raise AttributeError("of the other one")
main.cli = cli
program.main()
"""


@pytest.mark.parametrize("replaced", [False, True])
def test_an_upgrade_while_it_runs_is_no_bug(tmp_path: Path, replaced: bool) -> None:
    """What is imported late is another lbhook's then, or gone: the next run goes on. Whatever else
    was not foreseen is a bug, with its traceback."""
    script = tmp_path / "lbhook"
    script.write_text(SCRIPT.format(replaced=replaced))
    Path(f"{script}.new").write_text("")
    argv = [sys.executable, str(script)]
    env = {**ENVIRONMENT, "JOURNAL_STREAM": "1:1"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, env=env)
    assert ("Traceback" in done.stderr) is not replaced
    if replaced:
        said = "replaced by another lbhook while it ran; the next run settles what this one began"
        assert (done.returncode, done.stderr) == (75, f"lbhook: {said}\n")
    else:
        assert (done.returncode, "this is a bug in lbhook" in done.stderr) == (70, True)
