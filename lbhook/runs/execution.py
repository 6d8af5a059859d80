"""A plan made and carried out, unless the same was refused before."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..context import Context
from ..deployment.outcome import Done
from ..deployment.report import closed_warnings
from ..deployment.transaction import Transaction
from ..errors import ConfigError, LbhookError, ReloadError
from ..imds.last_good import LastGood
from ..metadata.facts import Facts
from ..plan import Closed, Plan
from ..planning.planner import Planner
from ..planning.scope import Scope, unanswered
from ..programs.nftables import drops

if TYPE_CHECKING:
    from ..metadata.instance import Vm


class Execution:
    """One for a host. `done` is what it came to, also if it failed."""

    def __init__(self, context: Context) -> None:
        self.context = context
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
            self.context.reporter.warn(warning)
        if self.context.options.skip_refused:
            self._demand_news(plan, vm, last_good)
        closed = self._closes(plan) if lb else ()
        self._deploy(plan, records)
        self.done = self.done._replace(problems=(*plan.problems, *self.done.problems))
        self._say_closed(closed)
        if scope is Scope.WHOLE and self.context.host.live and not self.done.problems:
            self.context.host.state.keep_refused(None)

    def _plan(self, scope: Scope, lb: Facts | None, vm: "Vm | None") -> Plan:
        planner = Planner(
            self.context.host,
            self.context.settings,
            self.context.options.only,
            self.context.options.reload,
        )
        return planner.plan(scope, lb, vm)

    def _closes(self, plan: Plan) -> tuple[Closed, ...]:
        """What the firewall will close: to be looked at before it does."""
        firewalls = [one for one in plan.changes if one.touches_file and drops(one.target)]
        if not (firewalls and self.context.host.live):
            return ()
        from ..planning import closing

        return closing.closes(firewalls, plan.lb, self.context.host)

    def _say_closed(self, closed: Sequence[Closed]) -> None:
        firewall = next((one for one in self.done.changes if drops(one.target)), None)
        if firewall and firewall.touches_file and closed:
            self.done = self.done._replace(closed=tuple(closed))
            with contextlib.suppress(LbhookError):  # it would only be said twice
                self.context.host.state.keep_closed(map(str, closed))
            for warning in closed_warnings(firewall.target.name, closed):
                self.context.reporter.warn(warning)

    def _deploy(self, plan: Plan, records: Mapping[PurePosixPath, bytes]) -> None:
        transaction = Transaction(
            self.context.host, plan, load=self.context.options.load, records=records
        )
        try:
            transaction.carry_out()
        finally:
            self.done = transaction.done
        for warning in self.done.warnings:
            self.context.reporter.warn(warning)

    def _demand_news(self, plan: Plan, vm: "Vm | None", last_good: LastGood) -> None:
        """Raise again what was refused before, if nothing has changed since; what is missing
        comes back all the same."""
        from ..deployment import revert

        refused = self.context.host.state.refused()
        if refused and refused.fingerprint == revert.fingerprint(plan):
            self._bring_back(vm, last_good)
            self.context.host.state.keep_refused(refused)
            kind = ReloadError if refused.status == ReloadError.status else ConfigError
            raise kind(
                *refused.problems,
                hint="the same was refused before; not tried again until something differs",
            )

    def _bring_back(self, vm: "Vm | None", last_good: LastGood) -> None:
        """What is missing, from the last good answer."""
        last = last_good.find()
        scope, lb = unanswered(last, last_good)
        if lb:
            plan = self._plan(scope, lb, vm)
            with contextlib.suppress(ConfigError, ReloadError):
                self._deploy(plan, {})
