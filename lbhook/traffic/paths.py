"""The way of each inbound rule through this machine: its address, who listens, the firewall."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..metadata.facts import Facts
from ..metadata.model import InboundRule
from ..metadata.reader import Address
from ..programs.host import Host
from ..system.machine import Machine, Socket
from . import ruleset
from .expressions import PROTOCOLS, Packet
from .routes import Routes
from .ruleset import Counter, Element, Ruleset, Verdict

# Sets of the firewall whose elements are places of inbound rules.
_SETS = ("listeners4", "listeners6", "ha_ports4", "ha_ports6")
# One that stands for all, and has no service of its own.
_ANY_PORT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Who has a socket, as far as that can be read; `unit` is systemd's."""

    program: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One inbound rule on this machine. What is None was not looked at.

    `device` is the interface by which its packets come. `listening` is empty if nobody listens,
    and `elsewhere` has who listens at the same port of another address; of HA ports `listening`
    is None, for they name no port. `verdict` is what the kernel's rules of all tables make of its
    packets, `counter` what lbhook's has let in.
    """

    rule: InboundRule
    local: bool | None = None
    device: str = ""
    listening: tuple[Process, ...] | None = None
    elsewhere: tuple[tuple[Address, Process], ...] = ()
    verdict: Verdict | None = None
    counter: Counter | None = None

    @property
    def open_to_some(self) -> bool:
        """Whether only sources that a rule names are let in, and that may be meant: who calls an
        internal load balancer is its owner's to know."""
        internal = self.rule.frontend_ip.is_private
        return bool(self.verdict and self.verdict.by_source and internal)

    @property
    def dropped(self) -> bool:
        """Whether the kernel's rules let in nobody who should be."""
        return bool(self.verdict and self.verdict.action == "drop" and not self.open_to_some)

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the traffic of this rule from being answered."""
        handed_on = self.verdict and self.verdict.action == "translated"
        found = {
            "not an address of this machine": self.local is False,
            "nobody listens": self.listening == () and self.local is not False and not handed_on,
            "dropped by the firewall": self.dropped,
        }
        return tuple(problem for problem, holds in found.items() if holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The ways of all inbound rules, the rules that the kernel goes by, and what could not be
    looked at."""

    ways: tuple[Way, ...] = ()
    rules: Ruleset | None = None
    unseen: tuple[str, ...] = ()


def told(lb: Facts) -> Picture:
    """What Azure says alone: nothing of this machine was looked at."""
    return Picture(ways=tuple(Way(rule=rule) for rule in lb.inbound_rules))


def seen(lb: Facts, host: Host) -> Picture:
    """The ways of all rules through the machine that lbhook runs on."""
    rules, unseen = _firewall(host)
    addresses, devices = host.machine.addresses(), _devices(lb, Routes(host.run))
    counters = rules.counters(_SETS) if rules else {}
    waiting = _Waiting(lb, host.machine)
    ways = tuple(
        Way(
            rule=rule,
            local=rule.private_ip in addresses,
            device=devices[rule.private_ip],
            listening=None if rule.ha_ports else waiting.here(rule),
            elsewhere=waiting.elsewhere(rule),
            verdict=rules.judge(_packet(rule, devices)) if rules else None,
            counter=counters.get(_element(rule)),
        )
        for rule in lb.inbound_rules
    )
    missed = (unseen, _unnamed(ways)) if ways else ()
    return Picture(ways=ways, rules=rules, unseen=tuple(filter(None, missed)))


class _Waiting:
    """Who waits where inbound rules lead, and near there."""

    def __init__(self, lb: Facts, machine: Machine) -> None:
        wanted = {(one.protocol.value, one.port) for one in lb.listeners}
        self._sockets: dict[tuple[str, int], list[Socket]] = {place: [] for place in wanted}
        for one in (*machine.listening(), *machine.bound()):
            self._sockets.get((one.protocol, one.port), []).append(one)
        inodes = {one.inode for found in self._sockets.values() for one in found}
        self._processes = {
            inode: Process(program=machine.program(pid), unit=machine.unit(pid))
            for inode, pid in machine.holding(inodes).items()
        }

    def here(self, rule: InboundRule) -> tuple[Process, ...]:
        """Who has the address itself or, if nobody has, any."""
        found = [one for one in self._near(rule) if one.covers(rule.private_ip, one.port)]
        own = [one for one in found if one.ip == rule.private_ip]
        return tuple(dict.fromkeys(map(self._who, own or found)))

    def elsewhere(self, rule: InboundRule) -> tuple[tuple[Address, Process], ...]:
        """Who has the same port of other addresses alone."""
        found = (one for one in self._near(rule) if not one.covers(rule.private_ip, one.port))
        return tuple(dict.fromkeys((one.ip, self._who(one)) for one in found))

    def _near(self, rule: InboundRule) -> list[Socket]:
        return self._sockets.get((rule.protocol.value, rule.backend_port), [])

    def _who(self, socket: Socket) -> Process:
        return self._processes.get(socket.inode, Process())


def _unnamed(ways: Iterable[Way]) -> str:
    processes = (process for way in ways for process in way.listening or ())
    if all(process.program for process in processes):
        return ""
    return "whose sockets the unnamed ones are: root sees that of most"


def _firewall(host: Host) -> tuple[Ruleset | None, str]:
    """The rules that the kernel goes by; or None, and why they are not known."""
    if not host.root:
        return None, "the firewall: only root may list it"
    if not host.find("nft"):
        return None, "the firewall: nft is not installed"
    rules = ruleset.active(host.run)
    return rules, "" if rules else "the firewall: nft does not list it in a way that is known here"


def _devices(lb: Facts, routes: Routes) -> Mapping[Address, str]:
    """The interface by which packets to each address come: of Floating IP the NIC."""
    interfaces = routes.interfaces()
    found = {}
    for ip in {rule.private_ip for rule in lb.inbound_rules}:
        device = interfaces.get(ip, "")
        way = routes.far(ip.version) if device in ("", "lo") else None
        found[ip] = way.device if way else device
    return found


def _packet(rule: InboundRule, devices: Mapping[Address, str]) -> Packet:
    return Packet(
        destination=rule.private_ip,
        protocol=PROTOCOLS["tcp" if rule.ha_ports else rule.protocol.value],
        port=rule.backend_port or _ANY_PORT,
        interface=devices[rule.private_ip],
    )


def _element(rule: InboundRule) -> Element:
    """How the firewall's sets have the place that a rule leads to."""
    ip, ports = str(rule.private_ip), (PROTOCOLS.get(rule.protocol.value), rule.backend_port)
    return (ip,) if rule.ha_ports else (ip, *map(str, ports))
