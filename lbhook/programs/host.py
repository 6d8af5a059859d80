"""Where an apply happens: the disk, the programs and the services of one machine."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from .. import processes
from ..config.settings import Settings
from ..config.shipped import kind_of
from ..config.targets import Argv, Target
from ..errors import RightsError
from ..memory.journal import Journal
from ..memory.state import State
from ..processes import Result
from ..storage import lock
from ..storage.files import Tree
from ..system.machine import Machine
from ..system.unit_properties import Units

if TYPE_CHECKING:
    from ..memory.records import Port
    from ..system.netlink import Kernel
    from .daemon import Daemon
    from .systemd import Services
UNFINISHED = "an earlier run did not finish; its files are put back"


class Host:
    """One machine, or a directory that stands for one.

    `live` says that this is the running machine: programs are reloaded and verified, and its
    addresses count. It is false below `--root`. `verified` is what was found to be loaded, and
    when: what is settled before Azure is asked need not be asked again right after. `proofs` say,
    by path, by what a later run can tell that it still is; without a `kernel` nothing can. So
    `judged` says how listeners were judged; `ports` are those of other programs, None if nobody
    has looked.
    """

    def __init__(
        self,
        *,
        tree: Tree,
        live: bool,
        state: State,
        journal: Journal,
        run: processes.Run = processes.run,
        find: Callable[[str], str | None] = processes.find,
        machine: Machine = Machine(),
        kill: Callable[[int, int], None] = os.kill,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        kernel: "Kernel | None" = None,
    ) -> None:
        self.tree = tree
        self.live = live
        self.state = state
        self.journal = journal
        self.run = run
        self.find = find
        self.machine = machine
        self.kill = kill
        self.sleep = sleep
        self.clock = clock
        self.kernel = kernel
        self.verified: dict[object, float] = {}
        self.proofs: dict[str, str] = {}
        self.judged: dict[str, Mapping[str, Any]] = {}
        self.ports: tuple[Port, ...] | None = None
        self.rested: set[str] = set()
        self.units = Units(run)
        self._holds = False

    @property
    def root(self) -> bool:
        """Whether lbhook runs as root."""
        return self.tree.privileged

    @property
    def services(self) -> "Services":
        """The services of this machine."""
        # This and what follows is imported where there is something to load: a start is to be
        # quick, and below a root nothing is.
        from .systemd import Services

        return Services(self.run, self.machine, self.kill, self.sleep, self.clock, self.units)

    def daemon(self, name: str, unit: str = "") -> "Daemon":
        """What is peculiar to a program that takes a file of lbhook's, as its usual unit runs it or
        this one. Raises `KeyError` for one that has no module: names come from lbhook's own tables,
        never from a configuration."""
        return _DAEMONS[name](self, unit)

    def daemon_of(self, target: Target) -> "Daemon":
        """The program that takes a target's file, likewise."""
        return self.daemon(kind_of(target).daemon, unit_of(target))

    def command(self, target: Target, words: Argv, places: Mapping[str, object]) -> Result:
        """Run one of a target's commands, with what stands for `{path}` and the like. One of the
        user's own is free of the units' limits, which fit those that are shipped."""
        argv = processes.filled(words, places)
        if words in kind_of(target).defaults.values():
            return self.run(argv, timeout=target.timeout)
        return self.free(argv, target.timeout)

    def free(self, argv: Argv, timeout: float, stdin: bytes = b"") -> Result:
        """Run a command that the user gave, which must work by the timer as it does by hand. Who is
        not root can't have PID 1 run it, nor can a unit so early in a boot that there is no bus."""
        if not (self.root and self.machine.has_bus()):
            return self.run(argv, timeout=timeout, stdin=stdin)
        from .daemon import ask_freely

        return ask_freely(self.run, self.machine, argv, timeout, stdin=stdin)

    @contextlib.contextmanager
    def locked(
        self,
        runtime: PurePosixPath,
        *,
        wait: float = lock.WAIT,
    ) -> Iterator[None]:
        """Hold the lock in the runtime directory; raises `BusyError` after `wait` seconds. Who
        holds it may ask for it again."""
        if self._holds:
            yield
            return
        self.tree.make_directory(runtime)
        place = self.lock_file(runtime)
        with contextlib.ExitStack() as stack:
            try:
                held = lock.held(place, wait=wait, clock=self.clock, sleep=self.sleep)
                stack.enter_context(held)
            except OSError as error:
                raise self.tree.failure(runtime / "lock", error) from None
            self.state.look_again()
            self.units.look_again()
            self._holds = True
            stack.callback(self._let_go)
            yield

    def _let_go(self) -> None:
        self._holds = False

    def lock_file(self, runtime: PurePosixPath) -> Path:
        """Where the lock is: below a root also where a link seems to lead out."""
        return self.tree.outside(self.tree.place(runtime / "lock"))

    def demand_rights(self, settings: Settings) -> None:
        """Raise `RightsError` if an apply here would need root and has not got it."""
        needing = [
            target.name
            for target in settings.active()
            if target.reload or target.reload_unit or target.check_live or kind_of(target).addresses
        ]
        if self.live and not self.root and needing:
            raise RightsError(
                f"apply: not root, but {', '.join(needing)} must be reloaded on this machine",
                hint="use sudo; or --root DIR to write below a directory",
            )


def host(settings: Settings, root: Path | None) -> Host:
    """This machine; with `root`, the directory that stands for one."""
    kernel = _kernel() if root is None else None
    machine = Machine(kernel=kernel)
    tree = Tree(root=root or Path("/"), privileged=os.geteuid() == 0)
    return Host(
        tree=tree,
        live=root is None,
        state=State(tree, settings.paths, machine.boot_id()),
        journal=Journal(tree, settings.paths.state),
        machine=machine,
        kernel=kernel,
    )


def unit_of(target: Target) -> str:
    """The unit of a target's program, also where a command of the user's reloads it."""
    usual = str(kind_of(target).defaults.get("reload_unit", "")) if target.reload else ""
    return target.reload_unit or usual


def _kernel() -> "Kernel":
    from ..system.netlink import Kernel

    return Kernel()


def _firewalld(host: Host, _: str) -> "Daemon":
    from .firewalld import Firewalld

    return Firewalld(host.run, host.root, host.machine.root / "etc/firewalld")


def _haproxy(host: Host, unit: str) -> "Daemon":
    from .haproxy import Haproxy

    return Haproxy(host.run, host.machine, host.sleep, host.clock, host.units, unit)


def _nginx(host: Host, unit: str) -> "Daemon":
    from .nginx import Nginx

    return Nginx(host.run, host.machine, host.sleep, host.clock, host.units, unit)


# By the name that a process of it has; each is imported where its program is asked.
_DAEMONS: Mapping[str, Callable[[Host, str], "Daemon"]] = {
    "firewalld": _firewalld,
    "haproxy": _haproxy,
    "nginx": _nginx,
}
