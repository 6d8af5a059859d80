"""TOML files merged into one table: which file each key came from, and all that is wrong."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..layout import suggestion
from . import nesting, schema

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/lbhook/lbhook.toml")
_ABSENT = (FileNotFoundError, NotADirectoryError)


def decoded(text: str) -> dict[str, Any]:
    """The TOML of a text. Raises `Misfit` if it is none, or is nested too deep."""
    too_deep = schema.Misfit(("", f"nested more than {nesting.MOST} deep"))
    if nesting.is_too_deep(text, nesting.TOML):
        raise too_deep
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise schema.Misfit(("", f"not TOML: {error}")) from None
    # Of Python 3.15's tomllib and tomli 2.5, for a key of more than 1,000 parts.
    except RecursionError:
        raise too_deep from None
    if nesting.is_deep(found):
        raise too_deep
    return found


class Tables:
    """The files merged, and which file each key came from."""

    def __init__(self) -> None:
        self.merged: dict[str, Any] = {}
        self.origins: dict[str, Path] = {}
        self.files: list[Path] = []
        self.problems: list[str] = []

    def read(self, file: Path, *, needed: bool = True) -> None:
        """Merge a file in; what can't be read is a problem like any other, and so is a file that
        is `needed` and not there."""
        try:
            text = file.read_text(encoding="utf-8")
        except OSError as error:
            if not needed and isinstance(error, _ABSENT):
                return
            self.problems.append(_unread(file, error))
        except UnicodeDecodeError as error:
            self.problems.append(f"{file}: not UTF-8 at byte {error.start}")
        else:
            self.add(file, text)
        self.files.append(file)

    def drop_ins(self, place: Path) -> list[Path]:
        """The files of a directory, in order of name; none if it is not there."""
        try:
            return sorted(one for one in place.iterdir() if one.name.endswith(".toml"))
        except _ABSENT:
            return []
        except OSError as error:
            self.problems.append(_unread(place, error))
            return []

    def add(self, file: Path, text: str) -> None:
        """Merge the text of a file in."""
        try:
            self._merge(self.merged, decoded(text), "", file)
        except schema.Misfit as misfit:
            self.problems += [f"{file}: {problem}" for _, problem in misfit.problems]

    def _merge(self, into: dict[str, Any], new: dict[str, Any], prefix: str, file: Path) -> None:
        for key, value in new.items():
            path = f"{prefix}.{key}"
            self.origins[path] = file
            if isinstance(value, dict):
                below = into[key] if isinstance(into.get(key), dict) else {}
                self._merge(below, value, path, file)
                into[key] = below
            else:
                into[key] = value

    def note(self, path: str, problem: str) -> None:
        """Keep a problem with the file that set the nearest key of `path`."""
        known = path
        while known and known not in self.origins:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        file = self.origins.get(known, self.files[0] if self.files else DEFAULT_FILE)
        self.problems.append(f"{file}: {path.lstrip('.')}: {problem}")

    def section(
        self, path: str, value: object, fields: Mapping[str, schema.Read[Any]]
    ) -> dict[str, Any]:
        """Those keys of a table that are right; what is wrong with the others is noted."""
        if not isinstance(value, dict):
            self.note(path, f"{schema.shown(value)} is not a table")
            return {}
        found = {}
        for key, item in value.items():
            at = f"{path}.{key}"
            if key not in fields:
                self.note(at, f"unknown key{suggestion(key, fields)}")
                continue
            with self.noting(at):
                found[key] = fields[key](item)
        return found

    @contextlib.contextmanager
    def noting(self, path: str) -> Iterator[None]:
        """Note what is wrong with the value that is read meanwhile, if anything is."""
        try:
            yield
        except schema.Misfit as misfit:
            for place, problem in misfit.problems:
                self.note(f"{path}{place}", problem)


def _unread(path: Path, error: OSError) -> str:
    """Why a file could not be read; of one that is not to be, what lets it."""
    if not isinstance(error, PermissionError):
        return f"{path}: {error.strerror}"
    # Imported only where it is needed, which is nearly never.
    import shlex

    remedy = f"run as root, or `chmod go+rX {shlex.quote(str(path))}`"
    return f"{path}: {error.strerror}; {remedy}"
