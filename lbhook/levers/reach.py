"""What a drain reaches: where health probes come from, and which traffic goes by none."""

from collections.abc import Iterator

from ..config.settings import Settings
from ..config.shipped import SHIPPED
from ..metadata.described import described
from ..metadata.facts import Facts
from ..metadata.model import Protocol
from ..metadata.reader import Address

_NAT = (
    "NAT rules, and rules without a probe, go on sending new connections here; which rules they"
    " are, Azure's answer does not tell"
)
_UDP = "UDP has no connections that could be waited for, and may move to another VM at once"


def sources(settings: Settings) -> tuple[Address, ...]:
    """Where health probes come from: Azure's addresses, and those of the configuration."""
    shipped = SHIPPED["nftables"].variables["probe_sources"][1]
    named = (one for target in settings.active() for one in target.vars.get("probe_sources", ()))
    return tuple(dict.fromkeys((*shipped, *named)))


def limits(lb: Facts | None) -> Iterator[str]:
    """What can't be drained, as far as the answer tells. Microsoft: "Azure Load Balancer health
    probes" has what becomes of flows when probes fail; NAT rules have none."""
    if lb is None:
        yield "no last good answer: which rules lead here is not known"
        return
    if lb.inbound_rules:
        yield _NAT
    udp = [described(one) for one in lb.inbound_rules if one.protocol is not Protocol.TCP]
    if udp:
        yield f"{_UDP}: {', '.join(udp)}"
