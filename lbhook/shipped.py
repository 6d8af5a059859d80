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
    checks it; `context` is where in that configuration it belongs. With `named`, programs that
    name the file fail where it is missing: a dropped target leaves its resting form. `local_only`
    leaves out listeners on addresses that this machine lacks. `addresses` says that the file
    lists addresses for lbhook itself to give the loopback interface. `suffix` is how the name of
    the file must end, lest its program not read it.
    """

    defaults: Mapping[str, Any]
    variables: Mapping[str, tuple[schema.Read[Any], Any]] = field(default_factory=dict)
    daemon: str = ""
    context: str = ""
    named: bool = False
    local_only: bool = False
    addresses: bool = False
    suffix: str = ""


_AZURE_PROBES = ("168.63.129.16", "fe80::1234:5678:9abc")


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


_PORTS = schema.items(schema.port)
_PROBE_SOURCES = (
    schema.items(schema.address),
    tuple(schema.address(source) for source in _AZURE_PROBES),
)

SHIPPED: Mapping[str, Kind] = {
    "env": Kind(
        defaults={"template": "lb.env.j2", "path": "{runtime}/lb.env"},
        named=True,
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
            "policy": (schema.choice("enforce"), "enforce"),
            "ssh_ports": (_PORTS, (22,)),
            "ssh_from": (schema.items(schema.network), ()),
            "allow": (schema.items(_allow), ()),
            "trusted_interfaces": (schema.items(schema.interface), ()),
            "probe_sources": _PROBE_SOURCES,
            "restrict_imds": (schema.boolean, False),
        },
        named=True,
    ),
    "firewalld": Kind(
        defaults={
            "template": "lbhook.xml.j2",
            "resting_template": "lbhook.xml.resting.j2",
            "path": "/etc/firewalld/policies/lbhook.xml",
            "requires": ("firewall-cmd", "firewall-offline-cmd"),
            "reload_unit": "firewalld.service",
            "observe": (
                *("nft", "--stateless", "list", "chain", "inet", "firewalld"),
                "filter_IN_policy_{stem}_allow",
            ),
        },
        variables={"probe_sources": _PROBE_SOURCES},
        daemon="firewalld",
        suffix=".xml",
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
    "floating-ip": Kind(
        defaults={
            "template": "floating-ip.j2",
            "path": "{runtime}/floating-ips",
            "requires": ("ip",),
        },
        addresses=True,
    ),
}


def kind_of(target: Target) -> Kind:
    """The shipped kind of a target; an empty one for a user's own."""
    return SHIPPED.get(target.kind, Kind(defaults={}))
