"""`emulate` and `demo`: lbhook away from Azure."""

from typing import TYPE_CHECKING

import click

from ..cli import options
from ..cli.invocation import Invocation
from ..errors import INTERRUPTED, TERMINATED, TerminatedError, UsageError
from ..installation import completion

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command(short_help="A metadata service on loopback, with scripted faults.")
@options.general
@click.option(
    "--listen",
    default="127.0.0.1:8169",
    show_default=True,
    metavar="ADDRESS:PORT",
    help="Where to listen: loopback, or 169.254.169.254 in a namespace of your own.",
)
@click.option(
    "--body",
    default="documented",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=completion.bodies,
    help="What to answer: a shipped body, or a file, read again at each request.",
)
@click.option(
    "--playbook",
    metavar="NAME|FILE",
    shell_complete=completion.playbooks,
    help="A script of answers and faults.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="Requests a second before 429; 0 is no limit.",
)
@options.pass_invocation
def emulate(
    invocation: Invocation, /, listen: str, body: str, playbook: str | None, limit: int
) -> int:
    """Serve the metadata service on loopback, with scripted faults if you like.

    \b
    Examples:
      lbhook emulate
      lbhook emulate --body dual-stack --listen 127.0.0.1:8080
      LBHOOK_ENDPOINT=http://127.0.0.1:8169 lbhook show
    """
    from ..emulator.server import Emulator

    server = Emulator(
        body=body,
        playbook=playbook,
        listen=_listen_place(listen),
        limit=limit or None,
        on_request=None if invocation.verbosity < 0 else _said(invocation),
    )
    try:
        with server as imds:
            invocation.console.note(f"Serving {imds.url}/metadata/loadbalancer; end with Ctrl-C.")
            imds.serve_forever()
    except TerminatedError:  # how a service manager ends it
        return TERMINATED
    except KeyboardInterrupt:
        pass
    return INTERRUPTED


@click.command(short_help="The main job from end to end; no root, no Azure.")
@options.general
@options.pass_invocation
def demo(invocation: Invocation) -> int:
    """Show the main job from end to end, in a throw-away directory.

    Needs no root, no Azure and no network: the metadata service is lbhook's own emulator.

    \b
    Example:
      lbhook demo
    """
    from ..cli.demo import Demo

    Demo(console=invocation.console).play()
    return 0


def _said(invocation: Invocation) -> "Callable[[object], None]":
    return lambda request: invocation.console.out(f"{request}\n")


def _listen_place(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"--listen {text}: not ADDRESS:PORT", hint="such as 127.0.0.1:8169")
    return host.strip("[]"), int(port)
