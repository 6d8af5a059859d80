"""What a template may see of the load balancer: sorted, without duplicates, worked out."""

import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from .model import AddressPair, InboundRule, Metadata, Protocol, TunnelInterface, order
from .reader import Address

# Of each version of IP what stands for every address.
EVERYWHERE: tuple[Address, ...] = (ipaddress.IPv4Address(0), ipaddress.IPv6Address(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """An address, protocol and port of this VM that traffic reaches.

    `rules` are the inbound rules that lead to it; none for a gateway load balancer's tunnel. With
    `dual` nginx's socket for every IPv6 address is to take IPv4 as well.
    """

    ip: Address
    protocol: Protocol
    port: int
    rules: tuple[InboundRule, ...] = ()
    dual: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The `lb` of a template. Without an argument: what is known before any answer."""

    public_ips: tuple[AddressPair, ...] = ()
    private_ips: tuple[AddressPair, ...] = ()
    inbound_rules: tuple[InboundRule, ...] = ()
    outbound_rules: tuple[AddressPair, ...] = ()
    tunnel_interfaces: tuple[TunnelInterface, ...] = ()
    listeners: tuple[Listener, ...] = ()
    ha_ports: tuple[Address, ...] = ()
    floating_ips: tuple[Address, ...] = ()
    frontend_ips: tuple[Address, ...] = ()


def derive(metadata: Metadata) -> Facts:
    """Work out what reaches this VM, and where.

    With and without Floating IP a packet arrives at the private address and backend port of
    its rule (Microsoft: "Azure Load Balancer Floating IP configuration"), so both are one case.
    """
    rules = metadata.inbound_rules
    return Facts(
        public_ips=metadata.public_ips,
        private_ips=metadata.private_ips,
        inbound_rules=rules,
        outbound_rules=metadata.outbound_rules,
        tunnel_interfaces=metadata.tunnel_interfaces,
        listeners=_listeners(metadata),
        ha_ports=_addresses(rule.private_ip for rule in rules if rule.ha_ports),
        floating_ips=_addresses(rule.frontend_ip for rule in rules if rule.floating_ip),
        frontend_ips=_addresses(rule.frontend_ip for rule in rules),
    )


def here(facts: Facts, is_local: Callable[[Address], bool]) -> tuple[Facts, tuple[str, ...]]:
    """The facts without listeners on addresses that this machine does not have, and warnings."""
    wanted = dict.fromkeys(one.ip for one in facts.listeners)
    absent = dict.fromkeys(ip for ip in wanted if not is_local(ip))
    if not absent:
        return facts, ()
    kept = tuple(one for one in facts.listeners if one.ip not in absent)
    warnings = tuple(
        f"{ip} is not an address of this machine; its listeners are left out" for ip in absent
    )
    return replace(facts, listeners=kept), warnings


def on_every_address(facts: Facts) -> Facts:
    """The facts with each TCP port once for each version of IP, in place of its addresses."""
    rules: dict[tuple[int, int], list[InboundRule]] = {}
    for one in facts.listeners:
        if one.protocol is Protocol.TCP:
            rules.setdefault((one.port, one.ip.version), []).extend(one.rules)
    wide = (
        Listener(
            ip=ip, protocol=Protocol.TCP, port=port, rules=tuple(rules.get((port, ip.version), ()))
        )
        for port in sorted({port for port, _ in rules})
        for ip in EVERYWHERE
    )
    rest = (one for one in facts.listeners if one.protocol is not Protocol.TCP)
    return replace(facts, listeners=(*wide, *rest))


def _listeners(metadata: Metadata) -> tuple[Listener, ...]:
    rules: dict[tuple[Address, Protocol, int], list[InboundRule]] = {}
    for rule in metadata.inbound_rules:
        if not rule.ha_ports:
            place = (rule.private_ip, rule.protocol, rule.backend_port)
            rules.setdefault(place, []).append(rule)
    for tunnel in metadata.tunnel_interfaces:
        rules.setdefault((tunnel.local_ip_address, Protocol.UDP, tunnel.local_port), [])
    listeners = (
        Listener(ip=ip, protocol=protocol, port=port, rules=tuple(found))
        for (ip, protocol, port), found in rules.items()
    )
    return tuple(sorted(listeners, key=lambda one: (order(one.ip), one.protocol, one.port)))


def _addresses(addresses: Iterable[Address]) -> tuple[Address, ...]:
    return tuple(sorted(set(addresses), key=order))
