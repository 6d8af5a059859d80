"""What IMDS says about this VM and its load balancer, as frozen types."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from .ranges import Range, kind
from .reader import Address

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


def with_rules(metadata: Metadata, rules: Iterable[InboundRule]) -> Metadata:
    """The same answer with other inbound rules."""
    return replace(metadata, inbound_rules=in_order(rules, rule_key))


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


def in_order(items: Iterable[T], key: Callable[[T], Any]) -> tuple[T, ...]:
    """Each once, sorted: a key has all that an item says, and is compared faster."""
    found = {key(item): item for item in items}
    return tuple(found[one] for one in sorted(found))


def pair_key(pair: AddressPair) -> object:
    """All that a pair says, likewise."""
    return (order(pair.frontend_ip), order(pair.private_ip))


def tunnel_key(tunnel: TunnelInterface) -> object:
    """All that a tunnel says, likewise."""
    return (
        *(order(tunnel.local_ip_address), tunnel.local_port, tunnel.identifier),
        *(order(tunnel.gateway_ip_address), tunnel.gateway_port, tunnel.type),
    )
