"""`hold`, `resume` and `confirm`: when this machine is to stand still, and when to go on."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from ..context import Context

_FOLLOWS = "the timer applies Azure's rules within 5 minutes, `lbhook apply` at once"


@click.command(short_help="Apply nothing new until `resume`.")
@options.general
@options.root
@click.option(
    "--for", "length", type=options.time_limit, metavar="DURATION", help="How long, such as 2h."
)
@click.option("--until", metavar="TIME", help="Until when, in any form that `date -d` takes.")
@click.option(
    "--reason", type=options.line, default="", metavar="TEXT", help="Why: every command says it."
)
@options.outcome
@options.pass_invocation
def hold(
    invocation: Invocation,
    /,
    as_json: bool,
    root: "Path | None",
    length: float | None,
    until: str | None,
    reason: str,
) -> int:
    """Hold this machine still: the timer and the boot restore what is in force, no more.

    `apply` by hand needs --despite-hold. A hold lasts until `lbhook resume`, or its time, and
    across reboots.

    \b
    Examples:
      sudo lbhook hold --for 2h --reason "moving the database"
      sudo lbhook hold --until "tomorrow 09:00"
    """
    if length is not None and until is not None:
        raise click.UsageError("--for and --until can't both be meant")
    lever = factory.hold(invocation, root)
    begun = lever.begin(until=lever.end_of(length, until), reason=reason)
    return _end(invocation, lever.context, begun.text, as_json=as_json)


@click.command(short_help="End a hold: apply what is new again.")
@options.general
@options.root
@options.outcome
@options.pass_invocation
def resume(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """End a hold, or what follows an apply that was put back.

    \b
    Example:
      sudo lbhook resume
    """
    lever = factory.hold(invocation, root)
    text = f"resumed by {lever.by}; {_FOLLOWS}" if lever.end() else "this machine is not held"
    return _end(invocation, lever.context, text, as_json=as_json)


@click.command(short_help="Keep what `apply --confirm` has applied.")
@options.general
@options.outcome
@options.pass_invocation
def confirm(invocation: Invocation, /, as_json: bool) -> int:
    """Keep what `apply --confirm` has applied: it is not put back.

    \b
    Example:
      sudo lbhook apply --confirm 2m
      sudo lbhook confirm
    """
    waiting = factory.unconfirmed(invocation, None)
    waiting.confirm()
    text = f"confirmed by {waiting.by}: what was applied stays"
    return _end(invocation, waiting.context, text, as_json=as_json)


def _end(invocation: Invocation, context: "Context", text: str, *, as_json: bool) -> int:
    """Say what is in force now, to who asked and in the journal."""
    from ..levers import standstill
    from ..system import journald

    found = standstill.in_force(context.host.state)
    if context.host.live:
        journald.record([(journald.INFO, text)])
    value = {"standstill": found.to_json() if found else None}
    return invocation.decided(text, value, as_json=as_json)
