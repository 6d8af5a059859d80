"""lbhook.pyz: how it is packed, and what becomes of it where it is installed."""

import io
import sys
import zipfile
from pathlib import Path, PurePosixPath

from .. import processes
from ..storage import scratch

# Of each file in it, where nothing else is said: the first that a zip knows.
_DATE = (1980, 1, 1, 0, 0, 0)
_Date = tuple[int, int, int, int, int, int]
_COMPILE = ("-m", "compileall", "-qq", "-f", "-b", "--invalidation-mode", "unchecked-hash")


def packed(place: Path, first_line: bytes, date: _Date = _DATE) -> bytes:
    """A directory with a `__main__.py` as one file that Python runs. The same files make the same
    bytes."""
    # The zip by itself, so that its offsets are right behind a first line of any length.
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for path in sorted(place.rglob("*")):
            if path.is_file():
                info = zipfile.ZipInfo(str(path.relative_to(place)), date)
                info.external_attr = 0o644 << 16
                archive.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return first_line + zipped.getvalue()


def compiled(archive: Path, path: PurePosixPath, python: str = "") -> bytes:
    """The single file as it is installed at a path: with the code that Python compiles from it, as
    a package has it, or each start would compile all of it again. To another version of Python only
    the source counts (zipimport). A `python` that is given is in its first line. Raises
    `WriteError` if there is no room to unpack it."""
    first_line = f"#!{python}".encode() if python else archive.read_bytes().split(b"\n", 1)[0]
    with scratch.directory() as place:
        with zipfile.ZipFile(archive) as source:
            source.extractall(place)
        argv = [sys.executable, *_COMPILE, "-s", str(place), "-p", str(path), str(place)]
        # The order in a set is the same each time, too. What does not compile is read as it is.
        processes.run(argv, timeout=120, env={"PYTHONHASHSEED": "0"})
        return packed(place, first_line + b"\n")
