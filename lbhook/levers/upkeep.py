"""What every run owes to a drain: its table is there, and it ends at its time."""

import contextlib
from collections.abc import Callable

from ..deployment.report import Report
from ..errors import BusyError, LbhookError
from ..imds.identity import Identity
from ..traffic import probes
from .drain import Drain

_GONE = "the drain's table was gone; it is loaded again, and health probes are refused"
_FOREIGN = "this disk was captured from another VM, which was drained: this one is not"


class Upkeep:
    """Sees to one drain."""

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self.context = drain.context

    def obeyed(self, work: Callable[[], Report]) -> Report:
        """What a run comes to that sees to the drain first. That this fails keeps the run from
        nothing, and is its failure."""
        failure = self._try()
        result = work()
        with contextlib.suppress(LbhookError):
            result = result._replace(drained=self.drain.known())
        return result.failing(failure) if failure else result

    def uphold(self) -> str:
        """What is owed: its table is there, after a reboot too if it is to outlast
        that; a drain whose time is over ends. Returns what was done, as a line. Raises
        `LbhookError`."""
        host = self.context.host
        if not (host.live and host.root):
            return ""
        found = self.drain.records.found()
        if not found:
            return self._revive()
        if self.drain.is_over(found):
            return self.drain.finish()
        if probes.stands(host.run, self.drain.sources()):
            return ""
        self.drain.load(found)
        return _GONE

    def _try(self) -> LbhookError | None:
        try:
            if not self.drain.records.any():
                return None
            with self.drain.locked():
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
        kept = self.drain.records.of_earlier_boot()
        if not kept:
            return ""
        if Identity(kept.uuid, kept.machine_id).same(self.drain.last_good.identity()) is False:
            self.drain.records.drop()
            return _FOREIGN
        left = max(0.0, min(kept.lasts, kept.until - self.drain.now())) if kept.lasts else 0.0
        if kept.lasts and not left:
            return self.drain.finish()
        ends = self.context.boottime() + left if left else 0.0
        found = kept._replace(ends=ends, boot=self.context.host.state.boot_id)
        self.drain.put_in_force(found)
        return found.text
