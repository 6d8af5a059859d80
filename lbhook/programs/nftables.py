"""What is peculiar to the firewall on a machine: what it would close."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..config.network import Network
from ..config.targets import Target
from ..errors import ConfigError
from ..metadata.facts import Facts
from ..plan import Change, Closed
from ..system.machine import Machine, Socket

# What every policy lets in: answers to a DHCP client.
_DHCP = (68, 546)
_Door = tuple[str, range, Network | None]


def demand_no_kubelet(target: Target, machine: Machine) -> None:
    """Raise `ConfigError` if the target is a firewall that would cut off a node of Kubernetes.

    What pods, node ports and the API server send to a node is in no rule of the load balancer;
    kube-proxy and the network plugin filter it.
    """
    if target.kind == "nftables" and target.vars["policy"] == "enforce" and machine.has_kubelet():
        raise ConfigError(
            f'{target.name}: a kubelet is here, and policy "enforce" would cut off its node',
            hint='nothing was changed; set policy = "mark"',
        )


def closes(changes: Iterable[Change], lb: Facts, machine: Machine) -> tuple[Closed, ...]:
    """The sockets of this machine that the firewall among `changes`, if it changes, closes to
    everybody outside."""
    firewall = next((one for one in changes if one.touches_file and _drops(one)), None)
    if not firewall:
        return ()
    variables = firewall.target.vars
    trusted = machine.networks(variables["trusted_interfaces"])
    doors = tuple(_doors(variables))
    closed = [
        one
        for one in (*machine.listening(), *machine.bound())
        if not (_is_inside(one, trusted) or _is_open(one, doors) or _is_ruled(one, lb))
    ]
    programs = machine.holders({one.inode for one in closed})
    found = {(one.protocol, one.port, str(one.ip), programs.get(one.inode, "")) for one in closed}
    return tuple(Closed(protocol=a, port=b, ip=c, program=d) for a, b, c, d in sorted(found))


def _drops(change: Change) -> bool:
    target = change.target
    return target.kind == "nftables" and bool(target.template) and target.vars["policy"] != "mark"


def _doors(variables: Mapping[str, Any]) -> Iterator[_Door]:
    """Protocol (or any), ports, and where from (or anywhere), of what settings open."""
    for port in variables["ssh_ports"]:
        for network in variables["ssh_from"] or (None,):
            yield "tcp", range(port, port + 1), network
    for entry in variables["allow"]:
        first, _, last = (entry["port"] or "0-65535").partition("-")
        yield entry["protocol"], range(int(first), int(last or first) + 1), entry["from"]


def _is_inside(socket: Socket, trusted: tuple[Network, ...]) -> bool:
    """Whether it is not for the outside: on loopback, on a trusted interface, or for DHCP."""
    local = socket.ip.is_loopback or any(socket.ip in network for network in trusted)
    return local or (socket.protocol == "udp" and socket.port in _DHCP)


def _is_open(socket: Socket, doors: tuple[_Door, ...]) -> bool:
    return any(
        protocol in ("", socket.protocol)
        and socket.port in ports
        and (network is None or network.version in socket.versions)
        for protocol, ports, network in doors
    )


def unruled(lb: Facts, machine: Machine) -> tuple[Socket, ...]:
    """The sockets of this machine, but on loopback and for DHCP, that no rule leads to."""
    sockets = (*machine.listening(), *machine.bound())
    return tuple(one for one in sockets if not (_is_inside(one, ()) or _is_ruled(one, lb)))


def _is_ruled(socket: Socket, lb: Facts) -> bool:
    """Whether an inbound rule or a tunnel leads to an address that it covers."""
    return any(
        one.port == socket.port
        and one.protocol.value == socket.protocol
        and socket.covers(one.ip, one.port)
        for one in lb.listeners
    ) or any(socket.covers(ip, socket.port) for ip in lb.ha_ports)


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
    return (
        f"SSH: tcp {ports}, and where sshd listens, from {networks}",
        f"health probes: tcp, any port, from {probes}",
        f"by allow: {allowed}; by policy {variables['policy']}: open connections, ICMP, DHCP",
    )


def _allowed(entry: Mapping[str, Any]) -> str:
    port, source = entry["port"], entry["from"]
    words = [entry["protocol"] or "any protocol", *([port] if port else [])]
    return " ".join([*words, *(["from", str(source)] if source else [])])
