"""debian/tests, as Debian's own machines would run them: by autopkgtest, on the built package."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ..packages.built import deb, sdist
from ..program import REPO
from .machine import Machine

SOURCE = "/srv/source"
# A container for these tests alone it is, but autopkgtest can't see that.
AUTOPKGTEST = (
    *("env", "--chdir=/"),
    *("autopkgtest", "--no-built-binaries", "--ignore-restrictions=isolation-container"),
    *("/lbhook.deb", f"{SOURCE}/", "--", "null"),
)


@pytest.mark.parametrize("image", ["trixie"], indirect=True)
def test_autopkgtest(bare: Machine) -> None:
    """Each test of debian/tests is run, and passes."""
    bare.write("/lbhook.deb", "")
    bare.path("/lbhook.deb").write_bytes(deb().read_bytes())
    bare.write(f"{SOURCE}/.keep", "")
    _unpack(bare.path(SOURCE))
    bare.switch_on()
    bare.wait_until_up()
    done = bare.run(AUTOPKGTEST, check=False, timeout=600)
    names = re.findall(r"^Tests: (.+)$", (REPO / "debian/tests/control").read_text(), re.M)
    said = f"{done.stdout}{done.stderr}"
    assert dict(re.findall(r"^(\w+) +(PASS|FAIL|SKIP)", done.stdout, re.M)) == dict.fromkeys(
        names, "PASS"
    ), said
    assert done.returncode == 0, said


def _unpack(place: Path) -> None:
    """The source archive's own tree, marked as one that was built: nothing is to be patched."""
    argv = ["tar", "-xzf", str(sdist()), "-C", str(place), "--strip-components=1"]
    subprocess.run(argv, check=True)
    for name in ("files", "lbhook.substvars"):
        (place / "debian" / name).touch()
