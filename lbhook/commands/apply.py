"""`apply`: the main job."""

from typing import Any

import click

from ..cli import options, work
from ..cli.invocation import Invocation


@click.command(short_help="Bring this machine up to date with Azure.")
@options.general
@options.source
@options.targets
@click.option("--reload", is_flag=True, help="Reload even if nothing differs.")
@click.option("--no-reload", is_flag=True, help="Install, but do not reload: the next apply does.")
@options.accept_empty
@click.option(
    "--skip-refused",
    is_flag=True,
    help="As the timer: do not retry what its program refused before.",
)
@click.option(
    "--confirm",
    type=options.time_limit,
    metavar="DURATION",
    help="Put everything back unless `lbhook confirm` comes in time.",
)
@click.option("--despite-hold", is_flag=True, help="Apply though this machine is held.")
@click.option("--early", is_flag=True, help="For a unit at boot: start early, wait for the answer.")
@options.outcome
@options.pass_invocation
def apply(
    invocation: Invocation,
    /,
    as_json: bool,
    no_reload: bool,
    confirm: float | None,
    **options: Any,
) -> int:
    """Bring this machine up to date with Azure: fetch, render, check, install, reload, verify.

    \b
    Examples:
      sudo lbhook apply
      sudo lbhook apply --wait 90s --json
      sudo lbhook apply --confirm 2m
      lbhook apply --metadata body.json --root /tmp/image
    """
    if options["reload"] and no_reload:
        raise click.UsageError("--reload and --no-reload can't both be meant")
    if confirm and no_reload:
        raise click.UsageError("--confirm and --no-reload can't both be meant")
    return work.apply(invocation, as_json, no_reload=no_reload, confirm=confirm, **options)
