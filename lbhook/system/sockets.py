"""The sockets of a network namespace, as proc(5) lists them."""

import functools
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from ..config.network import protocol_name
from ..metadata.reader import Address

LISTEN, UNCONNECTED, CALLING, ESTABLISHED = "0A", "07", "02", "01"
# Of TCP: established, a client's beginning, and ends that may have something to send
# (include/net/tcp_states.h: FIN_WAIT1, CLOSE_WAIT, LAST_ACK, CLOSING).
OPEN = (ESTABLISHED, "03", "04", "08", "09", "0B")
_SCTP_LISTEN = "10"
# Of raw sockets those that only send or that every firewall of lbhook's lets in (ICMP), and
# those that see copies of what other sockets get.
_NO_SERVICE = (1, 6, 17, 58, 255)


class Socket(NamedTuple):
    """A socket that anybody may send to: of TCP one that listens, of UDP one that is bound and
    not connected. `port` is 0 where `protocol` has no ports. `ipv6_only` says whether one for IPv6
    takes no IPv4 (IPV6_V6ONLY of ipv6(7)); None where nobody can tell, as /proc does not. What does
    not come by the interface `device` never gets to it (SO_BINDTODEVICE of socket(7)); it is empty
    where that is open to all, or nobody can tell. `group` is the number of the control group in
    which it was made; 0 where nobody can tell."""

    ip: Address
    port: int
    inode: int
    protocol: str = "tcp"
    ipv6_only: bool | None = None
    device: str = ""
    group: int = 0

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions of IP that it takes, or may take, as one for all of IPv6 may IPv4."""
        if self.ip.version == 6 and self.ip.is_unspecified and not self.ipv6_only:
            return 4, 6
        return (self.ip.version,)

    def covers(self, ip: Address, port: int) -> bool:
        """Whether it takes what comes to this address: its own, or any."""
        anywhere = self.ip.is_unspecified and ip.version in self.versions
        return self.port == port and (anywhere or ip == self.ip)

    def reached(self, near: Mapping[Address, str]) -> Sequence[tuple[Address, str]]:
        """By which of these addresses it is reached, each with its interface. Those of an interface
        that has none, such as a VRF, are others'."""
        if not self.ip.is_unspecified:
            return [(self.ip, near[self.ip])] if self.ip in near else []
        bound = self.device in near.values()
        return [
            (ip, name)
            for ip, name in near.items()
            if ip.version in self.versions and name in (self.device if bound else name,)
        ]


def rows(listing: str, state: str) -> Iterator[list[str]]:
    """The columns of the sockets in a state; of all, if that is empty."""
    for line in listing.splitlines()[1:]:
        words = line.split()
        if state in ("", words[3]):
            yield words


def here(protocol: str, words: Sequence[str]) -> Socket:
    """A socket with its own end."""
    return _end(protocol, words, 1)


def there(protocol: str, words: Sequence[str]) -> Socket:
    """A socket with the other end."""
    return _end(protocol, words, 2)


def raw(listing: str) -> Iterator[Socket]:
    """The raw sockets that somebody may serve, by the name of their protocol."""
    for words in rows(listing, ""):
        found = here("", words)
        if found.port not in _NO_SERVICE:
            yield found._replace(protocol=protocol_name(found.port), port=0)


def sctp(listing: str) -> Iterator[Socket]:
    """The endpoints that listen, at each of their addresses."""
    for words in rows(listing, _SCTP_LISTEN):
        for ip in words[8:]:
            yield Socket(ipaddress.ip_address(ip), int(words[5]), int(words[7]), "sctp")


def _end(protocol: str, words: Sequence[str], end: int) -> Socket:
    digits, port = words[end].split(":")
    return Socket(kernel_address(digits), int(port, 16), int(words[9]), protocol)


# Most sockets of a machine are on the same few addresses.
@functools.lru_cache(maxsize=1024)
def kernel_address(digits: str) -> Address:
    """/proc/net/tcp prints each 32-bit word of an address in the byte order of the machine."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    # A socket for IPv6 that was given an IPv4 address is one for IPv4.
    return getattr(address, "ipv4_mapped", None) or address
