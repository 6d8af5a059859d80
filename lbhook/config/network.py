"""Values of a TOML file that concern the network: addresses, ports, protocols, interfaces."""

import ipaddress
import re
import urllib.parse
from collections.abc import Iterable

from ..layout import suggestion
from .schema import Misfit, shaped, shown, text, unfit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# The broadcast address, and Azure's own DNS, DHCP and health probes: with those of loopback,
# link and multicast what a virtual network can't have (Microsoft: "Virtual Network FAQ").
_NEVER = ipaddress.IPv4Address("255.255.255.255"), ipaddress.IPv4Address("168.63.129.16")
# IANA's numbers, so that a rule loads where /etc/protocols is missing.
PROTOCOLS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "rsvp": 46,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "eigrp": 88,
    "ospf": 89,
    "etherip": 97,
    "pim": 103,
    "ipcomp": 108,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}


@shaped(type="integer", minimum=1, maximum=65535)
def port(value: object) -> int:
    """A TCP or UDP port."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise unfit(value, "a port")
    return value


@shaped(
    anyOf=(
        {"type": "integer", "minimum": 1, "maximum": 65535},
        {"type": "string", "pattern": "^[0-9]{1,5}-[0-9]{1,5}$"},
    )
)
def ports(value: object) -> str:
    """A port, or a range of ports such as `"8000-8100"`, as nft writes it."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,5}-\d{1,5}", value, re.ASCII):
        first, last = (int(part) for part in value.split("-"))
        if 0 < first < last <= 65535:
            return f"{first}-{last}"
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 65535:
        raise unfit(value, 'a port, or a range such as "8000-8100"')
    return str(value)


@shaped(
    anyOf=(
        {"type": "integer", "minimum": 1, "maximum": 0xFFFFFFFF},
        {"type": "string", "pattern": "^0x[0-9a-fA-F]{1,8}$"},
    )
)
def mark(value: object) -> int:
    """Bits of a packet mark: a number, or a string such as `"0x1000"`; at least one is set."""
    number = value
    if isinstance(value, str) and re.fullmatch("0x[0-9a-fA-F]{1,8}", value):
        number = int(value, 16)
    if not isinstance(number, int) or isinstance(number, bool) or not 0 < number < 1 << 32:
        raise unfit(value, 'a mark: up to 32 bits, not all zero, such as "0x1000"')
    return number


@shaped(type="string")
def address(value: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An IPv4 or IPv6 address without a scope."""
    try:
        result = ipaddress.ip_address(text(value))
    except ValueError:
        raise unfit(value, "an address") from None
    if getattr(result, "scope_id", None) is not None:
        raise unfit(value, "an address without a scope")
    return result


def may_be_a_host(address: Address) -> bool:
    """Whether a load balancer or a VM can have an address."""
    special = address.is_unspecified or address.is_multicast or address.is_loopback
    return not (special or address.is_link_local or address in _NEVER)


@shaped(type="string")
def host(value: object) -> Address:
    """The address of a load balancer or a VM; IPv6 may be in brackets, as Azure writes it."""
    bare = value[1:-1] if isinstance(value, str) and re.fullmatch(r"\[.*:.*\]", value) else value
    found = address(bare)
    if getattr(found, "ipv4_mapped", None) is not None or not may_be_a_host(found):
        raise unfit(value, "an address that a load balancer or a VM can have")
    return found


@shaped(type="string", pattern="^[hH][tT][tT][pP]://")
def endpoint(value: object) -> str:
    """The address of a metadata service: `http://`, an IP literal or localhost, perhaps a
    port, and nothing else. A name would have to be resolved, which no budget bounds."""
    try:
        parts = urllib.parse.urlsplit(text(value))
        number, host = parts.port, parts.hostname or ""
    except ValueError:  # a bracket that is not closed, or a port that is none
        raise _no_endpoint(value) from None
    if parts.scheme != "http":
        problem = "only http, as the metadata service has it; give http://ADDRESS[:PORT]"
        raise Misfit(("", f"{shown(value)}: {problem}"))
    if parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise Misfit(("", f"{shown(value)}: no user, path or query; give http://ADDRESS[:PORT]"))
    if number == 0 or (host != "localhost" and not _is_literal(host)):
        raise _no_endpoint(value)
    name = f"[{host}]" if ":" in host else host
    return f"http://{name}:{number}" if number is not None else f"http://{name}"


@shaped(type="string")
def network(value: object) -> Network:
    """A network such as `"10.0.0.0/8"`, or one address."""
    try:
        result = ipaddress.ip_network(text(value))
    except ValueError:
        raise unfit(value, f"a network{_meant(text(value))}") from None
    if getattr(result.network_address, "scope_id", None) is not None:
        raise unfit(value, "a network without a scope")
    return result


@shaped(anyOf=({"type": "string"}, {"type": "integer", "minimum": 1, "maximum": 255}))
def protocol(value: object) -> str:
    """The name of an IP protocol; of one that has none here, its number in digits."""
    number = value
    if isinstance(value, str) and re.fullmatch(r"\d{1,3}", value, re.ASCII):
        number = int(value)
    if isinstance(number, int) and not isinstance(number, bool):
        if not 0 < number <= 255:
            raise unfit(value, "a protocol: a name, or a number from 1 to 255")
        return protocol_name(number)
    name = text(value).lower()
    if name not in PROTOCOLS:
        raise Misfit(("", f"{shown(value)} is not a known protocol{suggestion(name, PROTOCOLS)}"))
    return name


def protocol_name(number: int) -> str:
    """What a protocol is called here; its number in digits if it has no name."""
    return next((name for name, one in PROTOCOLS.items() if one == number), str(number))


def protocol_number(name: str) -> int:
    """The number of a protocol that `protocol` has read."""
    return PROTOCOLS.get(name) or int(name)


@shaped(type="string")
def interface(value: object) -> str:
    """The name of a network interface, as the kernel allows it; with `*` behind it, of all whose
    names begin so (nft(8), "iifname")."""
    if not re.fullmatch(r'(?=.{1,15}\Z)(?:(?![/"\\*{};])[!-~])+\*?', text(value)):
        raise unfit(value, 'the name of an interface, such as "docker0" or "br-*"')
    return text(value)


def is_named(name: str, interfaces: Iterable[str]) -> bool:
    """Whether `interfaces`, which `interface` has read, have an interface of this name among
    them."""
    return any(name == one or (one[-1] == "*" and name.startswith(one[:-1])) for one in interfaces)


def _meant(written: str) -> str:
    """The network around an address, for somebody who wrote the address of a host in it."""
    try:
        return f'; did you mean "{ipaddress.ip_network(written, strict=False)}"?'
    except ValueError:
        return ' such as "10.0.0.0/8"'


def _is_literal(host: str) -> bool:
    try:
        return getattr(ipaddress.ip_address(host), "scope_id", None) is None
    except ValueError:
        return False


def _no_endpoint(value: object) -> Misfit:
    return unfit(value, "http:// with an IP address or localhost, and perhaps a port")
