"""`install`, `uninstall` and `rest`: lbhook itself, brought onto a machine and taken away."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Install units, completion and configuration.")
@options.general
@options.root
@click.option("--now", is_flag=True, help="Start the units too.")
@options.outcome
@options.pass_invocation
def install(invocation: Invocation, /, as_json: bool, now: bool, root: "Path | None") -> int:
    """For pip and the single file, do what a package does: install the units, a user for fetching,
    shell completion, configuration and resting forms, and enable the units.

    The single file is copied to /usr/local/bin/lbhook. Nothing is started, unless --now is given.

    The units may write only where the shipped targets are. The directories of your own targets
    are added; where a package has installed lbhook, that is all that is done. Run it again when
    there is a new target.

    \b
    Examples:
      sudo lbhook install
      sudo python3 lbhook.pyz install --now
    """
    return invocation.undone(
        factory.installation(invocation, root).install(start=now), as_json=as_json
    )


@click.command(short_help="Undo all that lbhook wrote, and uninstall.")
@options.general
@options.root
@options.outcome
@options.pass_invocation
def uninstall(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Stop the units, do what `clean` does, and take away what `install` put into place.

    A configuration that was edited stays. What pip installed is pip's to take away.

    \b
    Example:
      sudo lbhook uninstall
    """
    return invocation.undone(factory.installation(invocation, root).uninstall(), as_json=as_json)


@click.command(hidden=True)
@options.general
@options.root
@click.option("--list", "listed", is_flag=True, help="Only list what is at rest, with digests.")
@options.pass_invocation
def rest(invocation: Invocation, /, listed: bool, root: "Path | None") -> int:
    """For packages: put down the resting forms that are missing; never touch what is there."""
    from ..runs import resting_forms

    undo = factory.undoing(invocation, root)
    if listed:
        found = resting_forms.at_rest(undo.context.host, undo.context.settings)
        invocation.console.out("".join(f"{digest}  {path}\n" for path, digest in found.items()))
    else:
        resting_forms.lay(undo.context.host, undo.context.settings)
    return 0
