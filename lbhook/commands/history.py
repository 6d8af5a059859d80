"""`history`: which rules came and went."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Which rules came and went, and when.")
@options.general
@options.root
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="The last N changes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the changes as JSON.")
@options.pass_invocation
def history(invocation: Invocation, /, number: int, as_json: bool, root: "Path | None") -> int:
    """List the rules that came and went on this machine, with time, outcome and source.

    The newest is the last. Kept are the last 200 changes that an apply put in force.

    \b
    Examples:
      lbhook history
      lbhook history -n 1 --json
    """
    from ..telling import history as kept

    found = factory.history(invocation, root)
    factory.say_held(invocation, found.host)
    changes = found.changes()[-number:]
    if as_json:
        invocation.json(kept.to_json(changes))
    else:
        invocation.console.out(kept.to_text(changes))
    return 0
