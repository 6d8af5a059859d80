"""`restore`: what a boot lacks before there is a network."""

from typing import TYPE_CHECKING

import click

from ..cli import options, work
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="For the unit at boot: load the last good files.")
@options.general
@options.root
@options.outcome
@options.pass_invocation
def restore(invocation: Invocation, /, as_json: bool, root: "Path | None") -> int:
    """Load the last good firewall, addresses and env file, before there is a network.

    The first thing that a boot does with lbhook, by a unit of its own. What belongs to services
    that start later is left alone; on a disk that was captured from another VM all of it rests.

    \b
    Example:
      sudo lbhook restore
    """
    return work.restore(invocation, as_json, root)
