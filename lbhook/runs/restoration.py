"""What this boot lacks before there is a network: the last good firewall, addresses, env file."""

from ..config.shipped import kind_of
from ..context import Context
from ..deployment import outcome
from ..deployment.deployment import Deployment
from ..deployment.outcome import Done
from ..deployment.recovery import settled
from ..deployment.report import Report
from ..errors import together
from ..imds.fetching import Fetcher
from ..levers.drain import Drain
from ..levers.upkeep import Upkeep
from ..metadata.facts import Facts
from ..planning.planner import Planner
from ..planning.scope import Scope, unanswered
from .unconfirmed import Unconfirmed


class Restoration:
    """Restores one host, from what it has and no network. What belongs to services that start
    later is left to the run that comes before them."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.fetcher = Fetcher(context)

    def carry_out(self) -> Report:
        """Settle an unfinished run, then load or make what is missing; on another VM, all of it
        at rest. Never raises a `LbhookError`: the report has it."""
        return Upkeep(Drain(self.context)).obeyed(lambda: settled(self.context, self._restore))

    def _restore(self) -> Report:
        rested = Done()
        if self.fetcher.last_good.foreign():
            self.context.reporter.warn(
                "this disk was captured from another VM: its firewall table is removed"
            )
            rested = self._deploy(Scope.REST, None)
        elif (unconfirmed := Unconfirmed(self.context)).overdue():
            rested = unconfirmed.put_back()
        last = self.fetcher.last_good.find(self.context.reporter.warn)
        scope, lb = unanswered(last, self.fetcher.last_good)
        vm = self.fetcher.vm(last) if last else None
        done = self._deploy(scope, lb, vm)
        errors = (*rested.errors, *done.errors)
        restored = "changed" if done.acted else "unchanged"
        return Report(
            outcome="failed" if errors else restored if lb else "absent",
            status=together(errors).status if errors else 0,
            source="cache",
            lb=lb or Facts(),
            changes=outcome.together(rested, done),
            problems=together(errors).problems,
            hint=together(errors).hint,
        )

    def _deploy(self, scope: Scope, lb: Facts | None, vm: object = None) -> Done:
        settings = self.context.settings
        early = [one.name for one in settings.active() if kind_of(one).early]
        if not early:
            return Done()
        plan = Planner(self.context.host, settings, only=early).plan(scope, lb, vm)
        done = Deployment(self.context.host, plan).carry_out()
        for warning in (*plan.warnings, *done.warnings):
            self.context.reporter.warn(warning)
        return done
