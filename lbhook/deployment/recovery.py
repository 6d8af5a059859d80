"""What an earlier run left: files put back, another VM's files to rest, debts paid."""

from collections.abc import Callable

from ..config import permissions
from ..context import Context
from ..errors import ConfigError, LbhookError, ReloadError
from ..imds.last_good import LastGood
from ..planning.planner import Planner
from ..planning.scope import Scope
from .outcome import Done
from .report import Report
from .transaction import Transaction


class Recovery:
    """Settles one host, before anything else is done there.

    None of it is a matter of `--only`, and a program that fails again keeps no answer away.
    """

    def __init__(self, context: Context, last_good: LastGood) -> None:
        self.context = context
        self.last_good = last_good

    def carry_out(self, *, load: bool) -> Done:
        """Settle; with `load` false, reloads stay owed. Raises `WriteError` if a file can't be
        put back."""
        try:
            self.context.host.settle_journal(self.context.reporter.warn)
        except BaseException:
            # The others are back, and their programs want to know.
            self._pay(load)
            raise
        if self.last_good.foreign():
            self.context.reporter.warn(
                "this disk was captured from another VM: its files are put to rest"
            )
            self.context.host.tree.remove(self.context.host.state.told_file)
            return self._deploy(Scope.REST)
        return self._pay(load)

    def _pay(self, load: bool) -> Done:
        return self._deploy(Scope.LOAD) if self.context.host.live and load else Done()

    def _deploy(self, scope: Scope) -> Done:
        done = Done()
        try:
            transaction = Transaction(
                self.context.host,
                Planner(self.context.host, self.context.settings).plan(scope, None),
            )
            try:
                transaction.carry_out()
            finally:
                done = transaction.done
        except (ReloadError, ConfigError) as error:
            for problem in error.problems:
                self.context.reporter.warn(problem)
        for warning in done.warnings:
            self.context.reporter.warn(warning)
        return done


def settled(context: Context, work: Callable[[], Report]) -> Report:
    """What some work comes to that asks nobody, under the lock and with an unfinished run put
    back first. Never raises a `LbhookError`: the report has it."""
    host, settings = context.host, context.settings
    try:
        host.demand_rights(settings)
        permissions.demand(settings)
        with host.locked(settings.paths.runtime):
            host.settle_journal(context.reporter.warn)
            return work()
    except LbhookError as error:
        return Report(
            outcome="failed",
            status=error.status,
            source="cache",
            problems=error.problems,
            hint=error.hint,
        )
