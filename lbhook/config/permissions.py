"""What root obeys must be root's: configuration and templates that others can write are refused,
as sudo and sshd refuse theirs. And what others must be able to read."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ..errors import RightsError
from . import snippets
from .settings import Settings


def demand(settings: Settings) -> None:
    """Raise `RightsError` if, run as root, a file that decides what is written is not root's.

    The message names the command that fixes it. Shipped templates are exempt.
    """
    if os.geteuid() != 0:
        return
    paths = dict.fromkeys(path for file in _deciding(settings) for path in _ways(file))
    problems = [found for path in paths if (found := problem(path))]
    if problems:
        raise RightsError(*problems, hint="whoever can write these files could make root run them")


def _deciding(settings: Settings) -> Iterator[Path]:
    """The configuration, where more of it may come, every template: one may include any other
    file beside it; and the firewall's snippets."""
    for file in settings.files:
        yield file
        yield file.with_name(f"{file.name}.d") / "any.toml"
    for place in (Path(str(place)) for place in settings.paths.templates):
        yield place / "any.j2"
        yield from sorted(place.rglob("*"))
    if any(one.kind == "nftables" for one in settings.active()):
        place = Path(str(settings.paths.snippets))
        yield place / "any.nft"
        yield from snippets.files(place)


def _ways(file: Path) -> Iterator[Path]:
    """A file and its directory; of a symbolic link also those that it leads to."""
    yield from (file, file.parent)
    if file.is_symlink():
        yield file.resolve().parent


def problem(path: Path) -> str:
    """Who else than root can write a file, and the command that fixes it; empty if nobody."""
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
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


def open_to_all(path: Path, *, entered: bool = False) -> bool:
    """Whether everybody may read a file and run a program, or list and enter a directory, as far
    as its mode says; one that is only `entered` need not be listed. Whoever gave it an access
    control list knows better."""
    try:
        mode = path.stat().st_mode
        if "system.posix_acl_access" in os.listxattr(path):
            return True
    except OSError:
        return True  # who needs it says so
    wanted = 0o4 | (0o1 if mode & stat.S_IXUSR else 0)
    wanted = 0o1 if entered else wanted
    return mode & wanted == wanted
