"""The options that several commands share, and what they come to.

What only a command needs is imported when it runs: --help and --version are to be quick.
"""

import contextlib
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from .errors import LbhookError, UsageError
from .run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from . import schema
    from .config import Settings
    from .host import Host
    from .installation import Installation
    from .report import Report
    from .restoration import Restoration
    from .undo import Undo
    from .update import Update

F = TypeVar("F", bound=Callable[..., Any])


def _duration(value: str) -> float:
    from . import schema

    return float(_converted(value, schema.duration))


def _endpoint(value: str) -> str:
    from . import schema

    return str(_converted(value, schema.endpoint))


def _converted(value: str, read: "schema.Read[Any]") -> Any:
    from . import schema

    try:
        return read(value)
    except schema.Misfit as misfit:
        raise click.BadParameter(str(misfit)) from None


def _path(_ctx: click.Context, _: click.Parameter, value: str | None) -> "Path | None":
    from pathlib import Path

    return None if value is None else Path(value)


def _set_config(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Run).config = _path(ctx, parameter, value)


def _set_verbosity(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        run = ctx.ensure_object(Run)
        run.verbosity = 1 if value == "verbose" else -1
        run.console.verbosity = run.verbosity


def _set_log_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # What stands before the command outweighs the environment, which is seen again behind it.
    named = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.ENVIRONMENT
    if value is not None and (named or not ctx.parent):
        ctx.ensure_object(Run).console.as_json = value == "json"


def general(command: F) -> F:
    """-c, -v, -q and --log-format, before or after the command; the later one wins."""
    for option in (
        click.option(
            "--log-format",
            type=click.Choice(["plain", "json"]),
            envvar="LBHOOK_LOG_FORMAT",
            show_envvar=True,
            expose_value=False,
            callback=_set_log_format,
            help="Messages for people, or one JSON object a line.",
        ),
        click.option(
            "-q",
            "--quiet",
            "verbosity",
            flag_value="quiet",
            expose_value=False,
            callback=_set_verbosity,
            help="Say nothing but errors.",
        ),
        click.option(
            "-v",
            "--verbose",
            "verbosity",
            flag_value="verbose",
            expose_value=False,
            callback=_set_verbosity,
            help="Say each request and each ignored key.",
        ),
        click.option(
            "-c",
            "--config",
            type=click.Path(),
            metavar="FILE",
            expose_value=False,
            callback=_set_config,
            help="Configuration in place of /etc/lbhook/lbhook.toml.",
        ),
    ):
        command = option(command)
    return command


_REQUIRE = click.option(
    "--require-lb",
    is_flag=True,
    help="Fail unless a load balancer has a rule or tunnel for this VM.",
)
_CACHED = click.option("--cached", is_flag=True, help="Use the last good answer, no network.")
_WAIT = click.option(
    "--wait",
    type=_duration,
    metavar="DURATION",
    help="How long to keep trying, such as 90s or 5m; 0 is one attempt.",
)
_ENDPOINT = click.option(
    "--endpoint",
    type=_endpoint,
    metavar="URL",
    envvar="LBHOOK_ENDPOINT",
    show_envvar=True,
    help="Another metadata service, by its address.",
)
_METADATA = click.option(
    "--metadata",
    metavar="FILE",
    help="Read the body from FILE (- is standard input), or a shipped one by its name.",
)
accept_empty = click.option(
    "--accept-empty", is_flag=True, help="Believe at once that no rule is left."
)
_ONLY = click.option(
    "--only", multiple=True, metavar="TARGET", help="Just this target; may be repeated."
)
outcome = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
root = click.option(
    "--root",
    type=click.Path(),
    callback=_path,
    metavar="DIR",
    help="Install below DIR; run nothing that looks at this machine.",
)


_COMING = click.option(
    "--with",
    "coming",
    multiple=True,
    metavar="RULE",
    help="As if Azure had this rule too: tcp/8443:443 is the frontend's port and the one here;"
    " @FRONTEND and =PRIVATE name other addresses. May be repeated.",
)
_GOING = click.option(
    "--without",
    "going",
    multiple=True,
    metavar="RULE",
    help="As if Azure had not the rules that are like this.",
)


def _with(command: F, *options: Callable[[F], F]) -> F:
    for option in options:
        command = option(command)
    return command


def source(command: F) -> F:
    """Where the answer comes from, and how long it is waited for."""
    return _with(command, _REQUIRE, _CACHED, _WAIT, _ENDPOINT, _METADATA)


def planned(command: F) -> F:
    """Rules that are only planned in Azure."""
    return _with(command, _GOING, _COMING)


def asking(command: F) -> F:
    """How the metadata service is asked."""
    return _with(command, _REQUIRE, accept_empty, _WAIT, _ENDPOINT)


def targets(command: F) -> F:
    """Which targets, and below which directory."""
    return _with(command, root, _ONLY)


def update(
    run: Run,
    endpoint: str | None,
    root: "Path | None",
    coming: Sequence[str] = (),
    going: Sequence[str] = (),
    **wish: Any,
) -> "Update":
    """An update of this machine, or of a directory, as the options ask for it."""
    from .planned import Plans, read
    from .schema import suggestion
    from .update import Update, Wish

    if wish.get("metadata") is not None and wish.get("cached"):
        raise UsageError(
            "--metadata and --cached can't both be meant", hint="leave one of them out"
        )
    plans = Plans(coming=tuple(map(read, coming)), going=tuple(map(read, going)))
    settings = run.settings(endpoint)
    known = [target.name for target in settings.active()]
    for name in wish.get("only", ()):
        if name not in known:
            raise UsageError(
                f"--only {name}: no such target is on{suggestion(name, known)}",
                hint="a shipped target is on when its table is in the configuration",
            )
    return Update(
        host=_host(settings, root),
        settings=settings,
        wish=Wish(plans=plans, **wish),
        voice=run.console.voice(),
        read_stdin=_read_stdin,
    )


def unbegun(run: Run, root: "Path | None", error: LbhookError) -> "Report":
    """What an apply came to that ended before there was anything to apply with: status.json has
    it as well, where it would be if the configuration can't be gone by."""
    from . import config, rights
    from .aftermath import Aftermath
    from .report import Report

    result = Report(outcome="failed", status=error.status, problems=error.problems, hint=error.hint)
    settings = config.Settings()
    with contextlib.suppress(LbhookError):
        read = run.settings()
        rights.demand(read)
        settings = read
    with contextlib.suppress(UsageError):
        aftermath = Aftermath(_host(settings, root), settings, run.console.voice())
        aftermath.leave_status(result)
        aftermath.leave_metrics("apply", result, 0.0)
    return result


def _read_stdin() -> bytes:
    """A body on standard input, or the beginning of one that is too long."""
    from .reader import MOST_BYTES

    if sys.stdin is None:  # closed before lbhook began
        raise UsageError(
            "--metadata -: standard input is closed", hint="give a file, or - for standard input"
        )
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def restoring(run: Run, root: "Path | None") -> "Restoration":
    """What gives this boot what it lacks before there is a network."""
    from .restoration import Restoration

    asking = update(run, endpoint=None, root=root)
    return Restoration(host=asking.host, inquiry=asking.inquiry)


def undoing(run: Run, root: "Path | None") -> "Undo":
    """What takes back what lbhook did to this machine, or to a directory."""
    from .undo import Undo

    settings = run.settings()
    return Undo(host=_host(settings, root), settings=settings, warn=run.console.warn)


def installation(run: Run, root: "Path | None") -> "Installation":
    """What brings lbhook onto this machine, or below a directory, and takes it away again."""
    from .installation import Installation, program

    return Installation(undo=undoing(run, root), program=program(live=root is None))


def _host(settings: "Settings", root: "Path | None") -> "Host":
    from .host import host

    if root is not None:
        root = root.absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"--root {root}: not a directory", hint="give the one to install below"
            )
        if not root.exists():
            raise UsageError(f"--root {root}: no such directory", hint="make it first")
    return host(settings, root)
