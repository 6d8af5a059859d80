"""What a deployment came to."""

from typing import NamedTuple

from ..errors import LbhookError
from ..plan import Change, Closed, Outcome, Reload


class Done(NamedTuple):
    """What became of each change. `failures` are those of targets that were put back or not even
    begun, `blocked` those of others that could not follow. `acted` says whether a file was
    replaced or removed, or anything reloaded; `closed` is what the firewall closed."""

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    failures: tuple[LbhookError, ...] = ()
    blocked: tuple[LbhookError, ...] = ()
    acted: bool = False
    closed: tuple[Closed, ...] = ()

    @property
    def errors(self) -> tuple[LbhookError, ...]:
        """Everything that went wrong."""
        return (*self.failures, *self.blocked)


def together(first: Done, then: Done) -> tuple[Change, ...]:
    """What became of each file in two deployments of one run, in the order of the later one."""
    paid = {one.path: one for one in first.changes if one.reload is not Reload.NONE}
    paid.update({one.path: one for one in first.changes if one.touches_file})
    changes = []
    for change in then.changes:
        earlier = paid.pop(change.path, None)
        if earlier and change.outcome is Outcome.UNCHANGED:
            change = change._replace(outcome=earlier.outcome)
        if earlier and change.reload is Reload.NONE:
            reason = change.reason or earlier.reason
            change = change._replace(reload=earlier.reload, reason=reason)
        changes.append(change)
    return (*changes, *paid.values())
