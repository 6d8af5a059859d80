"""One apply, from settling what an earlier run left to the report of this one."""

import contextlib
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from ..config import rights
from ..config.config import Settings
from ..deployment.report import Report
from ..deployment.settlement import Settlement
from ..errors import BusyError, LbhookError, NoAnswerError, ReloadError, RightsError
from ..imds.inquiry import Heard, Inquiry, Voice, Wish
from ..metadata import facts
from ..metadata.facts import Facts
from ..plan import Outcome, Plan
from ..planning.aim import Aim, aimed
from ..programs.host import Host
from ..storage import lock
from ..storage.records import Applied
from .aftermath import Aftermath
from .attempt import Attempt
from .course import Course
from .hooks import Hook

if TYPE_CHECKING:
    from ..metadata.instance import Vm

__all__ = ["Update", "Voice", "Wish"]


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Update:
    """Brings one host in step with what Azure says. `boottime` are seconds since it booted."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        wish: Wish = Wish(),
        voice: Voice = Voice(),
        read_stdin: Callable[[], bytes] = lambda: b"",
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        boottime: Callable[[], float] = _since_boot,
    ) -> None:
        self.host = host
        self.settings = settings
        self.wish = wish
        self.voice = voice
        self.read_stdin = read_stdin
        self.clock = clock
        self.sleep = sleep
        self.boottime = boottime
        self._course = Course()

    def apply(self) -> Report:
        """The whole job. Never raises a `LbhookError`: the report has it."""
        self._course = Course()
        begun = self.clock()
        try:
            result = self._apply()
        except BaseException as error:
            result = self._course.ended(error)
            if not isinstance(error, LbhookError):
                raise
        finally:
            self._aftermath.leave_status(result)
            self._aftermath.leave_metrics("apply", result, self.clock() - begun)
        return result

    def plan(self, heard: Heard | None = None) -> Plan:
        """What `apply` would do, as a value, with an answer that is known or asked for. Nothing
        is changed."""
        from ..planning.foresight import Foresight

        return Foresight(self.host, self.settings, self.wish, self.inquiry).plan(heard)

    def ask(self) -> Heard:
        """The answer in force, for a command that only looks."""
        return self.inquiry.ask()

    def remembered(self) -> Heard | None:
        """The last good answer, for a command that goes on without a new one."""
        last = self.inquiry.last_good.find(self.voice.warn)
        return Heard(answer=last, body=None, read=self.boottime()) if last else None

    def since_applied(self) -> float:
        """Seconds since an answer was put in force in this boot; 0 if none was."""
        applied = self.host.state.applied()
        return self.boottime() - applied if applied else 0.0

    def fetch(self) -> Report:
        """Only ask, and keep the answer. Raises `LbhookError` if there is none to believe."""
        begun = self.clock()
        try:
            result = self._fetch()
        except BaseException as error:
            result = self._course.ended(error)
            raise
        finally:
            if not self.wish.hand_over:  # whoever takes the answer measures
                self._aftermath.leave_metrics("fetch", result, self.clock() - begun)
        return result

    def _fetch(self) -> Report:
        before = self.inquiry.last_good.find(self.voice.warn)
        heard = self.inquiry.ask()
        self._course.answer = heard.answer
        self._keep(heard)
        if heard.answer.metadata is None:
            return self._course.report("absent")
        self._course.lb = facts.derive(heard.answer.metadata)
        same = before is not None and before.metadata == heard.answer.metadata
        return self._course.report("unchanged" if same else "changed")

    @property
    def _settlement(self) -> Settlement:
        return Settlement(self.host, self.settings, self.inquiry.last_good, self.voice.warn)

    @property
    def inquiry(self) -> Inquiry:
        """How this update asks."""
        return Inquiry(
            host=self.host,
            settings=self.settings,
            wish=self.wish,
            voice=self.voice,
            read_stdin=self.read_stdin,
            clock=self.clock,
            sleep=self.sleep,
            boottime=self.boottime,
        )

    @property
    def _aftermath(self) -> Aftermath:
        return Aftermath(self.host, self.settings, self.voice)

    @property
    def _hook(self) -> Hook:
        return Hook(self.host, self.settings.hooks)

    def _apply(self) -> Report:
        self.host.demand_rights(self.settings)
        rights.demand(self.settings)
        try:
            result = self._bring_in_step()
        except LbhookError as error:
            result = self._course.ended(error)
        return self._tell(result)

    def _tell(self, result: Report) -> Report:
        """Tell the neighbours, or tell again what was owed; that it fails undoes nothing."""
        if not (self._hook.wanted and self.wish.load):
            return result
        try:
            with self._locked(wait=0.0):
                self._hook.pay()
        except BusyError as error:
            self.voice.log(f"hooks: {error}; what is owed stays owed")
        except LbhookError as error:
            problems = dict.fromkeys((*result.problems, *error.problems))
            status, hint = result.status or error.status, result.hint or error.hint
            return result._replace(status=status, problems=tuple(problems), hint=hint)
        return result

    def _bring_in_step(self) -> Report:
        with self._locked():
            self._course.settled = self._settlement.carry_out(load=self.wish.load)
        try:
            heard = self.inquiry.ask()
        except NoAnswerError as error:
            return self._without_answer(error)
        self._course.answer = heard.answer
        aim, lb = aimed(heard.answer, self.inquiry.last_good)
        self._course.lb = lb or Facts()
        with self._locked():
            self.host.settle_journal(self.voice.warn)
            if heard.read < self.host.state.applied():
                self.voice.warn("a later answer has been applied meanwhile; this one is dropped")
            else:
                self._attempt(aim, lb, heard.vm, self._records(heard))
                self._keep_applied(heard)
        outcome = "changed" if self._course.acted else "unchanged"
        if heard.answer.metadata is None and aim is Aim.MISSING:
            outcome = "absent"
        if self._course.problems:
            return self._course.failed(ReloadError(*self._course.problems), outcome)
        return self._course.report(outcome)

    def _keep_applied(self, heard: Heard) -> None:
        try:
            changes = self._course.done.changes
            made = {str(one.path): one.made_of for one in changes if one.made_of}
            skipped = {str(one.path): one.outcome is Outcome.SKIPPED for one in changes}
            self.host.state.keep_applied(Applied(heard.read, made, self.host.proofs, skipped))
            if heard.answer.metadata is not None:
                self._hook.note(heard.answer.metadata)
        except LbhookError as error:  # everything is in force by now
            self.voice.warn(str(error))

    def _keep(self, heard: Heard) -> None:
        """As the last good answer, or for a run that has more rights."""
        if self.wish.hand_over:
            self.inquiry.hand_over(heard)
        elif heard.body is not None:
            with contextlib.ExitStack() as stack:
                # The lock may be root's. What is kept is replaced in one step, without it too.
                with contextlib.suppress(RightsError):
                    stack.enter_context(self._locked())
                self.inquiry.last_good.keep(heard.body, heard.answer.instance)

    def _without_answer(self, error: NoAnswerError) -> Report:
        """Bring back what is missing, and change nothing that is there."""
        with self._locked():
            self.host.settle_journal(self.voice.warn)
            last = self.inquiry.last_good.find()
            lb = last.lb if last else None
            if last and lb:
                self._course.answer, self._course.lb = last, lb
                self.inquiry.warn_of_age(last)
            vm = self.inquiry.vm(last) if last else None
            self._attempt(Aim.MISSING, lb, vm)
        error.problems = (*error.problems, *self._course.problems)
        return self._course.failed(error, "kept" if lb else "failed")

    def _records(self, heard: Heard) -> Mapping[PurePosixPath, bytes]:
        """The answer as the last good one: it is that when what it asks for is in force."""
        last = self.inquiry.last_good
        record = last.record(heard.body, heard.answer.instance) if heard.body is not None else b""
        return {last.file: record} if record else {}

    def _attempt(
        self,
        aim: Aim,
        lb: Facts | None,
        vm: "Vm | None",
        records: Mapping[PurePosixPath, bytes] | None = None,
    ) -> None:
        attempt = Attempt(self.host, self.settings, self.wish, self.voice)
        try:
            attempt.carry_out(aim, lb, vm, self.inquiry.last_good, records or {})
        finally:
            self._course.done = attempt.done

    def _locked(self, wait: float = lock.WAIT) -> AbstractContextManager[None]:
        return self.host.locked(self.settings.paths.runtime, wait=wait)
