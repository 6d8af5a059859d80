"""Builds lbhook.pyz: one file that every Python from 3.10 on runs, and nothing else is needed.

The same wheels make the same bytes. Used as: pyz.py WHEEL lbhook.pyz
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from lbhook.installation.single_file import packed

_HERE = Path(__file__).parent
_EPOCH = "1580601600"  # what hatchling takes, too, where nobody says otherwise
_SHEBANG = b"#!/usr/bin/env python3\n"
# One platform's wheels make the same file everywhere: what is built for a platform is left out,
# and each of these packages does without it.
_WHEELS = (
    *("--implementation", "cp", "--python-version", "3.10", "--abi", "cp310"),
    *("--platform", "manylinux2014_x86_64", "--platform", "manylinux_2_17_x86_64"),
)
# `contrib` is urllib3's, for browsers, SOCKS and TLS by other libraries: requests does without. The
# next are click's, for tests and for Windows; the last is idna's, for names of hosts that are not
# ASCII, which no endpoint has.
_LEFT_OUT = (
    *("__pycache__", "*.so", "bin", "RECORD", "INSTALLER", "REQUESTED", "direct_url.json"),
    *("contrib", "testing.py", "_winconsole.py", "uts46data.py"),
)
_MAIN = """\
import sys

if sys.version_info < (3, 10):
    sys.exit("lbhook: needs Python 3.10 or newer; this is %d.%d" % sys.version_info[:2])

from lbhook.__main__ import main

main()
"""
# requests asks for it when it is imported. The real one would unpack its file at every start.
_CERTIFI = '''\
"""In place of certifi: the metadata service speaks no TLS."""


def where() -> str:
    return "/etc/ssl/certs/ca-certificates.crt"
'''


def build(wheel: Path, target: Path) -> None:
    """Write the single file."""
    with tempfile.TemporaryDirectory() as place:
        unpacked, chosen = Path(place, "unpacked"), Path(place, "chosen")
        _install(unpacked, *_WHEELS, "--require-hashes", "-r", str(_HERE / "pyz.txt"))
        _install(unpacked, str(wheel))
        shutil.copytree(unpacked, chosen, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        (chosen / "__main__.py").write_text(_MAIN, encoding="utf-8")
        (chosen / "certifi.py").write_text(_CERTIFI, encoding="utf-8")
        # Of a package's metadata all but its page on PyPI, read by nobody here.
        for file in chosen.rglob("METADATA"):
            file.write_bytes(file.read_bytes().partition(b"\n\n")[0] + b"\n")
        date = time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", _EPOCH)))[:6]
        target.write_bytes(packed(chosen, _SHEBANG, date))
        target.chmod(0o755)


def _install(place: Path, *words: str) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-compile", "--only-binary=:all:", "--target", str(place)]
    subprocess.run([*pip, *options, *words], check=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
