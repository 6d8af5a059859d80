"""How much is installed, and what the single file costs where it is installed."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from lbhook.installation.executable import SINGLE_FILE
from lbhook.installation.single_file import compiled

from .measure import CHECKOUT, Result, Row, count, measure, milliseconds, program
from .scene import BODY, Bench


def results(bench: Bench) -> Iterator[Result]:
    """All files of the wheel, as they are on the disk: without the bytecode that Python adds, and
    without dependencies. The single file, beside what pip has installed."""
    words = ("wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(bench.place))
    subprocess.run((sys.executable, "-m", "pip", *words, str(CHECKOUT)), check=True)
    built = next(bench.place.glob("lbhook-*.whl"))
    with zipfile.ZipFile(built) as wheel:
        size = sum(one.file_size for one in wheel.infolist())
    yield count("size of the installed package", round(size / 1024), 300, "KiB")
    # Each has a root of its own: neither recognises what the other has rendered.
    one, other = (bench.apply(BODY, bench.root(name)) for name in ("single", "installed"))
    file = _single_file(bench, built)
    single = milliseconds((sys.executable, *map(str, (file, *one))))
    installed = milliseconds(program(*other))
    row = Row("unchanged apply, the single file", "as pip installs it", single, installed, 1.4)
    single()
    installed()
    yield measure(row)


def _single_file(bench: Bench, wheel: Path) -> Path:
    packed, file = bench.place / "lbhook.pyz", bench.place / SINGLE_FILE.name
    script = (sys.executable, str(CHECKOUT / "packaging/pyz.py"), str(wheel), str(packed))
    subprocess.run(script, check=True, capture_output=True)
    file.write_bytes(compiled(packed, SINGLE_FILE))
    return file
