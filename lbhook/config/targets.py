"""What a target is: one file that lbhook writes, and what makes a program take it."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

Argv = tuple[str, ...]
_NOTHING: Any = ()


class Target(NamedTuple):
    """One file that lbhook writes, and what makes a program take it.

    `kind` is the shipped target it is or is like, empty for a user's own. In commands,
    `{staged}` stands for the candidate, `{path}` for the installed file and, once it is
    installed, `{stem}` for its name without the suffix. `timeout` is in seconds, for each
    command. `observe` is a command whose output is kept after a reload: when it differs later,
    the reload is owed.
    """

    name: str
    template: str
    path: PurePosixPath
    kind: str = ""
    resting_template: str = ""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    requires: Argv = ()
    check: Argv = ()
    check_live: Argv = ()
    reload_unit: str = ""
    reload: Argv = ()
    verify: Argv = ()
    observe: Argv = ()
    remove: Argv = ()
    timeout: float = 30.0
    enabled: bool = True
    vars: Mapping[str, Any] = MappingProxyType({})

    def alone(self) -> "Target":
        """The file without its programs: it can be written where they are not installed."""
        commands = ("check", "check_live", "reload", "verify", "observe", "remove")
        return self._replace(kind="", reload_unit="", **dict.fromkeys(commands, _NOTHING))
