"""A signal while lbhook starts: it ends at once, with the status of any other time, and quietly."""

import signal
from pathlib import Path

import pytest

from ..program import REPO, run_lbhook

# Python looks here before anything of lbhook is imported. The signal comes when a module is looked
# for the first time, which stands for the moment that its import takes.
_STAND_IN = """
import os, sys

class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["AT"]:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), int(os.environ["SIGNAL"]))

sys.meta_path.insert(0, Sender())
"""
FIRST = ("signal", "lbhook.program")
STARTING = ("click", "lbhook.cli.invocation", "lbhook.cli.main", "lbhook.errors")
RUNNING = ("lbhook.commands.plan", "lbhook.planning.planner", "jinja2")
WORDS = {"INT": "interrupted", "TERM": "terminated", "HUP": "terminated"}
STATUSES = {"INT": 130, "TERM": 143, "HUP": 143}


def sent(tmp_path: Path, name: str, module: str) -> tuple[int, str]:
    """How a plan ends to which a signal is sent; its messages."""
    (tmp_path / "sitecustomize.py").write_text(_STAND_IN)
    root = tmp_path / "root"
    root.mkdir()
    number = signal.Signals[f"SIG{name}"].value
    env = {"PYTHONPATH": f"{tmp_path}:{REPO}", "AT": module, "SIGNAL": str(number)}
    ended = run_lbhook("plan", "--root", root, "--metadata", "documented", env=env)
    return ended.status, ended.err


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("module", FIRST)
def test_before_lbhook_has_its_own_way(tmp_path: Path, module: str, name: str) -> None:
    """The signal itself ends it, without Python's traceback; a shell shows the same status."""
    assert sent(tmp_path, name, module) == (-signal.Signals[f"SIG{name}"], "")


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("module", STARTING)
def test_while_it_starts(tmp_path: Path, module: str, name: str) -> None:
    """Not a word, and no traceback of what was being imported."""
    assert sent(tmp_path, name, module) == (STATUSES[name], "")


@pytest.mark.parametrize("name", STATUSES)
@pytest.mark.parametrize("module", RUNNING)
def test_while_it_runs(tmp_path: Path, module: str, name: str) -> None:
    """From there on it says what has become of the work."""
    status, said = sent(tmp_path, name, module)
    assert (status, said.lstrip()) == (
        STATUSES[name],
        f"lbhook: {WORDS[name]}; nothing is left half done\n",
    )
