"""What makes a machine hold still: a hold, or an apply that nobody has confirmed yet."""

import time
from collections.abc import Callable

from ..config import permissions
from ..context import Context, Options
from ..errors import RightsError, UsageError
from ..memory.records import Standstill
from ..memory.state import State


def in_force(state: State, now: Callable[[], float] = time.time) -> Standstill | None:
    """Why nothing new is applied here; of several reasons, the unconfirmed apply, then the hold of
    an operator."""
    hold = state.standstill(state.hold_file)
    if hold and hold.until and hold.until <= now():
        hold = None
    return state.standstill(state.unconfirmed_file) or hold or state.standstill(state.tag_file)


def lets(options: Options, standstill: Standstill) -> bool:
    """Whether a run with such options goes on all the same."""
    if standstill.kind in ("hold", "tag"):
        return options.despite_hold
    if standstill.kind == "reverted":
        return options.by_hand
    return not options.confirmed  # the very apply that will wait for its confirmation


def demand_rights(context: Context, command: str) -> None:
    """Raise `RightsError` if a command that holds this machine, or lets it go on, may not."""
    permissions.demand(context.settings)
    if context.host.live and not context.host.root:
        raise RightsError(f"{command}: not root", hint="use sudo")


class Hold:
    """Holds one machine, and lets it go on."""

    def __init__(self, context: Context, by: str, now: Callable[[], float] = time.time) -> None:
        self.context = context
        self.by = by
        self.now = now

    def end_of(self, length: float | None, until: str | None) -> float:
        """The time (seconds since 1970) that is so many seconds away, or that date(1) reads in a
        text; 0 without either. Raises `UsageError`."""
        if length is not None:
            return self.now() + length
        if until is None:
            return 0.0
        read = self.context.host.run(("date", f"--date={until}", "+%s"))
        if not (until.strip() and read.ok):
            raise UsageError(
                f"--until {until!r} is no time", hint='such as "18:00" or "2026-12-01 09:00 UTC"'
            )
        return float(read.output)

    def begin(self, until: float = 0.0, reason: str = "") -> Standstill:
        """Apply nothing new until then (seconds since 1970; 0: until `end`). A second hold takes
        the place of the first. Raises `LbhookError`."""
        now = self.now()
        if until and until <= now:
            raise UsageError("--until: that time is past", hint="`--for 2h` counts from now")
        hold = Standstill(kind="hold", since=now, by=self.by, until=until, reason=reason)
        demand_rights(self.context, "hold")
        with self.context.host.locked(self.context.settings.paths.runtime):
            state = self.context.host.state
            state.keep_standstill(state.hold_file, hold)
        return hold

    def end(self) -> Standstill | None:
        """Apply what is new again, also after an apply that was put back. Returns what there was.
        Raises `LbhookError`."""
        demand_rights(self.context, "resume")
        with self.context.host.locked(self.context.settings.paths.runtime):
            state = self.context.host.state
            unconfirmed = state.standstill(state.unconfirmed_file)
            if unconfirmed and unconfirmed.kind == "unconfirmed":
                raise UsageError(f"resume: {unconfirmed.text}", hint=unconfirmed.remedy)
            hold = state.standstill(state.hold_file)
            state.keep_standstill(state.unconfirmed_file, None)
            state.keep_standstill(state.hold_file, None)
            tag = state.standstill(state.tag_file)
            if tag and self.context.settings.imds.obey_tag:
                raise UsageError(f"resume: {tag.text}", hint=tag.remedy)
            state.keep_standstill(state.tag_file, None)
        return unconfirmed or hold or tag
