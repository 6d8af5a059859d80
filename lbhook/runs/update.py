"""One apply, from settling what an earlier run left to the report of this one."""

import functools
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..config import permissions
from ..context import Context
from ..deployment.recovery import Recovery, settle
from ..deployment.report import Report
from ..errors import HeldError, LbhookError, NoAnswerError, together
from ..imds.answer import Fetched
from ..imds.fetching import Fetcher
from ..levers import standstill
from ..levers.azure import AzuresLevers
from ..levers.drain import Drain
from ..levers.upkeep import Upkeep
from ..memory.records import Standstill
from ..metadata.facts import Facts
from ..plan import Plan
from ..planning.scope import Scope, scoped, unanswered
from ..storage import lock
from ..telling.publisher import Publisher
from .execution import Execution
from .in_force import InForce
from .progress import Progress
from .unconfirmed import Unconfirmed

if TYPE_CHECKING:
    from ..metadata.instance import Vm


class Update:
    """Brings one host up to date with what Azure says."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._progress = Progress()

    def apply(self) -> Report:
        """The whole job. Never raises a `LbhookError`: the report has it."""
        self._progress = Progress()
        begun = self.context.clock()
        try:
            result = self._apply()
        except BaseException as error:
            result = self._progress.ended(error)
            if not isinstance(error, LbhookError):
                raise
        finally:
            self._publisher.leave_status(result)
            self._publisher.leave_metrics("apply", result, self.context.clock() - begun)
        return result

    def plan(self, fetched: Fetched | None = None) -> Plan:
        """What `apply` would do, as a value, with an answer that is known or asked for. Nothing
        is changed."""
        from ..planning.dry_run import DryRun

        return DryRun(self.context, self.fetcher).plan(fetched)

    def ask(self) -> Fetched:
        """The answer in force, for a command that only looks."""
        return self.fetcher.ask()

    def remembered(self) -> Fetched | None:
        """The last good answer, for a command that goes on without a new one."""
        last = self.fetcher.last_good.find(self.context.reporter.warn)
        return Fetched(answer=last, body=None, read=self.context.boottime()) if last else None

    def since_applied(self) -> float:
        """Seconds since an answer was put in force in this boot; 0 if none was."""
        now = self.context.boottime()
        applied = self.context.host.state.applied(now)
        return now - applied if applied else 0.0

    @property
    def _recovery(self) -> Recovery:
        return Recovery(self.context, self.fetcher.last_good)

    @property
    def fetcher(self) -> Fetcher:
        """How this update asks."""
        return Fetcher(self.context)

    @property
    def _publisher(self) -> Publisher:
        return Publisher(self.context)

    def _apply(self) -> Report:
        self.context.host.demand_rights(self.context.settings)
        permissions.demand(self.context.settings)
        return Upkeep(Drain(self.context)).obeyed(self._attempt_all)

    def _attempt_all(self) -> Report:
        try:
            result = self._bring_in_step()
        except LbhookError as error:
            result = self._progress.ended(error)
        untold = InForce(self.context, self._progress).tell()
        failed = filter(None, (self._progress.unheeded, untold))
        return functools.reduce(Report.failing, failed, result)

    def _bring_in_step(self) -> Report:
        with self._locked():
            self._progress.settled = self._recovery.carry_out(load=self.context.options.load)
            held = self._standstill()
        # Only Azure can say that its own hold is over.
        if held and not held.azures:
            self._heed(self.fetcher.handed())
            return self._stand_still(held)
        try:
            fetched = self.fetcher.ask()
        except NoAnswerError as error:
            return self._stand_still(held) if held else self._without_answer(error)
        with self._locked():
            settle(self.context.host, self.context.reporter.warn)
            if not self._is_late(fetched):
                self._heed(fetched)
            # One may have come meanwhile.
            held = self._held()
            if not held:
                return self._follow(fetched)
        return self._stand_still(held)

    def _heed(self, fetched: Fetched | None) -> None:
        self._progress.unheeded = AzuresLevers(self.context).heed(fetched)

    def _follow(self, fetched: Fetched) -> Report:
        """What an answer asks for, under the lock."""
        self._progress.answer = fetched.answer
        scope, lb = scoped(fetched.answer, self.fetcher.last_good)
        self._progress.lb = lb or Facts()
        if self._is_late(fetched):
            return self._dropped()
        records = self._records(fetched)
        self._attempt(scope, lb, fetched.vm, records)
        if self._progress.outcome != "failed":
            new = bool(records) or fetched.body is None
            InForce(self.context, self._progress).keep(fetched, new=new)
        outcome = self._progress.outcome
        if fetched.answer.metadata is None and (
            outcome == "unchanged" or (scope is Scope.MISSING and outcome != "failed")
        ):
            outcome = "absent"
        if self._progress.errors:
            return self._progress.failed(together(self._progress.errors), outcome)
        return self._progress.report(outcome)

    def _is_late(self, fetched: Fetched) -> bool:
        """Whether an answer is older than the one in force."""
        return fetched.read < self.context.host.state.applied(self.context.boottime())

    def _dropped(self) -> Report:
        """What an answer comes to that is older than the one in force: nothing of it is said to
        be."""
        self.context.reporter.warn("a later answer has been applied meanwhile; this one is dropped")
        last = self.fetcher.last_good.find()
        self._progress.answer = last or self._progress.answer
        self._progress.lb = (last and last.lb) or Facts()
        return self._progress.report("kept")

    def _standstill(self) -> Standstill | None:
        """Why nothing new may be applied, under the lock. What nobody confirmed in time is put
        back now, should its timer have been lost. What came with another VM's disk counts for
        nothing."""
        if self.fetcher.last_good.foreign():
            return None
        unconfirmed = Unconfirmed(self.context)
        if unconfirmed.overdue():
            self._progress.settled = unconfirmed.put_back()
        return self._held()

    def _held(self) -> Standstill | None:
        if self.fetcher.last_good.foreign():
            return None
        found = standstill.in_force(self.context.host.state)
        if found and found.azures and not self.context.settings.imds.obey_tag:
            return None
        if not (found and standstill.lets(self.context.options, found)):
            return found
        if found.kind == "reverted":
            Unconfirmed(self.context).forget()
        return None

    def _stand_still(self, held: Standstill) -> Report:
        """Only what was in force; who applies by hand is told that this was all."""
        self._progress.standstill = held
        self._bring_back(held=True)
        if self._progress.errors:
            return self._progress.failed(together(self._progress.errors), "held")
        if self.context.options.by_hand:
            error = HeldError("nothing new was applied", hint=held.remedy)
            return self._progress.failed(error, "held")
        return self._progress.report("held")

    def _without_answer(self, error: NoAnswerError) -> Report:
        known = self._bring_back()
        problems = (problem for one in self._progress.errors for problem in one.problems)
        error.problems = (*error.problems, *problems)
        return self._progress.failed(error, "kept" if known else "failed")

    def _bring_back(self, *, held: bool = False) -> bool:
        """Bring back what is missing, and change nothing that is there; whether there is a last
        good answer."""
        with self._locked():
            settle(self.context.host, self.context.reporter.warn)
            last = self.fetcher.last_good.find()
            scope, lb = unanswered(last, self.fetcher.last_good)
            if held and last is None:
                scope, lb = Scope.MISSING, None
            self._progress.lb = lb or Facts()
            if scope is Scope.CONFIGURED:
                self.context.reporter.warn(
                    "no answer yet: only the rules of the configuration are in force"
                )
            if last and lb:
                self._progress.answer = last
                self.fetcher.warn_of_age(last)
            vm = self.fetcher.vm(last) if last else None
            self._attempt(scope, lb, vm)
        return bool(last and lb)

    def _records(self, fetched: Fetched) -> Mapping[PurePosixPath, bytes]:
        """The answer as the last good one: it is that when what it asks for is in force."""
        last = self.fetcher.last_good
        record = (
            last.record(fetched.body, fetched.answer.instance) if fetched.body is not None else b""
        )
        return {last.file: record} if record else {}

    def _attempt(
        self,
        scope: Scope,
        lb: Facts | None,
        vm: "Vm | None",
        records: Mapping[PurePosixPath, bytes] | None = None,
    ) -> None:
        execution = Execution(self.context)
        try:
            execution.carry_out(scope, lb, vm, self.fetcher.last_good, records or {})
        finally:
            self._progress.done = execution.done

    def _locked(self, wait: float = lock.WAIT) -> AbstractContextManager[None]:
        return self.context.host.locked(self.context.settings.paths.runtime, wait=wait)
