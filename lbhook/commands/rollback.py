"""`rollback` and `clean`: one apply taken back, or all of them."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Put back what the last apply replaced, and reload.")
@options.general
@options.root
@options.outcome
@pass_invocation
def rollback(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Put back what the last apply replaced, and reload; twice in a row is a redo.

    The next apply, by hand or by the timer, brings the machine in step with Azure again.

    \b
    Example:
      sudo lbhook rollback
    """
    return invocation.undone(factory.undoing(invocation, root).rollback(), as_json=as_json)


@click.command(short_help="Everything back to rest, and all state gone.")
@options.general
@options.root
@options.outcome
@pass_invocation
def clean(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Take back everything lbhook wrote: the last step before an image is captured.

    Each file goes back to what was there before lbhook, or to its resting form, or goes; a file
    that somebody edited since stays. Then all state is removed.

    \b
    Example:
      sudo lbhook clean
    """
    return invocation.undone(factory.undoing(invocation, root).clean(), as_json=as_json)
