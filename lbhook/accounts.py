"""Users and groups of this machine, by name."""

import grp
import pwd
from collections.abc import Callable

from .errors import WriteError


def uid(name: str, where: str) -> int:
    """The number of a user. Raises `WriteError` that begins with `where` if there is none."""
    return _number(name, f"{where} {name}: no such user", lambda: pwd.getpwnam(name).pw_uid)


def gid(name: str, where: str) -> int:
    """The number of a group. Raises `WriteError` that begins with `where` if there is none."""
    return _number(name, f"{where} {name}: no such group", lambda: grp.getgrnam(name).gr_gid)


def _number(name: str, problem: str, find: Callable[[], int]) -> int:
    try:
        return 0 if name == "root" else find()
    except KeyError:
        raise WriteError(problem, hint="create it first, or name another") from None
