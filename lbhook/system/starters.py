"""What starts with the machine, and the sockets that systemd keeps for it until then."""

import ipaddress
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ..metadata.reader import Address
from ..processes import Run


class Engine(NamedTuple):
    """What starts containers again: its unit; where it keeps them; and the file of its owner that
    may have another place for that."""

    unit: str
    place: str
    containers: str
    configuration: str
    moved: re.Pattern[str]


# What systemd says of a unit that starts with the machine, or with a unit that does.
_STARTS = ("enabled", "enabled-runtime", "alias", "generated", "indirect", "static")
# A container, or who holds a published port for it.
_CONTAINER = re.compile(r"(docker|libpod)(?:-conmon)?-([0-9a-f]+)\.scope")
_ENGINES = {
    "docker": Engine(
        *("docker.service", "var/lib/docker", "containers"),
        *("etc/docker/daemon.json", re.compile(r'"(?:data-root|graph)"\s*:\s*"([^"]+)"')),
    ),
    "libpod": Engine(
        *("podman-restart.service", "var/lib/containers/storage", "*-containers"),
        *("etc/containers/storage.conf", re.compile(r'(?m)^\s*graphroot\s*=\s*"([^"]+)"')),
    ),
}
# What Docker does not start again, by a container's hostconfig.json.
_ENDS = re.compile(r'"RestartPolicy"\s*:\s*\{\s*"Name"\s*:\s*"(?:no)?"')
_SOCKETS = ("systemctl", "list-sockets", "--all", "--show-types", "--plain", "--no-legend")
_KEPT = re.compile(r"(?m)^\[?([0-9a-fA-F:.]+?)\]?:(\d+) +(Stream|Datagram) +(\S+) +(\S+)")


class SocketUnit(NamedTuple):
    """A unit that keeps a socket, and the one that it is kept for."""

    name: str
    starts: str


class Starters:
    """Asks systemd once for each unit; `root` is that of the machine."""

    def __init__(self, run: Run, root: Path) -> None:
        self._run = run
        self._root = root
        self._known: dict[str, bool] = {}

    def starts(self, unit: str) -> bool:
        """Whether a unit, or what runs in a scope, starts with the machine."""
        if unit not in self._known:
            starter = self._starter(unit)
            # Of a script of SysV it says first that it asks somebody else.
            said = self._run(("systemctl", "is-enabled", starter)).output if starter else ""
            self._known[unit] = "".join(said.splitlines()[-1:]).strip() in _STARTS
        return self._known[unit]

    @cached_property
    def sockets(self) -> Mapping[tuple[str, Address, int], SocketUnit]:
        """By protocol, address and port the sockets of all units that systemd has read, whether or
        not they are open by now."""
        protocols = {"Stream": "tcp", "Datagram": "udp"}
        return {
            (protocols[kind], ipaddress.ip_address(ip), int(port)): SocketUnit(name, starts)
            for ip, port, kind, name, starts in _KEPT.findall(self._run(_SOCKETS).output)
        }

    def _starter(self, unit: str) -> str:
        """The unit that starts it, if any does: a scope is never started again but for a container
        that still exists."""
        if not unit.endswith(".scope"):
            return unit
        found = _CONTAINER.fullmatch(unit)
        engine = _ENGINES[found[1]] if found else None
        return engine.unit if found and engine and self._comes_back(engine, found[2]) else ""

    def _comes_back(self, engine: Engine, container: str) -> bool:
        """Whether a container exists, of whichever driver, and is not one that ends for good."""
        elsewhere = engine.moved.search(self._text(self._root / engine.configuration))
        place = elsewhere[1].lstrip("/") if elsewhere else engine.place
        found = [*self._root.glob(f"{place}/{engine.containers}/{container}")]
        return any(not _ENDS.search(self._text(one / "hostconfig.json")) for one in found)

    def _text(self, file: Path) -> str:
        try:
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
