"""What a firewall closes that a run loads: looked at before, said and recorded afterwards."""

import contextlib
from collections.abc import Callable, Iterable

from ..context import Context
from ..errors import LbhookError
from ..metadata.facts import Facts
from ..plan import Change, Closed, Reload
from ..programs.nftables import closes_some
from .outcome import Done
from .report import closed_warnings


def coming(
    context: Context, changes: Iterable[Change], answer: Callable[[], Facts | None]
) -> tuple[Closed, ...]:
    """What the firewall among `changes` will close, if it has anything to do; only then the
    `answer` is asked for. Without one there is no firewall, only its resting form."""
    firewalls = [one for one in changes if one.has_work and closes_some(one.target)]
    lb = answer() if firewalls and context.host.live else None
    if not lb:
        return ()
    # Imported only where a firewall is loaded.
    from ..planning import closing

    return closing.closes(firewalls, lb, context.host)


def said(context: Context, done: Done, closed: tuple[Closed, ...]) -> Done:
    """What was done, with what it closed, if it came to that; warns of it once."""
    firewall = next((one for one in done.changes if closes_some(one.target)), None)
    if not (closed and firewall):
        return done
    if not (firewall.touches_file or firewall.reload is Reload.DONE):
        return done
    with contextlib.suppress(LbhookError):  # it would only be said twice
        context.host.state.keep_closed(map(str, closed))
    for warning in closed_warnings(firewall.target.name, closed):
        context.reporter.warn(warning)
    return done._replace(closed=closed)
