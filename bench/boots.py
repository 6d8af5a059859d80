"""What a boot waits for: boots of Debian 12, with lbhook's own units and without.

"Read" is when lbhook-fetch.service has read the answer (what it hands over says when), "taken" when
lbhook.service reads that (the file's atime), and "in place" the last rename of a target's file (its
ctime). From the first to the second are the end of one Python and the start of another in its
sandbox; from there all imports and templates, and the checks: nft by lbhook, nginx by PID 1. The
clock of an inode is that of the timer interrupt, some milliseconds.
"""

import json
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.boot.azure import Azure, azure_of
from tests.boot.machine import Machine
from tests.boot.rootfs import MACHINES, rootfs
from tests.lab.hosts import require

from .measure import Result, result
from .scene import THREE, Bench

BOOTS = 7
_ANSWER = "/run/lbhook-fetch/answer.json"
_WITHIN = Path(__file__).with_name("within.py").read_text(encoding="utf-8")
# What they are called, and how many times the three imports are enough.
_ROWS = {
    "taken": ("boot, handed over to in place", 1.0),
    "read": ("boot, answer read to in place", 1.0),
    "added": ("boot, what nginx waits longer", 3.0),
    "added later": ("later boot, what nginx waits longer", 3.0),
}


def results(bench: Bench) -> Iterator[Result]:
    """Against the three imports of the machine's own Python, right after each boot."""
    with ExitStack() as stack:
        try:
            require("systemd-nspawn", "debootstrap", "nsenter", "unshare")
            image = rootfs(MACHINES["bookworm"])
            boots = Boots(bench.place, image, stack.enter_context(azure_of()))
        except pytest.skip.Exception as reason:
            print(f"{', '.join(what for what, _ in _ROWS.values())}: left out: {reason}")
            return
        stack.callback(boots.close)
        figures = [(boots.first(), boots.imports()) for _ in range(BOOTS)]
        for mark, (what, reach) in _ROWS.items():
            pairs = [(took[mark], imports) for took, imports in figures]
            yield result(what, "three imports", pairs, reach=reach)


class Boots:
    """Machines, one after the other; the newest is on."""

    def __init__(self, place: Path, image: Path, azure: Azure) -> None:
        self._place, self._image, self._azure = place, image, azure
        self._count = 0
        azure.send(8080)
        self._machine = self._new()

    def close(self) -> None:
        """Switch off."""
        self._machine.kill()

    def first(self) -> dict[str, float]:
        """Milliseconds from each mark to the files in place, in the first boot of a machine; and
        how much later nginx starts than in one without lbhook, in that boot and the next."""
        without = self._started(self._new(bare=True))
        next_without = self._started()
        with_lbhook = self._started(self._new())
        found = {"added": with_lbhook - without, **self._marks()}
        return {**found, "added later": self._started() - next_without}

    def _started(self, machine: Machine | None = None) -> float:
        """Milliseconds from the start of systemd to that of nginx, in the next boot."""
        self._machine.kill()
        self._machine = machine or self._machine
        self._machine.switch_on()
        self._machine.wait_until_up()
        return until_nginx(self._machine)

    def _marks(self) -> dict[str, float]:
        # Before its content: reading is what changes the atime.
        taken = self._machine.path(_ANSWER).stat().st_atime
        read = json.loads(self._machine.read(_ANSWER))["read"]
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        targets = self._machine.status()["targets"]
        assert {one["outcome"] for one in targets} <= {"created", "changed"}, targets
        done = max(self._machine.path(one["path"]).stat().st_ctime for one in targets)
        return {"read": (done - booted - read) * 1000, "taken": (done - taken) * 1000}

    def imports(self) -> float:
        """Milliseconds of the three imports, a program of its own; the median of three."""
        argv = ["python3", "-I", "-S", "-c", _WITHIN, "first", "python3", "-c", THREE]
        return statistics.median(float(self._machine.run(argv).stdout) for _ in range(3))

    def _new(self, *, bare: bool = False) -> Machine:
        self._count += 1
        place = self._place / f"boot-{self._count}"
        machine = Machine(self._image, place, self._azure.network, bare=bare)
        if bare:
            serve(machine)
        return machine


def until_nginx(machine: Machine) -> float:
    """Milliseconds from the start of systemd to that of nginx, in the boot that it is in."""
    asked = ["systemctl", "show", "--property=UserspaceTimestampMonotonic", "--value"]
    begun = int(machine.run(asked).stdout) / 1e6
    return (machine.seconds("nginx", "InactiveExit") - begun) * 1000


def serve(machine: Machine) -> None:
    """Give nginx of a machine without lbhook something to listen for."""
    machine.write("/etc/nginx/conf.d/site.conf", "server { listen 8080; return 204; }\n")
