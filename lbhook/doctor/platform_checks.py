"""The doctor's check of what comes from Azure itself, and not from clients: neighbour discovery and
health probes, as the rules of all tables let them in."""

from collections.abc import Iterator, Sequence
from ipaddress import IPv6Address

from ..firewall.kernel import FirewallError
from ..firewall.packets import ICMPV6, TCP
from ..firewall.verdict import Door, Verdict
from ..levers.reach import sources
from ..metadata.model import Protocol
from ..metadata.reader import Address
from ..traffic.paths import Way
from .findings import Check, Evidence, Finding

# Who answers for every IPv6 address outside, as packets from there have it.
_ROUTER = IPv6Address("fe80::1234:5678:9abc")
# So many rules are looked at: what bans a source bans it from all ports, or from well-known ones.
_MOST = 64
_OURS = "inet lbhook"


def platform(evidence: Evidence) -> Iterator[Finding]:
    """Whether other tables than lbhook's drop what Azure sends to where clients come."""
    firewall = evidence.picture.firewall
    open_ways = [one for one in evidence.picture.ways if _is_open(one)]
    doors = [*_neighbours(open_ways), *_probed(open_ways[:_MOST], sources(evidence.settings))]
    try:
        verdicts = firewall.judge(doors, {}) if firewall else []
    except FirewallError:
        return
    found: dict[tuple[str, bool], list[Door]] = {}
    for door, verdict in zip(doors, verdicts, strict=False):
        if verdict.action == "drop" and not verdict.chain.startswith(_OURS):
            found.setdefault((verdict.place, door.protocol == TCP), []).append(door)
    for (place, is_probe), dropped in found.items():
        yield _of_probes(place, dropped) if is_probe else _of_neighbours(place, dropped[0])


CHECKS: tuple[Check, ...] = (platform,)


def _is_open(way: Way) -> bool:
    verdict = way.verdict or Verdict()
    return bool(way.local and way.device and (verdict.action == "accept" or verdict.by_source))


def _neighbours(ways: Sequence[Way]) -> Iterator[Door]:
    one = next((one for one in ways if one.rule.private_ip.version == 6), None)
    if one:
        ip, device = one.rule.private_ip, one.device
        yield Door(destination=ip, protocol=ICMPV6, port=0, device=device, source=_ROUTER)


def _probed(ways: Sequence[Way], probing: Sequence[Address]) -> Iterator[Door]:
    for one in ways:
        ip, port = one.rule.private_ip, one.rule.backend_port
        for source in probing if one.rule.protocol is Protocol.TCP else ():
            if source.version == ip.version:
                yield Door(
                    destination=ip, protocol=TCP, port=port, device=one.device, source=source
                )


def _of_neighbours(place: str, door: Door) -> Finding:
    return Finding(
        text=f"neighbour discovery (ICMPv6) is dropped by {place}: IPv6 of {door.destination} ends"
        " within minutes",
        remedy="accept ICMPv6 there, as `ip6tables -I INPUT -p ipv6-icmp -j ACCEPT` does",
    )


def _of_probes(place: str, doors: Sequence[Door]) -> Finding:
    who = ", ".join(dict.fromkeys(str(one.source) for one in doors))
    ports = ", ".join(dict.fromkeys(str(one.port) for one in doors))
    return Finding(
        text=f"health probes from {who} to tcp {ports}, or replies to them, are dropped by {place}:"
        " Azure sends no new connections here",
        remedy=f"let in {who} there, and out what answers it; fail2ban can be told to ignore it",
    )
