"""What an earlier run left: files put back, another VM's files to rest, debts paid."""

from collections.abc import Callable

from ..config import permissions
from ..config.settings import Settings
from ..errors import ConfigError, LbhookError, ReloadError
from ..imds.last_good import LastGood
from ..planning.planner import Planner
from ..planning.scope import Scope
from ..programs.host import Host
from .outcome import Done
from .report import Report
from .transaction import Transaction


class Recovery:
    """Settles one host, before anything else is done there.

    None of it is a matter of `--only`, and a program that fails again keeps no answer away.
    """

    def __init__(
        self, host: Host, settings: Settings, last_good: LastGood, warn: Callable[[str], None]
    ) -> None:
        self.host = host
        self.settings = settings
        self.last_good = last_good
        self.warn = warn

    def carry_out(self, *, load: bool) -> Done:
        """Settle; with `load` false, reloads stay owed. Raises `WriteError` if a file can't be
        put back."""
        try:
            self.host.settle_journal(self.warn)
        except BaseException:
            # The others are back, and their programs want to know.
            self._pay(load)
            raise
        if self.last_good.foreign():
            self.warn("this disk was captured from another VM: its files are put to rest")
            self.host.tree.remove(self.host.state.told_file)
            return self._deploy(Scope.REST)
        return self._pay(load)

    def _pay(self, load: bool) -> Done:
        return self._deploy(Scope.LOAD) if self.host.live and load else Done()

    def _deploy(self, scope: Scope) -> Done:
        done = Done()
        try:
            transaction = Transaction(
                self.host, Planner(self.host, self.settings).plan(scope, None)
            )
            try:
                transaction.carry_out()
            finally:
                done = transaction.done
        except (ReloadError, ConfigError) as error:
            for problem in error.problems:
                self.warn(problem)
        for warning in done.warnings:
            self.warn(warning)
        return done


def settled(
    host: Host, settings: Settings, warn: Callable[[str], None], work: Callable[[], Report]
) -> Report:
    """What some work comes to that asks nobody, under the lock and with an unfinished run put
    back first. Never raises a `LbhookError`: the report has it."""
    try:
        host.demand_rights(settings)
        permissions.demand(settings)
        with host.locked(settings.paths.runtime):
            host.settle_journal(warn)
            return work()
    except LbhookError as error:
        return Report(
            outcome="failed",
            status=error.status,
            source="cache",
            problems=error.problems,
            hint=error.hint,
        )
