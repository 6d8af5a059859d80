"""What `make dist`, `make deb` and `make rpm` build: each once, for all tests of a run."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

from ..lab.hosts import require
from ..program import REPO
from ..shared import alone, shared

_TOOLS = ("dpkg-buildpackage", "dh", "pybuild", "lintian")


def _built(kind: str, *argv: str | Path) -> Path:
    """The one file of a kind that a command leaves in the directory that is its last word, or
    that another worker's has left."""
    place = shared() / kind
    with alone(place.with_suffix(".lock")):
        if not place.exists():
            new = place.with_suffix(".new")
            words = [*map(str, argv), str(new)]
            done = subprocess.run(words, cwd=REPO, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"
            new.rename(place)
    (file,) = place.glob(f"*.{kind}")
    return file


def _archive(option: str, kind: str) -> Path:
    build = (sys.executable, "-m", "build", "--no-isolation", option)
    return _built(kind, *build, REPO, "--outdir")


@functools.cache
def sdist() -> Path:
    """The source archive."""
    return _archive("--sdist", "tar.gz")


@functools.cache
def wheel() -> Path:
    """The wheel."""
    return _archive("--wheel", "whl")


@functools.cache
def pyz() -> Path:
    """The single file."""
    packed = """mkdir -p "$2"; exec "$0" packaging/pyz.py "$1" "$2/lbhook.pyz" """
    return _built("pyz", "sh", "-euc", packed, sys.executable, wheel())


@functools.cache
def deb() -> Path:
    """The Debian package, in which lintian has found neither an error nor a warning."""
    require(*_TOOLS)
    return _built("deb", "sh", "packaging/deb", sdist())


@functools.cache
def rpm() -> Path:
    """The RPM."""
    require("rpmbuild")
    return _built("rpm", "sh", "packaging/rpm", sdist())
