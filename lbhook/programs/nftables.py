"""What is peculiar to the firewall on a machine: what it would close."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ..config.network import Network, is_named
from ..config.restrictions import Restriction
from ..config.targets import Target
from ..errors import ConfigError
from ..metadata.facts import Facts
from ..metadata.reader import Address
from ..system.machine import Machine, Socket
from . import sshd

# What every policy lets in: answers to a DHCP client.
_DHCP = (68, 546)
_ALL_PORTS = range(65536)


class _Door(NamedTuple):
    """What settings open: protocols (none: any), ports, where from and where to (None: any)."""

    protocols: tuple[str, ...]
    ports: range = _ALL_PORTS
    source: Network | None = None
    ip: Address | None = None
    versions: tuple[int, ...] = (4, 6)


def demand_no_kubelet(target: Target, machine: Machine) -> None:
    """Raise `ConfigError` if the target is a firewall that would cut off a node of Kubernetes.

    What pods, node ports and the API server send to a node is in no rule of the load balancer;
    kube-proxy and the network plugin filter it.
    """
    if target.kind == "nftables" and target.vars["policy"] == "enforce" and machine.has_kubelet():
        raise ConfigError(
            f'{target.name}: a kubelet is here, and policy "enforce" would cut off its node',
            hint='the firewall was not changed; set policy = "mark"',
        )


def drops(target: Target) -> bool:
    """Whether it is a firewall with a policy of its own."""
    return target.kind == "nftables" and bool(target.template) and target.vars["policy"] != "mark"


def closes_some(target: Target) -> bool:
    """Whether it keeps anybody out: by its policy, or by `restrict`."""
    return drops(target) or bool(target.template and restrictions([target]))


def closed(
    target: Target,
    lb: Facts,
    machine: Machine,
    more: Iterable[Socket] = (),
    near: Mapping[Address, str] = MappingProxyType({}),
) -> list[Socket]:
    """The sockets of this machine, and those `more`, that this firewall keeps everybody outside
    from. Of one for all addresses that is let in at some, a socket for each of those `near`, by
    their interface, where it is not."""
    trusted = target.vars["trusted_interfaces"]
    networks = machine.networks(trusted)
    doors = tuple(_doors(target.vars))
    ruled = _ruled(lb)

    def is_let_in(one: Socket) -> bool:
        inside = is_named(one.device, trusted) or _is_inside(one, networks)
        return inside or _is_open(one, doors) or ruled(one)

    found = []
    for one in (*machine.listening(), *machine.bound(), *machine.others(), *more):
        parts = [one._replace(ip=ip) for ip, _ in one.reached(near)]
        whole = not is_let_in(one)
        found += [one] if whole else parts if one.ip.is_unspecified else []
    return [one for one in found if not is_let_in(one)]


def _doors(variables: Mapping[str, Any]) -> Iterator[_Door]:
    tcp = ("tcp",)
    for network in variables["ssh_from"] or (None,):
        for port in variables["ssh_ports"]:
            yield _Door(tcp, range(port, port + 1), network)
        for one in variables.get("sshd", ()):
            versions = (one["version"],) if one["version"] else (4, 6)
            yield _Door(tcp, range(one["port"], one["port"] + 1), network, one["ip"], versions)
    for entry in variables["allow"]:
        first, _, last = (entry["port"] or "0-65535").partition("-")
        ports = range(int(first), int(last or first) + 1)
        any_of = ("tcp", "udp") if entry["port"] else ()
        protocols = (entry["protocol"],) if entry["protocol"] else any_of
        yield _Door(protocols, ports, entry["from"])


def _is_inside(socket: Socket, trusted: tuple[Network, ...]) -> bool:
    """Whether it is not for the outside: on loopback, on a trusted interface, or for DHCP."""
    local = (
        socket.ip.is_loopback
        or socket.device == "lo"
        or any(socket.ip in network for network in trusted)
    )
    return local or (socket.protocol == "udp" and socket.port in _DHCP)


def _is_open(socket: Socket, doors: tuple[_Door, ...]) -> bool:
    return any(
        (not door.protocols or socket.protocol in door.protocols)
        and socket.port in door.ports
        and (door.source is None or door.source.version in socket.versions)
        and (door.ip is None or socket.covers(door.ip, socket.port))
        and any(version in socket.versions for version in door.versions)
        for door in doors
    )


def unruled(lb: Facts, machine: Machine) -> tuple[Socket, ...]:
    """The sockets of this machine, but on loopback and for DHCP, that no rule leads to."""
    sockets = (*machine.listening(), *machine.bound())
    ruled = _ruled(lb)
    return tuple(one for one in sockets if not (_is_inside(one, ()) or ruled(one)))


def _ruled(lb: Facts) -> Callable[[Socket], bool]:
    """Tells whether an inbound rule or a tunnel leads to an address that a socket covers."""
    found: dict[tuple[str, int], list[Address]] = {}
    for one in lb.listeners:
        found.setdefault((one.protocol.value, one.port), []).append(one.ip)

    def covers(socket: Socket) -> bool:
        places = (*found.get((socket.protocol, socket.port), ()), *lb.ha_ports)
        return any(socket.covers(ip, socket.port) for ip in places)

    return covers


def restrictions(targets: Iterable[Target]) -> Sequence[Restriction]:
    """Who alone may come where, by the firewall among `targets`."""
    found = (one.vars["restrict"] for one in targets if one.kind == "nftables")
    return next(found, ())


def also_open(targets: Iterable[Target]) -> tuple[str, ...]:
    """What else the firewall among `targets` lets in, and why, as lines; none without one that
    has a policy of its own."""
    firewall = next((one for one in targets if one.kind == "nftables"), None)
    if firewall is None or firewall.vars["policy"] == "mark":
        return ()
    variables = firewall.vars
    networks = ", ".join(map(str, variables["ssh_from"])) or "anywhere"
    ports = ", ".join(map(str, variables["ssh_ports"])) or "no port of the configuration"
    allowed = ", ".join(map(_allowed, variables["allow"])) or "nothing more"
    probes = ", ".join(map(str, variables["probe_sources"]))
    places = ", and where sshd listens," if sshd.follows(firewall) else ""
    return (
        f"SSH: tcp {ports}{places} from {networks}",
        f"health probes: tcp, any port, from {probes}",
        f"by allow: {allowed}; by policy {variables['policy']}: open connections, ICMP, DHCP",
    )


def _allowed(entry: Mapping[str, Any]) -> str:
    port, source = entry["port"], entry["from"]
    words = [entry["protocol"] or "any protocol", *([port] if port else [])]
    return " ".join([*words, *(["from", str(source)] if source else [])])
