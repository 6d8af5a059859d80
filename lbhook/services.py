"""What a reload means in each state of a unit.

Nothing here waits for a job that waits for lbhook. A blocking `systemctl reload nginx` in a
unit that is ordered before nginx.service never ends, and a queued one is held back until
lbhook's own job is over; a signal to the main process works at once, from anywhere.
"""

import os
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from .commands import Result, Run
from .errors import ReloadError
from .machine import Machine
from .plan import Reload

# Programs whose main process reloads on a signal, and where it writes its pid without systemd.
SIGNALS = {
    "nginx.service": ("nginx", signal.SIGHUP, "/run/nginx.pid"),
    "haproxy.service": ("haproxy", signal.SIGUSR2, "/run/haproxy.pid"),
}
_MOMENT = 1.0
_SETTLING = ("activating", "reloading", "deactivating", "refreshing", "maintenance")
_ENABLED = ("enabled", "enabled-runtime", "static", "generated")
_PROPERTIES = ("ActiveState", "MainPID", "Job", "UnitFileState", "ReloadResult")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit as systemd sees it; `main_pid` and `job` are 0 if there is none, `reloaded` is
    false if its last reload failed."""

    name: str
    active: str
    main_pid: int = 0
    job: int = 0
    enabled: bool = False
    reloaded: bool = True


@dataclass(frozen=True, slots=True)
class Services:
    """Reloads units of this machine, through systemd where it runs."""

    run: Run
    machine: Machine = Machine()
    kill: Callable[[int, int], None] = os.kill
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def unit(self, name: str) -> Unit:
        """The state of a unit; without systemd, of a program that writes its pid."""
        if not self.machine.has_systemd():
            return self._without_systemd(name)
        shown = self.run(("systemctl", "show", name, f"--property={','.join(_PROPERTIES)}"))
        if not shown.ok:
            raise ReloadError(shown.report())
        values = dict(line.split("=", 1) for line in shown.output.splitlines() if "=" in line)
        return Unit(
            name=name,
            active=values.get("ActiveState", "inactive"),
            main_pid=int(values.get("MainPID", "0") or 0),
            job=int(values.get("Job", "0") or 0),
            enabled=values.get("UnitFileState", "") in _ENABLED,
            # Before systemd 244 nobody can say.
            reloaded=values.get("ReloadResult", "success") == "success",
        )

    def reload(self, name: str, *, timeout: float, file_changed: bool) -> Reload:
        """Reload a unit; `timeout` (seconds) is how long a unit in between two states is
        waited for. Raises `ReloadError` if systemd refuses."""
        unit = self._settled(name, timeout)
        if unit.active in _SETTLING:
            return Reload.OWED
        if unit.active == "active":
            return self._reload_active(unit)
        if unit.active == "failed" and file_changed and unit.enabled:
            return self._start_failed(unit)
        return Reload.NONE

    def renewed(self, main_pid: int, workers: Collection[int], timeout: float) -> bool:
        """Whether a main process has other workers than these, within `timeout` seconds: that is
        how nginx and haproxy take a new configuration."""
        end = self.clock() + timeout
        while set(self.machine.children(main_pid)) <= set(workers):
            if self.clock() >= end:
                return False
            self.sleep(0.01)
        return True

    def _settled(self, name: str, timeout: float) -> Unit:
        end = self.clock() + timeout
        unit = self.unit(name)
        # Should the unit itself wait for lbhook, this ends all the same.
        while unit.active in _SETTLING and self.clock() < end:
            self.sleep(0.1)
            unit = self.unit(name)
        return unit

    def _reload_active(self, unit: Unit) -> Reload:
        if unit.name in SIGNALS and self._is_program(unit):
            return self._signal(unit)
        self._systemctl("--no-block", "reload", unit.name)
        return Reload.QUEUED

    def _signal(self, unit: Unit) -> Reload:
        workers = self.machine.children(unit.main_pid)
        try:
            self.kill(unit.main_pid, SIGNALS[unit.name][1])
            # For some milliseconds after its start and after each reload haproxy loses signals.
            lossy = SIGNALS[unit.name][0] == "haproxy" and workers
            if lossy and not self.renewed(unit.main_pid, workers, _MOMENT):
                self.kill(unit.main_pid, SIGNALS[unit.name][1])
        except ProcessLookupError:
            return Reload.NONE
        except PermissionError:
            problem = f"{unit.name}: may not signal its main process {unit.main_pid}"
            raise ReloadError(problem, hint="run as root; in a unit, CAP_KILL is needed") from None
        return Reload.DONE

    def _is_program(self, unit: Unit) -> bool:
        """Whether the main process is the program itself, and not what a container runs in."""
        return self.machine.program(unit.main_pid) == SIGNALS[unit.name][0]

    def _start_failed(self, unit: Unit) -> Reload:
        self._systemctl("reset-failed", unit.name)
        self._systemctl("--no-block", "start", unit.name)
        return Reload.QUEUED

    def _systemctl(self, *words: str) -> Result:
        result = self.run(("systemctl", *words))
        if not result.ok:
            raise ReloadError(result.report())
        return result

    def _without_systemd(self, name: str) -> Unit:
        if name not in SIGNALS:
            raise ReloadError(f"{name}: systemd does not run here", hint="use `reload` instead")
        unit = Unit(name=name, active="active", main_pid=self._pid(SIGNALS[name][2]))
        return unit if self._is_program(unit) else replace(unit, active="inactive")

    def _pid(self, pid_file: str) -> int:
        try:
            text = (self.machine.root / pid_file.lstrip("/")).read_text(encoding="ascii")
            return int(text.strip() or 0)  # `nginx -t` leaves an empty one
        except (OSError, ValueError):
            return 0
