"""How far a plan goes, and by which facts."""

import enum

from ..imds.answer import Answer
from ..imds.last_good import LastGood
from ..metadata.facts import Facts


class Scope(enum.Enum):
    """How far a plan goes.

    `WHOLE`: every file as the answer has it. `MISSING`: only files that are missing, from the
    last good answer or, without one, in their resting form. `CONFIGURED`: only files that are
    missing or at rest, from the rules of the configuration, since there was no answer yet. `REST`:
    every file that lbhook wrote in its resting form. `CLEAN`: the same, but what was there before
    lbhook comes back. `LOAD`: no file; only reloads that are owed.
    """

    WHOLE = "whole"
    MISSING = "missing"
    CONFIGURED = "configured"
    REST = "rest"
    CLEAN = "clean"
    LOAD = "load"


def scoped(answer: Answer, last_good: LastGood) -> tuple[Scope, Facts | None]:
    """How far a plan goes by an answer, and by which facts."""
    if answer.metadata is not None:
        return Scope.WHOLE, answer.lb
    last = last_good.find()
    if answer.configured:
        # That there is no load balancer is an answer: what is configured may have changed since.
        return Scope.WHOLE, last.lb if last else answer.lb
    return Scope.MISSING, last.lb if last else None


def unanswered(last: Answer | None, last_good: LastGood) -> tuple[Scope, Facts | None]:
    """The same without an answer, by the last good one."""
    if last is None and last_good.configured:
        return Scope.CONFIGURED, Answer(
            metadata=None, source="cache", configured=last_good.configured
        ).lb
    return Scope.MISSING, last.lb if last else None
