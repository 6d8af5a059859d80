"""The ways that packets take from this machine, as the kernel would choose them."""

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..metadata.model import InboundRule, Protocol
from ..metadata.reader import Address
from ..processes import Run

# Far away, and nobody: what is sent there takes the default route.
_FAR = {4: "192.0.2.1", 6: "2001:db8::1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Through which interface, and from which address if nobody chooses one."""

    device: str
    source: Address | None = None


@dataclass(frozen=True, slots=True)
class Routes:
    """The routing of this machine; nothing is sent."""

    run: Run

    def to(
        self, destination: str, source: Address | None = None, flow: Sequence[str] = ()
    ) -> Route | None:
        """The way to an address, from one of this machine's or from that of the kernel's choice,
        of a `flow` in words of ip-route(8); None if there is none."""
        chosen = (*(("from", str(source)) if source else ()), *flow)
        result = self.run(("ip", "-json", "route", "get", destination, *chosen))
        found = _parsed(result.output) if result.ok else None
        if not found or "dev" not in found[0]:
            return None
        own = found[0].get("prefsrc") or source
        return Route(device=found[0]["dev"], source=ipaddress.ip_address(own) if own else None)

    def far(self, version: int, source: Address | None = None) -> Route | None:
        """The way to clients anywhere."""
        return self.to(_FAR[version], source)

    def refuses(self, rule: InboundRule) -> bool:
        """Whether there is a way to clients from where a rule leads, and none from its port."""
        ip, protocol = rule.private_ip, rule.protocol
        if protocol is Protocol.ALL or not self.far(ip.version, ip):
            return False
        flow = ("ipproto", protocol.value, "sport", str(rule.backend_port))
        return not self.to(_FAR[ip.version], ip, flow)

    def by_port(self, version: int) -> bool:
        """Whether ports, or protocols, are routed by rules of their own (ip-rule(8))."""
        listed = self.run(("ip", f"-{version}", "rule", "show"))
        return re.search(r" (?:ipproto|sport|dport) ", listed.output) is not None

    def interfaces(self) -> Mapping[Address, str]:
        """The interface that has each address."""
        result = self.run(("ip", "-json", "address"))
        links = _parsed(result.output) if result.ok else None
        return {
            ipaddress.ip_address(one["local"]): link["ifname"]
            for link in links or ()
            for one in link.get("addr_info", ())
            if "local" in one
        }


def _parsed(output: str) -> list[dict[str, Any]]:
    try:
        found = json.loads(output)
    except ValueError:
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
