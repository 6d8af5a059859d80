"""lbhook brought onto a machine and taken away again, where no package manager does it: for pip
and for the single file; and its units' limits made to fit the configuration, for everybody."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..config.targets import Target
from ..deployment.report import Report
from ..errors import ReloadError, RightsError, UsageError
from ..levers.drain import Drain
from ..plan import Change, FileState, compare
from ..programs import unit_limits
from ..runs import resting_forms
from ..runs.undo import Undo
from . import executable
from .contents import CONFIGURATION, DIRECTORIES, Piece, Places, pieces
from .executable import SINGLE_FILE, Executable

# Where each part goes, and where it goes on a machine whose /usr is read-only.
_UNITS = (PurePosixPath("/usr/local/lib/systemd/system"), PurePosixPath("/etc/systemd/system"))
_USERS = (PurePosixPath("/usr/local/lib/sysusers.d"), PurePosixPath("/etc/sysusers.d"))
_PROGRAMS = (SINGLE_FILE.parent, PurePosixPath("/opt/bin"))
_SHARE = PurePosixPath("/usr/local/share")
_LIMITS = PurePosixPath("/etc/systemd/system")
_LATE = PurePosixPath("/var")
# Where a package has its units, with and without a merged /usr.
_PACKAGES = (PurePosixPath("/usr/lib/systemd/system"), PurePosixPath("/lib/systemd/system"))
# What is started may wait for Azure as long as a boot may.
_START = 600.0


@dataclass(frozen=True, slots=True)
class Installation:
    """Installs a program on a host, and takes it away again. `undo` is for the same host;
    `is_writable` tells whether a directory is on a file system that can be written."""

    undo: Undo
    program: Executable
    is_writable: Callable[[Path], bool] = lambda path: os.access(path, os.W_OK)

    def install(self, *, start: bool = False) -> Report:
        """Units, user, completion, configuration and resting forms into place; the units' limits
        made to fit the configuration; the units enabled, and with `start` started. What is as it
        should be is left alone, and a configuration that is there stays. Where a package has
        brought all that, only the limits are seen to. Raises `LbhookError`."""
        self._demand_root()
        packaged = self._package()
        if not packaged:
            self._demand_program()
            if self.undo.context.host.live:
                executable.demand(self.program, self.undo.context.host.run)
        single = self.program.single
        wanted = [] if packaged else self._pieces(single() if single else b"")
        changes = [self._put(piece) for piece in wanted]
        for place in DIRECTORIES:
            self.undo.context.host.tree.make_directory(place)
        changes += resting_forms.lay(self.undo.context.host, self.undo.context.settings)
        changes += self._limit()
        units = [piece.unit for piece in pieces(self._places()) if piece.starts_at_boot]
        if not packaged:
            self._run("systemd-sysusers", "lbhook.conf")
            self._run("systemctl", "enable", *units)
        self._run_booted("daemon-reload")
        host = self.undo.context.host
        for lack in unit_limits.unread(self.undo.context.settings) if host.live else ():
            self.undo.context.reporter.warn(f"{lack.text}; {lack.remedy}")
        if start:
            self._run_booted("start", *units)
        later = not (start or packaged)
        hint = f"from the next boot on; now: systemctl start {' '.join(units)}" if later else ""
        return _report(changes)._replace(hint=hint)

    def uninstall(self) -> Report:
        """Every file that lbhook wrote back to its original or resting form, and what `install`
        put into place taken away; an edited configuration stays. Raises `LbhookError`."""
        self._demand_root()
        package = self._package()
        if package:
            problem = f"{package}: a package has installed it"
            raise UsageError(problem, hint="leave it to the package manager")
        self._demand_program()
        there = [*self._pieces(), *self._limits("")]
        units = [piece.unit for piece in there if piece.unit and self._state(piece)]
        if units:
            self._run_booted("stop", *units)
            self._run("systemctl", "disable", *units)
        draining = Drain(self.undo.context)
        known = draining.known() if self.undo.context.host.live else None
        if known and not draining.release(known.source):
            draining.end()  # nobody would be there to end it
        cleaned = self.undo.clean()
        if cleaned.status not in (0, ReloadError.status):
            return cleaned
        taken = [self._take(piece) for piece in there if self._state(piece)]
        self._tidy(there)
        self._run_booted("daemon-reload")
        changes = (*cleaned.changes, *taken)
        return cleaned._replace(outcome=_report(changes).outcome, changes=changes)

    def _demand_root(self) -> None:
        if self.undo.context.host.live and not self.undo.context.host.root:
            raise RightsError(
                "not root: install and uninstall change this machine",
                hint="use sudo; or --root DIR",
            )

    def _package(self) -> str:
        """The unit of a package that is installed; empty if there is none."""
        tree = self.undo.context.host.tree
        units = [place / "lbhook.service" for place in _PACKAGES]
        return next((str(tree.outside(one)) for one in units if tree.state(one)), "")

    def _demand_program(self) -> None:
        host, path = self.undo.context.host, self.program.path
        if not self.program.single and not host.tree.outside(path).exists():
            hint = "install it there first, at the same path"
            raise UsageError(f"{host.tree.outside(path)}: no such program", hint=hint)

    def _places(self) -> Places:
        place = self.program.path
        if self.program.single:
            place = self._first_writable(_PROGRAMS, SINGLE_FILE.name) / SINGLE_FILE.name
        return Places(
            units=self._first_writable(_UNITS, "lbhook.service"),
            users=self._first_writable(_USERS, "lbhook.conf"),
            share=_SHARE,
            program=place,
        )

    def _first_writable(self, places: Sequence[PurePosixPath], name: str) -> PurePosixPath:
        """The first that is no part of a read-only file system; better one that has the file. Where
        links lead into /var, as those of ostree do, systemd may read units before it is mounted:
        that is for where there is no other."""
        tree = self.undo.context.host.tree
        writable = [one for one in places if self._is_writable(one)]
        early = [one for one in writable if not tree.place(one / name).is_relative_to(_LATE)]
        fit = early or writable or [*places]
        having = [one for one in fit if tree.state(one / name)]
        return (having or fit)[0]

    def _is_writable(self, path: PurePosixPath) -> bool:
        place = self.undo.context.host.tree.outside(path)
        return self.is_writable(next(one for one in (place, *place.parents) if one.exists()))

    def _pieces(self, single: bytes = b"") -> list[Piece]:
        """What is put into place. The `single` file, if it is one, last: it may be the one that
        runs, of which nothing more can be imported then."""
        places = self._places()
        wanted = [*pieces(places)]
        if not self._is_writable(_SHARE):
            self.undo.context.reporter.warn(
                f"{_SHARE} can't be written: no shell completion, no schema for editors"
            )
            wanted = [one for one in wanted if one.name not in ("completion", "schema")]
        if self.program.single:
            path = places.program
            wanted.append(Piece(name="program", path=path, content=single, mode=0o755))
        return wanted

    def _limit(self) -> Iterator[Change]:
        """Let the units do what the configuration asks for, and no more."""
        host = self.undo.context.host
        needs = unit_limits.needs(host, self.undo.context.settings)
        for need in needs:
            host.tree.make_directory(need.directory)
            if len(need.directory.parts) < 3:
                text = f"{need.name}: its file is directly in {need.directory}: "
                text += "lbhook's units can now write everything there"
                self.undo.context.reporter.warn(text)
        for piece in self._limits(unit_limits.drop_in(needs)):
            if piece.content:
                yield self._put(piece)
            elif self._state(piece):
                yield self._take(piece)
                self._tidy([piece])

    def _limits(self, text: str) -> list[Piece]:
        """The drop-in of each unit that writes. One for all, by `lbhook-.service.d`, would be
        lbhook-fetch.service's too."""
        piece = Piece(name="limits", path=_LIMITS, content=text.encode())
        paths = (_LIMITS / f"{unit}.d" / "targets.conf" for unit in unit_limits.UNITS)
        return [replace(piece, path=path) for path in paths]

    def _state(self, piece: Piece) -> FileState | None:
        return self.undo.context.host.tree.state(piece.path)

    def _put(self, piece: Piece) -> Change:
        tree, actual = self.undo.context.host.tree, self._state(piece)
        uid, gid = tree.owner(piece.path, "root", "root")
        wanted = FileState(content=piece.content, mode=piece.mode, uid=uid, gid=gid)
        stays = actual and piece.path == CONFIGURATION
        change = _change(piece, actual if stays else wanted, actual)
        if change.touches_file:
            tree.stage(piece.path, wanted)
            tree.replace(piece.path)
        return change

    def _take(self, piece: Piece) -> Change:
        tree, actual = self.undo.context.host.tree, self._state(piece)
        if actual and piece.path == CONFIGURATION and actual.content != piece.content:
            self.undo.context.reporter.warn(f"{tree.outside(piece.path)} was edited and stays")
            return _change(piece, actual, actual)
        tree.remove(piece.path)
        return _change(piece, None, actual)

    def _tidy(self, there: Sequence[Piece]) -> None:
        """Take directories away that nobody uses any more."""
        tree, places = self.undo.context.host.tree, {one.path.parent for one in there}
        drop_ins = [one for one in places if one.suffix == ".d"]
        ours = [*DIRECTORIES, CONFIGURATION.parent, _SHARE / "lbhook"] if len(there) > 1 else []
        for place in (*drop_ins, *ours):
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
            self.undo.context.reporter.warn(
                f"{name} is not installed: skipped `{name} {' '.join(words)}`"
            )
            return
        below = () if host.live else (f"--root={host.tree.root}",)
        ended = host.run((name, *below, *words), timeout=_START)
        if not ended.ok:
            raise ReloadError(ended.report())


def _change(piece: Piece, expected: FileState | None, actual: FileState | None) -> Change:
    target = Target(name=piece.name, template=piece.name, path=piece.path)
    return compare(target, expected, actual, written=None, live=False)


def _report(changes: Sequence[Change]) -> Report:
    acted = any(one.touches_file for one in changes)
    return Report(outcome="changed" if acted else "unchanged", source="cache", changes=(*changes,))
