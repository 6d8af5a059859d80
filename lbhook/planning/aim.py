"""How far a plan goes, and by which facts."""

import enum

from ..imds.answer import Answer, LastGood
from ..metadata.facts import Facts


class Aim(enum.Enum):
    """How far a plan goes.

    `WHOLE`: every file as the answer has it. `MISSING`: only files that are missing, from the
    last good answer or, without one, in their resting form. `REST`: every file that lbhook
    wrote in its resting form. `CLEAN`: the same, but what was there before lbhook comes back.
    `LOAD`: no file; only reloads that are owed.
    """

    WHOLE = "whole"
    MISSING = "missing"
    REST = "rest"
    CLEAN = "clean"
    LOAD = "load"


def aimed(answer: Answer, last_good: LastGood) -> tuple[Aim, Facts | None]:
    """How far a plan goes by an answer, and by which facts."""
    if answer.metadata is not None:
        return Aim.WHOLE, answer.lb
    last = last_good.find()
    return Aim.MISSING, last.lb if last else None
