"""What the firewall's `restrict` says of inbound rules: who alone may come where they lead."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ..config.network import Network
from ..config.restrictions import Restriction, limits, named
from .facts import Facts
from .model import InboundRule

# What a picture has of many.
_MOST = 2


class Limit(NamedTuple):
    """Who alone may come to a port or range of a rule, of the rule's family; it is the rule's only
    one, unless that has every port."""

    protocol: str
    port: str
    sources: tuple[Network, ...]
    whole: bool = True

    def covers(self, port: int) -> bool:
        """Whether it is about this port."""
        first, _, last = self.port.partition("-")
        return int(first) <= port <= int(last or first)

    def __str__(self) -> str:
        what = "" if self.whole else f"{self.protocol or 'port'} {self.port} "
        if not self.sources:
            return f"{what}only from another family"
        shown = ", ".join(map(str, self.sources[:_MOST]))
        more = len(self.sources) - _MOST
        return f"{what}only from {shown}{f' and {more} more' if more > 0 else ''}"


def limits_of(restrict: Sequence[Restriction], rule: InboundRule) -> tuple[Limit, ...]:
    """The limits of a rule."""
    version = rule.private_ip.version
    return tuple(
        Limit(
            protocol=entry["protocol"],
            port=entry["port"],
            sources=tuple(one for one in entry["sources"] if one.version == version),
            whole=not rule.ha_ports,
        )
        for entry in restrict
        if limits(entry, rule.protocol.value, rule.backend_port)
    )


def doubts(
    restrict: Sequence[Restriction], lb: Facts, sshd_ports: Sequence[int] = ()
) -> Iterator[str]:
    """What is odd about entries beside the rules of an answer, and where sshd listens besides."""
    for entry in restrict:
        for port in sorted({one for one in sshd_ports if limits(entry, "tcp", one)}):
            yield f"restrict: sshd listens on tcp {port}: SSH comes there from its sources alone"
        found = [(one.protocol.value, one.port, one.ip) for one in lb.listeners]
        found += [("all", 0, ip) for ip in lb.ha_ports]
        ips = [ip for protocol, port, ip in found if limits(entry, protocol, port)]
        if not ips:
            yield f"restrict: no rule leads to {named(entry)}"
        missing = {ip.version for ip in ips} - {one.version for one in entry["sources"]}
        for version in sorted(missing):
            yield (
                f"restrict: {named(entry)} has no IPv{version} source, so nobody reaches it by IPv"
                f"{version}, where a rule leads"
            )
