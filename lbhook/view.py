"""What `show` prints: what Azure says about this VM, as tables and as JSON."""

from typing import Any

from .facts import Facts
from .layout import Row, table, wrapped
from .model import AddressPair, InboundRule, Metadata
from .reader import Address

VERSION = 1


def to_json(lb: Facts, metadata: Metadata) -> dict[str, Any]:
    """The value of `show --json`: the normalised model."""
    return {
        "version": VERSION,
        "public_ips": [_pair(one) for one in lb.public_ips],
        "inbound_rules": [
            {
                "frontend_ip": str(rule.frontend_ip),
                "frontend_port": rule.frontend_port,
                "protocol": rule.protocol.value,
                "private_ip": str(rule.private_ip),
                "backend_port": rule.backend_port,
                "floating_ip": rule.floating_ip,
                "ha_ports": rule.ha_ports,
            }
            for rule in lb.inbound_rules
        ],
        "outbound_rules": [_pair(one) for one in lb.outbound_rules],
        "tunnel_interfaces": [
            {
                "gateway_ip_address": str(one.gateway_ip_address),
                "gateway_port": one.gateway_port,
                "identifier": one.identifier,
                "type": one.type,
                "protocol": one.protocol,
                "local_ip_address": str(one.local_ip_address),
                "local_port": one.local_port,
            }
            for one in lb.tunnel_interfaces
        ],
        "listeners": [
            {"ip": str(one.ip), "protocol": one.protocol.value, "port": one.port}
            for one in lb.listeners
        ],
        "ha_ports": [str(one) for one in lb.ha_ports],
        "floating_ips": [str(one) for one in lb.floating_ips],
        "frontend_ips": [str(one) for one in lb.frontend_ips],
        "warnings": list(metadata.warnings),
    }


def to_text(lb: Facts, metadata: Metadata) -> str:
    """What Azure says about this VM, as tables."""
    inbound = [
        (
            (_place(rule.frontend_ip, rule.frontend_port), rule.protocol.value),
            (_place(rule.private_ip, rule.backend_port), *_remarks(rule)),
        )
        for rule in lb.inbound_rules
    ]
    tunnels = [
        (
            (_place(one.gateway_ip_address, one.gateway_port), one.protocol),
            (_place(one.local_ip_address, one.local_port), f"{one.type} {one.identifier}"),
        )
        for one in lb.tunnel_interfaces
    ]
    parts = [
        table("Public addresses of this VM", [_pair_row(one) for one in lb.public_ips]),
        table("Inbound rules", inbound),
        table("Outbound rules", [_pair_row(one) for one in lb.outbound_rules]),
    ]
    if tunnels:
        parts.append(table("Tunnels of a gateway load balancer", tunnels))
    if metadata.warnings:
        parts.append("\n".join(["Warnings", *map(wrapped, metadata.warnings), ""]))
    return "\n".join(parts)


def _pair(pair: AddressPair) -> dict[str, str]:
    return {"frontend_ip": str(pair.frontend_ip), "private_ip": str(pair.private_ip)}


def _pair_row(pair: AddressPair) -> Row:
    return ((str(pair.frontend_ip),), (str(pair.private_ip),))


def _remarks(rule: InboundRule) -> list[str]:
    remarks = ["Floating IP"] * rule.floating_ip + ["HA ports"] * rule.ha_ports
    return [", ".join(remarks)] if remarks else []


def _place(ip: Address, port: int) -> str:
    name = f"[{ip}]" if ip.version == 6 else str(ip)
    return f"{name}:{port or '*'}"
