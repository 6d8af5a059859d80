"""The way back from a deployment that failed: files, programs and records, and what to say."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .. import signals
from ..errors import ConfigError, LbhookError, PutBackError, ReloadError, WriteError
from ..memory.records import Loaded
from ..plan import Change, Outcome, Plan, Reload
from ..programs import floating_ip
from ..programs.host import Host
from . import others, refusals
from .reloads import Loader, grouped

_AGAIN = "the next run tries again before anything else"
# A signal may come late.
_SETTLE = 3.0


class PutBack:
    """Takes one host back to where it was before a plan; `loaded_before` is what was loaded
    then. `stuck` are files that could not be put back."""

    def __init__(
        self, host: Host, plan: Plan, loader: Loader, loaded_before: Mapping[str, Loaded]
    ) -> None:
        self.host = host
        self.plan = plan
        self.loader = loader
        self.loaded_before = loaded_before
        self.stuck: frozenset[PurePosixPath] = frozenset()
        self._left: set[str] = set()

    def carry_out(self, error: BaseException) -> None:
        """Every file as it was, and reloads again what was reloaded; `error` says both.

        Raises `WriteError` if a file could not be put back.
        """
        problems = error.problems if isinstance(error, LbhookError) else (repr(error),)
        with signals.held():
            notes, failure = self._put_files_back()
            if self.host.live:
                notes += self._load_old()
        if failure:
            stuck = (f"could not be put back: {one}" for one in failure.problems)
            hint = "; ".join(filter(None, (failure.hint, _AGAIN)))
            raise WriteError(*problems, *stuck, *notes, hint=hint) from error
        if isinstance(error, LbhookError):
            error.problems = (*problems, *notes)
        if self.host.live and isinstance(error, (ConfigError, ReloadError)):
            refusals.remember(self.host, self.plan.changes, type(error)(*problems))

    def _put_files_back(self) -> tuple[list[str], PutBackError | None]:
        failure = None
        try:
            restored = [one.path for one in self.host.journal.put_back() if one.target]
        except PutBackError as error:
            failure, restored = error, [*error.restored]
            unknown = {one.path for one in self.plan.changes} - {*restored}
            self.stuck = frozenset({*error.stuck, *(() if error.whole else unknown)})
        return [f"put back: {self.host.tree.outside(path)}" for path in restored], failure

    def _load_old(self) -> Sequence[str]:
        state = self.host.state
        try:
            floating_ip.take_back(self.host, self.plan.changes)
            # What was not reloaded is still loaded as it was.
            tried = self._uncertain()
            kept = {path: one for path, one in self.loaded_before.items() if path not in tried}
            state.keep_loaded({**state.loaded(), **kept})
            olds = [self._old(one) for group in reversed(self.loader.reloaded) for one in group]
            said = tuple(self._load_old_group(group) for group in grouped(olds))
            loaded = state.loaded()
            paths = {str(one.path) for one in self.plan.changes}
            state.keep_loaded(loaded, paths - (self._uncertain() - loaded.keys()))
            return said
        except (WriteError, ReloadError) as failure:
            return failure.problems

    def _uncertain(self) -> frozenset[str]:
        """The paths of what programs do not have, or not for certain, as they had it before."""
        tried = (str(one.path) for group in self.loader.reloaded for one in group)
        return frozenset(tried) - self._left

    def _old(self, change: Change) -> Change:
        actual = self.host.tree.state(change.path)
        return change._replace(expected=actual, actual=actual, outcome=Outcome.RESTORED)

    def _load_old_group(self, olds: Sequence[Change]) -> str:
        """Have a program run what it ran before, with the files as they are now; says how that
        is: one that went on with what it had is left alone, and one that would load more than that
        is not reloaded."""
        names, state = ", ".join(one.target.name for one in olds), self.host.state
        paths = [str(one.path) for one in olds]
        failed = self.loader.results.get(paths[0]) is Reload.FAILED
        if self.loader.goes_on(olds[0], 0.0 if failed else _SETTLE):
            self._left |= {*paths}
            before = {
                path: self.loaded_before[path] for path in paths if path in self.loaded_before
            }
            state.keep_loaded({**state.loaded(), **before})
            return f"not reloaded: {names}: its program still runs with the old file"
        if not all(map(self._knows, olds)):
            held = {path: Loaded(digest="", held=True) for path in paths}
            state.keep_loaded({**state.loaded(), **held})
            return (
                f"not reloaded: {names}: its program may still run with the new file, and a"
                " reload would also load other changes in its configuration"
            )
        return self._reload_old(olds, names)

    def _knows(self, change: Change) -> bool:
        now = others.seen(self.host, change.target)
        return others.same(now, self.loaded_before.get(str(change.path)))

    def _reload_old(self, olds: Sequence[Change], names: str) -> str:
        self.host.units.look_again()
        try:
            result = self.loader.load_one(olds[0])
        except LbhookError as failure:
            return f"{names}: the reload with the old file failed too: {failure}"
        loaded = self.host.state.loaded()
        for old in olds:
            if old.actual and result is not Reload.OWED:
                loaded[str(old.path)] = self.loader.record(old, old.actual, result)
        self.host.state.keep_loaded(loaded)
        return f"reloaded with the old files: {names}"
