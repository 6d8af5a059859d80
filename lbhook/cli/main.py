"""The command line. The module of a command is imported when the command is called."""

from importlib import import_module
from typing import Any

import click

from .. import __version__
from . import options
from .invocation import Invocation

_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 80}
# Each with its module of `commands`, in the order in which somebody new would try them.
MODULES = {
    "show": "show",
    "plan": "plan",
    "apply": "apply",
    "doctor": "doctor",
    "trace": "doctor",
    "fetch": "fetch",
    "history": "history",
    "restore": "restore",
    "rollback": "rollback",
    "clean": "rollback",
    "drain": "drain",
    "undrain": "drain",
    "hold": "hold",
    "resume": "hold",
    "confirm": "hold",
    "render": "render",
    "explain": "render",
    "install": "install",
    "uninstall": "install",
    "rest": "install",
    "emulate": "emulate",
    "demo": "emulate",
}


class Commands(click.Group):
    """Commands that are read when they are wanted; a misspelt one gets the nearest."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(MODULES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command, or None if there is none of that name."""
        if name not in MODULES:
            return None
        command = getattr(import_module(f"..commands.{MODULES[name]}", __package__), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command; a usage error names the nearest."""
        if args and args[0] not in MODULES and not args[0].startswith("-"):
            from ..layout import suggestion

            known = [name for name in MODULES if name != "rest"]  # which is hidden
            ctx.fail(f"no such command: {args[0]}{suggestion(args[0], known)}")
        found = super().resolve_command(ctx, args)
        ctx.ensure_object(Invocation).console.command = found[0] or ""
        return found


@click.group(cls=Commands, context_settings=_SETTINGS)
@click.version_option(__version__, message="lbhook %(version)s")
@options.general
def cli() -> None:
    """Configure this VM from the rules of Azure's load balancer.

    lbhook asks the Instance Metadata Service for the load balancer's rules, renders firewall
    rules, nginx listeners and env files, checks them with the real programs, installs them
    and reloads what changed.

    \b
    Examples:
      lbhook show                    what Azure sends here
      lbhook plan                    what would change on this machine
      sudo lbhook apply              change it
      sudo lbhook doctor             what is wrong if a port does not answer
      lbhook demo                    all of it, without Azure and without root
    """
