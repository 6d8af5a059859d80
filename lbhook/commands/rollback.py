"""`rollback` and `clean`: one apply taken back, or all of them."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from ..runs.unconfirmed import Unconfirmed

_UNTIL = (
    "The timer will put Azure's rules in force again. To keep what was put back:\n`lbhook hold`"
)


@click.command(short_help="Put back what the last apply replaced, and reload.")
@options.general
@options.root
@click.option("--unconfirmed", is_flag=True, help="Only an apply that nobody has confirmed.")
@options.outcome
@options.pass_invocation
def rollback(
    invocation: Invocation, /, as_json: bool, root: "Path | None", unconfirmed: bool
) -> int:
    """Put back what the last apply replaced, and reload; twice in a row is a redo.

    The next apply, by hand or by the timer, puts Azure's rules in force again. To keep what was
    put back: `lbhook hold`.

    \b
    Example:
      sudo lbhook rollback
    """
    waiting = factory.unconfirmed(invocation, root)
    if unconfirmed or waiting.waits():
        return _revert(invocation, waiting, as_json=as_json, loudly=unconfirmed)
    undo = factory.undoing(invocation, root)
    result = undo.rollback()
    status = invocation.undone(result, as_json=as_json)
    held = factory.say_held(invocation, undo.context.host)
    if not (result.problems or held) and root is None:
        invocation.console.note(_UNTIL)
    return status


def _revert(invocation: Invocation, waiting: "Unconfirmed", *, as_json: bool, loudly: bool) -> int:
    """Put back what waits for its confirmation: `loudly` where no person has asked for it."""
    result = waiting.revert()
    status = invocation.undone(result, as_json=as_json)
    reverted = result.standstill
    if reverted and loudly:
        invocation.console.problems((reverted.text,), reverted.remedy)
    elif reverted:
        invocation.console.note(f"{reverted.text}; {reverted.remedy}")
    return status


@click.command(short_help="Undo all that lbhook wrote; delete its state.")
@options.general
@options.root
@options.outcome
@options.pass_invocation
def clean(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Take back everything lbhook wrote: the last step before an image is captured.

    Each file goes back to what was there before lbhook, or to its resting form, or goes; a file
    that was edited since stays. Then all state is removed.

    \b
    Example:
      sudo lbhook clean
    """
    return invocation.undone(factory.undoing(invocation, root).clean(), as_json=as_json)
