"""What a shell needs to complete lbhook's command line."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import click

from ..errors import LbhookError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from ..config.settings import Settings

# Where below a share directory each shell looks.
SHELLS: Mapping[str, str] = {
    "bash": "bash-completion/completions/lbhook",
    "zsh": "zsh/site-functions/_lbhook",
    "fish": "fish/vendor_completions.d/lbhook.fish",
}

# zsh loads the script at the first completion and wants it then; click before 8.1.4 only promises
# it for the next one.
_AUTOLOADED = (
    "\ncompdef _lbhook_completion lbhook;",
    '\ncompdef _lbhook_completion lbhook\n_lbhook_completion "$@"\n',
)


def script(shell: str) -> str:
    """The script that a shell of `SHELLS` loads."""
    from click.shell_completion import ShellComplete, get_completion_class

    kind = get_completion_class(shell)
    assert kind
    complete = kind(click.Group("lbhook"), {}, "lbhook", "_LBHOOK_COMPLETE")
    # Not bash's own method, which runs bash to look at its version.
    return ShellComplete.source(complete).replace(*_AUTOLOADED)


def targets(ctx: click.Context, _: click.Parameter, word: str) -> "list[CompletionItem]":
    """Names of the targets that are known, on or off."""
    return _items(word, (one.name for one in _settings(ctx).targets))


def switched_on(ctx: click.Context, _: click.Parameter, word: str) -> "list[CompletionItem]":
    """Names of the targets that are on."""
    return _items(word, (one.name for one in _settings(ctx).active()))


def bodies(_: click.Context, __: click.Parameter, word: str) -> "list[CompletionItem]":
    """Names of the bodies that ship with lbhook."""
    from ..resources import BODIES

    return _items(word, BODIES)


def playbooks(_: click.Context, __: click.Parameter, word: str) -> "list[CompletionItem]":
    """Names of the playbooks that ship with lbhook."""
    from ..resources import PLAYBOOKS

    return _items(word, PLAYBOOKS)


def _items(word: str, names: Iterable[str]) -> "list[CompletionItem]":
    """Those that begin so; where there is none, the shell offers files."""
    from click.shell_completion import CompletionItem

    found = [CompletionItem(name) for name in names if name.startswith(word)]
    return found or [CompletionItem(word, type="file")]


def _settings(ctx: click.Context) -> "Settings":
    """The configuration that the line names so far; without one, or with a mistake in it, the
    defaults."""
    from ..config import settings as config

    try:
        return config.load(getattr(ctx.obj, "config", None))
    except LbhookError:
        return config.parse("")
