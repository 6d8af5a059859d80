"""What rules lead to and the firewall would keep out all the same: clients of a port that it
restricts, and ports that another table redirects to one that it closes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address

from ..config.restrictions import limits
from ..config.targets import Target
from ..firewall.kernel import Firewall, FirewallError
from ..firewall.verdict import PROTOCOLS, Door
from ..metadata.facts import Facts
from ..metadata.reader import Address
from ..metadata.restricted import Limit
from ..plan import Closed
from ..programs import tunnels
from ..programs.host import Host
from ..system.sockets import Socket
from .paths import RESTRICT
from .routes import Routes

# The kernel is asked about so many of them, whom it may keep out already.
_ASKED = 64
Caller = tuple[Socket, Address]


@dataclass(frozen=True)
class Cut:
    """What `restrict` of one firewall cuts on one host."""

    target: Target
    host: Host
    firewall: Firewall

    @property
    def coming(self) -> tuple[Closed, ...]:
        """What they are connected to, how many they are, and who is let in; without those whom
        the kernel keeps out already."""
        found = [one for one in self._callers if one not in self._known]
        programs = self.host.machine.holders({here.inode for here, _ in found})
        places = dict.fromkeys((here.ip, here.port) for here, _ in found)
        closed = [
            Closed(
                protocol="tcp",
                port=port,
                ip=str(ip),
                program=next((programs[here.inode] for here in some if here.inode in programs), ""),
                connections=len(some),
                only_from=str(self._limit(port, ip.version)),
            )
            for ip, port in places
            if (some := [here for here, _ in found if (here.ip, here.port) == (ip, port)])
        ]
        said = frozenset[str]() if self._is_asked else self.host.state.closed()
        return tuple(sorted(one for one in closed if str(one) not in said))

    @cached_property
    def _callers(self) -> Sequence[Caller]:
        """Those connected to what listens here whom no entry lets in."""
        if not self.target.vars["restrict"]:
            return ()
        machine = self.host.machine
        waiting, own = machine.listening(), machine.addresses()
        trusted = machine.networks(self.target.vars["trusted_interfaces"])
        ports = {one.port for one in waiting if self._limit(one.port, one.ip.version)}
        return [
            (here, there)
            for here, there in machine.connected()
            if here.port in ports
            and not (there in own or there.is_loopback or self._may_come(here.port, there))
            and not any(there in one for one in trusted)
            and any(one.covers(here.ip, here.port) for one in waiting)
        ]

    def _may_come(self, port: int, there: Address) -> bool:
        limit = self._limit(port, there.version)
        probing = there in self.target.vars["probe_sources"]
        return probing or not limit or any(there in one for one in limit.sources)

    def _limit(self, port: int, version: int) -> Limit | None:
        for one in self.target.vars["restrict"]:
            if limits(one, "tcp", port):
                sources = (each for each in one["sources"] if each.version == version)
                return Limit(one["protocol"], one["port"], tuple(sources))
        return None

    @property
    def _is_asked(self) -> bool:
        return bool(self.host.root and self.host.kernel)

    @cached_property
    def _known(self) -> frozenset[Caller]:
        """Those whom the restrictions in force keep out already."""
        some = self._callers[:_ASKED]
        if not (some and self._is_asked):
            return frozenset()
        devices = Routes(self.host.run).interfaces() if self.host.find("ip") else {}
        doors = [_door(one, devices) for one in some]
        try:
            found = self.firewall.judge(doors, {})
        except FirewallError:
            return frozenset()
        out = [one.action == "drop" and one.chain == RESTRICT for one in found]
        return frozenset(one for one, is_out in zip(some, out, strict=True) if is_out)


def moved(
    target: Target, lb: Facts, host: Host, firewall: Firewall, closed: Iterable[Socket]
) -> tuple[Closed, ...]:
    """What rules lead to, and is redirected to one of these sockets that `target` closes. By policy
    `prerouting` it is judged before that."""
    asked = target.vars["policy"] == "enforce" and host.find("nft") and host.find("ip")
    if not (asked and tunnels.translates(host.run)):
        return ()
    near = Routes(host.run).interfaces()
    ruled = [one for one in lb.listeners if one.ip in near and one.protocol.value in PROTOCOLS]
    doors = [
        Door(
            destination=one.ip,
            protocol=PROTOCOLS[one.protocol.value],
            port=one.port,
            device=near[one.ip],
        )
        for one in ruled
    ]
    try:
        found = zip(ruled, firewall.judge(doors, {}), strict=True)
    except FirewallError:
        return ()
    return tuple(
        Closed(one.protocol.value, one.port, str(one.ip), f"redirected to {verdict.to}")
        for one, verdict in found
        if verdict.action == "translated" and verdict.to
        if _has(closed, one.protocol.value, verdict.to)
    )


def _has(closed: Iterable[Socket], protocol: str, to: str) -> bool:
    ip, _, port = to.rpartition(":")
    there = ip_address(ip.strip("[]"))
    return any(one.protocol == protocol and one.covers(there, int(port)) for one in closed)


def _door(caller: Caller, devices: Mapping[Address, str]) -> Door:
    here, there = caller
    device = devices.get(here.ip, "")
    return Door(
        destination=here.ip,
        protocol=PROTOCOLS["tcp"],
        port=here.port,
        device=device,
        source=there,
    )
