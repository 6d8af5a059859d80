"""`apply`: the main job."""

from typing import TYPE_CHECKING, Any

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation
from ..errors import LbhookError

if TYPE_CHECKING:
    from ..deployment.report import Report
    from ..runs.update import Update


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
@pass_invocation
def apply(
    invocation: Invocation,
    /,
    as_json: bool,
    no_reload: bool,
    early: bool,
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
    if early:
        from ..cli import early_start

        early_start.await_answer(invocation)
    by_hand = not invocation.console.manager.address
    last = ""
    try:
        update = factory.update(
            invocation,
            load=not no_reload,
            by_hand=by_hand,
            confirmed=not confirm,
            levers=True,
            **options,
        )
        result, last = _applied(invocation, update, confirm)
        for text in factory.lacking(update):
            invocation.console.warn(text)
    except LbhookError as error:
        result = factory.unbegun(invocation, options["root"], error)
    else:
        if update.context.host.live:
            _record(result)
    invocation.console.manager.status(result.summary())
    text = result.to_text() if result.changes or not result.problems else ""
    status = invocation.end(result, text, as_json=as_json)
    if last:
        invocation.console.warn(last)
    return status


def _applied(
    invocation: Invocation, update: "Update", seconds: float | None
) -> "tuple[Report, str]":
    """An apply, which is put back unless somebody confirms it in so many seconds; and what waits
    for that, which is to be the last that is read."""
    if not seconds:
        return update.apply(), ""
    waiting = factory.waiting(invocation, update.context)
    waiting.begin(seconds)
    result = update.apply()
    left = waiting.settle()
    if left is None:
        invocation.console.note("nothing has changed, and nothing waits to be confirmed")
        return result, ""
    return result, f"{left.text}; {left.remedy}"


def _record(result: "Report") -> None:
    """What came and went, in the journal: what a unit prints is there, by hand it would not be."""
    if not result.rules:
        return
    from ..system import journald
    from ..telling.history import LAST_GONE

    lines = [(journald.INFO, line) for line in (*result.rules, result.summary())]
    gone = [] if result.lb.inbound_rules else [(journald.WARNING, LAST_GONE)]
    journald.record([*lines, *gone])
