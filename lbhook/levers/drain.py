"""This VM taken out of rotation, and back: its health probes are refused while it is drained."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from ..config import permissions
from ..config.settings import Settings
from ..config.shipped import SHIPPED
from ..context import Context
from ..deployment.report import Report
from ..errors import (
    BusyError,
    LbhookError,
    ReloadError,
    RightsError,
    UsageError,
    WriteError,
)
from ..imds.identity import Identity
from ..imds.last_good import LastGood
from ..memory.drains import Drained, Drains
from ..memory.records import SOURCES
from ..metadata.described import described
from ..metadata.facts import Facts
from ..metadata.model import Protocol
from ..metadata.reader import Address
from ..processes import Result
from ..traffic import probes

if TYPE_CHECKING:
    from ..traffic.flows import Left

_GONE = "the drain's table was gone; it is loaded again, and health probes are refused"
_AGAIN = "it is no longer drained, but a reboot drains it again unless that file is removed"
_OVER = "the drain has ended at its time: health probes are answered again"
_NAT = (
    "NAT rules, and rules without a probe, go on sending new connections here; which rules they"
    " are, Azure's answer does not tell"
)
_UDP = "UDP has no connections that could be waited for, and may move to another VM at once"
UNPROBED = "no health probe has come meanwhile, so that Azure may still send new connections here"
_FOREIGN = "this disk was captured from another VM, which was drained: this one is not"


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
        return None if found and self._is_over(found) else found

    def rules(self) -> Facts | None:
        """What leads here by the last good answer and the configuration; None if neither says."""
        last = self._last_good.find()
        return last.lb if last else None

    def wait(self, limit: float, watch: "Callable[[Left, float], None]") -> "Left":
        """Wait until the last connection that came through a rule has ended and probes have failed,
        for at most so many seconds."""
        from ..traffic.flows import Flows

        machine, context = self.context.host.machine, self.context
        flows = Flows(self.rules() or Facts(), machine, self._sources())
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
        with self._locked():
            before, identity = self.known(), self._last_good.identity()
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
                self._put_in_force(drained)
            except BaseException:
                self._put_back(before)
                raise
        return drained

    def end(self) -> Drained | None:
        """Answer probes again, as the operator wants it; returns the drain that was in force. For
        the same events Azure does not drain it again. Raises `LbhookError`."""
        self._demand("undrain")
        with self._locked():
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
        with self._locked():
            before = self.known()
            if not before or before.source != source or not before.azures:
                return False
            self._finish()
        return True

    def uphold(self) -> str:
        """What a run owes to the drain: its table is there, after a reboot too if it is to outlast
        that; a drain whose time is over ends. Returns what was done, as a line. Raises
        `LbhookError`."""
        host = self.context.host
        if not (host.live and host.root):
            return ""
        found = self.records.found()
        if not found:
            return self._revive()
        if self._is_over(found):
            return self._finish()
        if probes.stands(host.run, self._sources()):
            return ""
        self._load(found)
        return _GONE

    def obeyed(self, work: Callable[[], Report]) -> Report:
        """What a run comes to that sees to the drain first. That this fails keeps the run from
        nothing, and is its failure."""
        failure = self._try_to_uphold()
        result = work()
        with contextlib.suppress(LbhookError):
            result = result._replace(drained=self.known())
        return result.failing(failure) if failure else result

    def _try_to_uphold(self) -> LbhookError | None:
        try:
            if not self.records.any():
                return None
            with self._locked():
                said = self.uphold()
        except BusyError as error:
            self.context.reporter.log(f"drain: {error}; the next run sees to it")
            return None
        except LbhookError as error:
            return error
        if said:
            self.context.reporter.warn(said)
        return None

    def _revive(self) -> str:
        """A drain that outlasts reboots, in the first run of this boot."""
        kept = self.records.of_earlier_boot()
        if not kept:
            return ""
        if Identity(kept.uuid, kept.machine_id).same(self._last_good.identity()) is False:
            self.records.drop()
            return _FOREIGN
        left = max(0.0, min(kept.lasts, kept.until - self.now())) if kept.lasts else 0.0
        if kept.lasts and not left:
            return self._finish()
        ends = self.context.boottime() + left if left else 0.0
        found = kept._replace(ends=ends, boot=self.context.host.state.boot_id)
        self._put_in_force(found)
        return found.text

    def _finish(self) -> str:
        self._demand_loaded(probes.remove(self.context.host.run))
        self.records.forget()
        self.records.drop()
        return _OVER

    def _put_in_force(self, drained: Drained) -> None:
        # The record first: what is killed then is completed by the next run.
        self.records.write(drained)
        if drained.persist:
            self.records.keep(drained)
        self._load(drained)
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

    def _load(self, drained: Drained) -> None:
        machine = self.context.host.machine
        left = drained.ends - self.context.boottime() if drained.ends else 0.0
        table = probes.text(
            self._sources(),
            [one.port for one in machine.listening()],
            seconds=max(1.0, left) if drained.ends else 0.0,
            tracked=machine.tracked()[1] > 0,
        )
        self.records.leave_table(table)
        self._demand_loaded(probes.load(self.context.host.run, table))

    def _sources(self) -> tuple[Address, ...]:
        return sources(self.context.settings)

    def _is_over(self, drained: Drained) -> bool:
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

    def _locked(self) -> AbstractContextManager[None]:
        return self.context.host.locked(self.context.settings.paths.runtime)

    @property
    def _last_good(self) -> LastGood:
        return LastGood(self.context.host.tree, self.context.settings, self.context.host.machine)


def sources(settings: Settings) -> tuple[Address, ...]:
    """Where health probes come from: Azure's addresses, and those of the configuration."""
    shipped = SHIPPED["nftables"].variables["probe_sources"][1]
    named = (one for target in settings.active() for one in target.vars.get("probe_sources", ()))
    return tuple(dict.fromkeys((*shipped, *named)))


def limits(lb: Facts | None) -> Iterator[str]:
    """What can't be drained, as far as the answer tells. Microsoft: "Azure Load Balancer health
    probes" has what becomes of flows when probes fail; NAT rules have none."""
    if lb is None:
        yield "no last good answer: which rules lead here is not known"
        return
    if lb.inbound_rules:
        yield _NAT
    udp = [described(one) for one in lb.inbound_rules if one.protocol is not Protocol.TCP]
    if udp:
        yield f"{_UDP}: {', '.join(udp)}"
