"""A plan made and carried out, unless the same was refused before."""

import contextlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..config.settings import Settings
from ..deployment.outcome import Done
from ..deployment.transaction import Transaction
from ..errors import ConfigError, ReloadError
from ..imds.fetching import Options, Reporter
from ..imds.last_good import LastGood
from ..metadata.facts import Facts
from ..plan import Plan
from ..planning.planner import Planner
from ..planning.scope import Scope
from ..programs.host import Host

if TYPE_CHECKING:
    from ..metadata.instance import Vm


class Execution:
    """One for a host. `done` is what it came to, also if it failed."""

    def __init__(
        self, host: Host, settings: Settings, options: Options, reporter: Reporter
    ) -> None:
        self.host = host
        self.settings = settings
        self.options = options
        self.reporter = reporter
        self.done = Done()

    def carry_out(
        self,
        scope: Scope,
        lb: Facts | None,
        vm: "Vm | None",
        last_good: LastGood,
        records: Mapping[PurePosixPath, bytes],
    ) -> None:
        """Bring files and programs to where `aim` says. Raises a `LbhookError` if that fails, and
        if it is told to skip what was refused and nothing has changed since."""
        plan = self._plan(scope, lb, vm)
        for warning in plan.warnings:
            self.reporter.warn(warning)
        if self.options.skip_refused:
            self._demand_news(plan, vm, last_good)
        self._deploy(plan, records)
        if scope is Scope.WHOLE and self.host.live and not self.done.problems:
            self.host.state.keep_refused(None)

    def _plan(self, scope: Scope, lb: Facts | None, vm: "Vm | None") -> Plan:
        planner = Planner(self.host, self.settings, self.options.only, self.options.reload)
        return planner.plan(scope, lb, vm)

    def _deploy(self, plan: Plan, records: Mapping[PurePosixPath, bytes]) -> None:
        transaction = Transaction(self.host, plan, load=self.options.load, records=records)
        try:
            transaction.carry_out()
        finally:
            self.done = transaction.done
        for warning in self.done.warnings:
            self.reporter.warn(warning)

    def _demand_news(self, plan: Plan, vm: "Vm | None", last_good: LastGood) -> None:
        """Raise again what was refused before, if nothing has changed since; what is missing
        comes back all the same."""
        from ..deployment import revert

        refused = self.host.state.refused()
        if refused and refused.fingerprint == revert.fingerprint(plan):
            self._bring_back(vm, last_good)
            self.host.state.keep_refused(refused)
            kind = ReloadError if refused.status == ReloadError.status else ConfigError
            raise kind(
                *refused.problems,
                hint="the same was refused before; not tried again until something differs",
            )

    def _bring_back(self, vm: "Vm | None", last_good: LastGood) -> None:
        """What is missing, from the last good answer."""
        last = last_good.find()
        if last and last.metadata:
            plan = self._plan(Scope.MISSING, last.lb, vm)
            with contextlib.suppress(ConfigError, ReloadError):
                self._deploy(plan, {})
