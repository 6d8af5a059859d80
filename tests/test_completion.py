"""Completion: the scripts that are installed, and what they make of a half command line."""

import subprocess
import sys
from pathlib import Path

import pytest

from lbhook import completion

from .program import ENVIRONMENT

# bash-completion calls the function that the script has registered.
_ASK = """
. "$1"
COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2))
_lbhook_completion lbhook
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A directory with `lbhook` in it, for PATH."""
    file = tmp_path / "lbhook"
    file.write_text(f'#!/bin/sh\nexec {sys.executable} -m lbhook "$@"\n')
    file.chmod(0o755)
    return str(tmp_path)


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["unin"], {"uninstall"}),
        (["re"], {"render", "restore"}),
        (["apply", "--re"], {"--require-lb", "--reload"}),
    ],
)
def test_bash_completes(program: str, tmp_path: Path, words: list[str], wanted: set[str]) -> None:
    """Commands and options; what is hidden is not offered."""
    script = tmp_path / "script"
    script.write_text(completion.script("bash"))
    env = {**ENVIRONMENT, "PATH": f"{program}:{ENVIRONMENT['PATH']}"}
    argv = ["bash", "-euc", _ASK, "bash", str(script), "lbhook", *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == wanted


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_scripts_are_those_that_the_program_prints(shell: str) -> None:
    """A package, which asks the program, and `lbhook install` have the same."""
    env = {**ENVIRONMENT, "_LBHOOK_COMPLETE": f"{shell}_source"}
    argv = [sys.executable, "-m", "lbhook"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.rstrip() == completion.script(shell).rstrip()
