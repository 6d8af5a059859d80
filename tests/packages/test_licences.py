"""Who wrote what and under which licence is said so that programs can read it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from ..program import REPO
from .built import sdist

# Debian's name for the licence, and SPDX's.
NAMES = {"Expat": "MIT"}


def lint(place: Path) -> subprocess.CompletedProcess[str]:
    """What the REUSE tool says of a directory."""
    reuse = Path(sys.executable).with_name("reuse")
    argv = [str(reuse), "--root", str(place), "lint", "--lines"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The source archive, in a directory."""
    with tarfile.open(sdist()) as archive:
        archive.extractall(tmp_path, filter="data")
    (place,) = tmp_path.iterdir()
    return place


def test_each_file_has_an_author_and_a_licence(unpacked: Path) -> None:
    """In the checkout and in what is handed on."""
    for place in (REPO, unpacked):
        done = lint(place)
        assert done.returncode == 0, done.stdout


def test_a_file_of_somebody_else_is_noticed(unpacked: Path) -> None:
    """A licence that is nowhere to be read is named with the file that has it."""
    header = "# SPDX-" + "License-Identifier: ISC\n"
    (unpacked / "lbhook/theirs.py").write_text(header)
    done = lint(unpacked)
    assert done.returncode == 1
    assert "theirs.py" in done.stdout


def test_debian_says_the_same() -> None:
    """Its list has the same licence and authors for the same files, and the licence's words."""
    debian = (REPO / "debian/copyright").read_text()
    spdx = (REPO / "REUSE.toml").read_text()
    (files, authors, licence) = re.findall(r"^(?:Files|Copyright|License): (.+)$", debian, re.M)[:3]
    assert files == "*"
    assert f'SPDX-FileCopyrightText = "{authors}"' in spdx
    assert f'SPDX-License-Identifier = "{NAMES[licence]}"' in spdx
    words = (REPO / "LICENSES/MIT.txt").read_text()
    assert words == (REPO / "LICENSE").read_text()
    assert (
        words.split("\n\n", 2)[2].split()
        == debian.split("License: Expat")[2].replace("\n .\n", "\n").split()
    )
