"""What has come to pass in a run so far, and what it comes to if it ends there."""

from ..deployment import outcome as outcomes
from ..deployment.outcome import Done
from ..deployment.report import Report
from ..errors import BUG, INTERRUPTED, TERMINATED, LbhookError
from ..imds.answer import Answer
from ..memory.records import Standstill
from ..metadata.facts import Facts


class Progress:
    """The course of one run: the answer in force and its facts, what an earlier run had left to
    do, what was done since, lines for the rules that came and went, why nothing new was
    applied, and what of Azure's own levers failed."""

    def __init__(self) -> None:
        self.answer = Answer(metadata=None, source="imds")
        self.lb = Facts()
        self.settled = Done()
        self.done = Done()
        self.rules: tuple[str, ...] = ()
        self.standstill: Standstill | None = None
        self.unheeded: LbhookError | None = None

    @property
    def acted(self) -> bool:
        """Whether anything has been done."""
        return self.settled.acted or self.done.acted

    @property
    def errors(self) -> tuple[LbhookError, ...]:
        """Those of targets that did not follow."""
        return (*self.settled.errors, *self.done.errors)

    @property
    def outcome(self) -> str:
        """What a run with an answer comes to, in the words of the report."""
        if self.done.failures and not self.done.acted:
            return "failed"
        return "changed" if self.acted else "unchanged"

    def report(self, outcome: str) -> Report:
        """What it comes to."""
        return Report(
            outcome=outcome,
            source=self.answer.source,
            attempts=self.answer.attempts,
            waited=self.answer.waited,
            lb=self.lb,
            age=self.answer.age if self.answer.azures else None,
            guarded=self.answer.guarded,
            changes=outcomes.together(self.settled, self.done),
            warnings=self.done.warnings,
            rules=self.rules,
            closes=(*self.settled.closed, *self.done.closed),
            standstill=self.standstill,
        )

    def failed(self, error: LbhookError, outcome: str) -> Report:
        """What it comes to with an error that was expected."""
        return self.report(outcome)._replace(
            status=error.status,
            attempts=error.attempts or self.answer.attempts,
            waited=error.waited or self.answer.waited,
            guarded=self.answer.guarded if error.guarded is None else error.guarded,
            problems=error.problems,
            hint=error.hint,
            busy=error.busy,
        )

    def ended(self, error: BaseException) -> Report:
        """What it comes to with any error, interruption or bug."""
        if isinstance(error, LbhookError):
            return self.failed(error, "failed")
        if isinstance(error, Exception):
            status, problem = BUG, repr(error)
        else:
            interrupted = isinstance(error, KeyboardInterrupt)
            status, problem = INTERRUPTED if interrupted else TERMINATED, "interrupted"
        return self.report("failed")._replace(status=status, problems=(problem,))
