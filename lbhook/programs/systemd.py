"""What a reload means in each state of a unit.

Nothing here waits for a job that waits for lbhook. A blocking `systemctl reload nginx` in a
unit that is ordered before nginx.service never ends, and a queued one is held back until
lbhook's own job is over; a signal to the main process, or a command of the program's own, works
at once and from anywhere.
"""

import os
import re
import signal
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..config.targets import Argv
from ..errors import ReloadError
from ..plan import Reload
from ..processes import Result, Run
from ..system import unit_properties
from ..system.machine import Machine
from ..system.unit_properties import Units


class Program(NamedTuple):
    """A program that reloads without a job of its unit: on a signal to its main process or,
    where there is one, by a command. Without systemd `pid_file` tells whether it runs."""

    name: str
    pid_file: str
    signal: int = 0
    command: Argv = ()


PROGRAMS = {
    "nginx.service": Program(name="nginx", pid_file="/run/nginx.pid", signal=signal.SIGHUP),
    "haproxy.service": Program(name="haproxy", pid_file="/run/haproxy.pid", signal=signal.SIGUSR2),
    # It takes a signal, too, but says to nobody what came of it.
    "firewalld.service": Program(
        name="firewalld", pid_file="/run/firewalld.pid", command=("firewall-cmd", "--reload")
    ),
}
_MOMENT = 1.0
# systemd 252 calls it `--kill-whom`, of which this is a beginning.
_MAIN = ("--kill-who=main",)
_SETTLING = ("activating", "reloading", "deactivating", "refreshing", "maintenance")
_ENDED = ("inactive", "failed")
# haproxy says that it is reloading for as long as its new worker tries to listen.
RUNNING = ("active", "reloading", "refreshing")
_ENABLED = ("enabled", "enabled-runtime", "static", "generated")


class Unit(NamedTuple):
    """A unit as systemd sees it; `main_pid` and `job` are 0 if there is none, `reloaded` is
    false if its last reload failed."""

    name: str
    active: str
    main_pid: int = 0
    job: int = 0
    enabled: bool = False
    reloaded: bool = True


class Services:
    """Reloads units of this machine, through systemd where it runs."""

    def __init__(
        self,
        run: Run,
        machine: Machine = Machine(),
        kill: Callable[[int, int], None] = os.kill,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        units: Units | None = None,
    ) -> None:
        self.run = run
        self.machine = machine
        self.kill = kill
        self.sleep = sleep
        self.clock = clock
        self.units = units or Units(run)

    def unit(self, name: str) -> Unit:
        """The state of a unit, as last looked at; without systemd, of a program that writes its
        pid. So it is where somebody else has started that: by hand, or by another supervisor."""
        if not self.machine.has_systemd():
            return self._without_systemd(name)
        values = unit_properties.read(_demanded(self.units.show(name)).output)[0]
        unit = Unit(
            name=name,
            active=values.get("ActiveState", "inactive"),
            main_pid=int(values.get("MainPID", "0") or 0),
            job=int(values.get("Job", "0") or 0),
            enabled=values.get("UnitFileState", "") in _ENABLED,
            # Before systemd 244 nobody can say.
            reloaded=values.get("ReloadResult", "success") == "success",
        )
        pid = self.written_pid(name) if unit.active in _ENDED else 0
        return unit._replace(active="active", main_pid=pid) if pid else unit

    def written_pid(self, name: str) -> int:
        """The main process of a program that runs and has written its pid; 0 if that can't be
        told without systemd, which takes ten times as long to ask as a file."""
        program = PROGRAMS.get(name)
        pid = self._pid(program.pid_file) if program else 0
        return pid if program and self.machine.program(pid) == program.name else 0

    def main_pid(self, name: str, program: str) -> int:
        """The main process of a unit, if it is this program itself; 0 if there is none."""
        pid = self.written_pid(name)
        if not pid and self.machine.has_systemd():
            pid = self.unit(name).main_pid
        return pid if self.machine.program(pid) == program else 0

    def command(self, name: str, program: str) -> Sequence[str]:
        """The words that a unit's program was started with, or would be; none if the unit starts
        something else. What systemd would put in place of a variable is not known."""
        pid = self.main_pid(name, program)
        if pid:
            return self.machine.arguments(pid)
        shown = self.units.properties(name) if self.machine.has_systemd() else {}
        found = re.search(r"argv\[\]=(.*?) ;", shown.get("ExecStart", ""))
        words = found[1].split() if found else []
        return words if words and PurePosixPath(words[0]).name == program else ()

    def running(self, name: str) -> tuple[str, int]:
        """The program of a unit that runs, and its main process; none if it does not, or if that
        can't be told without systemd."""
        if name not in PROGRAMS and not self.machine.has_systemd():
            return "", 0
        unit = self.unit(name)
        program = self.machine.program(unit.main_pid) if unit.active in RUNNING else ""
        return (program, unit.main_pid) if program else ("", 0)

    def reload(self, name: str, *, timeout: float, file_changed: bool) -> Reload:
        """Reload a unit; `timeout` (seconds) is how long a unit in between two states, or a
        command that reloads it, is waited for. Raises `ReloadError` if it is refused."""
        unit = self._settled(name, timeout)
        if unit.active in _SETTLING:
            return Reload.OWED
        try:
            if unit.active == "active":
                return self._reload_active(unit, timeout)
            if unit.active == "failed" and file_changed and unit.enabled:
                return self._start_failed(unit)
        finally:
            self.units.look_again()
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

    def stays_renewed(self, name: str, workers: Collection[int], timeout: float) -> bool:
        """As `renewed`, once a unit that says how its reload went has done so: a new worker of
        haproxy that can't listen goes again after some seconds."""
        self.units.look_again()
        unit = self._settled(name, timeout)
        return not set(self.machine.children(unit.main_pid)) <= set(workers)

    def _settled(self, name: str, timeout: float) -> Unit:
        end = self.clock() + timeout
        unit = self.unit(name)
        # Should the unit itself wait for lbhook, this ends all the same.
        while unit.active in _SETTLING and self.clock() < end:
            self.sleep(0.1)
            self.units.look_again()
            unit = self.unit(name)
        return unit

    def _reload_active(self, unit: Unit, timeout: float) -> Reload:
        program = PROGRAMS.get(unit.name)
        if not program or not self._is_program(unit):
            self._run("systemctl", "--no-block", "reload", unit.name)
            return Reload.QUEUED
        if program.command:
            return self._command(program.command, timeout)
        return self._signal(unit, program.signal)

    def _command(self, argv: Argv, timeout: float) -> Reload:
        """Twice, if need be: where somebody has flushed its table, firewalld 1.3 stops half-way
        with every new connection shut out, and comes to the end the second time."""
        if not self.run(argv, timeout=timeout).ok:
            self._run(*argv, timeout=timeout)
        return Reload.DONE

    def _signal(self, unit: Unit, number: int) -> Reload:
        workers = self.machine.children(unit.main_pid)
        try:
            self._send(unit, number)
            # For some milliseconds after its start and after each reload haproxy loses signals.
            lossy = unit.name == "haproxy.service" and workers
            if lossy and not self.renewed(unit.main_pid, workers, _MOMENT):
                self._send(unit, number)
        except ProcessLookupError:
            return Reload.NONE
        return Reload.DONE

    def _send(self, unit: Unit, number: int) -> None:
        try:
            self.kill(unit.main_pid, number)
        except PermissionError:
            # Of a process of another user (`User=`) lbhook's units may not; PID 1 may.
            if not self.run(("systemctl", "kill", *_MAIN, f"--signal={number}", unit.name)).ok:
                problem = f"{unit.name}: may not signal its main process {unit.main_pid}"
                raise ReloadError(problem, hint="run as root") from None

    def _is_program(self, unit: Unit) -> bool:
        """Whether the main process is the program itself, and not what a container runs in."""
        return self.machine.program(unit.main_pid) == PROGRAMS[unit.name].name

    def _start_failed(self, unit: Unit) -> Reload:
        self._run("systemctl", "reset-failed", unit.name)
        self._run("systemctl", "--no-block", "start", unit.name)
        return Reload.QUEUED

    def _run(self, *argv: str, timeout: float = 30.0) -> Result:
        return _demanded(self.run(argv, timeout=timeout))

    def _without_systemd(self, name: str) -> Unit:
        if name not in PROGRAMS:
            raise ReloadError(f"{name}: systemd does not run here", hint="use `reload` instead")
        pid = self.written_pid(name)
        return Unit(name=name, active="active" if pid else "inactive", main_pid=pid)

    def _pid(self, pid_file: str) -> int:
        try:
            text = (self.machine.root / pid_file.lstrip("/")).read_text(encoding="ascii")
            return int(text.strip() or 0)  # `nginx -t` leaves an empty one
        except (OSError, ValueError):
            return 0


def _demanded(result: Result) -> Result:
    if not result.ok:
        raise ReloadError(result.report())
    return result
