"""What was refused, and is not tried again as long as all that the verdict hung on is the same.

That is for haproxy, which binds but once: each reload in which it can't listen shuts its other
listeners for two seconds. What else fails is tried again by every run: it harms nobody, and nobody
can list what heals it.
"""

import contextlib
from collections.abc import Iterator, Sequence

from ..config.shipped import kind_of
from ..errors import LbhookError, ReloadError
from ..memory.records import Refused
from ..plan import Change
from ..planning.verification import main_pid
from ..programs.daemon import places
from ..programs.host import Host
from ..rendering import fingerprint
from . import others

_HINT = (
    "haproxy was not reloaded again: a failed reload closes its listeners for two seconds. lbhook"
    " tries again when the port, the address, the configuration or haproxy changes, and each hour"
)
_LONGEST = 3600.0


def known(host: Host, group: Sequence[Change]) -> LbhookError | None:
    """The error that a group ended with, if it would be tried for the second time."""
    refused = host.state.refused().get(_circumstances(host, group)) if group else None
    if not refused or not 0 <= host.clock() - refused.at <= _LONGEST:
        return None
    return ReloadError(*refused.problems, hint=_HINT)


def remember(host: Host, group: Sequence[Change], error: LbhookError) -> None:
    """Write down that a group was refused, if another try would do harm."""
    met = _circumstances(host, group)
    if met and isinstance(error, ReloadError):
        refused = Refused(problems=error.problems, at=host.clock())
        with contextlib.suppress(LbhookError):  # then it is tried again
            host.state.keep_refused({**host.state.refused(), met: refused})


def _circumstances(host: Host, group: Sequence[Change]) -> str:
    """What stands for all that it hangs on whether haproxy can listen; empty for others."""
    if not group or not all(kind_of(one.target).binds_once for one in group):
        return ""
    wanted = [(one.target, one.expected) for one in group]
    seen = sorted({others.seen(host, one.target) for one in group})
    pids = [main_pid(host, one.target) for one in group]
    return fingerprint.digest(wanted, seen, pids, [*_here(host, group)])


def _here(host: Host, group: Sequence[Change]) -> Iterator[object]:
    """The addresses of this machine, and who has the ports that are wanted."""
    files = (one.expected.content for one in group if one.expected)
    ports = {place.port for content in files for place in places(content)}
    yield from sorted(map(str, host.machine.addresses()))
    sockets = (*host.machine.listening(), *host.machine.bound())
    yield from sorted((str(one.ip), one.port, one.inode) for one in sockets if one.port in ports)
