"""A plan made and carried out; where that fails, what is missing comes back."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..context import Context
from ..deployment.deployment import Deployment
from ..deployment.outcome import Done
from ..deployment.report import closed_warnings
from ..errors import LbhookError, ReloadError
from ..imds.last_good import LastGood
from ..metadata.facts import Facts
from ..plan import Change, Closed, Plan
from ..planning.planner import Planner
from ..planning.scope import Scope
from ..programs.nftables import closes_some

if TYPE_CHECKING:
    from ..metadata.instance import Vm


class Execution:
    """One for a host. `done` is what it came to, also if it was interrupted."""

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
        """Bring files and programs to where the answer says. What fails is in `done`."""
        planner = Planner(
            self.context.host,
            self.context.settings,
            self.context.options.only,
            self.context.options.reload,
        )
        plan = planner.plan(scope, lb, vm)
        for warning in plan.warnings:
            self.context.reporter.warn(warning)
        before = last_good.find() if scope is Scope.WHOLE else None
        closed = self._closes(plan) if lb else ()
        gone = self._deploy(plan, records)
        left_out = tuple(map(ReloadError, plan.problems))
        self.done = self.done._replace(blocked=(*left_out, *self.done.blocked))
        self._say_closed(closed)
        if gone and before and before.metadata and before.lb != lb:
            self._bring_back(gone, before.lb, vm)
        # A run that was killed may have left nothing to do but this.
        self.context.host.journal.end()
        if scope is Scope.WHOLE and self.context.host.live and not self.done.errors:
            self.context.host.state.keep_refused({})

    def _closes(self, plan: Plan) -> tuple[Closed, ...]:
        """What the firewall will close: to be looked at before it does."""
        firewalls = [one for one in plan.changes if one.touches_file and closes_some(one.target)]
        if not (firewalls and self.context.host.live):
            return ()
        from ..planning import closing

        return closing.closes(firewalls, plan.lb, self.context.host)

    def _say_closed(self, closed: Sequence[Closed]) -> None:
        firewall = next((one for one in self.done.changes if closes_some(one.target)), None)
        if firewall and firewall.touches_file and closed:
            self.done = self.done._replace(closed=tuple(closed))
            with contextlib.suppress(LbhookError):  # it would only be said twice
                self.context.host.state.keep_closed(map(str, closed))
            for warning in closed_warnings(firewall.target.name, closed):
                self.context.reporter.warn(warning)

    def _deploy(
        self, plan: Plan, records: Mapping[PurePosixPath, bytes], again: bool = True
    ) -> tuple[Change, ...]:
        """Also returns what has failed and has no file."""
        skip = self.context.options.skip_refused and again
        deployment = Deployment(
            self.context.host,
            plan,
            load=self.context.options.load,
            records=records,
            skip_refused=skip,
        )
        try:
            deployment.carry_out()
        finally:
            self.done = deployment.done
        for warning in self.done.warnings:
            self.context.reporter.warn(warning)
        failed = [one for group in deployment.failed for one in group]
        return tuple(one for one in failed if not (one.actual or one.dropped))

    def _bring_back(self, gone: Sequence[Change], lb: Facts | None, vm: "Vm | None") -> None:
        """What is missing, from the last good answer."""
        first = self.done
        names = [one.target.name for one in gone]
        plan = Planner(self.context.host, self.context.settings, only=names).plan(
            Scope.MISSING, lb, vm
        )
        self._deploy(plan, {}, again=False)
        back = {one.path: one for one in self.done.changes if one.touches_file}
        self.done = first._replace(
            changes=tuple(back.get(one.path, one) for one in first.changes),
            acted=first.acted or self.done.acted,
        )
