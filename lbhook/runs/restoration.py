"""What this boot lacks before there is a network: the last good firewall, addresses, env file."""

from ..config.shipped import kind_of
from ..deployment import outcome
from ..deployment.deploy import Deployment
from ..deployment.outcome import Done
from ..deployment.report import Report
from ..deployment.settlement import settled
from ..errors import ReloadError
from ..imds.inquiry import Inquiry
from ..metadata.facts import Facts
from ..planning.aim import Aim
from ..planning.survey import Survey
from ..programs.host import Host


class Restoration:
    """Restores one host, from what it has and no network. What belongs to services that start
    later is left to the run that comes before them."""

    def __init__(self, host: Host, inquiry: Inquiry) -> None:
        self.host = host
        self.inquiry = inquiry

    def carry_out(self) -> Report:
        """Settle an unfinished run, then load or make what is missing; on another VM, all of it
        at rest. Never raises a `LbhookError`: the report has it."""
        inquiry = self.inquiry
        return settled(self.host, inquiry.settings, inquiry.voice.warn, self._restore)

    def _restore(self) -> Report:
        rested = Done()
        if self.inquiry.last_good.foreign():
            self.inquiry.voice.warn("this disk was captured from another VM: its firewall rests")
            rested = self._deploy(Aim.REST, None)
        last = self.inquiry.last_good.find(self.inquiry.voice.warn)
        lb = last.lb if last else None
        vm = self.inquiry.vm(last) if last else None
        done = self._deploy(Aim.MISSING, lb, vm)
        problems = (*rested.problems, *done.problems)
        restored = "changed" if done.acted else "unchanged"
        return Report(
            outcome="failed" if problems else restored if lb else "absent",
            status=ReloadError.status if problems else 0,
            source="cache",
            lb=lb or Facts(),
            changes=outcome.together(rested, done),
            problems=problems,
        )

    def _deploy(self, aim: Aim, lb: Facts | None, vm: object = None) -> Done:
        settings = self.inquiry.settings
        early = [one.name for one in settings.active() if kind_of(one).early]
        if not early:
            return Done()
        plan = Survey(self.host, settings, only=early).plan(aim, lb, vm)
        done = Deployment(self.host, plan).carry_out()
        for warning in (*plan.warnings, *done.warnings):
            self.inquiry.voice.warn(warning)
        return done
