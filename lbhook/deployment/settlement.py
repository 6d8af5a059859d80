"""What an earlier run left: files put back, another VM's files to rest, debts paid."""

from collections.abc import Callable

from ..config import rights
from ..config.config import Settings
from ..errors import ConfigError, LbhookError, ReloadError
from ..imds.answer import LastGood
from ..planning.aim import Aim
from ..planning.survey import Survey
from ..programs.host import Host
from .deploy import Deployment
from .outcome import Done
from .report import Report


class Settlement:
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
            return self._deploy(Aim.REST)
        return self._pay(load)

    def _pay(self, load: bool) -> Done:
        return self._deploy(Aim.LOAD) if self.host.live and load else Done()

    def _deploy(self, aim: Aim) -> Done:
        done = Done()
        try:
            deployment = Deployment(self.host, Survey(self.host, self.settings).plan(aim, None))
            try:
                deployment.carry_out()
            finally:
                done = deployment.done
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
        rights.demand(settings)
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
