"""What puts things back on purpose: `rollback`, one apply back; `clean`, all the way."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from types import MappingProxyType

from ..config.shipped import kind_of
from ..config.targets import Target
from ..context import Context
from ..deployment.deployment import Deployment
from ..deployment.outcome import Done
from ..deployment.recovery import settled
from ..deployment.reloads import Loader
from ..deployment.report import Report
from ..deployment.transaction import Transaction
from ..errors import LbhookError, ReloadError, UsageError, WriteError, together
from ..levers.drain import Drain
from ..memory.journal_entries import Entry
from ..memory.records import Installed
from ..plan import Change, FileState, Plan, Reload, compare
from ..planning.orphans import resting, said
from ..planning.planner import Planner
from ..planning.scope import Scope
from ..storage import forms
from ..telling import metrics

_STILL = "this VM stays drained until it reboots; `lbhook undrain` ends that"
_STAYS = (
    "stays: before the last apply lbhook had none, and a site that includes it would be down;"
    " `lbhook clean` takes it away"
)
_NEXT = "the next apply brings this machine up to date with Azure again"


class Undo:
    """Takes back what lbhook did to one host."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def rollback(self) -> Report:
        """Put back what the last apply replaced, and reload. It is an apply of its own, so that
        a second one takes it back again. Never raises a `LbhookError`."""
        return settled(self.context, self.rollback_now)

    def clean(self) -> Report:
        """Every file in its original or resting form, and all state gone. Never raises a
        `LbhookError`."""
        return settled(self.context, self._clean)

    def rollback_now(
        self,
        records: Mapping[PurePosixPath, bytes] = MappingProxyType({}),
        wanted: Callable[[Target], bool] | None = None,
    ) -> Report:
        """The same under the lock, with further files of lbhook's own in the same transaction.
        With `wanted` it is of some targets alone. Raises `LbhookError`."""
        entries = self.context.host.journal.previous()
        if not entries:
            raise UsageError("rollback: there is no apply to go back to", hint=_NEXT)
        known = self._known()
        # Who holds this machine, and what waits, is nothing that an apply has changed.
        own = self.context.host.state.standstill_files
        changes = [self._former(entry, known) for entry in entries if entry.path not in own]
        if wanted:
            changes = [one for one in changes if one.target.name and wanted(one.target)]
        changes = self._with_first_listeners(changes, known)
        changes += [self._own(path, content) for path, content in records.items()]
        transaction = Transaction(self.context.host, Plan(changes=tuple(changes)), recorded=False)
        done = transaction.carry_out()
        return self._report(tuple(one for one in done.changes if one.target.name))

    def replaced(self, wanted: Callable[[Target], bool]) -> bool:
        """Whether the last apply has replaced such a target's file."""
        known = self._known()
        former = (self._former(one, known) for one in self.context.host.journal.previous())
        return any(one.target.name and one.touches_file and wanted(one.target) for one in former)

    def _former(self, entry: Entry, known: Mapping[str, Installed]) -> Change:
        """A file as it was before the last apply."""
        actual, live = self.context.host.tree.state(entry.path), self.context.host.live
        record = known.get(str(entry.path)) if entry.target else None
        base = (
            record.target() if record else Target(name=entry.target, template="", path=entry.path)
        )
        target = base._replace(template=_ROLLBACK)
        # What another program names must not be missing, even if it was before.
        before = entry.before or (resting(record) if record else None)
        change = compare(target, before, actual, written="", live=live)
        reload = change.reload if entry.target else Reload.NONE
        return change._replace(original=False, reload=reload)

    def _with_first_listeners(
        self, changes: Sequence[Change], known: Mapping[str, Installed]
    ) -> list[Change]:
        """But for files that the last apply created, for a program that listens where they say.
        What the owner's own lines were before an `include` took their place is not known here:
        without these files nothing would listen there. A file of the owner's own goes back."""
        before = self._installed_before()
        kept = {
            str(one.path): known[str(one.path)]
            for one in changes
            if kind_of(one.target).local_only
            and str(one.path) not in before
            and _serves_nobody(one.expected, known[str(one.path)])
        }
        for path, record in kept.items():
            self.context.reporter.warn(f"{record.name}: {path} {_STAYS}")
        if not kept:
            return [*changes]
        state = self.context.host.state
        left = {state.installed_file, *map(PurePosixPath, kept)}
        left |= {state.original_file(path) for path in left}
        going = (one for one in changes if one.path not in left)
        written = forms.written({"files": {**before, **kept}})
        return [*going, self._own(state.installed_file, written)]

    def _installed_before(self) -> Mapping[str, Installed]:
        state = self.context.host.state
        return state.installed(self.context.host.journal.backup(state.installed_file))

    def _own(self, path: PurePosixPath, content: bytes) -> Change:
        """A file of lbhook's own as it is to be."""
        target = Target(name="", template=_ROLLBACK, path=path)
        expected, actual = FileState(content, 0o644), self.context.host.tree.state(path)
        change = compare(target, expected, actual, written="", live=False)
        return change._replace(original=False)

    def _known(self) -> Mapping[str, Installed]:
        """How each file's program is reloaded: as it is recorded now or, where it is not, as it
        was before the last apply."""
        return {**self._installed_before(), **self.context.host.state.installed()}

    def _clean(self) -> Report:
        plan = Planner(self.context.host, self.context.settings).plan(Scope.CLEAN, None)
        for warning in plan.warnings:
            self.context.reporter.warn(warning)
        done = self._taken_back(plan)
        if done.errors:
            # What is left to do is known as long as there is state.
            failure = together(done.errors)
            rest = tuple(one for one in done.changes if one.touches_file)
            return self._report(rest)._replace(
                status=failure.status, problems=failure.problems, hint=failure.hint
            )
        results, problems = self._load(plan)
        gone = (*self._forget_drain(), *self.context.host.state.forget(), *self._forget_metrics())
        changes = tuple(
            one._replace(reload=results.get(str(one.path), Reload.NONE))
            for one in done.changes
            if one.touches_file
        )
        return self._report(changes)._replace(
            status=ReloadError.status if problems else 0,
            removed=tuple(self._shown(path) for path in gone),
            problems=problems,
        )

    def _taken_back(self, plan: Plan) -> Done:
        """Every file at rest or back. On a full disk what frees space must not need any: first goes
        what nobody needs any more; if there is still no room for a journal, the files are taken
        back one by one, without one. Each is whole at any time, and another clean goes on."""
        host = self.context.host
        # Not checked: what is put to rest, or back, harms nobody, whatever else is broken.
        done = Deployment(host, plan, load=False, checked=False).carry_out()
        if _no_room(done):
            host.state.make_room()
            done = Deployment(host, plan, load=False, checked=False).carry_out()
        return self._one_by_one(plan) if _no_room(done) else done

    def _one_by_one(self, plan: Plan) -> Done:
        tree, failures = self.context.host.tree, []
        touched = [one for one in plan.changes if one.touches_file]
        for change in sorted(touched, key=lambda one: one.expected is not None):
            try:
                if change.expected:
                    tree.stage(change.path, change.expected)
                    tree.replace(change.path)
                else:
                    tree.remove(change.path)
            except LbhookError as error:
                failures.append(error)
        return Done(changes=plan.changes, failures=tuple(failures), acted=bool(touched))

    def _forget_drain(self) -> tuple[PurePosixPath, ...]:
        """A drain stays in force, but not for boots to come: those may be another VM's."""
        draining = Drain(self.context)
        known = draining.known()
        if known:
            self.context.reporter.warn(_STILL)
            draining.records.write(known._replace(persist=False))
        return (draining.records.kept_file,) if draining.records.drop() else ()

    def _forget_metrics(self) -> tuple[PurePosixPath, ...]:
        files = metrics.files(self.context.settings.metrics.textfile).values()
        gone = tuple(file for file in files if self.context.host.tree.read(file) is not None)
        for file in gone:
            self.context.host.tree.remove(file)
        return gone

    def _load(self, plan: Plan) -> tuple[Mapping[str, Reload], tuple[str, ...]]:
        """Every program, as far as possible: one that fails keeps no other from its file."""
        loader = Loader(self.context.host)
        try:
            if self.context.host.live:
                loader.pay(plan.changes)
        except ReloadError as error:
            return loader.results, error.problems
        return loader.results, ()

    def _shown(self, path: PurePosixPath) -> str:
        return str(self.context.host.tree.outside(path))

    def _report(self, changes: tuple[Change, ...]) -> Report:
        acted = any(one.touches_file for one in changes)
        return Report(outcome="changed" if acted else "unchanged", source="cache", changes=changes)


# Not a template: it only says that the target is not one that was dropped.
_ROLLBACK = "rollback"


def _serves_nobody(former: FileState | None, record: Installed) -> bool:
    """Whether a file is not there, or says no more than its resting form."""
    rest = resting(record)
    return not former or bool(rest and said(former.content) <= said(rest.content))


def _no_room(done: Done) -> bool:
    return any(isinstance(one, WriteError) and one.no_room for one in done.errors)
