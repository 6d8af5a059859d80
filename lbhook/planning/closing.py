"""What the firewall closes of what waits on this machine, beside the rules of other tables."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from ipaddress import ip_address

from ..config.targets import Target
from ..firewall.kernel import Firewall, FirewallError
from ..firewall.verdict import PROTOCOLS, Door, Verdict
from ..metadata.facts import Facts
from ..metadata.reader import Address
from ..plan import Change, Closed
from ..programs import nftables, tunnels
from ..programs.host import Host
from ..system.sockets import Socket
from ..traffic import cut
from ..traffic.routes import Routes

_OURS = "inet lbhook "


def closes(
    changes: Iterable[Change], lb: Facts, host: Host, asked: Firewall | None = None
) -> tuple[Closed, ...]:
    """What waits here and the firewall among `changes`, if it is loaded, closes to all outside.
    What the kernel lets nobody reach before that is closed already."""
    wanted = (one for one in changes if one.has_work and nftables.closes_some(one.target))
    firewall = next(wanted, None)
    return Closing(firewall.target, lb, host, asked).coming if firewall else ()


class Closing:
    """What one firewall closes on one host. The kernel tells which of it other rules close as well,
    but for protocols without ports and, in a unit, where it can't be asked."""

    def __init__(self, target: Target, lb: Facts, host: Host, ask: Firewall | None = None) -> None:
        self.target = target
        self.lb = lb
        self.host = host
        self._firewall = ask or Firewall()

    @property
    def coming(self) -> tuple[Closed, ...]:
        """What it will close that is open now, to everybody or to some who are connected."""
        return (*self._closing, *cut.Cut(self.target, self.host, self._firewall).coming)

    @property
    def _closing(self) -> tuple[Closed, ...]:
        if not nftables.drops(self.target):
            return ()
        reached = [one for one in self._sockets if not self._is_out_of_reach(one, "")]
        found = self._named([one for one in reached if not self._is_beside_a_rule(one)])
        if self._sockets and self._verdicts is not None:
            found += cut.moved(self.target, self.lb, self.host, self._firewall, self._sockets)
        said = self.host.state.closed()
        # Who has a socket is looked up in all of /proc: not before anything was said.
        shut = self._named([one for one in self._sockets if said and self._is_shut_by_us(one)])
        return tuple(one for one in found if str(one) not in said or one not in shut)

    @property
    def standing(self) -> tuple[Closed, ...]:
        """What it keeps closed, and no other table does."""
        return self._named([one for one in self._sockets if not self._is_out_of_reach(one, _OURS)])

    def inner(self, closed: Closed) -> str:
        """The bridge of containers or interface of a VPN that it has an address of, or is bound to,
        and no other; empty if none."""
        ip, _, bound = closed.ip.partition("%")
        device = bound or self._near.get(ip_address(ip), "")
        return device if device in self._inner else ""

    @cached_property
    def _near(self) -> Mapping[Address, str]:
        """The interface of each address of this machine."""
        return Routes(self.host.run).interfaces() if self.host.find("ip") else {}

    @cached_property
    def _tunnels(self) -> Sequence[tunnels.Tunnel]:
        return tunnels.found(self.host.run) if self.host.find("ip") else ()

    @cached_property
    def _translated(self) -> frozenset[Socket]:
        """What may be a port that rules send elsewhere, and is no socket's."""
        host = self.host
        asked = host.root and host.kernel and host.find("nft")
        if self.target.vars["policy"] != "prerouting" or not asked:
            return frozenset()
        return tunnels.translated(host.run, (*host.machine.listening(), *host.machine.bound()))

    @cached_property
    def _sockets(self) -> list[Socket]:
        more = [*(one.socket for one in self._tunnels), *self._translated]
        return nftables.closed(self.target, self.lb, self.host.machine, more, self._outside)

    @cached_property
    def _outside(self) -> Mapping[Address, str]:
        """Those that others reach it by."""
        all_of = self._near.items()
        return {ip: name for ip, name in all_of if not (ip.is_loopback or ip.is_link_local)}

    @cached_property
    def _doors(self) -> Mapping[Socket, Sequence[Door]]:
        """Where others would reach each socket that has a port."""
        ported = [one for one in self._sockets if one.protocol in PROTOCOLS]
        return {one: self._ways(one) for one in ported}

    @cached_property
    def _beside(self) -> Mapping[Socket, Sequence[Door]]:
        """Of those at the address of a bridge, where others would reach the port of this machine:
        what is a container's there is its affair here."""
        found = {one: self._near.get(one.ip, "") for one in self._doors}
        inner = [one for one, device in found.items() if device in self._bridges]
        return {one: self._ways(one._replace(ip=_anywhere(one))) for one in inner}

    def _ways(self, socket: Socket) -> list[Door]:
        return [_door(socket, ip, name) for ip, name in socket.reached(self._outside)]

    @cached_property
    def _verdicts(self) -> Mapping[Door, Verdict] | None:
        """What becomes of packets to these now; None if the kernel can't be asked."""
        if not (self.host.root and self.host.kernel):
            return None
        asked = (*self._doors.values(), *self._beside.values())
        doors = list(dict.fromkeys(door for some in asked for door in some))
        try:
            return dict(zip(doors, self._firewall.judge(doors, {}), strict=True))
        except FirewallError:
            return None

    def _is_out_of_reach(self, socket: Socket, ours: str) -> bool:
        """Whether nobody reaches it by any address, whatever the rules of the tables that begin
        with `ours` (none, if that is empty) say."""
        doors = self._doors.get(socket, ())
        if not (self._verdicts and doors):
            return self._has_no_address(socket)
        verdicts = {one: self._verdicts[one] for one in doors}
        left = [one for one in doors if not self._keeps_out(verdicts[one], ours)]
        if socket._replace(ip=_anywhere(socket)) in self._translated:
            left = [one for one in left if verdicts[one].action == "translated"]
        used = self._connections(socket)
        beside = (self._verdicts[one] for one in self._beside.get(socket, ()))
        if any(map(self._is_anothers, (*verdicts.values(), *beside))) and not used:
            # Only containers come to what stands in for a published port, such as docker-proxy.
            left = [one for one in left if one.device not in self._bridges]
        return not left

    def _has_no_address(self, socket: Socket) -> bool:
        """Whether it waits at all addresses of a family of which this machine has none, but has
        some of the other: as `listen 80` does on a machine with IPv6 alone."""
        near = self._outside
        return socket.ip.is_unspecified and bool(near) and not socket.reached(near)

    def _is_beside_a_rule(self, socket: Socket) -> bool:
        """Whether a rule leads to its port at another address, and it was never open at this one:
        nginx has a port at every address, and the firewall that is loaded drops all else."""
        ruled = (socket.protocol, socket.port) in self._ruled
        return ruled and self._verdicts is not None and self._is_shut_by_us(socket)

    @cached_property
    def _ruled(self) -> frozenset[tuple[str, int]]:
        return frozenset((one.protocol.value, one.port) for one in self.lb.listeners)

    def _is_shut_by_us(self, socket: Socket) -> bool:
        """Whether the firewall that is loaded drops what comes to it, but for probes. Where
        the kernel can't be asked, it does what it was said to."""
        if self._verdicts is None:
            return True
        verdicts = [self._verdicts[one] for one in self._doors.get(socket, ())]
        return all(one.action == "drop" and one.chain.startswith(_OURS) for one in verdicts)

    @cached_property
    def _bridges(self) -> frozenset[str]:
        return self._of_kinds("bridge")

    @cached_property
    def _inner(self) -> frozenset[str]:
        return self._of_kinds("bridge", "tun", "wireguard")  # of Tailscale and OpenVPN: tun

    def _of_kinds(self, *kinds: str) -> frozenset[str]:
        """Those that the way out does not take: a machine's own network may be on a bridge."""
        routes = Routes(self.host.run)
        outside = {way.device for version in (4, 6) if (way := routes.far(version))}
        return tunnels.of_kinds(self.host.run, kinds) - outside

    def _is_anothers(self, verdict: Verdict) -> bool:
        """A port that another program gets is not this socket's; only before that it is judged."""
        return verdict.action == "translated" and self.target.vars["policy"] == "enforce"

    def _keeps_out(self, verdict: Verdict, ours: str) -> bool:
        if verdict.action == "translated":
            return self._is_anothers(verdict)
        mine = bool(ours) and verdict.chain.startswith(ours)
        return verdict.action == "drop" and not verdict.by_source and not mine

    def _named(self, sockets: Sequence[Socket]) -> tuple[Closed, ...]:
        """Each once, with who has it and how many from outside are connected to it."""
        programs = self.host.machine.holders({one.inode for one in sockets})
        tunnelled = dict.fromkeys(self._translated, "translated")
        tunnelled |= {one.socket: one.name for one in self._tunnels}
        kernels = any(one.protocol == "udp" and one.inode not in programs for one in sockets)
        ports = tunnels.ports(self.host.run) if kernels and self.host.find("ip") else {}
        found = {
            Closed(
                protocol=one.protocol,
                port=one.port,
                ip=_place(one),
                program=programs.get(one.inode)
                or tunnelled.get(one)
                or (ports.get(one.port, "") if one.protocol == "udp" else ""),
                connections=self._connections(one),
            )
            for one in sockets
        }
        return tuple(sorted(found))

    def _connections(self, socket: Socket) -> int:
        """How many connections from outside a socket has."""
        if socket.protocol != "tcp":
            return 0
        places = ((here, many) for here, many in self._used.items() if here[1] == socket.port)
        return sum(many for (ip, _), many in places if socket.ip in (ip, _anywhere(socket)))

    @cached_property
    def _used(self) -> Counter[tuple[Address, int]]:
        """How many connections from outside each address and port has."""
        machine = self.host.machine
        own = machine.addresses()
        return Counter(
            (here.ip, here.port)
            for here, there in machine.connected()
            if there not in own and not there.is_loopback
        )


def _anywhere(socket: Socket) -> Address:
    """Every address of the family of a socket."""
    return type(socket.ip)(0)


def _place(socket: Socket) -> str:
    """Where it waits, as ss(8) writes it."""
    bound = socket.ip.is_unspecified and socket.device
    return f"{socket.ip}%{socket.device}" if bound else str(socket.ip)


def _door(socket: Socket, ip: Address, device: str) -> Door:
    return Door(
        destination=ip, protocol=PROTOCOLS[socket.protocol], port=socket.port, device=device
    )
