"""An apply that is put back unless somebody confirms it in time."""

import time
from collections.abc import Callable, Sequence

from ..config.targets import Target
from ..context import Context
from ..deployment.outcome import Done
from ..deployment.recovery import settled
from ..deployment.report import Report
from ..errors import LbhookError, ReloadError, UsageError
from ..levers import standstill
from ..memory.records import Standstill
from ..storage import forms
from .undo import Undo

# What the service manager calls the timer that puts back, and its service.
UNIT = "lbhook-revert"
# Its errors are for the serial console too: SSH may be what was shut.
_LOUD = ("--property=StandardError=journal+console", "--setenv=COLUMNS=80")


class Unconfirmed:
    """One such apply on one host. `revert` is the command line that puts it back."""

    def __init__(
        self,
        context: Context,
        by: str = "",
        revert: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        self.context = context
        self.by = by
        self.now = now
        self._revert = tuple(revert)

    def begin(self, seconds: float) -> None:
        """Have what comes next put back after so many seconds, whatever becomes of this process.
        Raises `LbhookError`, and then nothing has begun."""
        host = self.context.host
        standstill.demand_rights(self.context, "apply --confirm")
        if not (host.live and host.machine.has_systemd()):
            raise UsageError(
                "--confirm: systemd does not run here, and nothing else could put back what nobody"
                " confirms",
                hint="apply without --confirm",
            )
        with host.locked(self.context.settings.paths.runtime):
            known = self._known()
            if known and known.kind == "unconfirmed":
                raise UsageError(f"--confirm: {known.text}", hint=known.remedy)
            now = self.now()
            host.journal.mark()
            host.tree.write(host.state.waiting_file, b"")
            self._keep(
                Standstill(
                    kind="unconfirmed",
                    since=now,
                    by=self.by,
                    until=now + seconds,
                    boot=host.state.boot_id,
                    due=self.context.boottime() + seconds,
                )
            )
            try:
                self._start_timer(seconds)
            except BaseException:
                self._keep(known)
                raise

    def settle(self) -> Standstill | None:
        """After the apply: what waits for its confirmation now. Nothing does if it has changed
        nothing."""
        with self.context.host.locked(self.context.settings.paths.runtime):
            known = self._known()
            if known and self.context.host.journal.is_marked():
                self._keep(None)
                self._stop_timer()
                return None
            return known

    def confirm(self) -> Standstill:
        """Keep what was applied. Raises `UsageError` if nothing waits, and `LbhookError`."""
        standstill.demand_rights(self.context, "confirm")
        with self.context.host.locked(self.context.settings.paths.runtime):
            known = self._known()
            if known is None:
                raise UsageError("confirm: no apply waits for it", hint="see `lbhook apply --help`")
            if known.kind == "reverted":
                raise UsageError(f"confirm: too late: {known.text}", hint=known.remedy)
            self._keep(None)
        self._stop_timer()
        return known

    def waits(self) -> bool:
        """Whether an apply waits for its confirmation."""
        known = self._known()
        return bool(known and known.kind == "unconfirmed")

    def overdue(self) -> bool:
        """Whether its time is over, or this machine was started again since."""
        known = self._known()
        if known is None or known.kind != "unconfirmed":
            return False
        # A container has the boot id of its host, and a directory of its own that no reboot keeps.
        state, tree = self.context.host.state, self.context.host.tree
        same = known.boot == state.boot_id and tree.read(state.waiting_file) is not None
        return not same or known.due <= self.context.boottime()

    def revert(self) -> Report:
        """Put it back, if it still waits. Never raises a `LbhookError`."""
        return settled(self.context, self.revert_now)

    def put_back(self) -> Done:
        """The same as a part of another run, which is under the lock and goes on."""
        try:
            report = self.revert_now()
        except LbhookError as error:
            return Done(failures=(error,))
        acted = any(one.touches_file for one in report.changes)
        failures = (ReloadError(*report.problems, hint=report.hint),) if report.problems else ()
        if report.standstill:
            self.context.reporter.warn(report.standstill.text)
        return Done(changes=report.changes, failures=failures, acted=acted)

    def forget(self) -> None:
        """A person has taken over from an apply that was put back."""
        self._keep(None)

    def revert_now(self) -> Report:
        """The same under the lock. Raises `LbhookError`: then it is tried again by each run."""
        known = self._known()
        if known is None or known.kind != "unconfirmed":
            return Report(outcome="unchanged", source="cache")
        if self.context.host.journal.is_marked():
            self._keep(None)
            return Report(outcome="unchanged", source="cache")
        report = self._take_back(known._replace(kind="reverted", until=0.0))
        return report._replace(standstill=self._known())

    def _take_back(self, reverted: Standstill) -> Report:
        """All of it; if that fails, at least the firewall: it may be what shuts somebody out. In
        one transaction with the word that it was: or a second time would be the apply again."""
        undo = Undo(self.context)
        records = {self.context.host.state.unconfirmed_file: forms.written(reverted._asdict())}
        try:
            return undo.rollback_now(records)
        except LbhookError as error:
            if not undo.replaced(_is_firewall):
                raise
            firewall = undo.rollback_now(records, _is_firewall)
            return firewall._replace(
                status=error.status,
                problems=(*error.problems, "only the firewall was put back"),
                hint=error.hint,
            )

    def _known(self) -> Standstill | None:
        state = self.context.host.state
        return state.standstill(state.unconfirmed_file)

    def _keep(self, known: Standstill | None) -> None:
        state = self.context.host.state
        state.keep_standstill(state.unconfirmed_file, known)

    def _start_timer(self, seconds: float) -> None:
        self._stop_timer()
        words = (
            *("systemd-run", "--quiet", "--collect", f"--unit={UNIT}"),
            "--description=Put back an apply of lbhook that nobody has confirmed",
            *(f"--on-active={seconds:.0f}s", "--timer-property=AccuracySec=100ms"),
            *("--property=Restart=on-failure", "--property=RestartSec=10s", *_LOUD),
        )
        done = self.context.host.run((*words, "--", *self._revert))
        if not done.ok:
            raise ReloadError(
                f"--confirm: {done.report()}", hint="nothing was changed; apply without --confirm"
            )

    def _stop_timer(self) -> None:
        self.context.host.run(("systemctl", "stop", f"{UNIT}.timer"))


def _is_firewall(target: Target) -> bool:
    return target.kind == "nftables"
