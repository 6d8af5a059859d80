"""`make bench AGAINST=COMMIT`: boots of its lbhook, of today's, and without any, in turns.

What lbhook adds to a boot is by how much later nginx starts than without it, counted from the start
of systemd. On Azure the network is up some seconds after that (DHCP, cloud-init); where it "comes
late" here, a unit keeps network-online.target waiting for three seconds.
"""

import io
import itertools
import statistics
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.boot.azure import Azure, azure_of
from tests.boot.machine import Machine
from tests.boot.rootfs import MACHINES, rootfs
from tests.lab.hosts import REPO

from .boots import serve, until_nginx
from .measure import Result, result
from .scene import THREE

BOOTS = 7
_UNITS = ("lbhook-restore", "lbhook-fetch", "lbhook")
_LATE = """[Unit]
DefaultDependencies=no
Wants=network-pre.target
After=network-pre.target
Before=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sleep 3
"""
_TIMES = {
    ("first", ""): ("first boot, added", 0.3),
    ("later", ""): ("later boot, added", 0.3),
    ("first", "late"): ("first boot, network late, added", 0.15),
    ("later", "late"): ("later boot, network late, added", 0.15),
}
_PEAK = f"""
import {THREE.removeprefix("import ")}
print(next(line for line in open("/proc/self/smaps_rollup") if line.startswith("Pss:")).split()[1])
"""


@dataclass(frozen=True)
class Boot:
    """What one boot took: milliseconds until nginx started, and of lbhook's processor time."""

    nginx: float
    processor: float


def results(commit: str, release: str) -> Iterator[Result]:
    """Rows of today's build against that commit's."""
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lbhook-turns-")))
        azure = stack.enter_context(azure_of())
        azure.send(8080)
        machines = _Machines(place, rootfs(MACHINES[release]), azure)
        stack.callback(machines.close)
        sources = {"then": _checkout(commit, place / "then"), "now": REPO, "without": None}
        turns = list(itertools.product(("", "late"), sources))
        taken: dict[tuple[str, str, str], list[Boot]] = {}
        for _ in range(BOOTS):
            for network, build in turns:
                machines.new(sources[build], late=network == "late")
                for boot in ("first", "later"):
                    taken.setdefault((build, boot, network), []).append(machines.boot())
        for (boot, network), (what, reach) in _TIMES.items():
            bare = statistics.median(one.nginx for one in taken["without", boot, network])
            now, then = (taken[build, boot, network] for build in ("now", "then"))
            pairs = list(zip(now, then, strict=True))
            added = [(one.nginx - bare, other.nginx - bare) for one, other in pairs]
            yield result(what, "the same then", added, reach)
            spent = [(one.processor, other.processor) for one, other in pairs]
            yield result(what.replace("added", "processor"), "the same then", spent, 0.6)
        machines.new(REPO, late=True)
        peaks = [(machines.peak(), machines.three_imports()) for _ in range(3)]
        yield result("boot, memory of all at once", "three imports", peaks, 3, "MiB")


class _Machines:
    """One after the other, on one network; the newest can be booted."""

    def __init__(self, place: Path, image: Path, azure: Azure) -> None:
        self._place, self._image, self._azure = place, image, azure
        self._count = 0
        self._machine: Machine | None = None

    def close(self) -> None:
        """Switch off."""
        if self._machine:
            self._machine.kill()

    def new(self, source: Path | None, *, late: bool) -> None:
        """A machine that was never booted, with that checkout's lbhook, or without."""
        self.close()
        self._count += 1
        place = self._place / f"machine-{self._count}"
        bare = source is None
        machine = Machine(self._image, place, self._azure.network, bare=bare, source=source or REPO)
        if bare:
            serve(machine)
        else:
            for unit in _UNITS:
                machine.drop_in(f"{unit}.service", "[Service]\nCPUAccounting=yes\n")
        if late:
            machine.write("/etc/systemd/system/late.service", _LATE)
            wants = "/etc/systemd/system/network-online.target.wants/late.service"
            machine.link(wants, "/etc/systemd/system/late.service")
        self._machine = machine

    def boot(self) -> Boot:
        """Cut the power, and switch on."""
        self.close()
        machine = self._on()
        spent = [machine.show(unit, "CPUUsageNSec") for unit in _UNITS]
        return Boot(
            nginx=until_nginx(machine),
            processor=sum(int(one) for one in spent if one.isdigit()) / 1e6,
        )

    def peak(self) -> float:
        """MiB that lbhook's processes had at once, at most, in a boot that is its own."""
        self.close()
        with _watched() as most:
            self._on()
        return most[0] / 1024

    def three_imports(self) -> float:
        """MiB of a Python that has imported three packages, in the machine."""
        assert self._machine
        return int(self._machine.run(["python3", "-c", _PEAK]).stdout) / 1024

    def _on(self) -> Machine:
        assert self._machine
        self._machine.switch_on()
        self._machine.wait_until_up()
        return self._machine


@contextmanager
def _watched() -> Iterator[list[int]]:
    """The most KiB that processes called lbhook have at once, shared pages by their share."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            most[0] = max(most[0], sum(map(_share, _processes())))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield most
    finally:
        ended.set()
        thread.join()


def _processes() -> Iterator[Path]:
    for process in Path("/proc").iterdir():
        with suppress(OSError):
            if process.name.isdigit() and b"/usr/bin/lbhook" in (process / "cmdline").read_bytes():
                yield process


def _share(process: Path) -> int:
    with suppress(OSError):
        lines = (process / "smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return 0


def _checkout(commit: str, place: Path) -> Path:
    """What that commit has, in a directory."""
    packed = subprocess.run(
        ["git", "archive", commit, "lbhook", "templates", "systemd"],
        cwd=REPO,
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(place, filter="data")
    return place
