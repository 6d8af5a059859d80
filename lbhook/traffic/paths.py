"""The way of each inbound rule through this machine: its address, who listens, the firewall."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..config.network import Network
from ..config.restrictions import Restriction
from ..firewall import legacy
from ..firewall.kernel import Firewall, FirewallError
from ..firewall.verdict import PROTOCOLS, Counter, Door, Element, Verdict
from ..metadata.facts import Facts
from ..metadata.model import InboundRule
from ..metadata.ranges import Range, kind
from ..metadata.reader import Address
from ..metadata.restricted import Limit, limits_of
from ..programs.host import Host
from ..system.machine import Machine, Socket
from .routes import Routes

# Sets of the firewall whose elements are places of inbound rules.
_SETS = ("listeners4", "listeners6", "ha_ports4", "ha_ports6")
_PROBES = ("probes4", "probes6")
# One that stands for all, and has no service of its own.
_ANY_PORT = 1
# The chain that keeps others from what is restricted, under each policy.
RESTRICT = "inet lbhook restrict"


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
    packets, `counter` what lbhook's has let in. `limits` are those of `restrict`, and the verdict
    is then that of a source which they let in; `unlimited` says that the kernel does not know them.
    """

    rule: InboundRule
    local: bool | None = None
    device: str = ""
    listening: tuple[Process, ...] | None = None
    elsewhere: tuple[tuple[Address, Process], ...] = ()
    verdict: Verdict | None = None
    counter: Counter | None = None
    limits: tuple[Limit, ...] = ()
    unlimited: bool = False

    @property
    def open_to_some(self) -> bool:
        """Whether only sources that a rule names are let in, and that may be meant: who calls an
        internal load balancer is its owner's to know."""
        internal = kind(self.rule.frontend_ip) is not Range.PUBLIC
        return bool(self.verdict and self.verdict.by_source and internal)

    @property
    def dropped(self) -> bool:
        """Whether the kernel's rules let in nobody who should be."""
        return bool(self.verdict and self.verdict.action == "drop" and not self.open_to_some)

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the traffic of this rule from being answered."""
        handed_on = self.verdict and (self.verdict.action == "translated" or self.verdict.to)
        found = {
            "not an address of this machine": self.local is False,
            "nobody listens": self.listening == () and self.local is not False and not handed_on,
            "dropped by the firewall": self.dropped,
        }
        return tuple(problem for problem, holds in found.items() if holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The ways of all inbound rules, the firewall, if it was looked at, what it has let in of
    health probes, what could not be looked at, which programs of iptables-legacy have rules, and
    what else lbhook's firewall lets in."""

    ways: tuple[Way, ...] = ()
    firewall: Firewall | None = None
    probes: Mapping[Element, Counter | None] = field(default_factory=dict)
    unseen: tuple[str, ...] = ()
    legacy: tuple[str, ...] = ()
    also_open: tuple[str, ...] = ()


def rules_only(lb: Facts, restrict: Sequence[Restriction] = ()) -> Picture:
    """The rules and nothing else: nothing of this machine was looked at."""
    return Picture(
        ways=tuple(Way(rule=rule, limits=limits_of(restrict, rule)) for rule in lb.inbound_rules)
    )


def seen(
    lb: Facts, host: Host, asked: Firewall | None = None, restrict: Sequence[Restriction] = ()
) -> Picture:
    """The ways of all rules through the machine that lbhook runs on."""
    firewall = asked or Firewall()
    addresses, devices = host.machine.addresses(), _devices(lb, Routes(host.run))
    waiting = _Waiting(lb, host.machine)
    doors = {rule: waiting.door(rule, devices) for rule in lb.inbound_rules}
    limits = {rule: limits_of(restrict, rule) for rule in lb.inbound_rules}
    inner = {rule: _from_within(doors[rule], limits[rule], addresses) for rule in doors}
    absent = {str(ip): device for ip, device in devices.items() if ip not in addresses}
    unseen = _reason(host)
    verdicts: Mapping[Door, Verdict] = {}
    counters: Mapping[Element, Counter | None] = {}
    probes: Mapping[Element, Counter | None] = {}
    if not unseen:
        try:
            knocked = list(dict.fromkeys((*doors.values(), *inner.values())))
            verdicts = dict(zip(knocked, firewall.judge(knocked, absent), strict=True))
            counters, probes = firewall.counters(_SETS), firewall.counters(_PROBES)
        except FirewallError as error:
            unseen = str(error)
    ways = tuple(
        Way(
            rule=rule,
            local=rule.private_ip in addresses,
            device=devices[rule.private_ip],
            listening=None if rule.ha_ports else waiting.here(rule),
            elsewhere=waiting.elsewhere(rule),
            verdict=verdicts.get(inner[rule] if limits[rule] else doors[rule]),
            counter=counters.get(_element(rule)),
            limits=limits[rule],
            unlimited=_lets_in(verdicts.get(doors[rule])) and doors[rule] != inner[rule],
        )
        for rule in lb.inbound_rules
    )
    legacy_rules = legacy.programs(host) if host.root else ()
    unjudged = (f"{one} has rules, which are not judged here" for one in legacy_rules)
    missed = (unseen, *unjudged, _unnamed(ways)) if ways else ()
    seen_by = None if unseen else firewall
    found = tuple(filter(None, missed))
    return Picture(ways=ways, firewall=seen_by, probes=probes, unseen=found, legacy=legacy_rules)


def _from_within(door: Door, limits: Sequence[Limit], own: Collection[Address]) -> Door:
    """The same, knocked at by somebody whom a limit lets in; the same where there is none."""
    networks = (one for limit in limits if limit.covers(door.port) for one in limit.sources)
    few = (ip for one in networks for ip in _first(one) if ip not in own)
    return door._replace(source=next(few, None))


def _first(network: Network) -> Sequence[Address]:
    """The first addresses of a network that somebody may have."""
    alone = network.num_addresses == 1
    return (network[0],) if alone else (network[1], network[-2])


def _lets_in(verdict: Verdict | None) -> bool:
    return bool(verdict and verdict.action in ("accept", "translated"))


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

    def door(self, rule: InboundRule, devices: Mapping[Address, str]) -> Door:
        """Where packets of a rule come, and whose socket would answer."""
        return Door(
            destination=rule.private_ip,
            protocol=PROTOCOLS["tcp" if rule.ha_ports else rule.protocol.value],
            port=rule.backend_port or _ANY_PORT,
            device=devices[rule.private_ip],
        )

    def _near(self, rule: InboundRule) -> list[Socket]:
        return self._sockets.get((rule.protocol.value, rule.backend_port), [])

    def _who(self, socket: Socket) -> Process:
        return self._processes.get(socket.inode, Process())


def _unnamed(ways: Iterable[Way]) -> str:
    processes = (process for way in ways for process in way.listening or ())
    if all(process.program for process in processes):
        return ""
    return "the programs of some sockets: run as root to see most of them"


def _reason(host: Host) -> str:
    """Why the firewall can't be looked at; empty if it can."""
    if not host.root:
        return "the firewall: only root may list it"
    return "" if host.kernel else "the firewall: not checked"


def _devices(lb: Facts, routes: Routes) -> Mapping[Address, str]:
    """The interface by which packets to each address come: of Floating IP the NIC."""
    interfaces = routes.interfaces()
    found = {}
    for ip in {rule.private_ip for rule in lb.inbound_rules}:
        device = interfaces.get(ip, "")
        way = routes.far(ip.version) if device in ("", "lo") else None
        found[ip] = way.device if way else device
    return found


def _element(rule: InboundRule) -> Element:
    """How the firewall's sets have the place that a rule leads to."""
    ip, ports = str(rule.private_ip), (PROTOCOLS.get(rule.protocol.value), rule.backend_port)
    return (ip,) if rule.ha_ports else (ip, *map(str, ports))
