"""lbhook brought onto a machine and taken away again, where no package manager does it: for pip
and for the single file."""

import io
import shutil
import sys
import zipapp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from ..config import permissions
from ..config.targets import Target
from ..config.toml_files import DEFAULT_FILE
from ..deployment.report import Report
from ..errors import ReloadError, RightsError, UsageError
from ..plan import Change, FileState, compare
from ..runs import resting_forms
from ..runs.undo import Undo
from . import completion

SINGLE_FILE = PurePosixPath("/usr/local/bin/lbhook")
UNITS = PurePosixPath("/usr/local/lib/systemd/system")
_USERS = PurePosixPath("/usr/local/lib/sysusers.d/lbhook.conf")
_SHARE = PurePosixPath("/usr/local/share")
_CONFIGURATION = PurePosixPath(DEFAULT_FILE)
_TEMPLATES = _CONFIGURATION.with_name("templates")
# What the units start as they are shipped: a package's program.
_PACKAGED = "/usr/bin/lbhook"
# Where a package has its units, with and without a merged /usr.
_PACKAGES = (PurePosixPath("/usr/lib/systemd/system"), PurePosixPath("/lib/systemd/system"))
# What is started may wait for Azure as long as a boot may.
_START = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The program that units are to start: where it is, what is in it if it is the single file,
    which is copied there, and what else they would run."""

    path: PurePosixPath
    single: bytes = b""
    parts: tuple[Path, ...] = ()


def program(*, live: bool) -> Program:
    """The program that runs. Raises `UsageError` if units could not start it."""
    archive = Path(__file__).parents[2]
    if archive.is_file():
        # The one that runs it now: this machine's `python3` may be another, and too old.
        python = sys.executable if live else ""
        return Program(path=SINGLE_FILE, single=_single(archive, python))
    found = shutil.which(sys.argv[0])
    if not found:
        hint = "start it as `lbhook`, by the name that pip gave it"
        raise UsageError(f"{sys.argv[0]}: not a program that a unit could start", hint=hint)
    path = Path(found).absolute()
    return Program(path=PurePosixPath(path), parts=(path, Path(__file__)))


def _single(archive: Path, python: str) -> bytes:
    """The single file, with another Python in its first line if one is given."""
    if not python:
        return archive.read_bytes()
    copy = io.BytesIO()
    zipapp.create_archive(archive, copy, interpreter=python)
    return copy.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of an installation; `name` is what a report calls it."""

    name: str
    path: PurePosixPath
    content: bytes
    mode: int = 0o644

    @property
    def unit(self) -> str:
        """The name of the unit that it is; empty if it is none."""
        return self.path.name if self.path.parent == UNITS else ""

    @property
    def starts_at_boot(self) -> bool:
        """Whether it is a unit to enable. Not a path: it would apply a half-finished edit."""
        return bool(self.unit) and b"[Install]" in self.content and self.path.suffix != ".path"


@dataclass(frozen=True, slots=True)
class Installation:
    """Installs a program on a host, and takes it away again. `undo` is for the same host."""

    undo: Undo
    program: Program

    def install(self, *, start: bool = False) -> Report:
        """Units, user, completion, configuration and resting forms into place; the units
        enabled, and with `start` started. What is as it should be is left alone, and a
        configuration that is there stays. Raises `LbhookError`."""
        self._demand_place()
        pieces = [*_pieces(self.program)]
        changes = [self._put(piece) for piece in pieces]
        self.undo.context.host.tree.make_directory(_TEMPLATES)
        changes += resting_forms.lay(self.undo.context.host, self.undo.context.settings)
        units = [piece.unit for piece in pieces if piece.starts_at_boot]
        self._run("systemd-sysusers", _USERS.name)
        self._run("systemctl", "enable", *units)
        self._run_booted("daemon-reload")
        if start:
            self._run_booted("start", *units)
        hint = "" if start else f"from the next boot on; now: systemctl start {' '.join(units)}"
        return _report(changes)._replace(hint=hint)

    def uninstall(self) -> Report:
        """Every file that lbhook wrote back to its original or resting form, and what `install`
        put into place taken away; an edited configuration stays. Raises `LbhookError`."""
        self._demand_place()
        pieces = [*_pieces(self.program)]
        units = [piece.unit for piece in pieces if piece.unit and self._state(piece)]
        if units:
            self._run_booted("stop", *units)
            self._run("systemctl", "disable", *units)
        cleaned = self.undo.clean()
        if cleaned.status not in (0, ReloadError.status):
            return cleaned
        taken = [self._take(piece) for piece in pieces if self._state(piece)]
        self._tidy(pieces)
        self._run_booted("daemon-reload")
        changes = (*cleaned.changes, *taken)
        return cleaned._replace(outcome=_report(changes).outcome, changes=changes)

    def _demand_place(self) -> None:
        host, path = self.undo.context.host, self.program.path
        for place in _PACKAGES:
            if host.tree.state(place / "lbhook.service"):
                problem = f"{host.tree.outside(place)}/lbhook.service: a package has installed it"
                raise UsageError(problem, hint="leave it to the package manager")
        if host.live and not host.root:
            raise RightsError("not root, and all of this machine's", hint="use sudo; or --root DIR")
        if self.program.single:
            return
        if not host.tree.outside(path).exists():
            hint = "install it there first, at the same path"
            raise UsageError(f"{host.tree.outside(path)}: no such program", hint=hint)
        if host.live:
            for part in self.program.parts:
                _demand_roots(part)

    def _state(self, piece: Piece) -> FileState | None:
        return self.undo.context.host.tree.state(piece.path)

    def _put(self, piece: Piece) -> Change:
        tree, actual = self.undo.context.host.tree, self._state(piece)
        uid, gid = tree.owner(piece.path, "root", "root")
        wanted = FileState(content=piece.content, mode=piece.mode, uid=uid, gid=gid)
        stays = actual and piece.path == _CONFIGURATION
        change = _change(piece, actual if stays else wanted, actual)
        if change.touches_file:
            tree.stage(piece.path, wanted)
            tree.replace(piece.path)
        return change

    def _take(self, piece: Piece) -> Change:
        tree, actual = self.undo.context.host.tree, self._state(piece)
        if actual and piece.path == _CONFIGURATION and actual.content != piece.content:
            self.undo.context.reporter.warn(f"{tree.outside(piece.path)} was edited and stays")
            return _change(piece, actual, actual)
        tree.remove(piece.path)
        return _change(piece, None, actual)

    def _tidy(self, pieces: list[Piece]) -> None:
        """Take directories away that nobody uses any more."""
        tree, drop_ins = (
            self.undo.context.host.tree,
            {one.path.parent for one in pieces if not one.unit},
        )
        ours = [one for one in drop_ins if UNITS in one.parents]
        for place in (*ours, _TEMPLATES, _CONFIGURATION.parent):
            if not tree.names(place):
                tree.remove_directory(place)

    def _run_booted(self, *words: str) -> None:
        """Tell the systemd that runs here, if one does."""
        if self.undo.context.host.live and self.undo.context.host.machine.has_systemd():
            self._run("systemctl", *words)

    def _run(self, name: str, *words: str) -> None:
        """Run one of systemd's programs on what is below the root; raises `ReloadError`."""
        host = self.undo.context.host
        if not host.find(name):
            self.undo.context.reporter.warn(f"no {name} here: nobody is told {' '.join(words)}")
            return
        below = () if host.live else (f"--root={host.tree.root}",)
        ended = host.run((name, *below, *words), timeout=_START)
        if not ended.ok:
            raise ReloadError(ended.report())


def _demand_roots(part: Path) -> None:
    """Raise `RightsError` if others than root can write what units run as root."""
    for path in (part, *part.parents, *part.resolve().parents):
        if permissions.problem(path):
            raise RightsError(
                f"{path}: others than root can write it, and units would run it as root",
                hint="install it where only root can: python3 -m venv /opt/lbhook",
            )


def _pieces(program: Program) -> Iterator[Piece]:
    """What is put into place. The single file last: it may be the one that runs, of which
    nothing more can be imported then."""
    for name, content in _shipped("systemd"):
        text = content.replace(_PACKAGED.encode(), str(program.path).encode())
        if name == "lbhook.sysusers":
            yield Piece(name="user", path=_USERS, content=text)
        else:
            yield Piece(name="unit", path=UNITS / name, content=text)
    for shell, place in completion.SHELLS.items():
        script = completion.script(shell).encode()
        yield Piece(name="completion", path=_SHARE / place, content=script)
    configuration = (files("lbhook") / _CONFIGURATION.name).read_bytes()
    yield Piece(name="configuration", path=_CONFIGURATION, content=configuration)
    if program.single:
        yield Piece(name="program", path=program.path, content=program.single, mode=0o755)


def _shipped(name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a directory that ships with lbhook and of those right below it, by name; in
    a checkout it is beside the package."""
    inside = files("lbhook") / name
    place = inside if inside.is_dir() else Path(__file__).parents[2] / name
    for entry in sorted(place.iterdir(), key=lambda one: one.name):
        if entry.is_file():
            yield entry.name, entry.read_bytes()
        else:
            for below in entry.iterdir():
                yield f"{entry.name}/{below.name}", below.read_bytes()


def _change(piece: Piece, expected: FileState | None, actual: FileState | None) -> Change:
    target = Target(name=piece.name, template=piece.name, path=piece.path)
    return compare(target, expected, actual, written=None, live=False)


def _report(changes: Sequence[Change]) -> Report:
    acted = any(one.touches_file for one in changes)
    return Report(outcome="changed" if acted else "unchanged", source="cache", changes=(*changes,))
