"""lbhook(8) and lbhook.toml(5): put together from what the program and its pages say, and readable
at 80 columns."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lbhook import __version__
from lbhook.config import rules, settings, shipped, target_tables

from ..program import REPO
from ..test_docs import commands, help_of, rows

ENVIRONMENT = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPO), "LC_ALL": "C.UTF-8"}


PAGES = ("lbhook.8", "lbhook.toml.5")


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each page as packages have it."""
    return made(tmp_path_factory.mktemp("man") / request.param)


def made(file: Path, script: Path = REPO / "packaging/manpage.py") -> Path:
    """A page, put together in a file."""
    argv = [sys.executable, str(script), file.name]
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    file.write_text(done.stdout)
    return file


def on_a_terminal(page: Path) -> str:
    """A page on a terminal of 80 columns."""
    argv = ["mandoc", "-T", "utf8", "-O", "width=78", str(page)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return re.sub(".\b", "", done.stdout)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> str:
    """lbhook(8) on a terminal."""
    return on_a_terminal(made(tmp_path_factory.mktemp("man") / "lbhook.8"))


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


# lbhook.toml(5)


def keys(text: str) -> set[str]:
    """What stands as a term, and a default, in a section."""
    return set(re.findall(r"^       (\w+(?: = .*?)?)(?:  |$)", text, re.M))


@pytest.mark.needs("mandoc")
def test_every_key_of_the_configuration(tmp_path: Path) -> None:
    """Each key that the code knows is a term of its table, with its default."""
    text = on_a_terminal(made(tmp_path / "lbhook.toml.5"))
    tables = dict(re.findall(r"^TABLE \[(\w+).*\]\n((?:(?: .*)?\n)+)", text, re.M))
    for name in ("imds", "paths", "hooks", "metrics"):
        known = [one.split(" = ")[0] for one in keys(tables[name])]
        assert set(getattr(settings, name.capitalize())._fields) <= set(known)
    assert {*rules.KEYS} == {one.split(" = ")[0] for one in keys(tables["rules"])}
    assert {*target_tables.TARGET, "vars"} <= {
        one.split(" = ")[0] for one in keys(tables["targets"])
    }
    assert {'wait = "5m"', 'absent = "keep"', "instance = false"} <= keys(tables["imds"])
    kinds = dict(re.findall(r"^   ([a-z-]+)\n((?:(?:     .*)?\n)+)", text, re.M))
    for kind, one in ((name, one) for name, one in shipped.SHIPPED.items() if one.variables):
        assert set(one.variables) <= {term.split(" = ")[0] for term in keys(kinds[kind])}, kind


def test_a_key_without_a_word_about_it(tmp_path: Path) -> None:
    """No package is built of a page that lacks one."""
    for place in ("packaging", "docs"):
        shutil.copytree(REPO / place, tmp_path / place)
    page = tmp_path / "docs/configuration.md"
    page.write_text(re.sub(r"(?m)^\| `stale_after` .*\n", "", page.read_text()))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        made(tmp_path / "lbhook.toml.5", tmp_path / "packaging/manpage.py")
    assert caught.value.stderr == "configuration.md lacks stale_after\n"
