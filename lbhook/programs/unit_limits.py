"""What lbhook's units may do, beside what the configuration asks of them: what works by hand must
work by the timer.

The units run within limits (packaging/limits.conf) that fit the shipped targets. A target that
writes elsewhere needs a drop-in.
"""

import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..config.permissions import open_to_all
from ..config.settings import Settings
from ..config.shipped import SHIPPED
from ..config.toml_files import DEFAULT_FILE
from ..paths import Paths
from ..system import unit_properties
from .host import Host

# Those that write files, all of which run as root.
UNITS = ("lbhook-restore.service", "lbhook.service", "lbhook-refresh.service")
# Whom lbhook-fetch.service runs as.
USER = "lbhook"
REMEDY = "`sudo lbhook install` allows it"
# What ProtectHome= and PrivateTmp= keep from a unit: systemd.exec(5).
HOMES = tuple(map(PurePosixPath, ("/home", "/root", "/run/user")))
_TEMPORARY = tuple(map(PurePosixPath, ("/tmp", "/var/tmp")))  # noqa: S108
_PROTECTED: Mapping[str, tuple[str, ...]] = {
    "strict": ("/",),
    "full": ("/usr", "/boot", "/efi", "/etc"),
    "yes": ("/usr", "/boot", "/efi"),
}
# Where Debian's node_exporter reads metrics, which the units may write too.
_METRICS = PurePosixPath("/var/lib/prometheus/node-exporter")
_SHOWN = (
    *("Id", "LoadState", "ProtectSystem", "ReadWritePaths", "ProtectHome", "PrivateTmp"),
    *("RuntimeDirectory", "StateDirectory", "CapabilityBoundingSet", "SystemCallFilter"),
)
_HEAD = """# Written by `lbhook install`, from the configuration; the next one writes it again.
# What else its targets need goes into a file of its own beside this one: docs/units.md.
[Service]
"""
# Whether there is something to restore, lbhook-restore.service sees by the usual directory.
_ELSEWHERE = "[Unit]\nConditionDirectoryNotEmpty="


class Need(NamedTuple):
    """A directory that something of the configuration, `name`, is written into. `gives` says that
    the file is given to another user or group than root; `foreign` that the directory is another
    user's, which root alone does not suffice for."""

    name: str
    directory: PurePosixPath
    gives: bool = False
    foreign: bool = False


class Lack(NamedTuple):
    """Something that the units can't do, and what to do about it."""

    text: str
    remedy: str


def needs(host: Host, settings: Settings) -> tuple[Need, ...]:
    """What the targets that are on, metrics and lbhook's own records need of the units beyond
    what these may do as they are shipped."""
    return tuple(
        one
        for one in _all_needs(host, settings)
        if one.gives or one.foreign or not _within(one.directory, _given())
    )


def drop_in(wanted: Sequence[Need]) -> str:
    """The text of a drop-in that lets a unit do that; empty if nothing is wanted."""
    lines = dict.fromkeys(line for one in wanted for line in _lines(one))
    if any(one.name == "paths.state" for one in wanted):
        lines = {**lines, _ELSEWHERE: None}
    return _HEAD + "".join(f"{line}\n" for line in lines) if lines else ""


def lacking(host: Host, settings: Settings, *, thorough: bool = False) -> tuple[Lack, ...]:
    """What the units of this machine can't do that the configuration asks for, by their effective
    properties. Unless it is to be `thorough`, systemd is not asked about what units can do as
    they are shipped."""
    if not (host.live and host.machine.has_systemd() and _is_theirs(settings)):
        return ()
    asked = _all_needs(host, settings) if thorough else needs(host, settings)
    units = _effective(host) if asked else {}
    found = [*_absent(host, settings)]
    found += [one for need in asked for one in _limits(host, need, units)]
    return tuple(dict.fromkeys((*found, *unread(settings))))


def _is_theirs(settings: Settings) -> bool:
    """Whether the units read this configuration, too."""
    return all(file.is_relative_to(DEFAULT_FILE.parent) for file in settings.files)


def _all_needs(host: Host, settings: Settings) -> Iterator[Need]:
    for target in settings.active():
        gives = not {target.owner, target.group} <= {"root"}
        directory = target.path.parent
        if directory != settings.paths.runtime:
            foreign = _is_foreign(host, directory)
            yield Need(name=target.name, directory=directory, gives=gives, foreign=foreign)
    if settings.metrics.textfile:
        yield Need(name="metrics.textfile", directory=settings.metrics.textfile.parent)
    own, usual = settings.paths, Paths()
    for name in ("state", "runtime"):
        if getattr(own, name) != getattr(usual, name):
            yield Need(name=f"paths.{name}", directory=getattr(own, name))


def _given() -> Iterator[PurePosixPath]:
    """Where the units may write as they are shipped."""
    yield from (PurePosixPath(kind.defaults["path"]).parent for kind in SHIPPED.values())
    yield from (_METRICS, Paths().state, Paths().runtime)


def _is_foreign(host: Host, directory: PurePosixPath) -> bool:
    """Whether root needs CAP_DAC_OVERRIDE to write into a directory, as far as it is there."""
    place = host.tree.outside(directory)
    above = [one for one in place.parents if one.is_relative_to(host.tree.root)]
    return _bars_root(place, 0o3) or any(_bars_root(one, 0o1) for one in above)


def _bars_root(place: Path, wanted: int) -> bool:
    """Whether a directory is another user's, and its mode does not let root do what is wanted."""
    try:
        found = place.stat()
    except OSError:
        return False
    shift = 3 if found.st_gid == 0 else 0
    return found.st_uid != 0 and (found.st_mode >> shift) & wanted != wanted


def _lines(need: Need) -> Iterator[str]:
    # A directory that is missing later must not keep the unit from starting.
    yield f"ReadWritePaths={_quoted(f'-{need.directory}')}"
    if _within(need.directory, HOMES):
        yield "ProtectHome=read-only"
    if need.gives:
        yield "CapabilityBoundingSet=CAP_CHOWN CAP_FOWNER"
        yield "SystemCallFilter=@chown"
    if need.foreign:
        yield "CapabilityBoundingSet=CAP_DAC_OVERRIDE"


def _quoted(word: str) -> str:
    """A word as systemd.syntax(7) reads it."""
    word = word.replace("%", "%%")
    if not re.search(r"[\s\"'\\]", word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _effective(host: Host) -> Mapping[str, Mapping[str, str]]:
    """The properties of each unit that systemd has read."""
    shown = host.run(("systemctl", "show", *UNITS, f"--property={','.join(_SHOWN)}")).output
    units = unit_properties.read(shown)
    return {one["Id"]: one for one in units if one.get("LoadState") == "loaded" and "Id" in one}


def _limits(host: Host, need: Need, units: Mapping[str, Mapping[str, str]]) -> Iterator[Lack]:
    """What the units keep a target from, each once, with the units that do."""
    if any(_within(need.directory, _TEMPORARY) for one in units.values() if _on(one, "PrivateTmp")):
        text = f"{need.name}: lbhook's units have a private {_top(need.directory)}"
        yield Lack(text, "give the target another path")
        return
    stopped = [name for name, one in units.items() if not _may_write(host, need.directory, one)]
    if stopped:
        yield Lack(f"{need.name}: {_names(stopped)} may not write {need.directory}", REMEDY)
    for wanted, capability in (
        (need.gives, "cap_chown"),
        (need.foreign, "cap_dac_override"),
    ):
        stopped = [name for name, one in units.items() if not _has(one, capability)] * wanted
        if stopped:
            what = (
                "change the owner of its file"
                if need.gives
                else f"write {need.directory}, another user's"
            )
            yield Lack(f"{need.name}: {_names(stopped)} may not {what}", REMEDY)


def _may_write(host: Host, directory: PurePosixPath, unit: Mapping[str, str]) -> bool:
    """Whether a unit may, by ProtectSystem=, ProtectHome= and ReadWritePaths=."""
    place = _real(host, directory)
    home = unit.get("ProtectHome", "no")
    if home in ("yes", "tmpfs") and _within(place, HOMES):
        return False
    protected = _PROTECTED.get(unit.get("ProtectSystem", "no"), ())
    closed = [*map(PurePosixPath, protected), *(HOMES if home == "read-only" else ())]
    if not _within(place, closed):
        return True
    words = [word.lstrip("-+") for word in unit_properties.words(unit.get("ReadWritePaths", ""))]
    words += [f"/run/{one}" for one in unit_properties.words(unit.get("RuntimeDirectory", ""))]
    words += [f"/var/lib/{one}" for one in unit_properties.words(unit.get("StateDirectory", ""))]
    return _within(place, (_real(host, PurePosixPath(one)) for one in words if one[:1] == "/"))


def _real(host: Host, path: PurePosixPath) -> PurePosixPath:
    """Where links lead: systemd follows those of a unit's paths."""
    found = os.path.realpath(host.tree.outside(path))
    return PurePosixPath("/", os.path.relpath(found, os.path.realpath(host.tree.root)))


def _absent(host: Host, settings: Settings) -> Iterator[Lack]:
    """Directories that are not there, of targets that are not skipped."""
    skipped = {one.name for one in settings.active() if not all(map(host.find, one.requires))}
    for need in _all_needs(host, settings):
        if need.name not in skipped and not host.tree.outside(need.directory).is_dir():
            text = f"{need.name}: {need.directory} is not there, and lbhook's units can't make it"
            yield Lack(text, "`sudo lbhook install` makes it")


def unread(settings: Settings) -> Iterator[Lack]:
    """What of the units' configuration the user that asks Azure can't read."""
    files = (DEFAULT_FILE, *(settings.files if _is_theirs(settings) else ()))
    ways = dict.fromkeys(way for file in files for way in (file.parent, file))
    for path in ways:
        if not open_to_all(path, entered=path == DEFAULT_FILE.parent):
            text = f"{path}: the user {USER}, which lbhook-fetch.service runs as, can't read it"
            yield Lack(text, f"`chmod go+rX {shlex.quote(str(path))}`")


def _has(unit: Mapping[str, str], capability: str) -> bool:
    return capability in unit.get("CapabilityBoundingSet", capability).split()


def _on(unit: Mapping[str, str], key: str) -> bool:
    return unit.get(key, "no") not in ("no", "")


def _names(units: Sequence[str]) -> str:
    return "lbhook's units" if len(units) == len(UNITS) else ", ".join(units)


def _top(directory: PurePosixPath) -> str:
    return str(next(one for one in _TEMPORARY if directory.is_relative_to(one)))


def _within(path: PurePosixPath, places: Iterable[PurePosixPath]) -> bool:
    return any(path.is_relative_to(place) for place in places)
