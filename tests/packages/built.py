"""What `make dist`, `make deb` and `make rpm` build: each once, for all tests of a session."""

from __future__ import annotations

import functools
import subprocess
import sys
import tempfile
from pathlib import Path

from ..lab.hosts import require
from ..program import REPO

_PLACE = tempfile.TemporaryDirectory(prefix="lbhook-built-")
_TOOLS = ("dpkg-buildpackage", "dh", "pybuild", "lintian")


def _built(kind: str, *argv: str) -> Path:
    """The one file of a kind that a command leaves in the directory."""
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    (file,) = Path(_PLACE.name).glob(kind)
    return file


def _archive(option: str, kind: str) -> Path:
    build = (sys.executable, "-m", "build", "--no-isolation", option)
    return _built(kind, *build, "--outdir", _PLACE.name, ".")


@functools.cache
def sdist() -> Path:
    """The source archive."""
    return _archive("--sdist", "*.tar.gz")


@functools.cache
def wheel() -> Path:
    """The wheel."""
    return _archive("--wheel", "*.whl")


@functools.cache
def pyz() -> Path:
    """The single file."""
    target = Path(_PLACE.name) / "lbhook.pyz"
    return _built(target.name, sys.executable, "packaging/pyz.py", str(wheel()), str(target))


@functools.cache
def deb() -> Path:
    """The Debian package, in which lintian has found neither an error nor a warning."""
    require(*_TOOLS)
    return _built("*.deb", "sh", "packaging/deb", str(sdist()), _PLACE.name)


@functools.cache
def rpm() -> Path:
    """The RPM."""
    require("rpmbuild")
    return _built("*.rpm", "sh", "packaging/rpm", str(sdist()), _PLACE.name)
