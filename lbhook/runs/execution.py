"""A plan made and carried out; where that fails, what is missing comes back."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..context import Context
from ..deployment import closures
from ..deployment.deployment import Deployment
from ..deployment.outcome import Done
from ..errors import ReloadError
from ..imds.last_good import LastGood
from ..metadata.facts import Facts
from ..plan import Change, Plan
from ..planning.planner import Planner
from ..planning.scope import Scope

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
        closed = closures.coming(self.context, plan.changes, lambda: lb)
        gone = self._deploy(plan, records)
        left_out = tuple(map(ReloadError, plan.problems))
        self.done = self.done._replace(blocked=(*left_out, *self.done.blocked))
        self.done = closures.said(self.context, self.done, closed)
        if gone and before and before.metadata and before.lb != lb:
            self._bring_back(gone, before.lb, vm)
        # A run that was killed may have left nothing to do but this.
        self.context.host.journal.end()
        if scope is Scope.WHOLE and self.context.host.live and not self.done.errors:
            self.context.host.state.keep_refused({})

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
