"""Commands that bring this machine in step with Azure, or back."""

from typing import TYPE_CHECKING, Any

import click

from ..errors import LbhookError
from . import assembly, options
from .run import Run, pass_run

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Bring this machine in step with Azure.")
@options.general
@options.source
@options.targets
@click.option("--reload", is_flag=True, help="Reload even if nothing differs.")
@click.option("--no-reload", is_flag=True, help="Install, and leave the reloads owed.")
@options.accept_empty
@click.option("--skip-refused", is_flag=True, help="Do not try again what was refused before.")
@options.outcome
@pass_run
def apply(run: Run, /, as_json: bool, no_reload: bool, **wish: Any) -> int:
    """Bring this machine in step with Azure: fetch, render, check, install, reload, verify.

    \b
    Examples:
      sudo lbhook apply
      sudo lbhook apply --wait 90s --json
      lbhook apply --metadata body.json --root /tmp/image
    """
    if wish["reload"] and no_reload:
        raise click.UsageError("--reload and --no-reload can't both be meant")
    try:
        result = assembly.update(run, load=not no_reload, **wish).apply()
    except LbhookError as error:
        result = assembly.unbegun(run, wish["root"], error)
    run.console.manager.status(result.summary())
    text = result.to_text() if result.changes or not result.problems else ""
    return run.end(result, text, as_json=as_json)


@click.command(short_help="Only ask, and keep the answer as the last good one.")
@options.general
@options.asking
@options.root
@click.option("--hand-over", is_flag=True, help="Leave the answer for root's `apply --cached`.")
@options.outcome
@pass_run
def fetch(run: Run, /, as_json: bool, **wish: Any) -> int:
    """Ask the metadata service, and keep a good answer for `apply --cached`.

    Needs no root where the state directory is writable, and changes nothing else. With
    --hand-over the answer is left in a runtime directory, where root's apply finds it.

    \b
    Examples:
      lbhook fetch --wait 90s
      lbhook fetch --json
    """
    from ..deployment import report

    result = assembly.update(run, **wish).fetch()
    text = report.fetched_text(result, handed_over=bool(wish["hand_over"]))
    run.console.manager.status(text)
    return run.end(result, text, as_json=as_json)


@click.command(short_help="What this boot lacks, before there is a network.")
@options.general
@options.root
@options.outcome
@pass_run
def restore(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Load the last good firewall, addresses and env file, before there is a network.

    The first thing that a boot does with lbhook, by a unit of its own. What belongs to services
    that start later is left alone; on a disk that was captured from another VM all of it rests.

    \b
    Example:
      sudo lbhook restore
    """
    from ..deployment import report

    result = assembly.restoring(run, root).carry_out()
    text = report.restored_text(result)
    run.console.manager.status(text.splitlines()[-1])
    return run.end(result, "" if result.problems else text, as_json=as_json)


@click.command(short_help="Put back what the last apply replaced, and reload.")
@options.general
@options.root
@options.outcome
@pass_run
def rollback(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Put back what the last apply replaced, and reload; twice in a row is a redo.

    The next apply, by hand or by the timer, brings the machine in step with Azure again.

    \b
    Example:
      sudo lbhook rollback
    """
    return run.undone(assembly.undoing(run, root).rollback(), as_json=as_json)


@click.command(short_help="Everything back to rest, and all state gone.")
@options.general
@options.root
@options.outcome
@pass_run
def clean(run: Run, /, as_json: bool, root: "Path | None") -> int:
    """Take back everything lbhook wrote: the last step before an image is captured.

    Each file goes back to what was there before lbhook, or to its resting form, or goes; a file
    that somebody edited since stays. Then all state is removed.

    \b
    Example:
      sudo lbhook clean
    """
    return run.undone(assembly.undoing(run, root).clean(), as_json=as_json)
