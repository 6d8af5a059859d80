"""What `show --json` prints, and what `[hooks]` hands over: the normalised model."""

from dataclasses import asdict
from typing import Any

from ..metadata.facts import Facts
from ..metadata.model import AddressPair, Metadata
from .paths import Picture, Way

VERSION = 1


def model(lb: Facts, metadata: Metadata) -> dict[str, Any]:
    """The value of `show --json`: the normalised model."""
    return {
        "version": VERSION,
        "public_ips": [_pair(one) for one in lb.public_ips],
        **({"private_ips": [_pair(one) for one in lb.private_ips]} if lb.private_ips else {}),
        "inbound_rules": [
            {
                "frontend_ip": str(rule.frontend_ip),
                "frontend_port": rule.frontend_port,
                "protocol": rule.protocol.value,
                "private_ip": str(rule.private_ip),
                "backend_port": rule.backend_port,
                "floating_ip": rule.floating_ip,
                "ha_ports": rule.ha_ports,
                **({"by_configuration": rule.by_configuration} if rule.by_configuration else {}),
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


def here(picture: Picture) -> dict[str, Any]:
    """The value of `here` in `show --json --here`: each inbound rule on this machine, in the
    order of `inbound_rules`."""
    return {
        "inbound_rules": [
            {
                "local": way.local,
                "listening": _listening_json(way),
                "verdict": way.verdict._asdict() if way.verdict else None,
                "counter": way.counter._asdict() if way.counter else None,
                **({"limits": _limits_json(way)} if way.limits else {}),
                "problems": list(way.problems),
            }
            for way in picture.ways
        ],
        "also_open": list(picture.also_open),
        "unseen": list(picture.unseen),
    }


def _limits_json(way: Way) -> list[dict[str, Any]]:
    return [
        {"protocol": one.protocol, "port": one.port, "sources": [*map(str, one.sources)]}
        for one in way.limits
    ]


def _listening_json(way: Way) -> list[dict[str, str]] | None:
    return None if way.listening is None else [asdict(one) for one in way.listening]


def _pair(pair: AddressPair) -> dict[str, str]:
    return {"frontend_ip": str(pair.frontend_ip), "private_ip": str(pair.private_ip)}
