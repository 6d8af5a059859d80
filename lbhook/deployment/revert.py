"""The way back from a deployment that failed: files, programs and records, and what to say."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from .. import signals
from ..errors import ConfigError, LbhookError, PutBackError, ReloadError, WriteError
from ..plan import Plan
from ..programs import floating_ip
from ..programs.host import Host
from ..storage.records import Loaded
from . import refusals
from .reloads import Loader

_AGAIN = "the next run tries again before anything else"


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
            self.stuck = frozenset(error.stuck)
        return [f"put back: {self.host.tree.outside(path)}" for path in restored], failure

    def _load_old(self) -> Sequence[str]:
        state = self.host.state
        try:
            floating_ip.take_back(self.host, self.plan.changes)
            state.keep_loaded(self.loader.loaded_again(self.loaded_before))
            said = self.loader.load_old(self.loaded_before)
            loaded = state.loaded()
            paths = {str(one.path) for one in self.plan.changes}
            state.keep_loaded(loaded, paths - (self.loader.reloaded - loaded.keys()))
            return said
        except (WriteError, ReloadError) as failure:
            return failure.problems
