"""`hold`, `resume` and `confirm`: when this machine is to stand still, and when to go on."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from pathlib import Path

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
@pass_invocation
def hold(
    invocation: Invocation,
    /,
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
    return invocation.decided(begun.text, live=root is None)


@click.command(short_help="End a hold: apply what is new again.")
@options.general
@options.root
@pass_invocation
def resume(invocation: Invocation, /, root: "Path | None") -> int:
    """End a hold, or what follows an apply that was put back.

    \b
    Example:
      sudo lbhook resume
    """
    lever = factory.hold(invocation, root)
    ended = lever.end()
    if ended is None:
        invocation.console.note("this machine is not held")
        return 0
    return invocation.decided(f"resumed by {lever.by}; {_FOLLOWS}", live=root is None)


@click.command(short_help="Keep what `apply --confirm` has applied.")
@options.general
@pass_invocation
def confirm(invocation: Invocation, /) -> int:
    """Keep what `apply --confirm` has applied: it is not put back.

    \b
    Example:
      sudo lbhook apply --confirm 2m
      sudo lbhook confirm
    """
    waiting = factory.unconfirmed(invocation, None)
    waiting.confirm()
    return invocation.decided(f"confirmed by {waiting.by}: what was applied stays", live=True)
