"""lbhook(8): put together from what the program says, and readable at 80 columns."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lbhook import __version__

from ..program import REPO
from ..test_docs import commands, help_of, rows

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO), "LC_ALL": "C.UTF-8"}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as packages have it."""
    file = tmp_path_factory.mktemp("man") / "lbhook.8"
    argv = [sys.executable, str(REPO / "packaging/manpage.py")]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    file.write_text(done.stdout)
    return file


@pytest.fixture(scope="module")
def shown(page: Path) -> str:
    """The page on a terminal of 80 columns."""
    argv = ["mandoc", "-T", "utf8", "-O", "width=78", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return re.sub(".\b", "", done.stdout)


@pytest.mark.needs("mandoc")
def test_mandoc_has_nothing_to_say(page: Path) -> None:
    """Neither a warning nor a matter of style."""
    argv = ["mandoc", "-T", "lint", "-W", "all", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.needs("man", "groff")
def test_groff_has_nothing_to_say(page: Path) -> None:
    """Nor has the formatter that `man` uses; no line is too long for 80 columns."""
    env = {**ENVIRONMENT, "MANWIDTH": "80", "MANROFFOPT": "-ww"}
    argv = ["man", "--warnings", "--local-file", str(page)]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.needs("mandoc")
def test_commands_and_options(shown: str) -> None:
    """Each command that the help shows has its section, and each of its options is in it."""
    sections = dict(re.findall(r"^   lbhook (\w+).*\n((?:(?:     .*)?\n)+)", shown, re.M))
    assert list(sections) == commands()
    for name, text in sections.items():
        options = set(re.findall(r"^  .*?(--[a-z][\w-]*)", help_of(name), re.M))
        missing = options - {*re.findall(r"--[a-z][\w-]*", text)}
        assert missing <= {"--config", "--verbose", "--quiet", "--log-format", "--help"}
    assert f"lbhook {__version__}" in shown


@pytest.mark.needs("mandoc")
def test_statuses(shown: str) -> None:
    """The same as in docs/troubleshooting.md."""
    section = shown.split("EXIT STATUS")[1].split("ENVIRONMENT")[0]
    found = re.findall(r"^     (?:  )?(\d[\d, ]*)(?:  |$)", section, re.M)
    documented = [cells[0] for cells in rows("docs/troubleshooting.md", "## Statuses")]
    assert [one.strip() for one in found] == documented


@pytest.mark.needs("mandoc")
def test_environment(shown: str) -> None:
    """Each variable that the code reads is there."""
    section = shown.split("ENVIRONMENT")[1].split("FILES")[0]
    texts = [file.read_text() for file in (REPO / "lbhook").rglob("*.py")]
    read = re.findall(r'"(LBHOOK_[A-Z_]+|NO_COLOR)"', "".join(texts))
    assert sorted(re.findall(r"^ +([A-Z_]+)$", section, re.M)) == sorted({*read})
