"""What a shell needs to complete lbhook's command line."""

from collections.abc import Mapping

import click
from click.shell_completion import ShellComplete, get_completion_class

# Where below a share directory each shell looks.
SHELLS: Mapping[str, str] = {
    "bash": "bash-completion/completions/lbhook",
    "zsh": "zsh/site-functions/_lbhook",
    "fish": "fish/vendor_completions.d/lbhook.fish",
}


def script(shell: str) -> str:
    """The script that a shell of `SHELLS` loads."""
    kind = get_completion_class(shell)
    assert kind
    complete = kind(click.Group("lbhook"), {}, "lbhook", "_LBHOOK_COMPLETE")
    # Not bash's own method, which runs bash to look at its version.
    return ShellComplete.source(complete)
