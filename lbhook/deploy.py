"""A plan carried out as one transaction.

Journal, stage all, check all, write down what will be owed, replace all, reload each once,
verify, settle. Nothing live is touched before the last check has passed; after that, whatever
fails puts every file back and reloads what was reloaded.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from . import checks, floating
from .errors import ConfigError, LbhookError, ReloadError, WriteError
from .host import Host
from .journal import Entry
from .loading import Loader
from .outcome import Done
from .plan import Change, Outcome, Plan, Reload
from .shipped import kind_of
from .state import Installed, Loaded, Refused


@dataclass(slots=True)
class Deployment:
    """Carries out one plan on one host. With `load` false, reloads are left owed; with
    `recorded` false, the plan has lbhook's own record among its files. `records` are further
    files of lbhook's own that belong to the plan: the answer that it was made from.

    `done` is what it came to, also if it failed.
    """

    host: Host
    plan: Plan
    load: bool = True
    recorded: bool = True
    records: Mapping[PurePosixPath, bytes] = field(default_factory=dict)
    done: Done = field(default_factory=Done)
    _loader: Loader = field(init=False)
    _loaded_before: Mapping[str, Loaded] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._loader = Loader(self.host)

    def carry_out(self) -> Done:
        """Do what the plan says. On any failure the machine is as it was, and the error says
        so; interrupted, too."""
        self._loaded_before = self.host.state.loaded()
        touched = [one for one in self.plan.changes if one.touches_file]
        try:
            verdict = self._replace_all(touched) if touched else self._only_load()
        except BaseException:
            untouched = checks.Verdict(changes=self.plan.changes)
            self.done = self._nothing_done() if touched else self._all_done(untouched)
            raise
        self.done = self._all_done(verdict)
        return self.done

    def _replace_all(self, touched: Sequence[Change]) -> checks.Verdict:
        try:
            self.host.journal.begin([*self._entries(touched)])
            staged = self._stage(touched)
            verdict = self._check(staged)
            going = [one for one in verdict.changes if one.touches_file]
            self._record_debts(going)
            self._replace(going)
            self._load(verdict.changes, self._loader.load)
            self._record(verdict.changes)
            self.host.journal.commit()
        except BaseException as error:
            self._put_back(error)
            raise
        return verdict

    def _only_load(self) -> checks.Verdict:
        """No file differs: reloads alone, which have nothing to put back."""
        try:
            self._load(self.plan.changes, self._loader.pay)
        finally:
            self._record(self.plan.changes)
        return checks.Verdict(changes=self.plan.changes)

    def _entries(self, touched: Sequence[Change]) -> Iterator[Entry]:
        """Everything that may be replaced: the targets' files, lbhook's record, originals."""
        tree, state = self.host.tree, self.host.state
        for change in touched:
            after = change.expected.digest if change.expected else ""
            name = change.target.name
            yield Entry(path=change.path, before=change.actual, after=after, target=name)
        if not self.recorded:
            return
        for record in (state.installed_file, *self.records):
            yield Entry(path=record, before=tree.state(record), after="")
        for change in touched:
            original = state.original_file(change.path)
            if change.dropped or (change.original and change.actual):
                after = change.actual.digest if change.actual else ""
                yield Entry(path=original, before=tree.state(original), after=after)

    def _stage(self, touched: Sequence[Change]) -> checks.Staged:
        tree = self.host.tree
        staged = {}
        for change in touched:
            if change.expected:
                tree.stage(change.path, change.expected)
                staged[change.path] = tree.outside(tree.candidate(change.path))
        return staged

    def _check(self, staged: checks.Staged) -> checks.Verdict:
        verdict = checks.examine(self.host, self.plan.changes, staged)
        if self.host.live:
            floating.lend(self.host, self.plan.changes)
        verdict = checks.examine_live(self.host, verdict, staged)
        for change in verdict.changes:
            if change.path in staged and not change.touches_file:
                self.host.tree.discard(change.path)
        if not self.load:
            self._take_addresses_back()
        return verdict

    def _record_debts(self, going: Sequence[Change]) -> None:
        """Before a file is replaced, what is loaded of it is no longer known to be right."""
        if self.host.live:
            paths = {str(one.path) for one in going}
            loaded = {path: one for path, one in self._loaded_before.items() if path not in paths}
            self.host.state.keep_loaded(loaded)

    def _replace(self, going: Sequence[Change]) -> None:
        tree, state = self.host.tree, self.host.state
        for change in going:
            original = state.original_file(change.path)
            # Should the record have been lost, the copy that is there is the original still.
            if change.original and change.actual and tree.state(original) is None:
                tree.stage(original, change.actual)
                tree.replace(original)
        for change in going:
            if change.expected:
                tree.replace(change.path)
            else:
                tree.remove(change.path)
            if change.dropped and self.recorded:
                tree.remove(state.original_file(change.path))

    def _load(self, changes: Sequence[Change], load: Callable[[Sequence[Change]], None]) -> None:
        if not self.host.live:
            return
        if self.load:
            load(changes)
        else:
            self._loader.leave_owed(changes)

    def _record(self, changes: Sequence[Change]) -> None:
        """What is installed and what is loaded from now on."""
        state = self.host.state
        going = [one for one in changes if one.outcome not in (Outcome.SKIPPED, Outcome.BLOCKED)]
        if self.recorded:
            state.keep_installed(self._installed(going))
        for path, content in self.records.items():
            self.host.tree.write(path, content)
        if self.host.live:
            state.keep_loaded(self._loader.loaded(going))

    def _installed(self, going: Sequence[Change]) -> Mapping[str, Installed]:
        installed = self.host.state.installed()
        for change in going:
            path = str(change.path)
            if change.dropped:
                record = installed.pop(path)
                if self._loader.results.get(path) in (Reload.OWED, Reload.FAILED):
                    # The debt is paid from its record.
                    installed[path] = replace(record, undone=True)
            elif change.rendered and change.expected:
                installed[path] = Installed.of(change, installed.get(path))
        return installed

    def _all_done(self, verdict: checks.Verdict) -> Done:
        changes = tuple(self._with_result(one) for one in verdict.changes)
        blocked = [one for one in changes if one.outcome is Outcome.BLOCKED]
        return Done(
            changes=changes,
            warnings=verdict.warnings,
            problems=tuple(f"{one.target.name}: blocked: {one.reason}" for one in blocked),
            acted=self._loader.acted or any(one.touches_file for one in changes),
        )

    def _with_result(self, change: Change) -> Change:
        return replace(change, reload=self._loader.results.get(str(change.path), change.reload))

    def _nothing_done(self) -> Done:
        """Every file is as it was; what was to be reloaded failed, is owed, or is as it was."""
        loaded = self.host.state.loaded()
        return Done(changes=tuple(self._undone(one, loaded) for one in self.plan.changes))

    def _undone(self, change: Change, loaded: Mapping[str, Loaded]) -> Change:
        outcome = Outcome.UNCHANGED if change.touches_file else change.outcome
        reload, known = self._loader.results.get(str(change.path)), loaded.get(str(change.path))
        if reload is not Reload.FAILED and change.reload is Reload.DUE:
            as_it_was = known and change.actual and known.digest == change.actual.digest
            reload = Reload.NONE if as_it_was or not change.actual else Reload.OWED
        return replace(change, outcome=outcome, reload=reload or change.reload)

    def _put_back(self, error: BaseException) -> None:
        """Every file as it was, and reloads again what was reloaded; says both."""
        try:
            restored = self.host.journal.put_back()
        except LbhookError as failure:
            first = error.problems if isinstance(error, LbhookError) else (repr(error),)
            problems = (*first, *(f"could not be put back: {one}" for one in failure.problems))
            hint = "; ".join(filter(None, (failure.hint, _AGAIN)))
            raise WriteError(*problems, hint=hint) from error
        notes = [f"put back: {self.host.tree.outside(one.path)}" for one in restored if one.target]
        if self.host.live:
            notes += self._load_old()
        if isinstance(error, LbhookError):
            error.problems = (*error.problems, *notes)
            if self.host.live and isinstance(error, (ConfigError, ReloadError)):
                self._remember_refusal(error)

    def _take_addresses_back(self) -> None:
        """Those that were lent for a check, or loaded, and are in no file as it is now."""
        for change in self.plan.changes:
            if kind_of(change.target).addresses:
                content = self.host.tree.read(change.path) or b""
                floating.load(self.host, change.target, content)

    def _load_old(self) -> Sequence[str]:
        try:
            self._take_addresses_back()
            self.host.state.keep_loaded(self._loader.loaded_again(self._loaded_before))
            return self._loader.load_old()
        except (WriteError, ReloadError) as failure:
            return failure.problems

    def _remember_refusal(self, error: LbhookError) -> None:
        print_of = fingerprint(self.plan)
        refused = Refused(fingerprint=print_of, status=error.status, problems=error.problems)
        self.host.state.keep_refused(refused)


_AGAIN = "the next run tries again before anything else"


def fingerprint(plan: Plan) -> str:
    """What stands for answer, configuration and templates together: what they come to."""
    wanted = [(repr(one.target), one.expected) for one in plan.changes]
    return hashlib.sha256(repr(wanted).encode()).hexdigest()
