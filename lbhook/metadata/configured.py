"""Rules that the configuration gives, put beside those of an answer."""

from collections.abc import Sequence

from ..config.rules import ConfiguredRule
from .model import InboundRule, Metadata, Protocol, with_rules


def inbound(rules: Sequence[ConfiguredRule]) -> tuple[InboundRule, ...]:
    """They as Azure would have them; each knows its name."""
    return tuple(
        InboundRule(
            frontend_ip=one.frontend_ip,
            frontend_port=one.frontend_port,
            protocol=Protocol(one.protocol),
            private_ip=one.private_ip,
            backend_port=one.backend_port,
            by_configuration=one.name,
        )
        for one in rules
    )


def merged(metadata: Metadata, configured: Sequence[InboundRule]) -> Metadata:
    """An answer with these as well; one that Azure has, too, is Azure's."""
    return with_rules(metadata, (*configured, *metadata.inbound_rules)) if configured else metadata
