"""From an answer to a plan: every target rendered, compared with the disk, and with what the
programs of this machine have loaded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config.settings import Settings
from ..config.targets import Target
from ..errors import ConfigError, LbhookError
from ..judging.listeners import Listeners
from ..memory.records import Installed
from ..metadata.facts import Facts
from ..plan import Change, Outcome, Plan, Reload, compare
from ..programs.host import Host
from ..rendering.cache import RenderCache
from . import conflicts, groups, one_file, orphans, validation, verification
from .contents import Contents
from .recorded import Recorded
from .scope import Scope

_ONE_FILE = "give each target a file of its own"


class Planner:
    """Makes one plan for one host and one configuration."""

    def __init__(
        self, host: Host, settings: Settings, only: Sequence[str] = (), reload: bool = False
    ) -> None:
        self.host = host
        self.settings = settings
        self.only = only
        self.reload = reload
        self.warnings: list[str] = []
        self._listeners = Listeners(host, settings, only)
        self._recorded = Recorded()

    def plan(self, scope: Scope, lb: Facts | None, vm: object = None) -> Plan:
        """What is to be done; a target that can't be planned has its `failure`."""
        self._recorded = Recorded.read(self.host.state)
        places = [Path(str(place)) for place in self.settings.paths.templates]
        cache = RenderCache(places, lb, vm)
        contents = Contents(self.host, self.settings, scope, cache, self._recorded, self._listeners)
        changes = []
        targets, shared = self._targets(scope)
        for target in targets:
            try:
                if target.path in shared:
                    raise ConfigError(shared[target.path], hint=_ONE_FILE)
                changes.append(self._change(scope, contents, target))
            except LbhookError as error:
                changes.append(_unplanned(target, error))
        if not cache.is_sure():
            changes = [one._replace(made_of="") for one in changes]
        changes += self._dropped(scope, _unread(changes) if scope is Scope.WHOLE else ())
        changes = [self._unless(one, self._listeners.closing(one.target)) for one in changes]
        if conflicts.found(changes):
            changes = [validation.skip_unread(self.host, one) for one in changes]
            changes = [*_without(changes, conflicts.found(changes))]
        warnings = (*contents.warnings, *self.warnings, *self.host.state.damaged)
        return Plan(
            changes=groups.held_together(changes),
            warnings=tuple(dict.fromkeys(warnings)),
            problems=tuple(contents.problems),
            left_out=tuple(contents.left_out),
            lb=lb or Facts(),
        )

    def _targets(self, scope: Scope) -> tuple[Sequence[Target], Mapping[PurePosixPath, str]]:
        """The targets, and by path what is wrong with those that share a file. A clean only wants
        each file once, and by the path that it was installed by."""
        tree, active = self.host.tree, self.settings.active(self.only)
        if scope is not Scope.CLEAN:
            return active, one_file.found(tree, self.settings)
        known = sorted(active, key=lambda one: self._recorded.of(one) is None)
        return [*one_file.once(tree, known)], {}

    def _change(self, scope: Scope, contents: Contents, target: Target) -> Change:
        actual = self.host.tree.state(target.path)
        target = contents.target(target, actual)
        ours = self._recorded.is_ours(target, actual)
        expected, made = contents.expected(target, actual, ours)
        record = self._recorded.of(target)
        written = record.digest if record else None
        live = self.host.live
        change = compare(target, expected, actual, written=written, live=live)
        if made:
            # The resting form that an installation put down is nobody's file.
            form = made.resting.encode()
            laid = bool(form and actual and orphans.rests(actual.content, form))
            original = change.original and not laid
            change = change._replace(resting=made.resting, made_of=made.made_of, original=original)
        else:
            change = change._replace(rendered=False, original=False)
        # Without an answer only what lbhook itself wrote is loaded: it was checked then. And
        # what was put back in its place, which its program may not know.
        configured = scope is Scope.CONFIGURED and made is not None
        wanted = scope is Scope.WHOLE or configured or ours or self._recorded.is_foreign(change)
        if live and expected and wanted:
            loaded = self._recorded.loaded.get(str(change.path))
            change = verification.due(self.host, scope, change, loaded, again=self.reload)
        if scope is Scope.CLEAN:
            return self._cleaned(change, ours)
        change = self._unless_stuck(validation.skip_missing(self.host, change))
        # Before it is staged: its directory may not be there, and no run is to write a journal of
        # what it skips.
        first = actual is None or str(target.path) in self._recorded.skipped
        return validation.skip_unread(self.host, change) if first else change

    def _unless_stuck(self, change: Change) -> Change:
        """Blocked, if its program can take no change at all."""
        return self._unless(change, self._listeners.stuck(change.target) if change.has_work else "")

    def _unless(self, change: Change, reason: str) -> Change:
        return validation.blocked(change, reason) if change.has_work and reason else change

    def _cleaned(self, change: Change, ours: bool) -> Change:
        """Files go to rest whether or not their program is still installed."""
        target = change.target
        if change.actual and not ours and str(change.path) in self._recorded.installed:
            return orphans.leave(self.host, target, change.actual, self.warnings.append)
        if all(self.host.find(program) for program in target.requires):
            return change
        return change._replace(target=target.alone(), reload=Reload.NONE)

    def _dropped(self, scope: Scope, unread: Collection[str]) -> list[Change]:
        """Installed files that are no target's any more. One that has only got another name
        stays where it is, and so does that of a target whose new file is still `unread`: until
        then its program has the old one."""
        if self.only:
            return []
        wanted = {str(one.path) for one in self.settings.active()}
        changes = []
        known = {**self._owing(scope), **self._recorded.installed}
        for path, record in one_file.others(self.host.tree, self.settings, known):
            try:
                stays = path in wanted or record.name in unread
                change = None if stays else self._undone(scope, record)
                changes += [change] if change else []
            except LbhookError as error:
                changes.append(_unplanned(record.target(), error))
        return changes

    def _owing(self, scope: Scope) -> Mapping[str, Installed]:
        return (
            self._recorded.foreign if scope in (Scope.MISSING, Scope.CONFIGURED, Scope.LOAD) else {}
        )

    def _undone(self, scope: Scope, record: Installed) -> Change | None:
        if scope in (Scope.MISSING, Scope.CONFIGURED, Scope.LOAD):
            # Without an answer nothing is undone; but what is owed is owed.
            known = self._recorded.loaded.get(record.path)
            return orphans.owed(self.host, record, known) if self.host.live else None
        return orphans.undo(self.host, record, self.warnings.append)


def _unread(changes: Sequence[Change]) -> Collection[str]:
    return {one.target.name for one in changes if one.outcome is Outcome.SKIPPED}


def _unplanned(target: Target, error: LbhookError) -> Change:
    none = Change(target=target, expected=None, actual=None, outcome=Outcome.UNCHANGED)
    return none._replace(rendered=False).failed(error)


def _without(changes: Sequence[Change], found: Sequence[conflicts.Conflict]) -> Iterator[Change]:
    """The changes, those that are in each other's way left undone."""
    for change in changes:
        problems = [one.problem for one in found if change.path in one.paths]
        error = ConfigError(*problems, hint="their files are as they were")
        yield change.failed(error) if problems else change
