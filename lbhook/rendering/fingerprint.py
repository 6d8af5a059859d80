"""What a file is rendered from, as a digest: the same ingredients come to the same bytes.

By it an unchanged answer is recognised before jinja2 is imported, which takes longer than all else
that a run without a difference does.
"""

import hashlib
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from .. import __version__
from ..metadata.facts import Facts
from ..metadata.model import rule_key

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
SHIPPED_TEMPLATES = next((place for place in _PLACES if place.is_dir()), _PLACES[0])


def templates(places: Sequence[Path]) -> str:
    """The digest of the programs that render, and of each file that a template could include.
    Empty if that can't be told; then nothing is recognised."""
    # Another image may give its files the same times, and where little differs the same sizes.
    made = hashlib.sha256(f"{__version__} {sys.version}".encode())
    try:
        for part in _parts([*places, SHIPPED_TEMPLATES]):
            made.update(repr(part).encode())
    except OSError:
        return ""
    return made.hexdigest()


def answer(lb: Facts | None, vm: object) -> str:
    """The digest of an answer. All else in `lb` is worked out from these lists."""
    if lb is None:
        return ""
    # Of thousands; version 2 writes the same values as the same bytes.
    rules = marshal.dumps([rule_key(rule) for rule in lb.inbound_rules], 2)
    return digest(
        hashlib.sha256(rules).digest(),
        *(lb.public_ips, lb.private_ips, lb.outbound_rules, lb.tunnel_interfaces, vm),
    )


def digest(*ingredients: object) -> str:
    """The digest of values that are what they print as."""
    return hashlib.sha256(repr(ingredients).encode()).hexdigest()


def _parts(places: Sequence[Path]) -> Iterator[object]:
    archive = _PACKAGE.parent
    if archive.is_file():  # lbhook.pyz, which has them all
        yield _stamp(archive)
    else:
        jinja2 = PathFinder.find_spec("jinja2")
        wings = [entry.path for entry in _listed(_PACKAGE) if entry.is_dir()]
        for program in (_PACKAGE, *wings, *((jinja2 and jinja2.submodule_search_locations) or ())):
            yield [_stamp(entry) for entry in _listed(program) if entry.is_file()]
    for place in places:
        yield [*_contents(place)] if place.is_dir() else ()


def _contents(place: Path) -> Iterator[object]:
    for entry in _listed(place):
        if entry.is_file():
            yield entry.name, Path(entry.path).read_bytes()
        elif entry.is_dir() and not entry.is_symlink():
            yield entry.name, [*_contents(Path(entry.path))]
        else:
            raise OSError(f"{entry.path}: perhaps endless")


def _stamp(entry: "os.DirEntry[str] | Path") -> object:
    """What differs in another version of a module."""
    found = entry.stat()
    return entry.name, found.st_size, found.st_mtime_ns


def _listed(place: str | Path) -> "list[os.DirEntry[str]]":
    with os.scandir(place) as entries:
        return sorted(entries, key=lambda one: one.name)
