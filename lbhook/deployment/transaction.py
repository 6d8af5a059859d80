"""A plan carried out as one transaction.

Journal, stage all, check all, write down what will be owed, replace all, reload each once,
verify, settle. Nothing live is touched before the last check has passed; after that, whatever
fails puts every file back and reloads what was reloaded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from ..errors import RefusedError, ReloadError, WriteError
from ..memory.journal_entries import Entry
from ..memory.records import Loaded
from ..plan import Change, Outcome, Plan, Reload
from ..planning import validation
from ..programs import floating_ip
from ..programs.host import Host
from . import candidates
from .ledger import Ledger
from .outcome import Done
from .reloads import Loader


class Transaction:
    """Carries out one plan on one host. With `load` false, reloads are left owed; with
    `recorded` false, the plan has lbhook's own record among its files, and nothing may be left
    out of it; with `checked` false, it is not checked. `records` are further files of lbhook's
    own that belong to the plan: the answer that it was made from. `last` says that
    no other transaction of its run follows.

    `done` is what it came to, also if it failed.
    """

    def __init__(
        self,
        host: Host,
        plan: Plan,
        load: bool = True,
        recorded: bool = True,
        checked: bool = True,
        records: Mapping[PurePosixPath, bytes] | None = None,
        last: bool = True,
    ) -> None:
        self.host = host
        self.plan = plan
        self.load = load
        self.checked = checked
        self.last = last
        self.done = Done()
        self._loader = Loader(host)
        self._ledger = Ledger(host, self._loader, recorded, records or {})
        self._stuck: frozenset[PurePosixPath] = frozenset()
        self._late: tuple[str, ...] = ()

    def carry_out(self) -> Done:
        """Do what the plan says. On any failure the machine is as it was, and the error says
        so; interrupted, too."""
        self._ledger.open()
        touched = [one for one in self.plan.changes if one.touches_file]
        try:
            examined = self._replace_all(touched) if touched else self._only_load()
        except BaseException:
            untouched = validation.Examined(changes=self.plan.changes)
            self.done = Done(self.undone()) if touched else self._all_done(untouched)
            raise
        self.done = self._all_done(examined)
        return self.done

    def _replace_all(self, touched: Sequence[Change]) -> validation.Examined:
        # What a way back takes is read before anything is touched.
        from ..programs import systemd  # noqa: F401

        try:
            entries = [*self._entries(touched)]
            self.host.journal.begin(entries, last=self.last)
            staged = self._stage(touched)
            examined = self._check(staged)
            going = [one for one in examined.changes if one.touches_file]
            self._ledger.owe(going)
            self._replace(going)
            self._load(examined.changes, self._loader.load)
            self._ledger.settle(examined.changes)
            self._commit()
        except BaseException as error:
            self._put_back(error)
            raise
        return examined

    def _commit(self) -> None:
        """After its first rename there is nothing to put back any more; the next run tidies up."""
        try:
            self.host.journal.commit()
        except WriteError as error:
            if self.host.journal.is_open():
                raise
            self._late = error.problems

    def _only_load(self) -> validation.Examined:
        """No file differs: reloads alone, which have nothing to put back."""
        try:
            self._load(self.plan.changes, self._loader.pay)
        finally:
            self._ledger.settle(self.plan.changes)
        return validation.Examined(changes=self.plan.changes)

    def _entries(self, touched: Sequence[Change]) -> Iterator[Entry]:
        """Everything that may be replaced: the targets' files, lbhook's record, originals."""
        tree, state = self.host.tree, self.host.state
        for change in touched:
            after = change.expected.digest if change.expected else ""
            name, rest = change.target.name, change.resting if self._ledger.recorded else ""
            yield Entry(change.path, change.actual, after, target=name, rest=rest)
        if not self._ledger.recorded:
            return
        for record in self._ledger.own:
            yield Entry(path=record, before=tree.state(record), after="")
        for change in touched:
            original = state.original_file(change.path)
            if change.dropped or (change.original and change.actual):
                after = change.actual.digest if change.actual else ""
                yield Entry(path=original, before=tree.state(original), after=after)

    def _stage(self, touched: Sequence[Change]) -> validation.Staged:
        tree = self.host.tree
        staged = {}
        for change in touched:
            if change.expected:
                tree.stage(change.path, change.expected)
                staged[change.path] = tree.outside(tree.candidate(change.path))
        return staged

    def _check(self, staged: validation.Staged) -> validation.Examined:
        if not self.checked:
            return validation.Examined(changes=self.plan.changes)
        examined = validation.examine(self.host, self.plan.changes, staged)
        if self.host.live:
            floating_ip.lend(self.host, self.plan.changes)
        examined = validation.examine_live(self.host, examined, staged)
        for change in examined.changes:
            if change.path in staged and not change.touches_file:
                self.host.tree.discard(change.path)
        if not self.load:
            floating_ip.take_back(self.host, self.plan.changes)
        if not self._ledger.recorded:
            _demand_all(examined)
        return examined

    def _replace(self, going: Sequence[Change]) -> None:
        tree, state = self.host.tree, self.host.state
        for change in going:
            self._ledger.keep_original(change)
        for path in (*(one.path for one in going if one.actual), *self._ledger.own):
            tree.keep(path)
        for change in going:
            if change.expected:
                tree.replace(change.path)
            else:
                tree.remove(change.path)
            if change.dropped and self._ledger.recorded:
                tree.remove(state.original_file(change.path))

    def _load(self, changes: Sequence[Change], load: Callable[[Sequence[Change]], None]) -> None:
        if not self.host.live:
            return
        if self.load:
            load(changes)
        else:
            self._loader.leave_owed(changes)

    def _all_done(self, examined: validation.Examined) -> Done:
        changes = tuple(self._with_result(one) for one in examined.changes)
        blocked = [one for one in changes if one.outcome is Outcome.BLOCKED]
        failed = [one for one in self.plan.changes if one.reload is Reload.FAILED]
        return Done(
            changes=changes,
            warnings=(*examined.warnings, *self._late),
            blocked=(
                *(ReloadError(f"{one.target.name}: blocked: {one.reason}") for one in blocked),
                *(ReloadError(f"{one.target.name}: {one.reason}") for one in failed),
            ),
            acted=self._loader.acted or any(one.touches_file for one in changes),
        )

    def _with_result(self, change: Change) -> Change:
        return change._replace(reload=self._loader.results.get(str(change.path), change.reload))

    def undone(self) -> tuple[Change, ...]:
        """Every file as it was; what was to be reloaded failed, is owed, or is as it was."""
        loaded = self.host.state.loaded()
        return tuple(self._undone(one, loaded) for one in self.plan.changes)

    def _undone(self, change: Change, loaded: Mapping[str, Loaded]) -> Change:
        is_back = change.touches_file and change.path not in self._stuck
        outcome = Outcome.UNCHANGED if is_back else change.outcome
        reload, known = self._loader.results.get(str(change.path)), loaded.get(str(change.path))
        if reload is not Reload.FAILED and change.reload is Reload.DUE:
            as_it_was = known and change.actual and known.digest == change.actual.digest
            reload = Reload.NONE if as_it_was or not change.actual else Reload.OWED
        return change._replace(outcome=outcome, reload=reload or change.reload, made_of="")

    def _put_back(self, error: BaseException) -> None:
        from .revert import PutBack

        retreat = PutBack(self.host, self.plan, self._loader, self._ledger.before)
        try:
            retreat.carry_out(error)
        finally:
            self._stuck = retreat.stuck
        if isinstance(error, RefusedError):
            candidates.keep(self.host, self.plan.changes, error)


def _demand_all(examined: validation.Examined) -> None:
    left_out = [
        one for one in examined.changes if one.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)
    ]
    if left_out:
        problems = (f"{one.target.name}: {one.outcome.value}: {one.reason}" for one in left_out)
        raise ReloadError(*problems, hint="all or nothing: nothing was changed")
