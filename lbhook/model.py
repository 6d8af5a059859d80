"""What IMDS says about this VM and its load balancer, as frozen types.

`parse` is the only way in. Keys, their spelling and what surprises about them are those of
Microsoft's "Retrieve load balancer information by using the Azure Instance Metadata Service"
and of bodies seen on live nodes; the decisions are in docs/decisions/0002-reading-a-body.md.
"""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .errors import MetadataError
from .reader import Address, Entry, Reader, decode

T = TypeVar("T")
# What it means that IMDS has no load balancer's metadata, and no body at all.
ABSENT = (
    "this VM is not in a backend pool of a Standard load balancer and has no Standard public IP,"
    " or not yet"
)


class Protocol(str, enum.Enum):
    """The protocol of an inbound rule; `ALL` only in HA ports rules. It is its word, too:
    templates compare, sort and print it as one."""

    TCP = "tcp"
    UDP = "udp"
    ALL = "all"

    # Enum's own is written in Python, and thousands of rules are found by it.
    __hash__ = str.__hash__

    def __str__(self) -> str:
        return self.value


# A body that says what absence comes to where it is treated as empty.
NOTHING = b'{"loadbalancer": {"publicIpAddresses": [], "inboundRules": [], "outboundRules": []}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPair:
    """A frontend address and the private address of this VM that it stands for."""

    frontend_ip: Address
    private_ip: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRule:
    """A load-balancing or inbound NAT rule, of a public or an internal load balancer."""

    frontend_ip: Address
    frontend_port: int
    protocol: Protocol
    private_ip: Address
    backend_port: int

    @property
    def floating_ip(self) -> bool:
        """Packets arrive at the frontend address itself (direct server return).

        There is no flag for it: with Floating IP the private address equals the frontend
        address (seen on AKS, cloud-provider-azure issue 535).
        """
        return self.private_ip == self.frontend_ip

    @property
    def ha_ports(self) -> bool:
        """Every protocol and every port of the address."""
        return self.protocol is Protocol.ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class TunnelInterface:
    """One VXLAN tunnel of a gateway load balancer's backend."""

    gateway_ip_address: Address
    gateway_port: int
    identifier: int
    type: str
    protocol: str
    local_ip_address: Address
    local_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """A body that was read whole and understood whole: sorted, without duplicates.

    `warnings` name entries that were left out or are odd, `unknown` the keys nobody reads.
    """

    public_ips: tuple[AddressPair, ...] = ()
    inbound_rules: tuple[InboundRule, ...] = ()
    outbound_rules: tuple[AddressPair, ...] = ()
    tunnel_interfaces: tuple[TunnelInterface, ...] = ()
    warnings: tuple[str, ...] = field(default=(), compare=False)
    unknown: tuple[str, ...] = field(default=(), compare=False)

    @property
    def has_load_balancer(self) -> bool:
        """A VM with a public IP alone has a body, too; no list but that of its addresses has
        anything in it."""
        return bool(self.inbound_rules or self.outbound_rules or self.tunnel_interfaces)


def parse(body: bytes) -> Metadata:
    """Read the body of `GET /metadata/loadbalancer`.

    Raises `UnreadableBodyError` if it is not JSON, `MetadataError` with every problem and its
    path otherwise; `partial` is set when nothing is wrong but something is missing.
    """
    reader = Reader()
    root = reader.members(decode(body), "body", {"loadbalancer"})
    reader.raise_problems()
    if "loadbalancer" not in root:
        raise MetadataError("loadbalancer: missing; this is not a load balancer's metadata")
    lists = reader.members(root["loadbalancer"], "loadbalancer", {*_REQUIRED, _TUNNELS})
    reader.raise_problems()
    reader.missing += [f"loadbalancer.{name}: missing" for name in _REQUIRED if name not in lists]

    def read(name: str, entry: Callable[[Entry], T], *, whole: bool) -> Iterable[T]:
        path = f"loadbalancer.{name}"
        return reader.entries(lists.get(name, []), path, _KEYS[name], entry, whole=whole)

    metadata = Metadata(
        public_ips=_sorted(read("publicIpAddresses", _pair, whole=False), _pair_key),
        inbound_rules=_sorted(read("inboundRules", _inbound, whole=True), rule_key),
        outbound_rules=_sorted(read("outboundRules", _pair, whole=False), _pair_key),
        tunnel_interfaces=_sorted(read(_TUNNELS, _tunnel, whole=True), _tunnel_key),
        warnings=tuple(dict.fromkeys(reader.warnings)),
        unknown=tuple(reader.unknown),
    )
    reader.raise_problems()
    return metadata


def with_rules(metadata: Metadata, rules: Iterable[InboundRule]) -> Metadata:
    """The same answer with other inbound rules."""
    return replace(metadata, inbound_rules=_sorted(rules, rule_key))


def order(address: Address) -> tuple[int, int]:
    """Sort key for addresses of both families: IPv4 first, then by value."""
    return (address.version, int(address))


def rule_key(rule: InboundRule) -> object:
    """All that a rule says, in the order in which rules are sorted."""
    frontend, private = rule.frontend_ip, rule.private_ip
    return (
        *(frontend.version, int(frontend), rule.protocol.value, rule.frontend_port),
        *(private.version, int(private), rule.backend_port),
    )


_REQUIRED = ("publicIpAddresses", "inboundRules", "outboundRules")
_TUNNELS = "tunnelInterfaces"
_PAIR_KEYS = {"frontendIpAddress", "privateIpAddress"}
_KEYS = {
    "publicIpAddresses": _PAIR_KEYS,
    "outboundRules": _PAIR_KEYS,
    "inboundRules": {*_PAIR_KEYS, "protocol", "frontendPort", "backendPort"},
    _TUNNELS: {
        *("gatewayIpAddress", "gatewayPort", "localIpAddress", "localPort"),
        *("identifier", "type", "protocol"),
    },
}
_PROTOCOLS = {
    "tcp": Protocol.TCP,
    "udp": Protocol.UDP,
    "all": Protocol.ALL,
    # QUIC runs over UDP; ARM's enum of protocols has it, no body with it was seen.
    "quic": Protocol.UDP,
}
# A VXLAN network identifier has 24 bits (RFC 7348).
_LAST_IDENTIFIER = (1 << 24) - 1


def _pair(entry: Entry) -> AddressPair:
    pair = AddressPair(
        frontend_ip=entry.address("frontendIpAddress"),
        private_ip=entry.address("privateIpAddress"),
    )
    _warn_of_mixed_families(entry, pair.frontend_ip, pair.private_ip)
    return pair


def _inbound(entry: Entry) -> InboundRule:
    rule = InboundRule(
        protocol=entry.choice("protocol", _PROTOCOLS),
        frontend_ip=entry.address("frontendIpAddress"),
        frontend_port=_port(entry, "frontendPort"),
        private_ip=entry.address("privateIpAddress"),
        backend_port=_port(entry, "backendPort"),
    )
    if entry.sound:
        if rule.ha_ports or not (rule.frontend_port and rule.backend_port):
            _check_ports(entry, rule)
        _warn_of_mixed_families(entry, rule.frontend_ip, rule.private_ip)
        if rule.protocol is Protocol.UDP and entry.values["protocol"].lower() == "quic":
            entry.warn("'Quic' is read as udp; not yet seen on Azure", "protocol")
    return rule


def _port(entry: Entry, key: str) -> int:
    return entry.number(key, 65535, "a port")


def _check_ports(entry: Entry, rule: InboundRule) -> None:
    """HA ports are protocol all with both ports 0, and nothing else is (ARM's own rule)."""
    ha_ports, protocol = rule.ha_ports, rule.protocol
    for key, port in (("frontendPort", rule.frontend_port), ("backendPort", rule.backend_port)):
        if ha_ports and port:
            entry.problem(key, f"{port} with protocol all; an HA ports rule has port 0")
        elif not (ha_ports or port):
            entry.problem(key, f"0 with protocol {protocol}; only an HA ports rule has port 0")


def _warn_of_mixed_families(entry: Entry, frontend: Address, private: Address) -> None:
    if entry.sound and frontend.version != private.version:
        entry.warn(f"frontend {frontend} and private {private} are of different families")


def _tunnel(entry: Entry) -> TunnelInterface:
    tunnel = TunnelInterface(
        type=entry.choice("type", {"internal": "internal", "external": "external"}),
        protocol=entry.choice("protocol", {"vxlan": "vxlan"}),
        gateway_ip_address=entry.address("gatewayIpAddress"),
        gateway_port=_port(entry, "gatewayPort"),
        identifier=entry.number("identifier", _LAST_IDENTIFIER, "a VXLAN identifier"),
        local_ip_address=entry.address("localIpAddress"),
        local_port=_port(entry, "localPort"),
    )
    if entry.sound:
        _check_tunnel(entry, tunnel)
    return tunnel


def _check_tunnel(entry: Entry, tunnel: TunnelInterface) -> None:
    for key, port in (("gatewayPort", tunnel.gateway_port), ("localPort", tunnel.local_port)):
        if not port:
            entry.problem(key, "0 is not a port")
    # No packet has addresses of both families, and no firewall loads a rule that says so.
    local, gateway = tunnel.local_ip_address, tunnel.gateway_ip_address
    if local.version != gateway.version:
        problem = f"{local} is not of the family of gatewayIpAddress, {gateway}"
        entry.problem("localIpAddress", problem)


def _sorted(items: Iterable[T], key: Callable[[T], Any]) -> tuple[T, ...]:
    # A key has all that an item says, and is compared faster.
    found = {key(item): item for item in items}
    return tuple(found[one] for one in sorted(found))


def _pair_key(pair: AddressPair) -> object:
    return (order(pair.frontend_ip), order(pair.private_ip))


def _tunnel_key(tunnel: TunnelInterface) -> object:
    return (
        *(order(tunnel.local_ip_address), tunnel.local_port, tunnel.identifier),
        *(order(tunnel.gateway_ip_address), tunnel.gateway_port, tunnel.type),
    )
