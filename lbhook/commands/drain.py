"""`drain` and `undrain`: this VM out of rotation, and back."""

from typing import TYPE_CHECKING

import click

from ..cli import factory, options
from ..cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from ..runs.drain import Drain


@click.command(short_help="Take this VM out of rotation.")
@options.general
@click.option(
    "--for",
    "lasts",
    type=options.time_limit,
    metavar="DURATION",
    help="End by itself after DURATION, such as 30m.",
)
@click.option("--persist", is_flag=True, help="Outlast reboots.")
@click.option("--reason", type=options.line, metavar="TEXT", default="", help="Why, in a line.")
@options.outcome
@pass_invocation
def drain(
    invocation: Invocation, /, as_json: bool, lasts: float | None, persist: bool, reason: str
) -> int:
    """Refuse Azure's health probes, so that its load balancer sends no new connections here.

    Open connections go on. Everything else that lbhook does goes on, too; what ends a drain is
    `lbhook undrain`, the end of --for, or a reboot, unless --persist is given.

    \b
    Examples:
      sudo lbhook drain --reason "kernel upgrade"
      sudo lbhook drain --for 30m
    """
    from ..runs import drain as drains
    from ..system.caller import caller

    draining = factory.draining(invocation)
    by = caller(draining.context.host.machine)
    drained = draining.begin(by, reason=reason, lasts=lasts or 0.0, persist=persist)
    for warning in drains.limits(draining.rules()):
        invocation.console.warn(warning)
    return _end(invocation, draining, drained.text, as_json=as_json)


@click.command(short_help="Put this VM back into rotation.")
@options.general
@options.outcome
@pass_invocation
def undrain(invocation: Invocation, /, as_json: bool) -> int:
    """Answer Azure's health probes again, so that its load balancer sends new connections here.

    \b
    Example:
      sudo lbhook undrain
    """
    draining = factory.draining(invocation)
    before = draining.end()
    text = f"no longer drained; it was {before.text}" if before else "not drained"
    return _end(invocation, draining, text, as_json=as_json)


def _end(invocation: Invocation, draining: "Drain", text: str, *, as_json: bool) -> int:
    """Say what is in force now: to who asked, in the journal, and in status.json."""
    from ..runs.publisher import Publisher
    from ..system import journald

    drained = draining.known()
    Publisher(draining.context).leave_drained(drained)
    journald.record([(journald.INFO, text)])
    if as_json:
        invocation.json({"version": 1, "drained": drained.to_json() if drained else None})
    elif invocation.console.as_json:
        invocation.console.note(text)
    elif invocation.verbosity >= 0:
        invocation.console.out(f"{text}\n")
    return 0
