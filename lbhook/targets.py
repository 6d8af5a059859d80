"""What a target is, and the shipped ones as a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from . import schema

Argv = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One file that lbhook writes, and what makes a program take it.

    `kind` is the shipped target it is or is like, empty for a user's own. In commands,
    `{staged}` stands for the candidate and `{path}` for the installed file. `timeout` is in
    seconds, for each command. `observe` is a command whose output is kept after a reload:
    when it differs later, the reload is owed.
    """

    name: str
    kind: str = ""
    template: str
    resting_template: str = ""
    path: PurePosixPath
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    requires: Argv = ()
    check: Argv = ()
    check_live: Argv = ()
    reload_unit: str = ""
    reload: Argv = ()
    verify: Argv = ()
    observe: Argv = ()
    remove: Argv = ()
    timeout: float = 30.0
    enabled: bool = True
    vars: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A shipped target: what it is unless the configuration says otherwise.

    `part_of` names the program whose configuration the file is a part of, and whose own room
    checks it; `local_only` leaves out listeners on addresses that this machine lacks.
    """

    defaults: Mapping[str, Any]
    variables: Mapping[str, tuple[schema.Read[Any], Any]] = field(default_factory=dict)
    part_of: str = ""
    local_only: bool = False


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
            "policy": (schema.choice("enforce"), "enforce"),
            "ssh_ports": (_PORTS, (22,)),
            "ssh_from": (schema.items(schema.network), ()),
            "allow": (schema.items(_allow), ()),
            "trusted_interfaces": (schema.items(schema.interface), ()),
            "probe_sources": (
                schema.items(schema.address),
                tuple(schema.address(source) for source in _AZURE_PROBES),
            ),
            "restrict_imds": (schema.boolean, False),
        },
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
        part_of="nginx",
        local_only=True,
    ),
}


def kind_of(target: Target) -> Kind:
    """The shipped kind of a target; an empty one for a user's own."""
    return SHIPPED.get(target.kind, Kind(defaults={}))
