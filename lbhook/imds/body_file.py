"""An answer that is read from a file in place of IMDS."""

from collections.abc import Callable
from pathlib import Path

from ..errors import UsageError
from ..layout import nearest
from ..metadata.body import parse
from ..metadata.reader import MOST_BYTES
from ..resources import BODIES, shipped
from .answer import Answer


def read(name: str, read_stdin: Callable[[], bytes]) -> Answer:
    """The answer in a file; `-` is standard input. Where there is no such file, the name of a
    body that ships with the package is that body.

    Raises `UsageError` if it can't be read, `MetadataError` if it must not be acted on.
    """
    try:
        body = read_stdin() if name == "-" else _read_some(Path(name))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        if name not in BODIES or not missing:
            near = nearest(name, BODIES) if missing else ""
            raise UsageError(
                f"--metadata {name}: {error.strerror}{near}",
                hint="give a file, or - for standard input",
            ) from None
        body = shipped(f"{name}.json")
    if len(body) > MOST_BYTES:
        raise UsageError(f"--metadata {name}: longer than {MOST_BYTES // 1024 // 1024} MiB")
    return Answer(metadata=parse(body), source="file")


def _read_some(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(MOST_BYTES + 1)
