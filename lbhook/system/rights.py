"""Whose rights a program has, for a command that is to find what it finds: setpriv(1)."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from .. import accounts

_BIND = "net_bind_service"
# Its number in capabilities(7).
_NUMBER = 10


class Rights(NamedTuple):
    """A user, empty for root, the options of setpriv for its groups, and whether it may open ports
    that not everybody may."""

    user: str = ""
    groups: tuple[str, ...] = ()
    binds: bool = True

    def command(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """A command of root's with these rights."""
        more = (f"--inh-caps=+{_BIND}", f"--ambient-caps=+{_BIND}") if self.binds else ()
        return (
            ("setpriv", f"--reuid={self.user}", *self.groups, *more, *argv) if self.user else argv
        )


def of_process(status: str) -> Rights:
    """Those of a process, by its status in proc(5); root's if there is none."""
    found = dict(re.findall(r"(?m)^(\w+):[ \t]*(.*?)[ \t]*$", status))
    user, group = (found.get(name, "0 0").split()[1] for name in ("Uid", "Gid"))
    others = ",".join(found.get("Groups", "").split())
    binds = bool(int(found.get("CapEff", "-1"), 16) >> _NUMBER & 1)
    groups = (f"--regid={group}", f"--groups={others}" if others else "--clear-groups")
    return Rights("" if user == "0" else user, groups, binds)


def of_unit(values: Mapping[str, str], program: Path | None = None) -> Rights:
    """Those that a unit gives, by its properties, or its `program` (setcap(8)); root's where its
    user is made when it starts (DynamicUser=)."""
    user = values.get("User", "")
    known = accounts.numbers(user)
    if not known or known[0] == 0:
        return Rights()
    group = values.get("Group", "") or known[1]
    binds = _BIND in values.get("AmbientCapabilities", "") or bool(program and _raises(program))
    return Rights(user, (f"--regid={group}", "--init-groups"), binds)


def _raises(program: Path) -> bool:
    """Whether whoever runs it gets rights by its file, whichever these are."""
    try:
        return bool(os.getxattr(program, "security.capability"))
    except OSError:
        return False
