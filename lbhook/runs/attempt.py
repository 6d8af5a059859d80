"""A plan made and carried out, unless the same was refused before."""

import contextlib
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..config.config import Settings
from ..deployment.deploy import Deployment
from ..deployment.outcome import Done
from ..errors import ConfigError, ReloadError
from ..imds.answer import LastGood
from ..imds.inquiry import Voice, Wish
from ..metadata.facts import Facts
from ..plan import Plan
from ..planning.aim import Aim
from ..planning.survey import Survey
from ..programs.host import Host

if TYPE_CHECKING:
    from ..metadata.instance import Vm


class Attempt:
    """One for a host. `done` is what it came to, also if it failed."""

    def __init__(self, host: Host, settings: Settings, wish: Wish, voice: Voice) -> None:
        self.host = host
        self.settings = settings
        self.wish = wish
        self.voice = voice
        self.done = Done()

    def carry_out(
        self,
        aim: Aim,
        lb: Facts | None,
        vm: "Vm | None",
        last_good: LastGood,
        records: Mapping[PurePosixPath, bytes],
    ) -> None:
        """Bring files and programs to where `aim` says. Raises a `LbhookError` if that fails, and
        if it is told to skip what was refused and nothing has changed since."""
        plan = self._plan(aim, lb, vm)
        for warning in plan.warnings:
            self.voice.warn(warning)
        if self.wish.skip_refused:
            self._demand_news(plan, vm, last_good)
        self._deploy(plan, records)
        if aim is Aim.WHOLE and self.host.live and not self.done.problems:
            self.host.state.keep_refused(None)

    def _plan(self, aim: Aim, lb: Facts | None, vm: "Vm | None") -> Plan:
        survey = Survey(self.host, self.settings, self.wish.only, self.wish.reload)
        return survey.plan(aim, lb, vm)

    def _deploy(self, plan: Plan, records: Mapping[PurePosixPath, bytes]) -> None:
        deployment = Deployment(self.host, plan, load=self.wish.load, records=records)
        try:
            deployment.carry_out()
        finally:
            self.done = deployment.done
        for warning in self.done.warnings:
            self.voice.warn(warning)

    def _demand_news(self, plan: Plan, vm: "Vm | None", last_good: LastGood) -> None:
        """Raise again what was refused before, if nothing has changed since; what is missing
        comes back all the same."""
        from ..deployment import putback

        refused = self.host.state.refused()
        if refused and refused.fingerprint == putback.fingerprint(plan):
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
            plan = self._plan(Aim.MISSING, last.lb, vm)
            with contextlib.suppress(ConfigError, ReloadError):
                self._deploy(plan, {})
