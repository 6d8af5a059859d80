"""The README: one screen, and nothing in it untrue. What it shows is run by test_docs."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from lbhook.config import shipped

from .program import REPO
from .test_docs import blocks, help_of, names, read, rows

README = read("README.md")


def test_it_is_one_screen() -> None:
    """Short enough to be read, and no wider than the code."""
    lines = README.splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 100


def test_the_two_commands() -> None:
    """Both are shown, with output, and the Makefile has them."""
    shown = [block.text.splitlines() for block in blocks("README.md", "console")]
    assert [lines[0] for lines in shown[:2]] == ["$ make demo", "$ make test"]
    assert min(map(len, shown[:2])) > 2
    makefile = (REPO / "Makefile").read_text()
    for name in re.findall(r"make (\w+)", " ".join(line for lines in shown for line in lines)):
        assert re.search(rf"^{name}:", makefile, re.M)


def test_the_targets() -> None:
    """The table has each shipped target with its file."""
    table = re.findall(r"^\| `([\w-]+)` \| `(\S+)` \|", README, re.M)
    defaults = {name: one.defaults["path"] for name, one in shipped.SHIPPED.items()}
    runtime = {name: path.replace("{runtime}", "/run/lbhook") for name, path in defaults.items()}
    assert dict(table) == runtime


def test_what_is_copied_is_there() -> None:
    """The files that the installation names are in the checkout, and so are the units that it
    starts."""
    for name in re.findall(r"(?<![\w/])(?:examples|systemd|docs)/[\w./-]*\w", README):
        assert (REPO / name).exists() or [*REPO.glob(f"{name}*")], name
    for unit in re.findall(r"lbhook[\w-]*\.(?:service|timer)", README):
        assert (REPO / "systemd" / unit).exists()


def test_what_it_says_of_reading_on() -> None:
    """It leads to an index, which leads to each page of the documentation; and to the statuses."""
    assert "](docs/README.md)" in README
    for page in (REPO / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in read("docs/README.md")
    assert [*rows("docs/troubleshooting.md", "## Statuses")]
    assert names("`a` and `b`") == ["a", "b"]
    assert "Usage: lbhook" in help_of()


def test_make_demo_says_what_it_does(tmp_path: Path) -> None:
    """While it prepares, for a minute, nobody has to guess; the second time it need not."""
    for file in ("Makefile", "pyproject.toml", "tests/system-packages"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        shutil.copy(REPO / file, tmp_path / file)
    python = tmp_path / "python"
    made = f"mkdir -p $3/bin; for one in pip lbhook; do cp {tmp_path}/tool $3/bin/$one; done"
    python.write_text(f"#!/bin/sh\n{made}\n")
    (tmp_path / "tool").write_text('#!/bin/sh\necho "${0##*/} $*"\n')
    for program in (python, tmp_path / "tool"):
        program.chmod(0o755)
    argv = ["make", "--silent", "demo", f"PYTHON={python}"]
    env = {key: one for key, one in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    first, second = (
        subprocess.run(
            argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=True
        ).stdout
        for _ in range(2)
    )
    before, after = first.split("pip install", 1)
    assert "virtual environment in .venv" in before
    assert "from PyPI: this takes a minute" in before
    assert "done: .venv/bin/lbhook" in after
    assert after.endswith("\nlbhook demo\n")
    assert second == "lbhook demo\n"
