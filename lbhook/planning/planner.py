"""From an answer to a plan: every target rendered, compared with the disk, and with what the
programs of this machine have loaded."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config.settings import Settings
from ..config.snippets import with_snippets
from ..config.targets import Target
from ..errors import ConfigError, LbhookError
from ..judging import failed_start
from ..judging.listeners import Listeners
from ..memory.records import Installed, Loaded
from ..metadata import restricted
from ..metadata.facts import Facts
from ..plan import Change, FileState, Outcome, Plan, Reload, compare
from ..programs import nftables, sshd
from ..programs.host import Host
from ..rendering.cache import RenderCache, Rendered
from . import conflicts, groups, one_file, orphans, validation, verification
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
        self.problems: list[str] = []
        self.left_out: list[str] = []
        self._installed: Mapping[str, Installed] = {}
        self._loaded: Mapping[str, Loaded] = {}
        self._foreign: Mapping[str, Installed] = {}
        self._made_of: Mapping[str, str] = {}
        self._skipped: Sequence[str] = ()
        self._listeners = Listeners(host, settings, only)

    def plan(self, scope: Scope, lb: Facts | None, vm: object = None) -> Plan:
        """What is to be done; a target that can't be planned has its `failure`."""
        self._installed = self.host.state.installed()
        self._loaded = self.host.state.loaded()
        self._foreign = self.host.state.foreign()
        self._made_of = self.host.state.made()
        self._skipped = self.host.state.skipped()
        places = [Path(str(place)) for place in self.settings.paths.templates]
        cache = RenderCache(places, lb, vm)
        changes = []
        targets, shared = self._targets(scope)
        for target in targets:
            try:
                if target.path in shared:
                    raise ConfigError(shared[target.path], hint=_ONE_FILE)
                changes.append(self._change(scope, cache, target))
            except LbhookError as error:
                changes.append(_unplanned(target, error))
        if not cache.is_sure():
            changes = [one._replace(made_of="") for one in changes]
        changes += self._dropped(scope)
        changes = [self._unless(one, self._listeners.closing(one.target)) for one in changes]
        if conflicts.found(changes):
            changes = [validation.skip_unread(self.host, one) for one in changes]
            changes = [*_without(changes, conflicts.found(changes))]
        warnings = (*self.warnings, *self.host.state.damaged)
        return Plan(
            changes=groups.held_together(changes),
            warnings=tuple(dict.fromkeys(warnings)),
            problems=tuple(self.problems),
            left_out=tuple(self.left_out),
            lb=lb or Facts(),
        )

    def _targets(self, scope: Scope) -> tuple[Sequence[Target], Mapping[PurePosixPath, str]]:
        """The targets, and by path what is wrong with those that share a file. A clean only wants
        each file once, and by the path that it was installed by."""
        tree, active = self.host.tree, self.settings.active(self.only)
        if scope is not Scope.CLEAN:
            return active, one_file.found(tree, self.settings)
        known = sorted(active, key=lambda one: self._record(one) is None)
        return [*one_file.once(tree, known)], {}

    def _change(self, scope: Scope, cache: RenderCache, target: Target) -> Change:
        actual = self.host.tree.state(target.path)
        target = self._observed(scope, self._with_snippets(scope, target, actual))
        ours = self._is_ours(target, actual)
        expected, made = self._expected(scope, cache, target, actual, ours)
        record = self._record(target)
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
        wanted = scope is Scope.WHOLE or configured or ours or self._is_foreign(change)
        if live and expected and wanted:
            loaded = self._loaded.get(str(change.path))
            change = verification.due(self.host, scope, change, loaded, again=self.reload)
        if scope is Scope.CLEAN:
            return self._cleaned(change, ours)
        change = self._unless_stuck(validation.skip_missing(self.host, change))
        # Before it is staged: its directory may not be there, and no run is to write a journal of
        # what it skips.
        first = actual is None or str(target.path) in self._skipped
        return validation.skip_unread(self.host, change) if first else change

    def _unless_stuck(self, change: Change) -> Change:
        """Blocked, if its program can take no change at all."""
        return self._unless(change, self._listeners.stuck(change.target) if change.has_work else "")

    def _unless(self, change: Change, reason: str) -> Change:
        return validation.blocked(change, reason) if change.has_work and reason else change

    def _expected(
        self, scope: Scope, cache: RenderCache, target: Target, actual: FileState | None, ours: bool
    ) -> tuple[FileState | None, Rendered | None]:
        """The file as it is to be, and what was made for it."""
        if scope is Scope.CLEAN and ours:
            original = self.host.state.original(target.path)
            if original:
                return original, None
        try:
            made = self._made(scope, cache, target, actual, ours)
        except ConfigError:
            record = self._record(target)
            if scope not in (Scope.REST, Scope.CLEAN) or record is None:
                raise
            # As if it were dropped: what is at rest, or gone, holds nothing of a former answer.
            return orphans.resting(record), None
        if made is None:
            return actual, None
        uid, gid = self.host.tree.owner(target.path, target.owner, target.group)
        return FileState(content=made.content, mode=target.mode, uid=uid, gid=gid), made

    def _with_snippets(self, scope: Scope, target: Target, actual: FileState | None) -> Target:
        """A firewall with what its owner adds. Where it is only to be there again, what is wrong
        with that does not keep it from being loaded as it is."""
        if scope not in (Scope.WHOLE, Scope.CONFIGURED, Scope.MISSING):
            return target
        try:
            return with_snippets(target, Path(str(self.settings.paths.snippets)))
        except ConfigError:
            if scope is Scope.MISSING and actual:
                return target
            raise

    def _observed(self, scope: Scope, target: Target) -> Target:
        """A firewall with the places where sshd listens that its settings do not open. Without an
        answer none is closed."""
        if not (self.host.live and sshd.follows(target)):
            return target
        record = self._record(target)
        known, keep = record.sshd if record else (), scope is Scope.MISSING
        sockets = self.host.machine.listening()
        places = sshd.places(self.host.machine, self.host.run, sockets, known, keep=keep)
        more = tuple(one for one in places if one["port"] not in target.vars["ssh_ports"])
        return target._replace(vars={**target.vars, "sshd": more}) if more else target

    def _cleaned(self, change: Change, ours: bool) -> Change:
        """Files go to rest whether or not their program is still installed."""
        target = change.target
        if change.actual and not ours and str(change.path) in self._installed:
            return orphans.leave(self.host, target, change.actual, self.warnings.append)
        if all(self.host.find(program) for program in target.requires):
            return change
        return change._replace(target=target.alone(), reload=Reload.NONE)

    def _made(
        self, scope: Scope, cache: RenderCache, target: Target, actual: FileState | None, ours: bool
    ) -> Rendered | None:
        """What is to be in the file; None if it is to stay as it is."""
        lb = cache.lb
        stays = {
            Scope.WHOLE: False,
            Scope.MISSING: actual is not None,
            # Rendered only where it is asked for.
            Scope.CONFIGURED: scope is Scope.CONFIGURED
            and actual
            and not _rests(cache, target, actual),
            Scope.REST: not ours,
            Scope.CLEAN: not ours,
            Scope.LOAD: True,
        }
        if stays[scope]:
            return self._moved(cache, target, actual) if scope is Scope.MISSING else None
        if scope in (Scope.REST, Scope.CLEAN) or lb is None:
            return cache.rest(target)
        if self.host.live:
            nftables.demand_no_kubelet(target, self.host.machine)
        failed = failed_start.found(self.host, target, actual, self._record(target))
        if failed:
            self.problems.append(f"{target.name}: {failed}")
            return cache.rest(target)
        here, left_out, notes = self._listeners.here(target, lb)
        self.warnings += notes
        restrict = target.vars.get("restrict", ()) if target.kind else ()
        sshd_ports = [one["port"] for one in target.vars.get("sshd", ())] if restrict else []
        odd = restricted.doubts(restrict, lb, sshd_ports)
        self.warnings += [f"{target.name}: {one}" for one in odd]
        before = self._before(target, actual)
        made_of = (cache.made_of, left_out)
        judged = self._listeners.known(target, here, made_of)
        if not judged or not cache.recognises(judged.target, (*left_out, judged.mark), before):
            judged = self._listeners.judged(target, here, made_of)
        self.warnings += judged.notes
        self.left_out += judged.notes
        return cache.make(judged.target, judged.lb, (*left_out, judged.mark), before)

    def _moved(
        self, cache: RenderCache, target: Target, actual: FileState | None
    ) -> Rendered | None:
        """A firewall that differs from what is there by new places of sshd alone: an operator is
        to come in, answer or not."""
        record = self._record(target)
        now = [one["text"] for one in target.vars.get("sshd", ())]
        if not (record and actual and cache.lb) or {*now} <= {*record.sshd}:
            return None
        known = sshd.recorded(record.sshd)
        before = target._replace(vars={**target.vars, "sshd": known})
        same = cache.make(before, cache.lb, (), None).content == actual.content
        return cache.make(target, cache.lb, (), None) if same else None

    def _before(self, target: Target, actual: FileState | None) -> Rendered | None:
        """What is there, as it was made: in this boot, or before."""
        record = self._record(target)
        if not record:
            return None
        content = actual.content if actual else self.host.state.copy(target.path)
        if content is None:
            return None
        made_of = self._made_of.get(str(target.path)) or record.made_of
        return Rendered(content, record.resting, made_of)

    def _record(self, target: Target) -> Installed | None:
        """What is recorded of a target's file, if lbhook installed it."""
        return self._installed.get(str(target.path))

    def _is_ours(self, target: Target, actual: FileState | None) -> bool:
        record = self._record(target)
        return bool(record and actual and record.digest == actual.digest)

    def _is_foreign(self, change: Change) -> bool:
        record = self._foreign.get(str(change.path))
        return bool(record and change.actual and record.digest == change.actual.digest)

    def _dropped(self, scope: Scope) -> list[Change]:
        """Installed files that are no target's any more. One that has only got another name
        stays where it is."""
        if self.only:
            return []
        wanted = {str(one.path) for one in self.settings.active()}
        changes = []
        known = {**self._owing(scope), **self._installed}
        for path, record in one_file.others(self.host.tree, self.settings, known):
            try:
                change = None if path in wanted else self._undone(scope, record)
                changes += [change] if change else []
            except LbhookError as error:
                changes.append(_unplanned(record.target(), error))
        return changes

    def _owing(self, scope: Scope) -> Mapping[str, Installed]:
        return self._foreign if scope in (Scope.MISSING, Scope.CONFIGURED, Scope.LOAD) else {}

    def _undone(self, scope: Scope, record: Installed) -> Change | None:
        if scope in (Scope.MISSING, Scope.CONFIGURED, Scope.LOAD):
            # Without an answer nothing is undone; but what is owed is owed.
            known = self._loaded.get(record.path)
            return orphans.owed(self.host, record, known) if self.host.live else None
        return orphans.undo(self.host, record, self.warnings.append)


def _rests(cache: RenderCache, target: Target, actual: FileState) -> bool:
    return orphans.rests(actual.content, cache.rest(target).content)


def _unplanned(target: Target, error: LbhookError) -> Change:
    none = Change(target=target, expected=None, actual=None, outcome=Outcome.UNCHANGED)
    return none._replace(rendered=False).failed(error)


def _without(changes: Sequence[Change], found: Sequence[conflicts.Conflict]) -> Iterator[Change]:
    """The changes, those that are in each other's way left undone."""
    for change in changes:
        problems = [one.problem for one in found if change.path in one.paths]
        error = ConfigError(*problems, hint="their files are as they were")
        yield change.failed(error) if problems else change
