"""`fetch`: only ask, and keep the answer."""

from typing import Any

import click

from ..cli import options, work
from ..cli.invocation import Invocation


@click.command(short_help="Only ask, and keep the answer as the last good one.")
@options.general
@options.asking
@options.root
@click.option("--hand-over", is_flag=True, help="Leave the answer for root's `apply --cached`.")
@click.option(
    "--early", is_flag=True, help="For a unit at boot: start early, wait for the network."
)
@options.outcome
@options.pass_invocation
def fetch(invocation: Invocation, /, as_json: bool, **options: Any) -> int:
    """Ask the metadata service, and keep a good answer for `apply --cached`.

    Needs no root where the state directory is writable, and changes nothing else. With
    --hand-over the answer is left in a runtime directory, where root's apply finds it.

    \b
    Examples:
      lbhook fetch --wait 90s
      lbhook fetch --json
    """
    return work.fetch(invocation, as_json, **options)
