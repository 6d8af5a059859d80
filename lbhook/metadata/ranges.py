"""What kind an address is of: who on the Internet can reach it, if anybody.

By IANA's registries of special-purpose addresses (RFC 6890 and its updates), and not by
`ipaddress`, whose own list differs from one Python to the next.
"""

import enum
import functools
import ipaddress

from .reader import Address

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Range(str, enum.Enum):
    """The kind of an address. Only `PUBLIC` ones are reached from the Internet."""

    PUBLIC = "public"
    PRIVATE = "private"
    SHARED = "shared"
    DOCUMENTATION = "documentation"
    RESERVED = "reserved"

    def __str__(self) -> str:
        return self.value


_RANGES: dict[Range, tuple[str, ...]] = {
    Range.PRIVATE: ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
    # Behind a carrier's NAT (RFC 6598). Azure treats it as private in a virtual network.
    Range.SHARED: ("100.64.0.0/10",),
    Range.DOCUMENTATION: (
        *("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"),
        *("2001:db8::/32", "3fff::/20"),
    ),
    Range.RESERVED: (
        # This network, protocol assignments, the relay of 6to4 that is no more, benchmarks, what
        # was kept for later.
        *("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        # Protocol assignments (Teredo and benchmarks among them), 6to4.
        *("2001::/23", "2002::/16"),
    ),
}
_KNOWN = [(ipaddress.ip_network(text), kind) for kind, texts in _RANGES.items() for text in texts]
# All that is given to anybody so far (RFC 4291, IANA).
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")


@functools.lru_cache(maxsize=4096)
def kind(address: Address) -> Range:
    """The range that an address is in."""
    for network, found in _KNOWN:
        if address in network:
            return found
    if address.version == 6 and address not in _GLOBAL_V6:
        return Range.RESERVED
    return Range.PUBLIC
