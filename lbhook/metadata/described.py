"""A rule in words, for whoever reads what came, went, or is planned."""

from ..layout import place
from .model import InboundRule


def described(rule: InboundRule) -> str:
    """A rule in a line."""
    front = place(rule.frontend_ip, rule.frontend_port)
    said = f"{rule.protocol} {front} → {place(rule.private_ip, rule.backend_port)}"
    name = rule.by_configuration
    return f"{said}, by configuration: rules.{name}" if name else said
