"""The shipped targets, as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from . import schema
from .targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A shipped target: what it is unless the configuration says otherwise.

    `daemon` names the program whose configuration the file is a part of, and whose own room
    checks it; `context` is where in that configuration it belongs. With `named` the program
    fails over a missing file, so that a dropped target leaves its resting form. `local_only`
    leaves out listeners on addresses that this machine lacks. `agree` raises `Misfit` where
    variables contradict each other.
    """

    defaults: Mapping[str, Any]
    variables: Mapping[str, tuple[schema.Read[Any], Any]] = field(default_factory=dict)
    agree: schema.Read[Any] = lambda _: None
    daemon: str = ""
    context: str = ""
    named: bool = False
    local_only: bool = False


_AZURE_PROBES = ("168.63.129.16", "fe80::1234:5678:9abc")
# One bit that nobody else is known to use: Cilium has 0x0f00, CNI's portmap 0x2000, kube-proxy
# 0x4000 and 0x8000, Calico 0xffff0000, Tailscale 0xff0000 of these; Docker Swarm counts up from
# 0x100, in network namespaces of its own.
_MARK = 0x1000


def _allow(value: object) -> dict[str, Any]:
    """One entry of the firewall's `allow`: what is not given matches everything."""
    read = schema.table({"protocol": schema.protocol, "port": schema.ports, "from": schema.network})
    entry = read(value)
    if not entry:
        raise schema.Misfit(("", "an empty entry would allow everything"))
    name = entry.get("protocol", "")
    if "port" in entry and name not in ("", "tcp", "udp", "sctp", "dccp", "udplite"):
        raise schema.Misfit((".port", f"protocol {name} has no ports"))
    number = schema.PROTOCOLS.get(name, 0)
    return {"protocol": name, "number": number, "port": "", "from": None, **entry}


def _mark_fits(variables: Any) -> None:
    """The bits of `mark` are among those of `mark_mask`."""
    mark, mask = variables["mark"], variables["mark_mask"]
    if mark & ~mask:
        raise schema.Misfit((".mark", f"{mark:#x} has bits that mark_mask, {mask:#x}, has not"))


_PORTS = schema.items(schema.port)

SHIPPED: Mapping[str, Kind] = {
    "env": Kind(
        defaults={"template": "lb.env.j2", "path": "{runtime}/lb.env"},
    ),
    "nftables": Kind(
        defaults={
            "template": "lbhook.nft.j2",
            "resting_template": "lbhook.nft.resting.j2",
            "path": "/etc/nftables.d/lbhook.nft",
            "requires": ("nft",),
            "check": ("nft", "-c", "-f", "{staged}"),
            "reload": ("nft", "-f", "{path}"),
            "observe": ("nft", "--stateless", "list", "table", "inet", "lbhook"),
            "remove": ("nft", "add table inet lbhook; delete table inet lbhook"),
        },
        variables={
            "policy": (schema.choice("enforce", "mark", "prerouting"), "enforce"),
            "ssh_ports": (_PORTS, (22,)),
            "ssh_from": (schema.items(schema.network), ()),
            "allow": (schema.items(_allow), ()),
            "trusted_interfaces": (schema.items(schema.interface), ()),
            "probe_sources": (
                schema.items(schema.address),
                tuple(schema.address(source) for source in _AZURE_PROBES),
            ),
            "mark": (schema.mark, _MARK),
            "mark_mask": (schema.mark, _MARK),
            "restrict_imds": (schema.boolean, False),
        },
        agree=_mark_fits,
    ),
    "nginx": Kind(
        defaults={
            "template": "listen.conf.j2",
            "path": "/etc/nginx/lbhook/listen.conf",
            "requires": ("nginx",),
            "reload_unit": "nginx.service",
        },
        variables={
            "ports": (_PORTS, ()),
            "except_ports": (_PORTS, None),
            "parameters": (
                schema.words(r"[\w=:./ -]*", 'words for a listen line, such as "ssl"'),
                "",
            ),
        },
        daemon="nginx",
        context="a server block",
        named=True,
        local_only=True,
    ),
}


def kind_of(target: Target) -> Kind:
    """The shipped kind of a target; an empty one for a user's own."""
    return SHIPPED.get(target.kind, Kind(defaults={}))
