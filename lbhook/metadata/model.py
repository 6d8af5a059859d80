"""What IMDS says about this VM and its load balancer, as frozen types.

`parse` is the only way in. Keys, their spelling and what surprises about them are those of
Microsoft's "Retrieve load balancer information by using the Azure Instance Metadata Service"
and of bodies seen on live nodes; the decisions are in docs/decisions/0002-reading-a-body.md.
"""

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from ..errors import MetadataError
from .ranges import Range, kind
from .reader import Address, Field, Reader, address, choice, decode, number

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


# Python 3.11 takes a function call to look up a member, and thousands of rules ask for this one.
_ALL = Protocol.ALL
# A body that says what absence comes to where it is treated as empty.
NOTHING = b'{"loadbalancer": {"publicIpAddresses": [], "inboundRules": [], "outboundRules": []}}'


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPair:
    """A frontend address and the private address of this VM that it stands for."""

    frontend_ip: Address
    private_ip: Address

    @property
    def is_public(self) -> bool:
        """Whether the frontend address is reached from the Internet."""
        return kind(self.frontend_ip) is Range.PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRule:
    """A load-balancing or inbound NAT rule, of a public or an internal load balancer.

    `by_configuration` is the name of one that the configuration gives; it makes no other rule.
    """

    frontend_ip: Address
    frontend_port: int
    protocol: Protocol
    private_ip: Address
    backend_port: int
    by_configuration: str = field(default="", compare=False)

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
        return self.protocol is _ALL


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

    `private_ips` are those under publicIpAddresses that nobody on the Internet reaches: since
    2026 Microsoft's page says that "public or private" ones may be there. `warnings` name entries
    that were left out or are odd, `unknown` the keys nobody reads.
    """

    public_ips: tuple[AddressPair, ...] = ()
    private_ips: tuple[AddressPair, ...] = ()
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

    def read(name: str, make: Callable[[Reader, str, int, list[Any]], T], whole: bool) -> list[T]:
        path = f"loadbalancer.{name}"
        found = reader.entries(lists.get(name, []), path, _FIELDS[name], whole=whole)
        return [make(reader, path, index, values) for index, values in found]

    public = read("publicIpAddresses", _pair, whole=False)
    inbound = read("inboundRules", _inbound, whole=True)
    outbound = read("outboundRules", _pair, whole=False)
    tunnels = read(_TUNNELS, _tunnel, whole=True)
    reader.raise_problems()
    return Metadata(
        public_ips=_sorted((one for one in public if one.is_public), _pair_key),
        private_ips=_sorted((one for one in public if not one.is_public), _pair_key),
        inbound_rules=_sorted(inbound, rule_key),
        outbound_rules=_sorted(outbound, _pair_key),
        tunnel_interfaces=_sorted(tunnels, _tunnel_key),
        warnings=tuple(dict.fromkeys(reader.warnings)),
        unknown=tuple(reader.unknown),
    )


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
        frontend.version,
        int(frontend),
        rule.protocol._value_,
        rule.frontend_port,
        private.version,
        int(private),
        rule.backend_port,
    )


_REQUIRED = ("publicIpAddresses", "inboundRules", "outboundRules")
_TUNNELS = "tunnelInterfaces"
# QUIC runs over UDP; ARM's enum of protocols has it, no body with it was seen.
_QUIC = "quic"
_PROTOCOLS = {one.value: one for one in Protocol} | {_QUIC: _QUIC}
_PORT = number(65535, "a port")
_PAIR = {"frontendIpAddress": address, "privateIpAddress": address}
# What each entry of a list has; what decides whether the rest is understood comes first.
_FIELDS: Mapping[str, Mapping[str, Field]] = {
    "publicIpAddresses": _PAIR,
    "outboundRules": _PAIR,
    "inboundRules": {
        "protocol": choice(_PROTOCOLS),
        "frontendIpAddress": address,
        "frontendPort": _PORT,
        "privateIpAddress": address,
        "backendPort": _PORT,
    },
    _TUNNELS: {
        "type": choice({"internal": "internal", "external": "external"}),
        "protocol": choice({"vxlan": "vxlan"}),
        "gatewayIpAddress": address,
        "gatewayPort": _PORT,
        # A VXLAN network identifier has 24 bits (RFC 7348).
        "identifier": number((1 << 24) - 1, "a VXLAN identifier"),
        "localIpAddress": address,
        "localPort": _PORT,
    },
}


def _pair(reader: Reader, path: str, index: int, values: list[Any]) -> AddressPair:
    frontend, private = values
    if frontend.version != private.version:
        reader.warnings.append(_mixed_families(f"{path}[{index}]", frontend, private))
    return AddressPair(frontend_ip=frontend, private_ip=private)


def _inbound(reader: Reader, path: str, index: int, values: list[Any]) -> InboundRule:
    protocol, frontend, frontend_port, private, backend_port = values
    if protocol is _QUIC:
        text = "'Quic' is read as udp; not yet seen on Azure"
        reader.warnings.append(f"{path}[{index}].protocol: {text}")
        protocol = Protocol.UDP
    if frontend.version != private.version:
        reader.warnings.append(_mixed_families(f"{path}[{index}]", frontend, private))
    if protocol is _ALL or not (frontend_port and backend_port):
        ports = {"frontendPort": frontend_port, "backendPort": backend_port}
        reader.problems += _port_problems(f"{path}[{index}]", protocol, ports)
    return InboundRule(
        frontend_ip=frontend,
        frontend_port=frontend_port,
        protocol=protocol,
        private_ip=private,
        backend_port=backend_port,
    )


def _port_problems(path: str, protocol: Protocol, ports: Mapping[str, int]) -> Iterator[str]:
    """HA ports are protocol all with both ports 0, and nothing else is (ARM's own rule)."""
    for key, port in ports.items():
        if protocol is _ALL and port:
            yield f"{path}.{key}: {port} with protocol all; an HA ports rule has port 0"
        elif protocol is not _ALL and not port:
            yield f"{path}.{key}: 0 with protocol {protocol}; only an HA ports rule has port 0"


def _mixed_families(path: str, frontend: Address, private: Address) -> str:
    return f"{path}: frontend {frontend} and private {private} are of different families"


def _tunnel(reader: Reader, path: str, index: int, values: list[Any]) -> TunnelInterface:
    kind, protocol, gateway, gateway_port, identifier, local, local_port = values
    for key, port in (("gatewayPort", gateway_port), ("localPort", local_port)):
        if not port:
            reader.problems.append(f"{path}[{index}].{key}: 0 is not a port")
    # No packet has addresses of both families, and no firewall loads a rule that says so.
    if local.version != gateway.version:
        problem = f"{local} is not of the family of gatewayIpAddress, {gateway}"
        reader.problems.append(f"{path}[{index}].localIpAddress: {problem}")
    return TunnelInterface(
        gateway_ip_address=gateway,
        gateway_port=gateway_port,
        identifier=identifier,
        type=kind,
        protocol=protocol,
        local_ip_address=local,
        local_port=local_port,
    )


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
