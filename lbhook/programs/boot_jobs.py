"""Where a boot stands, by systemd's own word. A process that is started before it is needed reads
its modules while the network comes up; what its unit would be ordered after it waits for itself."""

import contextlib
import os
import select
import time
from collections.abc import Callable, Mapping

from ..processes import Run

ASKING = "lbhook-fetch.service"
ONLINE = "network-online.target"
# Programs can be tested and signalled, and addresses are there.
_READY = ("basic.target", ONLINE)
_PROPERTIES = ("Id", "ActiveState", "MainPID", "Job", "ActiveEnterTimestampMonotonic")
# As long as systemd itself waits for a network, and more.
_LONGEST = 300.0
# TimeoutStartSec= of the unit that asks, which knows itself if it needs more.
_ASKED = 360.0
_SLICE = 10.0
_TICK = 0.02


def await_end(pid: int, seconds: float) -> None:
    """Return when a process has ended, at the latest after `seconds`; soon if there is none."""
    try:
        file = os.pidfd_open(pid)
    except (OSError, ValueError):
        time.sleep(_TICK)
        return
    with contextlib.closing(os.fdopen(file)):
        poll = select.poll()
        poll.register(file, select.POLLIN)
        poll.poll(seconds * 1000)


class BootJobs:
    """The jobs of systemd that a run at boot depends on."""

    def __init__(
        self,
        run: Run,
        await_end: Callable[[int, float], None] = await_end,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._await_end, self._clock = await_end, clock

    def await_answer(self, tell: Callable[[float, float], None]) -> None:
        """Return when the unit that asks has ended, well or not, and the boot is as far as it is
        for a unit without an order of its own. `tell` hears now and then of the seconds that have
        gone, and of those that are left."""
        begin = self._clock()
        units = self._show()
        while _is_under_way(units[ASKING]):
            self._await_end(int(units[ASKING].get("MainPID") or 0), _SLICE)
            waited = self._clock() - begin
            if waited >= _SLICE:
                tell(waited, max(_ASKED - waited, _SLICE))
            units = self._show()
        if any(units[name].get("ActiveState") != "active" for name in _READY):
            self._run(("systemctl", "start", *_READY), timeout=_LONGEST)

    def online_since(self) -> float | None:
        """When systemd took the network to be up, in seconds of `time.monotonic`; None if it has
        not yet, or can't be asked."""
        online = self._show()[ONLINE]
        if online.get("ActiveState") != "active":
            return None
        return int(online.get("ActiveEnterTimestampMonotonic") or 0) / 1e6

    def _show(self) -> Mapping[str, Mapping[str, str]]:
        """What systemd says of each; nothing of those that it can't be asked of."""
        names = (ASKING, *_READY)
        shown = self._run(("systemctl", "show", *names, f"--property={','.join(_PROPERTIES)}"))
        blocks = [block.splitlines() for block in shown.output.split("\n\n")]
        units = [dict(one.split("=", 1) for one in block if "=" in one) for block in blocks]
        said = {unit.get("Id", ""): unit for unit in units}
        return {name: said.get(name, {}) for name in names}


def _is_under_way(unit: Mapping[str, str]) -> bool:
    return unit.get("ActiveState") == "activating" or int(unit.get("Job") or 0) != 0
