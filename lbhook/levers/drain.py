"""This VM taken out of rotation, and back: its health probes are refused while it is drained."""

import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..config import permissions
from ..context import Context
from ..errors import LbhookError, ReloadError, RightsError, UsageError, WriteError
from ..imds.last_good import LastGood
from ..memory.drains import Drained, Drains
from ..memory.records import SOURCES
from ..metadata.facts import Facts
from ..metadata.reader import Address
from ..processes import Result
from ..traffic import probes
from .reach import sources

if TYPE_CHECKING:
    from ..traffic.flows import Left

_AGAIN = "it is no longer drained, but a reboot drains it again unless that file is removed"
_OVER = "the drain has ended at its time: health probes are answered again"
UNPROBED = "no health probe has come meanwhile, so that Azure may still send new connections here"


class Drain:
    """Drains one machine. `now` is seconds since 1970; what is to end at its time goes by the
    seconds of this boot."""

    def __init__(self, context: Context, now: Callable[[], float] = time.time) -> None:
        self.context = context
        self.now = now
        self.records = Drains(context.host.state)

    def known(self) -> Drained | None:
        """The drain that is in force, by its record."""
        found = self.records.found()
        return None if found and self.is_over(found) else found

    def rules(self) -> Facts | None:
        """What leads here by the last good answer and the configuration; None if neither says."""
        last = self.last_good.find()
        return last.lb if last else None

    def wait(self, limit: float, watch: "Callable[[Left, float], None]") -> "Left":
        """Wait until the last connection that came through a rule has ended and probes have failed,
        for at most so many seconds."""
        from ..traffic.flows import Flows

        machine, context = self.context.host.machine, self.context
        flows = Flows(self.rules() or Facts(), machine, self.sources())
        return flows.wait(limit, context.clock, context.sleep, watch)

    def begin(
        self,
        by: str,
        *,
        reason: str = "",
        lasts: float = 0.0,
        persist: bool = False,
        source: str = SOURCES[0],
        events: tuple[str, ...] = (),
    ) -> Drained:
        """Refuse probes from now on, for so many seconds (0: until `end`). A second one takes the
        place of the first, but for its time; Azure's takes the place of no operator's. Raises
        `LbhookError`; then nothing has changed."""
        self._demand("drain")
        with self.locked():
            before, identity = self.known(), self.last_good.identity()
            if before and not before.azures and source != SOURCES[0]:
                return before
            drained = Drained(
                since=before.since if before else self.now(),
                by=by,
                reason=reason,
                until=self.now() + lasts if lasts else 0.0,
                ends=self.context.boottime() + lasts if lasts else 0.0,
                lasts=lasts,
                persist=persist,
                boot=self.context.host.state.boot_id,
                uuid=identity.uuid,
                machine_id=identity.machine_id,
                source=source,
                events=events or (before.events if before else ()),
            )
            try:
                self.put_in_force(drained)
            except BaseException:
                self._put_back(before)
                raise
        return drained

    def end(self) -> Drained | None:
        """Answer probes again, as the operator wants it; returns the drain that was in force. For
        the same events Azure does not drain it again. Raises `LbhookError`."""
        self._demand("undrain")
        with self.locked():
            before = self.known()
            if before and before.source == "tag" and self.context.settings.imds.obey_tag:
                raise UsageError(f"undrain: {before.text}", hint=before.remedy)
            if before and before.events:
                self.records.waive({*self.records.waived(), *before.events})
            # The table first: after a kill the record tells the next run what is in force.
            self._demand_loaded(probes.remove(self.context.host.run))
            self.records.forget()
            try:
                self.records.drop()
            except WriteError as error:
                raise WriteError(*error.problems, hint=_AGAIN) from None
        return before

    def release(self, source: str) -> bool:
        """End a drain that is Azure's, and of this source; whether there was one. Raises
        `LbhookError`."""
        with self.locked():
            before = self.known()
            if not before or before.source != source or not before.azures:
                return False
            self.finish()
        return True

    def finish(self) -> str:
        """Take table and records away; returns that as a line. Raises `LbhookError`."""
        self._demand_loaded(probes.remove(self.context.host.run))
        self.records.forget()
        self.records.drop()
        return _OVER

    def put_in_force(self, drained: Drained) -> None:
        """Write the records of a drain, and load its table. Raises `LbhookError`."""
        # The record first: what is killed then is completed by the next run.
        self.records.write(drained)
        if drained.persist:
            self.records.keep(drained)
        self.load(drained)
        if not drained.persist:
            self.records.drop()

    def _put_back(self, before: Drained | None) -> None:
        """What was in force before, as well as it can be."""
        with contextlib.suppress(LbhookError):
            if before:
                self.records.write(before)
            else:
                self.records.forget()
        with contextlib.suppress(LbhookError):
            if before and before.persist:
                self.records.keep(before)
            else:
                self.records.drop()

    def load(self, drained: Drained) -> None:
        """Load the table of a drain, and leave it for nftables.service. Raises `LbhookError`."""
        machine = self.context.host.machine
        left = drained.ends - self.context.boottime() if drained.ends else 0.0
        table = probes.text(
            self.sources(),
            [one.port for one in machine.listening()],
            seconds=max(1.0, left) if drained.ends else 0.0,
            tracked=machine.tracked()[1] > 0,
        )
        self.records.leave_table(table)
        self._demand_loaded(probes.load(self.context.host.run, table))

    def sources(self) -> tuple[Address, ...]:
        """Where health probes come from."""
        return sources(self.context.settings)

    def is_over(self, drained: Drained) -> bool:
        """Whether its time has come."""
        return bool(drained.ends) and drained.ends <= self.context.boottime()

    def _demand(self, command: str) -> None:
        permissions.demand(self.context.settings)
        if not self.context.host.root:
            raise RightsError(f"{command}: not root", hint="use sudo")
        if not self.context.host.find("nft"):
            raise ReloadError(
                f"{command}: nft is not installed, and probes are refused by a table of nftables",
                hint="`apt-get install nftables`, or `dnf install nftables`",
            )

    @staticmethod
    def _demand_loaded(result: Result) -> None:
        if not result.ok:
            raise ReloadError(result.report(), hint="nothing was changed")

    def locked(self) -> AbstractContextManager[None]:
        """Hold the lock; raises `BusyError`."""
        return self.context.host.locked(self.context.settings.paths.runtime)

    @property
    def last_good(self) -> LastGood:
        """The last good answer of this machine."""
        return LastGood(self.context.host.tree, self.context.settings, self.context.host.machine)
