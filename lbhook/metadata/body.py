"""The body of `GET /metadata/loadbalancer`, read.

`parse` is the only way in. Keys, their spelling and what surprises about them are those of
Microsoft's "Retrieve load balancer information by using the Azure Instance Metadata Service"
and of bodies seen on live nodes; the decisions are in docs/decisions/0002-reading-a-body.md.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from ..errors import MetadataError
from .model import (
    AddressPair,
    InboundRule,
    Metadata,
    Protocol,
    TunnelInterface,
    in_order,
    pair_key,
    rule_key,
    tunnel_key,
)
from .reader import Address, Field, Reader, address, choice, decode, number

T = TypeVar("T")
# Python 3.11 takes a function call to look up a member, and thousands of rules ask for this one.
_ALL = Protocol.ALL
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
        public_ips=in_order((one for one in public if one.is_public), pair_key),
        private_ips=in_order((one for one in public if not one.is_public), pair_key),
        inbound_rules=in_order(inbound, rule_key),
        outbound_rules=in_order(outbound, pair_key),
        tunnel_interfaces=in_order(tunnels, tunnel_key),
        warnings=tuple(dict.fromkeys(reader.warnings)),
        unknown=tuple(reader.unknown),
    )


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
