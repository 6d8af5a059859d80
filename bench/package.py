"""How much is installed."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator

from .measure import CHECKOUT, Result, count
from .scene import Bench


def results(bench: Bench) -> Iterator[Result]:
    """All files of the wheel, as they are on the disk: without the bytecode that Python adds, and
    without dependencies."""
    words = ("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(bench.place))
    subprocess.run((sys.executable, "-m", "pip", *words, str(CHECKOUT)), check=True)
    with zipfile.ZipFile(next(bench.place.glob("lbhook-*.whl"))) as wheel:
        size = sum(one.file_size for one in wheel.infolist())
    yield count("size of the installed package", round(size / 1024), 300, "KiB")
