"""The options that several commands share."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from ..installation import completion
from .invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from ..config import schema

F = TypeVar("F", bound=Callable[..., Any])
pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def duration(value: str) -> float:
    """A length of time in seconds."""
    from ..config import schema

    return float(_converted(value, schema.duration))


def time_limit(value: str) -> float:
    """A length of time longer than 0, in seconds."""
    from ..config import schema

    return float(_converted(value, schema.time_limit))


def line(value: str) -> str:
    """A line of text for people."""
    from ..config import schema

    return str(_converted(value, schema.line))


def _endpoint(value: str) -> str:
    from ..config import network

    return str(_converted(value, network.endpoint))


def _converted(value: str, read: "schema.Read[Any]") -> Any:
    from ..config import schema

    try:
        return read(value)
    except schema.Misfit as misfit:
        raise click.BadParameter(str(misfit)) from None


def _path(_ctx: click.Context, _: click.Parameter, value: str | None) -> "Path | None":
    from pathlib import Path

    return None if value is None else Path(value)


def _set_config(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Invocation).config = _path(ctx, parameter, value)


def _set_verbosity(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        invocation = ctx.ensure_object(Invocation)
        invocation.verbosity = 1 if value == "verbose" else -1
        invocation.console.verbosity = invocation.verbosity


def _set_log_format(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    # What stands before the command outweighs the environment, which is seen again behind it.
    named = ctx.get_parameter_source(str(parameter.name)) is not ParameterSource.ENVIRONMENT
    if value is not None and (named or not ctx.parent):
        ctx.ensure_object(Invocation).console.as_json = value == "json"


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
            help="Print errors only.",
        ),
        click.option(
            "-v",
            "--verbose",
            "verbosity",
            flag_value="verbose",
            expose_value=False,
            callback=_set_verbosity,
            help="Show each request and each ignored key.",
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
    help="Fail unless a load balancer has a rule or gateway tunnel for this VM.",
)
_CACHED = click.option("--cached", is_flag=True, help="Use the last good answer, no network.")
_WAIT = click.option(
    "--wait",
    type=duration,
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
    shell_complete=completion.bodies,
    help="Read the body from FILE (- is standard input), or a shipped one by its name.",
)
accept_empty = click.option(
    "--accept-empty", is_flag=True, help="Believe at once that no rule is left."
)
_ONLY = click.option(
    "--only",
    multiple=True,
    metavar="TARGET",
    shell_complete=completion.switched_on,
    help="Just this target; may be repeated.",
)
outcome = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")
root = click.option(
    "--root",
    type=click.Path(),
    callback=_path,
    metavar="DIR",
    help="Use the files below DIR; leave this machine and its programs alone.",
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
    help="As if Azure did not have the rules that match RULE.",
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
