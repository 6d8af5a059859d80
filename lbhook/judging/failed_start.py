"""A program that could not start with what lbhook has written.

Before a boot brings nginx up nobody can see all that will keep it from starting. If it has failed,
and its configuration is sound, its listeners are put to rest, so that all else it serves comes
back; a later run brings them to the running nginx, where what it can't open harms nobody.
"""

import re

from ..config.shipped import kind_of
from ..config.targets import Target
from ..errors import LbhookError
from ..memory.records import Installed
from ..plan import FileState
from ..programs.host import Host, unit_of

# nginx names what it can't do with its worst word but one.
_WORST = re.compile(r"\[(?:emerg|alert)\] (?:\d+#\d+: )?(.*)")


def found(host: Host, target: Target, actual: FileState | None, record: Installed | None) -> str:
    """Why its listeners are to be at rest; once, until its program runs again."""
    path = str(target.path)
    if path in host.state.rested() and not _runs(host, target):
        host.rested.add(path)
        return ""
    why = cause(host, target, actual, record)
    if not why:
        return ""
    host.rested.add(path)
    return f"nginx failed to start, and lbhook's listeners are removed until it runs: {why}"


def cause(host: Host, target: Target, actual: FileState | None, record: Installed | None) -> str:
    """Why a target's program has failed, if that may be what lbhook wrote; else empty."""
    ours = record and actual and actual.digest == record.digest
    if not ours or not record or not actual or not host.live or not host.root:
        return ""
    at_rest = actual.content == record.resting.encode()
    if at_rest or kind_of(target).daemon != "nginx" or not host.machine.has_systemd():
        return ""
    unit = unit_of(target)
    if not unit or _runs(host, target) or not _has_failed(host, unit):
        return ""
    # Somebody's mistake in its configuration is not lbhook's to fix, and is blocked as such.
    sound = host.daemon_of(target).check_present(target.timeout).ok
    return _said(host, unit) if sound else ""


def _runs(host: Host, target: Target) -> bool:
    """Whether a target's program runs by now."""
    try:
        return bool(host.services.main_pid(unit_of(target), kind_of(target).daemon))
    except LbhookError:
        return False


def _has_failed(host: Host, unit: str) -> bool:
    """Whether it ended by itself with an error: not killed, nor stopped by hand."""
    try:
        if host.services.unit(unit).active != "failed":
            return False
    except LbhookError:
        return False
    return host.units.properties(unit).get("Result") == "exit-code"


def _said(host: Host, unit: str) -> str:
    argv = ("journalctl", "--unit", unit, "--boot", "--output=cat", "--lines=50", "--no-pager")
    lines = _WORST.findall(host.run(argv).output)
    telling = [one for one in lines if "still could not" not in one] or lines
    return telling[-1] if telling else f"`journalctl -u {unit}` says why"
