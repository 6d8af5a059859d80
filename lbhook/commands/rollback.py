"""`rollback` and `clean`: one apply taken back, or all of them."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from pathlib import Path

_UNTIL = (
    "The timer will put Azure's rules in force again. To keep what was put back:\n"
    "`systemctl stop lbhook-refresh.timer`"
)


@click.command(short_help="Put back what the last apply replaced, and reload.")
@options.general
@options.root
@options.outcome
@pass_invocation
def rollback(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Put back what the last apply replaced, and reload; twice in a row is a redo.

    The next apply, by hand or by the timer, puts Azure's rules in force again. To keep what was
    put back, stop the timer first: `systemctl stop lbhook-refresh.timer`.

    \b
    Example:
      sudo lbhook rollback
    """
    result = factory.undoing(invocation, root).rollback()
    status = invocation.undone(result, as_json=as_json)
    if not result.problems and root is None:
        invocation.console.note(_UNTIL)
    return status


@click.command(short_help="Undo all that lbhook wrote; delete its state.")
@options.general
@options.root
@options.outcome
@pass_invocation
def clean(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Take back everything lbhook wrote: the last step before an image is captured.

    Each file goes back to what was there before lbhook, or to its resting form, or goes; a file
    that was edited since stays. Then all state is removed.

    \b
    Example:
      sudo lbhook clean
    """
    return invocation.undone(factory.undoing(invocation, root).clean(), as_json=as_json)
