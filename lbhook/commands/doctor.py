"""`doctor`: what is wrong, and what to do."""

from typing import Any

import click

from ..cli import factory, options
from ..cli.console import coloured_picture
from ..cli.invocation import Invocation, pass_invocation


@click.command(short_help="What is wrong between Azure and the listening socket.")
@options.general
@options.source
@options.targets
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@pass_invocation
def doctor(invocation: Invocation, /, as_json: bool, **options: Any) -> int:
    """Walk the way from Azure to the listening socket; say what is wrong, and what to do.

    ! is wrong, ? could not be looked at and, with -v, - is good to know. Changes nothing. Asks
    Azure for at most 5 seconds (or --wait), then goes by the last good answer. Ends with 1 if
    something is wrong.

    \b
    Examples:
      sudo lbhook doctor
      sudo lbhook doctor --cached -v
      lbhook doctor --json --metadata body.json
    """
    from ..doctor import walk

    if options["wait"] is None:
        options["wait"] = walk.PATIENCE
    update = factory.update(invocation, **options)
    factory.say_held(invocation, update.context.host)
    diagnosis = walk.examine(update)
    if as_json:
        invocation.json(diagnosis.to_json())
    elif invocation.verbosity >= 0:
        invocation.console.out(coloured_picture(diagnosis.to_text(notes=invocation.verbosity > 0)))
    return int(diagnosis.wrong > 0)
