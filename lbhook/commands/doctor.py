"""`doctor` and `trace`: what is wrong, and who decides about packets."""

import contextlib
from typing import TYPE_CHECKING, Any

import click

from ..cli import colour, factory, options
from ..cli.invocation import Invocation
from ..errors import NoAnswerError, RightsError, TraceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config.network import Network
    from ..traffic.trace_marks import Marks


@click.command(short_help="What is wrong between Azure and the listening socket.")
@options.general
@options.source
@options.targets
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@options.pass_invocation
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
        invocation.console.out(colour.picture(diagnosis.to_text(notes=invocation.verbosity > 0)))
    return int(diagnosis.wrong > 0)


@click.command(short_help="Which rule decides about the next packets to a port.")
@options.general
@click.argument("port", type=click.IntRange(1, 65535))
@click.option("--from", "source", metavar="ADDRESS", help="Only packets from here, or a network.")
@click.option(
    "--count",
    "most",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Stop after N packets.",
)
@click.option(
    "--wait", default="30s", show_default=True, metavar="DURATION", help="Stop after this time."
)
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
@options.pass_invocation
def trace(
    invocation: Invocation, /, port: int, source: str | None, most: int, wait: str, as_json: bool
) -> int:
    """Watch the next packets to PORT of this VM, and say which chain and rule decides.

    Of TCP the packets that open a connection, of UDP all. PORT is that of this VM, not of the
    frontend. The kernel tells of every table: that of lbhook, ufw, firewalld, Docker. The
    small table that selects packets goes when lbhook ends, however it ends. Nothing else is
    changed. Ends with 75 if no packet came.

    \b
    Examples:
      sudo lbhook trace 8443
      sudo lbhook trace 8443 --from 203.0.113.9 --count 1
    """
    from ..layout import count
    from ..programs.host import host as this_machine
    from ..traffic import fates as told
    from ..traffic.remedies import Advice
    from ..traffic.trace import Reader, watched

    settings = invocation.settings()
    host = this_machine(settings, None)
    if not host.root:
        raise RightsError("trace: only root may mark packets", hint="use sudo")
    network, seconds = _network(source), options.time_limit(wait)
    limits = f"{count(most, 'packet')} at most, {wait} at most"
    with _marks(port, network) as marks:
        # Not before its packets are marked: who reads it sends one.
        invocation.console.note(f"tracing port {port}{_from(source)}: {limits}")
        packets = watched(marks, most, seconds)
    advice = Advice(host.run, settings.active())
    fates = Reader(host.run, host.machine).fates(packets)
    if as_json:
        invocation.json(told.to_json(fates, port, advice))
    elif fates:
        invocation.console.out(told.to_text(fates, advice))
    if not fates:
        raise NoAnswerError(
            f"trace: no packet to port {port}{_from(source)} came within {wait}: nothing reaches"
            " this VM there",
            hint="look at the network security group, at the load balancer's rule for this port,"
            " and at its health probe; `lbhook show` has the rules, and their ports here",
        )
    return 0


def _network(source: str | None) -> "Network | None":
    from ..config import network, schema

    try:
        return network.network(source) if source else None
    except schema.Misfit as misfit:
        raise click.BadParameter(str(misfit), param_hint="--from") from None


def _from(source: str | None) -> str:
    return f" from {source}" if source else ""


@contextlib.contextmanager
def _marks(port: int, source: "Network | None") -> "Iterator[Marks]":
    from ..traffic.trace_marks import Marks

    try:
        with Marks(port, source) as marks:
            yield marks
    except OSError as error:
        raise TraceError(
            f"trace: the kernel does not trace packets here ({error.strerror or error})",
            hint="it needs nf_tables, and the right to change it (CAP_NET_ADMIN)",
        ) from None
