"""What there is on a machine beside lbhook's files for nginx, or for haproxy: the configuration of
nginx, the sockets of either, and those of other programs, now and as they were before a boot."""

import ipaddress
import os
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property
from pathlib import PurePosixPath

from ..listening import nginx_config
from ..listening.files import Files
from ..listening.haproxy_config import Bind
from ..listening.nginx_config import Configuration, Listen
from ..listening.nginx_sockets import Room
from ..listening.taken import Taken
from ..memory.records import Port
from ..programs.host import Host
from ..system.sockets import Socket
from ..system.starters import Starters

_NGINX = "nginx"
# Below the ports that Linux gives to whoever asks for any.
_FIXED = 32768


class Surroundings:
    """Looks once. `own` are the paths of lbhook's files for nginx; `lent` are the places of its
    files for other programs, which are no stranger's; with `anywhere`, nginx may run without a
    unit, in a container. For another program than nginx only these `ports` are looked at. Either
    may be that of a `unit` with another name."""

    def __init__(
        self,
        host: Host,
        own: Collection[str],
        lent: Collection[tuple[object, int]],
        anywhere: bool,
        program: str = _NGINX,
        ports: Collection[int] | None = None,
        unit: str = "",
    ) -> None:
        self.host = host
        self.own = own
        self.lent = lent
        self.anywhere = anywhere
        self.program = program
        self.ports = ports
        self.unit = unit or f"{program}.service"
        self._starters = Starters(host.run, host.machine.root)

    @cached_property
    def configuration(self) -> Configuration:
        """nginx's, without what is in `own`."""
        machine = self.host.machine
        options = nginx_config.options(self.host.services.command(self.unit, self.program))
        files = Files(machine.text, machine.names)
        main = nginx_config.main(options, lambda: self.host.run(("nginx", "-V")).output, files)
        return nginx_config.read(files, self.own, main)

    @cached_property
    def held(self) -> tuple[Listen, ...] | None:
        """What it holds, or systemd does for it until it runs; None if there is neither."""
        return tuple(map(_listen, self._held)) if self._inodes else tuple(self._kept()) or None

    @cached_property
    def others(self) -> tuple[Port, ...]:
        """What other programs hold."""
        foreign = {one.inode: one for one in self._sockets if one.inode not in self._inodes}
        foreign = {
            inode: one
            for inode, one in foreign.items()
            if (one.ip, one.port) not in self.lent
            and self._matters(one.port)
            and not (_listen(one) in (self.held or ()) and not self._inodes)
        }
        holding = self.host.machine.holding(foreign) if foreign and self.host.root else {}
        return tuple(self._port(one, holding.get(inode, 0)) for inode, one in foreign.items())

    @cached_property
    def expected(self) -> tuple[Port, ...]:
        """What other programs had, and will have again: their unit is enabled, or nobody knows
        and this may be a boot. What this program has by now it keeps."""
        there = {(one.protocol, one.ip, one.port) for one in self.others}
        gone = [
            one
            for one in self.host.state.ports()
            if (one.protocol, one.ip, one.port) not in there
            and not self._is_own(one)
            and (ipaddress.ip_address(one.ip), one.port) not in self.lent
            and self._matters(one.port)
            and not self.has(_taken(one, there=False))
        ]
        return tuple(one for one in gone if self._comes_back(one.unit))

    def asked(self, program: str, binds: Iterable[Bind], ports: Collection[int]) -> Iterator[Taken]:
        """What the configuration of another program asks for at these ports, if that starts with
        the machine."""
        for bind in binds:
            for port in (one for one in ports if bind.first <= one <= bind.last):
                if self._comes_back(f"{program}.service"):
                    yield Taken(bind.ip, port, program=program, there=False, line=bind.line)

    def remember(self) -> None:
        """Keep what other programs have, for the end of the run to write down; and what is known
        for the other one that is looked at so."""
        before = self.host.state.ports() if self.host.ports is None else self.host.ports
        rest = (one for one in before if self._is_own(one) or not self._matters(one.port))
        known = (one for one in self.others if one.port < _FIXED and one.program)
        unique = dict.fromkeys((*known, *self.expected, *rest))
        self.host.ports = tuple(sorted(unique))

    def _matters(self, port: int) -> bool:
        return self.ports is None or port in self.ports

    def taken(self, named: Collection[int]) -> Iterator[Taken]:
        """What it can't have; of the ports `named` by the operator only what is there."""
        yield from (_taken(one, there=True) for one in self.others if self._is_foreign(one))
        yield from (_taken(one, there=False) for one in self.expected if one.port not in named)

    def looked_at(self) -> tuple[str, ...]:
        """The files and directories that the configuration came from."""
        paths = [path for path, _ in self.configuration.texts]
        places = {str(PurePosixPath(path).parent) for path in paths}
        return tuple(sorted({*paths, *places}))

    @cached_property
    def room(self) -> Room:
        """What nginx has room for."""
        settings = self.configuration.settings
        workers = settings.get("worker_processes", "1")
        connections = settings.get("worker_connections", "512")
        return Room(
            connections=int(connections) if connections.isdecimal() else 512,
            workers=int(workers) if workers.isdecimal() else len(os.sched_getaffinity(0)),
            files=self._files,
        )

    @property
    def _files(self) -> int:
        """How many files its main process may open, or will when it is started; 0 if nobody
        knows."""
        machine = self.host.machine
        if self.main_pid:
            return machine.most_files(self.main_pid)
        if not machine.has_systemd():
            return 0
        shown = self.host.units.properties(self.unit).get("LimitNOFILESoft", "")
        return int(shown) if shown.isdecimal() else 0

    @cached_property
    def main_pid(self) -> int:
        """Its main process; 0 if there is none to be found."""
        return self.host.services.main_pid(self.unit, self.program)

    @cached_property
    def _sockets(self) -> tuple[Socket, ...]:
        machine = self.host.machine
        return (*machine.listening(), *machine.bound())

    @cached_property
    def _inodes(self) -> frozenset[int]:
        """Its sockets; none if it does not run, or if this process may not look."""
        machine = self.host.machine
        if self.main_pid:
            # Those of haproxy are its workers'.
            pids = () if self.program == _NGINX else machine.children(self.main_pid)
            try:
                return frozenset().union(*map(machine.inodes, (self.main_pid, *pids)))
            except OSError:
                return frozenset()
        if not self.anywhere or not self.host.root:
            return frozenset()
        holders = machine.holders({one.inode for one in self._sockets})
        return frozenset(inode for inode, program in holders.items() if program == _NGINX)

    def _kept(self) -> Iterator[Listen]:
        machine, starters = self.host.machine, self._starters
        there = {(one.protocol, one.ip, one.port): one for one in self._sockets}
        for (protocol, ip, port), unit in starters.sockets.items() if self._is_triggered() else ():
            place = (protocol, ip, port)
            if unit.starts == self.unit and (place in there or starters.starts(unit.name)):
                known = there.get(place)
                yield _listen(known or Socket(ip, port, 0, protocol, machine.binds_v6only()))

    def _is_triggered(self) -> bool:
        """Whether it does not run, and is started by what comes to sockets that systemd keeps."""
        if self.main_pid or not self.host.machine.has_systemd():
            return False
        return bool(self.host.units.properties(self.unit).get("TriggeredBy"))

    @property
    def _held(self) -> list[Socket]:
        return [one for one in self._sockets if one.inode in self._inodes]

    def _port(self, one: Socket, pid: int) -> Port:
        machine = self.host.machine
        program, unit = (machine.program(pid), machine.unit(pid)) if pid else ("", "")
        if program == "systemd" or program.startswith("("):
            kept = self._starters.sockets.get((one.protocol, one.ip, one.port))
            program, unit = (kept.name, kept.name) if kept else (program, unit)
        named = f"another {program} ({unit})".removesuffix(" ()")
        return Port(
            port=one.port,
            protocol=one.protocol,
            ip=str(one.ip),
            program=named if self._is_namesake(program, unit) else program,
            unit=unit,
            both=len(one.versions) > 1,
        )

    def _is_own(self, known: Port) -> bool:
        """Whether what was known is the program's itself, be it another one's namesake."""
        namesake = known.unit == self.unit and known.program.startswith(f"another {self.program}")
        return known.program == self.program or namesake

    def _is_namesake(self, program: str, unit: str) -> bool:
        """Whether it is surely not the program itself, in spite of its name: haproxy may run
        without its unit, or in a container."""
        if program != self.program or unit == self.unit:
            return False
        return program == _NGINX or bool(self._inodes and unit)

    def has(self, one: Taken) -> bool:
        """Whether this program has by now what another one can then not have."""
        return any(map(one.excludes, self.held or ()))

    def _is_foreign(self, one: Port) -> bool:
        """Whether it is surely no socket of haproxy itself, which may run without its unit, or in a
        container, by no name."""
        if self.program == _NGINX:
            return True
        return one.program != self.program and bool(one.program or self._inodes)

    def _comes_back(self, unit: str) -> bool:
        if not unit or not self.host.machine.has_systemd():
            return self.held is None
        return self._starters.starts(unit)


def _listen(one: Socket) -> Listen:
    words = ["udp"] if one.protocol == "udp" else []
    words += ["ipv6only=off"] if one.ipv6_only is False else []
    return Listen(one.ip, one.port, tuple(words))


def _taken(one: Port, there: bool) -> Taken:
    ip = ipaddress.ip_address(one.ip)
    return Taken(ip, one.port, one.protocol, one.program, there=there, both=one.both)
