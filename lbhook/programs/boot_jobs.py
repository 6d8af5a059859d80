"""Where a boot stands, by systemd's own word. A process that is started before it is needed reads
its modules while the network comes up; what its unit would be ordered after it waits for itself."""

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from .. import processes
from ..system import unit_properties

ASKING = "lbhook-fetch.service"
# The configuration is there, since cloud-init writes it before; addresses are, and programs can be
# tested and signalled.
READY = ("basic.target", "network-online.target")
# Root's own. The user lbhook may not wait for a job of systemd, and sees it by this at once.
MARK = Path("/run/lbhook/booted")
_PROPERTIES = ("Id", "ActiveState", "MainPID", "Job")
# As long as systemd itself waits for a network, and more.
_LONGEST = 300.0
_SLICE = 10.0
_LOOK = 1.0
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
        run: processes.Run = processes.run,
        mark: Path = MARK,
        await_end: Callable[[int, float], None] = await_end,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run, self._mark, self._await_end = run, mark, await_end
        self._clock, self._sleep = clock, sleep

    @contextlib.contextmanager
    def leading(self) -> Iterator[None]:
        """What is done within is done while the boot goes on. In the end it is as far as a unit
        needs it that reads the configuration and uses the network, which lets `follow` return.
        Takes root, and takes back no job that stops."""
        # As a daemon: who is to end does not wait for the network first.
        waiting = threading.Thread(target=self._lead, daemon=True)
        waiting.start()
        yield
        waiting.join()

    def _lead(self) -> None:
        with contextlib.suppress(OSError):  # without a mark the other one finds out by itself
            self._run(("systemctl", "start", "--job-mode=fail", *READY), timeout=_LONGEST)
            self._mark.touch()

    def follow(self, tell: Callable[[], None]) -> None:
        """Return when the boot is as far, without any right. `tell` is called now and then."""
        begin = look = self._clock()
        while not self._mark.exists():
            if self._clock() >= look:
                tell()
                if self._is_ready() or self._clock() - begin >= _LONGEST:
                    return
                look = self._clock() + _LOOK
            self._sleep(_TICK)

    def await_answer(self, tell: Callable[[], None], answer: Path) -> None:
        """Return when the unit that asks has ended, well or not; `answer` is the file that it
        leaves if well, which is seen sooner. `tell` is called now and then."""
        before = _stamp(answer)
        while _is_under_way(unit := self._show(ASKING)[ASKING]):
            tell()
            self._await_end(int(unit.get("MainPID") or 0), _SLICE)
            if _stamp(answer) != before:
                return

    def _is_ready(self) -> bool:
        units = self._show(*READY)
        return all(unit.get("ActiveState") == "active" for unit in units.values())

    def _show(self, *names: str) -> Mapping[str, Mapping[str, str]]:
        """What systemd says of each; nothing of those that it can't be asked of."""
        shown = self._run(("systemctl", "show", *names, f"--property={','.join(_PROPERTIES)}"))
        said = {unit.get("Id", ""): unit for unit in unit_properties.read(shown.output)}
        return {name: said.get(name, {}) for name in names}


def _stamp(file: Path) -> object:
    """What differs once a file was replaced; None if there is none."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _is_under_way(unit: Mapping[str, str]) -> bool:
    return unit.get("ActiveState") == "activating" or int(unit.get("Job") or 0) != 0
