"""What root obeys must be root's: configuration and templates that others can write are refused,
as sudo and sshd refuse theirs."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from .config import Settings
from .errors import RightsError


def demand(settings: Settings) -> None:
    """Raise `RightsError` if, run as root, a file that decides what is written is not root's.

    The message names the command that mends it. Shipped templates are exempt.
    """
    if os.geteuid() != 0:
        return
    paths = dict.fromkeys(path for file in _deciding(settings) for path in (file, file.parent))
    problems = [problem for path in paths if (problem := _problem(path))]
    if problems:
        raise RightsError(*problems, hint="whoever can write these files could make root run them")


def _deciding(settings: Settings) -> Iterator[Path]:
    """The configuration, and every template: one may include any other."""
    yield from settings.files
    names = {name for one in settings.active() for name in (one.template, one.resting_template)}
    for place in (Path(str(place)) for place in settings.paths.templates):
        yield from (place / name for name in sorted(names) if name and (place / name).exists())
        yield from sorted(place.rglob("*.j2"))


def _problem(path: Path) -> str:
    try:
        found = path.stat()
    except FileNotFoundError:
        return ""  # who needs it says so
    if found.st_uid != 0:
        return f"{path}: belongs to uid {found.st_uid}; run `chown root {path}`"
    # In a sticky directory nobody can rename or remove what is root's.
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return f"{path}: can be written by others; run `chmod go-w {path}`"
    if found.st_mode & stat.S_IWGRP and found.st_gid != 0:
        return f"{path}: can be written by a group; run `chmod g-w {path}`"
    return ""
