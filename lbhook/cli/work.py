"""Fetch, apply and restore: what each does with its options, and says.

What lbhook's units start is known by its words. To read them as a command line takes click, and
that a tenth of what such a run takes.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..errors import LbhookError
from . import factory
from .invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from ..deployment.report import Report
    from ..runs.update import Update

# What the environment may give in place of an option.
VARIABLES = ("LBHOOK_ENDPOINT", "LBHOOK_LOG_FORMAT")
_ASKED = {"require_lb": False, "wait": None, "endpoint": None, "root": None, "accept_empty": False}
_APPLIED = {
    **_ASKED,
    "cached": True,
    "metadata": None,
    "only": (),
    "reload": False,
    "no_reload": False,
    "skip_refused": False,
    "confirm": None,
    "despite_hold": False,
    "early": False,
}


def restore(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """What a boot lacks before there is a network; the exit status."""
    from ..deployment import report

    result = factory.restoring(invocation, root).carry_out()
    text = report.restored_text(result)
    invocation.console.manager.status(text.splitlines()[-1])
    return invocation.end(result, "" if result.problems else text, as_json=as_json)


def fetch(invocation: Invocation, /, as_json: bool, early: bool, **options: Any) -> int:
    """Azure asked, and the answer kept or handed over; the exit status."""
    from ..deployment import report

    if early:
        from . import early_start

        early_start.await_network(invocation)
    run = factory.fetch(invocation, levers=bool(options["hand_over"]), **options)
    if not options["hand_over"]:  # the apply that takes it says so
        factory.say_held(invocation, run.context.host)
    result = run.carry_out()
    text = report.fetched_text(result, handed_over=bool(options["hand_over"]))
    invocation.console.manager.status(text)
    return invocation.end(result, text, as_json=as_json)


def apply(
    invocation: Invocation,
    /,
    as_json: bool,
    no_reload: bool,
    early: bool,
    confirm: float | None,
    **options: Any,
) -> int:
    """This machine brought in step with an answer; the exit status."""
    if early:
        from . import early_start

        early_start.await_answer(invocation)
    by_hand = not invocation.console.manager.address
    last = ""
    try:
        update = factory.update(
            invocation,
            load=not no_reload,
            by_hand=by_hand,
            confirmed=not confirm,
            levers=True,
            **options,
        )
        result, last = _applied(invocation, update, confirm)
        for text in factory.lacking(update):
            invocation.console.warn(text)
    except LbhookError as error:
        result = factory.unbegun(invocation, options["root"], error)
    else:
        if update.context.host.live:
            _record(result)
    invocation.console.manager.status(result.summary())
    text = result.to_text() if result.changes or not result.problems else ""
    status = invocation.end(result, text, as_json=as_json)
    if last:
        invocation.console.warn(last)
    return status


def _applied(
    invocation: Invocation, update: "Update", seconds: float | None
) -> "tuple[Report, str]":
    """An apply, which is put back unless somebody confirms it in so many seconds; and what waits
    for that, which is to be the last that is read."""
    if not seconds:
        return update.apply(), ""
    waiting = factory.waiting(invocation, update.context)
    waiting.begin(seconds)
    result = update.apply()
    left = waiting.settle()
    if left is None:
        invocation.console.note("nothing has changed, and nothing waits to be confirmed")
        return result, ""
    return result, f"{left.text}; {left.remedy}"


def _record(result: "Report") -> None:
    """What came and went, in the journal: what a unit prints is there, by hand it would not be."""
    if not result.rules:
        return
    from ..system import journald
    from ..telling.history import LAST_GONE

    lines = [(journald.INFO, line) for line in (*result.rules, result.summary())]
    gone = [] if result.lb.inbound_rules else [(journald.WARNING, LAST_GONE)]
    journald.record([*lines, *gone])


# What lbhook's units start, each with what its words mean.
UNITS: Mapping[Sequence[str], tuple[Callable[..., int], Mapping[str, Any]]] = {
    ("restore",): (restore, {"root": None}),
    ("fetch", "--hand-over", "--early"): (fetch, {**_ASKED, "hand_over": True, "early": True}),
    ("apply", "--cached", "--early"): (apply, {**_APPLIED, "early": True}),
    ("apply", "--cached", "--skip-refused"): (apply, {**_APPLIED, "skip_refused": True}),
}


def of_a_unit(words: Sequence[str], invocation: Invocation) -> Callable[[], int] | None:
    """What these words of a command line start, if they are a unit's and the environment adds
    nothing."""
    run, options = UNITS.get(tuple(words), (None, {}))
    if not run or any(name in os.environ for name in VARIABLES):
        return None
    invocation.console.command = words[0]
    return partial(run, invocation, as_json=False, **options)
