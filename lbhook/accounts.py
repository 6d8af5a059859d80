"""Users and groups of this machine, by name."""

import grp
import pwd
from collections.abc import Callable, Iterable

from .errors import WriteError


def uid(name: str, where: str) -> int:
    """The number of a user. Raises `WriteError` that begins with `where` if there is none."""
    return _number(name, f"{where} {name}: no such user", lambda: pwd.getpwnam(name).pw_uid)


def known(names: Iterable[str]) -> tuple[int, ...]:
    """The numbers of those users that there are; a number is one already."""
    found = (_find(name) for name in names)
    return tuple(number for number in found if number is not None)


def numbers(name: str) -> tuple[int, int] | None:
    """The number of a user and that of its group; None if there is no such user."""
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        return None
    return found.pw_uid, found.pw_gid


def gid(name: str, where: str) -> int:
    """The number of a group. Raises `WriteError` that begins with `where` if there is none."""
    return _number(name, f"{where} {name}: no such group", lambda: grp.getgrnam(name).gr_gid)


def _find(name: str) -> int | None:
    if name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        return None


def _number(name: str, problem: str, find: Callable[[], int]) -> int:
    try:
        return 0 if name == "root" else find()
    except KeyError:
        raise WriteError(problem, hint="create it first, or name another") from None
