"""The ways that packets take from this machine, as the kernel would choose them."""

import ipaddress
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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

    def to(self, destination: str, source: Address | None = None) -> Route | None:
        """The way to an address, from one of this machine's or from that of the kernel's choice;
        None if there is none."""
        chosen = ("from", str(source)) if source else ()
        result = self.run(("ip", "-json", "route", "get", destination, *chosen))
        found = _parsed(result.output) if result.ok else None
        if not found or "dev" not in found[0]:
            return None
        own = found[0].get("prefsrc") or source
        return Route(device=found[0]["dev"], source=ipaddress.ip_address(own) if own else None)

    def far(self, version: int, source: Address | None = None) -> Route | None:
        """The way to clients anywhere."""
        return self.to(_FAR[version], source)

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
