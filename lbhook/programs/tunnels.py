"""What takes packets of this machine's without the socket of a program: tunnels that end here, and
ports that rules of nftables translate.

`ip-link(8)` names the kinds of tunnels; those over UDP have a socket of the kernel's in
/proc/net/udp.
"""

import ipaddress
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..metadata.reader import Address
from ..processes import Run
from ..system.machine import Socket

_LINKS = ("ip", "-details", "-json", "link", "show", "up")
_STATES = ("ip", "xfrm", "state")
# Without what sets hold: they may be huge, and nft takes half a minute for them.
RULES = ("nft", "--stateless", "--terse", "-nn", "list", "ruleset")
_TRANSLATES = re.compile(r"\b(?:dnat|redirect)\b", re.IGNORECASE)
_PORTS = re.compile(r"\b(tcp|udp|th) dport (?:map )?(\{[^}]*\}|[\d-]+)")
# The protocols that carry each kind, as `allow` names them.
_CARRIED = {
    "ipip": ("ipip",),
    "sit": ("ipv6",),
    **dict.fromkeys(("gre", "gretap", "erspan", "ip6gre", "ip6gretap", "ip6erspan"), ("gre",)),
    "ip6tnl": ("ipip", "ipv6"),
    **dict.fromkeys(("vti", "vti6"), ("esp",)),
}
_MODES = {"ipip6": ("ipip",), "ip6ip6": ("ipv6",)}
_SIX = ("ip6gre", "ip6gretap", "ip6erspan", "ip6tnl", "vti6")
_ANY: Mapping[int, Address] = {4: ipaddress.IPv4Address(0), 6: ipaddress.IPv6Address(0)}
_OF_TABLES = {"ip": (_ANY[4],), "ip6": (_ANY[6],), "inet": (_ANY[4], _ANY[6])}


class Tunnel(NamedTuple):
    """What takes packets, and the interface or the kind that it belongs to."""

    socket: Socket
    name: str


def found(run: Run) -> tuple[Tunnel, ...]:
    """The tunnels of this network namespace, as far as `ip` shows them."""
    return tuple(dict.fromkeys((*_links(run), *_states(run))))


def translates(run: Run) -> bool:
    """Whether any rule of nftables has destination NAT."""
    return bool(_TRANSLATES.search(run(RULES).output))


def translated(run: Run, sockets: Iterable[Socket]) -> frozenset[Socket]:
    """The ports that rules of destination NAT name and none of these sockets has, at every address;
    of a range, its ends. Some, in chains that others jump to, may be about what leaves this
    machine."""
    here = {(one.protocol, one.port) for one in sockets if not one.ip.is_loopback}
    return frozenset(one for one in _translated(run) if (one.protocol, one.port) not in here)


def ports(run: Run) -> Mapping[int, str]:
    """The interfaces that have a UDP port of the kernel's, by port."""
    links = ((one["ifname"], one["linkinfo"].get("info_data", {})) for one in _listed(run))
    return {data["port"]: name for name, data in links if isinstance(data.get("port"), int)}


def of_kinds(run: Run, kinds: Collection[str]) -> frozenset[str]:
    """The interfaces of some kinds, such as the bridges that containers are on."""
    listed = (one for one in _listed(run) if one["linkinfo"].get("info_kind") in kinds)
    return frozenset(one["ifname"] for one in listed)


def _links(run: Run) -> Iterator[Tunnel]:
    for link in _listed(run):
        info = link["linkinfo"]
        kind, data = info.get("info_kind", ""), info.get("info_data", {})
        own = _address(data.get("local"), 6 if kind in _SIX else 4)
        for protocol in _MODES.get(str(data.get("proto", "")), _CARRIED.get(kind, ())):
            yield Tunnel(Socket(ip=own, port=0, inode=0, protocol=protocol), link["ifname"])


def _states(run: Run) -> Iterator[Tunnel]:
    """What IPsec decrypts here; what comes in UDP is the socket of a key daemon's."""
    shown = run(_STATES)
    for state in re.split(r"(?m)^(?=src )", shown.output) if shown.ok else ():
        ends = re.match(r"src \S+ dst (\S+)\s+proto (esp|ah|comp)\b", state)
        if ends and "encap type espinudp" not in state:
            own, protocol = _address(ends[1], 4), ends[2].replace("comp", "ipcomp")
            yield Tunnel(Socket(ip=own, port=0, inode=0, protocol=protocol), "ipsec")


def _translated(run: Run) -> Iterator[Socket]:
    family, leaves = "", False
    for line in run(RULES).output.splitlines():
        if line.startswith("table "):
            family = line.split()[1]
        if line.endswith("{"):
            leaves = False
        leaves = leaves or " hook output " in line
        is_one = _TRANSLATES.search(line) and not leaves
        for protocol, numbers in _PORTS.findall(line) if is_one else ():
            for port in map(int, re.findall(r"\d+", numbers)):
                for name in ("tcp", "udp") if protocol == "th" else (protocol,):
                    for ip in _OF_TABLES.get(family, ()):
                        yield Socket(ip, port, 0, name, ipv6_only=True)


def _listed(run: Run) -> list[dict[str, Any]]:
    """The interfaces that are up and of some kind."""
    shown = run(_LINKS)
    try:
        links = json.loads(shown.output) if shown.ok else []
    except ValueError:
        return []
    return [one for one in links if one.get("linkinfo")]


def _address(text: object, version: int) -> Address:
    """The end that is here; any address if none is named."""
    try:
        return ipaddress.ip_address(str(text))
    except ValueError:
        return _ANY[version]
