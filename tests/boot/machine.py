"""A machine that is booted by systemd-nspawn on a throw-away copy of the root file system."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..lab.hosts import PATH, REPO, Host, wait_for
from ..shared import alone, shared
from .cgroups import Cgroups

SETTINGS = """
[imds]
endpoint = "http://169.254.169.254"

[targets.nftables]

[targets.nginx]
"""
# What an installation leaves: without any listener nginx would open port 80 to the world.
RESTING = "listen 127.0.0.127:10009;\n"
SITE = """
server {
    include /etc/nginx/lbhook/listen.conf;
    return 200 "$server_addr:$server_port\\n";
}
"""
PROGRAM = """#!/usr/bin/python3
from lbhook.program import main
main()
"""
PACKAGE = "usr/lib/python3/dist-packages/lbhook"
UNITS = "usr/lib/systemd/system"
LISTEN = "/etc/nginx/lbhook/listen.conf"
CONFIGURATION = "/etc/lbhook/lbhook.toml"
# The machine that runs this has no DMI.
UUID = "/etc/product_uuid"
ENABLED = {
    "lbhook-restore.service": "sysinit.target",
    "lbhook.service": "multi-user.target",
    "lbhook-refresh.timer": "timers.target",
}
# As systemd-sysusers would make it.
ACCOUNT = {"passwd": "lbhook:x:990:990::/:/usr/sbin/nologin\n", "group": "lbhook:x:990:\n"}

# A mount and a process namespace of its own: all of the machine goes with them, however that
# ends. (Killed, systemd-nspawn alone leaves the booted systemd behind.)
# --register=no --keep-unit: PID 1 of the real machine need not be systemd. The machine's name is
# that of a directory in the real /run; the host's name is the same for all.
BOOT = """
layers=$1 place=$2 name=$3 calls=$4
shift 4
mount -t overlay -o "lowerdir=$layers,upperdir=$place/upper,workdir=$place/work" \\
    overlay "$place/root"
for group in "$@"; do echo 0 >"$group/cgroup.procs"; done
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
exec systemd-nspawn --quiet --register=no --keep-unit --directory="$place/root" \\
    --machine="$name" --hostname=vm \\
    --network-namespace-path="$place/network" --capability=CAP_NET_ADMIN,CAP_NET_RAW \\
    --resolv-conf=off --timezone=off --link-journal=no --system-call-filter="$calls" \\
    --console=read-only --kill-signal=SIGRTMIN+3 --boot
"""
COMPILE = """
mount --bind "$2" "$1/mnt"
exec chroot "$1" python3 -m compileall -q -s /mnt -p "$3" /mnt
"""
# The network's own name, in /proc, is out of sight once /proc shows that namespace.
APART = """
network=$1 boot=$2 place=$4
shift 2
: >"$place/network"
mount --bind "$network" "$place/network"
exec unshare --mount --pid --fork --kill-child --mount-proc sh -euc "$boot" boot "$@"
"""
ENTER = ("-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wd=/")


class Machine:
    """One VM; `network` is the host whose network it has. Off until `boot` is called. A `bare`
    one has no lbhook yet, another that of the checkout at `source`. System calls that a container
    may not use are, with `calls`, allowed.

    What is written while it is off is there at the next boot.
    """

    def __init__(
        self,
        image: Path,
        place: Path,
        network: Host,
        *,
        bare: bool = False,
        source: Path = REPO,
        calls: str = "",
    ) -> None:
        self._image, self._place, self._network = image, place, network
        self._layers, self._calls = str(image), calls
        self._apart: subprocess.Popen[bytes] | None = None
        self._cgroups: Cgroups | None = None
        self._nspawn = self._pid = 0
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        (place / "upper").chmod(0o755)
        self.write("/etc/systemd/journald.conf.d/test.conf", "[Journal]\nStorage=volatile\n")
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write("/etc/cloud/cloud-init.disabled", "")
        if not bare:
            self._install(source)
        # No first boot of an image has ld.so's cache, users and catalogs still to make.
        self.write("/etc/.updated", "")
        self.write("/var/.updated", "")

    def _install(self, source: Path) -> None:
        """As a package would: program, units, configuration, resting form."""
        upper = self._place / "upper"
        self._layers = f"{_package(self._image, source)}:{self._image}"
        for name, line in ACCOUNT.items():
            self.write(f"/etc/{name}", (self._image / "etc" / name).read_text() + line)
        for unit, target in ENABLED.items():
            self.enable(unit, target)
        self.write("/usr/bin/lbhook", PROGRAM)
        (upper / "usr/bin/lbhook").chmod(0o755)
        self.write("/etc/nginx/conf.d/site.conf", SITE)
        self.write(LISTEN, RESTING)
        self.write(CONFIGURATION, SETTINGS)
        self.write("/etc/nftables.d/.keep", "")

    def enable(self, unit: str, target: str = "multi-user.target") -> None:
        """Let a unit that a package brings be started at boot."""
        self.link(f"/etc/systemd/system/{target}.wants/{unit}", f"/{UNITS}/{unit}")

    def link(self, path: str, to: str) -> None:
        """A symbolic link, and the directories above it."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).symlink_to(to)

    @property
    def console(self) -> str:
        """What systemd has written to the console, in all boots."""
        return (self._place / "console").read_text(errors="replace")

    def boot(self, timeout: float = 180, failed: Sequence[str] = ()) -> None:
        """Switch on, wait until every job of the boot has ended, and see that all is well but
        for the units that are to have `failed`."""
        self.switch_on()
        self.wait_until_up(timeout)
        self.assert_sound(failed)
        ends, starts = "ExecMainExitTimestampMonotonic", "InactiveExitTimestampMonotonic"
        units = ("lbhook-restore", "lbhook", "nginx")
        *before, nginx = self.properties(units, ends, starts).values()
        assert all(int(one[ends]) <= int(nginx[starts]) for one in before)

    def assert_sound(self, failed: Sequence[str] = (), idle: Sequence[str] = ()) -> None:
        """No unit was dropped for a cycle, no other failed, what is enabled is active but for
        what is to be `idle`, and there is no trace of a bug."""
        assert "ordering cycle" not in self.console
        assert "Traceback" not in self.journal()
        listed = self.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        assert [line.split()[0] for line in listed.splitlines()] == [*failed], self.journal()
        found = self.properties((*ENABLED, "nginx.service"), "ConditionResult", "ActiveState")
        # A first boot has nothing to restore.
        skipped = {one for one in ENABLED if found[one]["ConditionResult"] == "no"}
        assert skipped <= {"lbhook-restore.service"}
        for unit in {*found} - {*failed, *idle} - skipped:
            assert found[unit]["ActiveState"] == "active", f"{unit}\n{self.journal()}"

    def results(self) -> str:
        """How the units that matter have ended, a line each, and what there was to say of the one
        that asks: without it a test that failed does not tell of which answer all else is."""
        if not self._pid:
            return "the machine is off"
        names = [f"--property={name}" for name in ("ActiveState", "Result", "ExecMainStatus")]
        units = ("lbhook-restore", "lbhook-fetch", "lbhook", "lbhook-refresh", "nginx")
        said = {one: self.run(["systemctl", "show", one, *names], check=False) for one in units}
        lines = [f"{unit}: {' '.join(sorted(one.stdout.split()))}" for unit, one in said.items()]
        return "\n".join([*lines, self.journal("--unit=lbhook-fetch")])

    def switch_on(self) -> None:
        """Switch on, and wait until systemd can be asked."""
        netns = f"/proc/{self._network.pid}/ns/net"
        self._cgroups = Cgroups()
        groups = map(str, self._cgroups.trees)
        name = (self._cgroups.name, self._calls)
        words = [netns, BOOT, self._layers, str(self._place), *name, *groups]
        alone = ["setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--"]
        with (self._place / "console").open("ab") as console:
            self._apart = subprocess.Popen(
                [*alone, "sh", "-euc", APART, "boot", *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": PATH},
                start_new_session=True,
            )
        wait_for(self._find_first, "systemd of the machine")
        wait_for(lambda: self._ask_state() != "offline", "an answer of systemd")
        # systemd-nspawn covers it in its own /proc alone: a hardened unit sees the real one, and
        # on a real machine everybody sees the same.
        self.run(["umount", "--lazy", "/proc/sys/kernel/random/boot_id"])

    def _find_first(self) -> bool:
        assert self._apart
        assert self._apart.poll() is None, f"systemd-nspawn ended:\n{self.console}"
        for nspawn in _children(self._apart.pid):
            for child in _children(nspawn):
                if _program(child) == "systemd":
                    self._nspawn, self._pid = nspawn, child
        return self._pid != 0

    def _ask_state(self, *words: str) -> str:
        done = self.run(["systemctl", "is-system-running", *words], check=False, timeout=120)
        return done.stdout.strip() or "offline"

    def wait_until_up(self, timeout: float = 180) -> None:
        """Wait until every job of the boot has ended."""
        states = ("running", "degraded")
        wait_for(lambda: self._ask_state("--wait") in states, "the boot's end", timeout)

    def stop_timer(self) -> None:
        """Let nobody run lbhook but the test: on a busy host the timer's own run comes between."""
        self.run(["systemctl", "stop", "lbhook-refresh.timer"])

    def power_off(self) -> None:
        """Shut down in good order."""
        assert self._apart
        os.kill(self._nspawn, signal.SIGTERM)
        self._apart.wait(timeout=180)
        self._gone()

    def kill(self) -> None:
        """Cut the power, if it is on."""
        if self._apart:
            self._apart.kill()
            self._apart.wait(timeout=120)
            self._gone()

    def _gone(self) -> None:
        pid, self._pid, self._apart = self._pid, 0, None
        wait_for(lambda: not pid or not _lives(pid), "the end of the machine")
        if self._cgroups:
            self._cgroups.remove()

    @property
    def entering(self) -> list[str]:
        """What runs a command in the machine."""
        enter = ["nsenter", "-t", str(self._pid), *ENTER, "--"]
        return [*enter, "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8"]

    def run(
        self, argv: Sequence[str], *, check: bool = True, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine, as from a root shell; with `check`, it must succeed."""
        done = subprocess.run(
            [*self.entering, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{argv}: status {done.returncode}\n{said}\n{self.journal()}")
        return done

    def path(self, path: str) -> Path:
        """Where a file of the machine is to be found; while it is off, only what was written."""
        return Path(f"/proc/{self._pid}/root{path}" if self._pid else f"{self._place}/upper{path}")

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.path(path).read_text()

    def write(self, path: str, text: str) -> None:
        """Write a file, and the directories above it."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def drop_in(self, unit: str, text: str) -> None:
        """Add to a unit; one that runs already is told."""
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", text)
        if self._pid:
            self.run(["systemctl", "daemon-reload"])

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run(["systemctl", "show", unit, f"--property={name}", "--value"]).stdout.strip()

    def properties(self, units: Sequence[str], *names: str) -> dict[str, dict[str, str]]:
        """Properties of some units, all asked for at once."""
        argv = ["systemctl", "show", *units, *(f"--property={name}" for name in names)]
        parts = self.run(argv).stdout.split("\n\n")
        found = [dict(line.split("=", 1) for line in part.split("\n") if line) for part in parts]
        return dict(zip(units, found, strict=True))

    def active(self, unit: str) -> str:
        """The state of a unit."""
        return self.show(unit, "ActiveState")

    def wait_for_state(self, unit: str, state: str, timeout: float = 60) -> None:
        """Wait until a unit is in a state."""
        wait_for(lambda: self.active(unit) == state, f"{unit} {state}", timeout)

    def crash(self, unit: str) -> None:
        """Let a unit end as by a crash."""
        # Where its processes end while they are listed, systemd says: Input/output error.
        self.run(["systemctl", "kill", "-s", "KILL", "--kill-whom=all", unit], check=False)
        self.wait_for_state(unit, "failed")

    def seconds(self, unit: str, name: str) -> float:
        """A point in time of a unit's life, in seconds."""
        return int(self.show(unit, f"{name}TimestampMonotonic")) / 1e6

    def status(self) -> dict[str, Any]:
        """What the last apply has left in status.json."""
        found: dict[str, Any] = json.loads(self.read("/run/lbhook/status.json"))
        return found

    def reloads(self) -> dict[str, str]:
        """What became of each target's reload in the last apply."""
        return {one["name"]: one["reload"] for one in self.status()["targets"]}

    def listeners(self, program: str = "nginx") -> set[str]:
        """The addresses where a program listens, as address:port."""
        lines = self.run(["ss", "-Hltnp"]).stdout.splitlines()
        return {line.split()[3] for line in lines if f'"{program}"' in line}

    def assert_listens(self, *wanted: str) -> None:
        """nginx listens there now (without an address: at the port on every one), and nowhere
        else once its old workers have ended."""
        places = {place for one in wanted for place in self._places(one)}
        assert places <= self.listeners()
        wait_for(lambda: self.listeners() == places, f"{places} alone")

    @staticmethod
    def _places(one: str) -> set[str]:
        return {f"0.0.0.0{one}", f"[::]{one}"} if one.startswith(":") else {one}

    def workers(self) -> set[str]:
        """nginx's workers: a reload makes new ones."""
        main = self.show("nginx", "MainPID")
        return set(self.read(f"/proc/{main}/task/{main}/children").split())

    def identify(self, uuid: str) -> None:
        """Let this be the VM of an SMBIOS UUID, which only root may read."""
        self.path(UUID).unlink(missing_ok=True)
        self.write(UUID, f"{uuid}\n")
        self.path(UUID).chmod(0o400)
        self.write(f"{CONFIGURATION}.d/identity.toml", f'[paths]\nidentity = "{UUID}"\n')
        self.drop_in("lbhook-fetch.service", f"[Service]\nLoadCredential=product_uuid:{UUID}\n")

    @contextmanager
    def occupied(self, address: str, port: int) -> Iterator[None]:
        """Let another program listen there."""
        where = f"{address}:{port}"
        argv = ["systemd-socket-activate", f"--listen={where}", "/bin/true"]
        self.run(["systemd-run", "--unit=other", *argv])
        wait_for(lambda: where in self.listeners("systemd-socket-"), f"a listener at {where}")
        yield
        self.run(["systemctl", "stop", "other"])

    def firewall_ports(self) -> set[int]:
        """The ports that lbhook's table lets in by a rule; without a table, none."""
        listed = self.run(["nft", "-n", "list", "table", "inet", "lbhook"], check=False).stdout
        return {int(port) for port in re.findall(r"(?:tcp|6) \. (\d+)", listed)}

    def said(self, *words: str) -> str:
        """The same with single blanks: errors of the boot's units are folded, for the console."""
        return " ".join(self.journal(*words).split())

    def journal(self, *words: str) -> str:
        """What was logged in this boot: the journal is not kept."""
        enter = ["nsenter", "-t", str(self._pid), *ENTER, "--"]
        argv = ["journalctl", "--no-pager", "--output=cat", *words]
        return subprocess.run([*enter, *argv], capture_output=True, text=True, check=False).stdout


def _package(image: Path, source: Path) -> Path:
    """What a package has of a checkout, as a layer below each machine, with bytecode by the image's
    own Python: without it each start would compile everything, since the units may not write there.
    Made once in a run."""
    place = shared() / f"layer-{image.name}-{source.name}"
    with alone(place.with_suffix(".lock")):
        if not place.exists():
            layer = place.with_suffix(".new")
            new = layer / PACKAGE
            without = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source / "lbhook", new, ignore=without)
            for name in ("templates", "systemd"):
                shutil.copytree(source / name, new / name)
            unit_files = shutil.ignore_patterns("*.sysusers")
            shutil.copytree(source / "systemd", layer / UNITS, ignore=unit_files)
            words = ["compile", str(image), str(new), f"/{PACKAGE}"]
            subprocess.run(
                ["unshare", "--mount", "sh", "-euc", COMPILE, *words],
                check=True,
                env={"PATH": PATH},
            )
            layer.rename(place)
    return place


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _lives(pid: int) -> bool:
    """Whether a process is there, and not only its remains."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False
