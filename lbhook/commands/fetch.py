"""`fetch`: only ask, and keep the answer."""

from typing import Any

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation


@click.command(short_help="Only ask, and keep the answer as the last good one.")
@options.general
@options.asking
@options.root
@click.option("--hand-over", is_flag=True, help="Leave the answer for root's `apply --cached`.")
@click.option(
    "--early", is_flag=True, help="For a unit at boot: start early, wait for the network."
)
@options.outcome
@pass_invocation
def fetch(invocation: Invocation, /, as_json: bool, early: bool, **options: Any) -> int:
    """Ask the metadata service, and keep a good answer for `apply --cached`.

    Needs no root where the state directory is writable, and changes nothing else. With
    --hand-over the answer is left in a runtime directory, where root's apply finds it.

    \b
    Examples:
      lbhook fetch --wait 90s
      lbhook fetch --json
    """
    from ..deployment import report

    if early:
        from ..cli import early_start

        early_start.await_network(invocation)
    run = factory.fetch(invocation, levers=bool(options["hand_over"]), **options)
    if not options["hand_over"]:  # the apply that takes it says so
        factory.say_held(invocation, run.context.host)
    result = run.carry_out()
    text = report.fetched_text(result, handed_over=bool(options["hand_over"]))
    invocation.console.manager.status(text)
    return invocation.end(result, text, as_json=as_json)
