"""`drain` and `undrain`: this VM out of rotation, and back."""

from typing import TYPE_CHECKING, Any

import click

from ..cli import factory, options
from ..cli.console import minutes
from ..cli.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..levers.drain import Drain
    from ..memory.drains import Drained
    from ..traffic.flows import Left


@click.command(short_help="Take this VM out of rotation.")
@options.general
@click.option(
    "--wait",
    type=options.duration,
    metavar="DURATION",
    help="Wait until connections have ended, for at most DURATION.",
)
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
@options.pass_invocation
def drain(
    invocation: Invocation, /, as_json: bool, wait: float | None, lasts: float | None, **how: Any
) -> int:
    """Refuse Azure's health probes, so that its load balancer sends no new connections here.

    Open connections go on; --wait ends when the last one that came through a rule has ended, or
    with status 75. Everything else that lbhook does goes on, too; what ends a drain is `lbhook
    undrain`, the end of --for, or a reboot, unless --persist is given.

    \b
    Examples:
      sudo lbhook drain --wait 5m --reason "kernel upgrade"
      sudo lbhook drain --for 30m
    """
    from ..levers.reach import limits
    from ..system.caller import caller

    draining = factory.draining(invocation)
    by = caller(draining.context.host.machine)
    drained = draining.begin(by, lasts=lasts or 0.0, **how)
    factory.say_held(invocation, draining.context.host)
    for warning in limits(draining.rules()):
        invocation.console.warn(warning)
    if wait is None:
        return _end(invocation, draining, drained.text, as_json=as_json)
    _tell(draining, drained.text)
    return _wait(invocation, draining, wait, as_json=as_json)


def _wait(invocation: Invocation, draining: "Drain", limit: float, *, as_json: bool) -> int:
    """Wait for the end of connections, and say what came of it."""
    from ..errors import NoAnswerError
    from ..layout import count
    from ..levers.drain import UNPROBED

    def watch(left: "Left", seconds: float) -> None:
        reason = count(left.connections, "open connection")
        line = f"draining, {minutes(seconds)} left: {reason}"
        invocation.console.live(line, "", f"waiting up to {seconds:.0f} s: {reason}")

    left = draining.wait(limit, watch)
    if left.unprobed:
        invocation.console.warn(UNPROBED)
    news = {"connections": left.connections, "probes_refused": sum(left.refused.values())}
    still = count(left.connections, "open connection")
    _end(invocation, draining, f"drained: {still}", as_json=as_json, more=news)
    if not left.connections:
        return 0
    problem = f"drain: {still} after {limit:.0f} s"
    invocation.console.problems((problem,), "it stays drained; the same command waits on")
    return NoAnswerError.status


@click.command(short_help="Put this VM back into rotation.")
@options.general
@options.outcome
@options.pass_invocation
def undrain(invocation: Invocation, /, as_json: bool) -> int:
    """Answer Azure's health probes again, so that its load balancer sends new connections here.

    \b
    Example:
      sudo lbhook undrain
    """
    draining = factory.draining(invocation)
    before = draining.end()
    factory.say_held(invocation, draining.context.host)
    text = f"no longer drained; it was {before.text}" if before else "not drained"
    return _end(invocation, draining, text, as_json=as_json)


def _tell(draining: "Drain", text: str) -> "Drained | None":
    """Leave word of what is in force now, in the journal and in status.json."""
    from ..system import journald
    from ..telling.publisher import Publisher

    drained = draining.known()
    Publisher(draining.context).leave_drained(drained)
    journald.record([(journald.INFO, text)])
    return drained


def _end(
    invocation: Invocation,
    draining: "Drain",
    text: str,
    *,
    as_json: bool,
    more: "Mapping[str, int] | None" = None,
) -> int:
    """Say what is in force now to who asked, too."""
    drained = _tell(draining, text)
    value = {"drained": drained.to_json() if drained else None, **(more or {})}
    return invocation.decided(text, value, as_json=as_json)
