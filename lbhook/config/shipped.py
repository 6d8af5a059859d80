"""The shipped targets, as a table."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import accounts
from . import network, restrictions, schema
from .targets import Target


class Kind(NamedTuple):
    """A shipped target: what it is unless the configuration says otherwise.

    `daemon` names the program whose configuration the file is a part of, and whose own module
    checks it; `context` is where in that configuration it belongs. With `named`, programs that
    name the file fail where it is missing: a dropped target leaves its resting form. `local_only`
    leaves out listeners on addresses that this machine lacks. With `shared` two of it may have
    the same listener. `addresses` says that the file lists addresses for lbhook itself to give
    the loopback interface; `early` that it is wanted before there is a network, and asks nothing
    of a service. `suffix` is how the name of the file must end, lest its program not read it.
    `beside` are variables that are keys of the target itself. `agree` raises `Misfit` where
    variables contradict each other, by the place below the target. Two of a kind that is `single`
    would take each other's work away. With `binds_once` a program that can't have a listener at
    its reload does not try again, and its other listeners are shut meanwhile.
    """

    defaults: Mapping[str, Any]
    variables: Mapping[str, tuple[schema.Read[Any], Any]] = {}
    beside: Mapping[str, tuple[schema.Read[Any], Any]] = {}
    agree: schema.Read[Any] = lambda _: None
    daemon: str = ""
    context: str = ""
    named: bool = False
    local_only: bool = False
    shared: bool = False
    addresses: bool = False
    single: bool = False
    suffix: str = ""
    early: bool = False
    binds_once: bool = False


_AZURE_PROBES = ("168.63.129.16", "fe80::1234:5678:9abc")
# One bit that nobody else is known to use: Cilium has 0x0f00, CNI's portmap 0x2000, kube-proxy
# 0x4000 and 0x8000, Calico 0xffff0000, Tailscale 0xff0000 of these; Docker Swarm counts up from
# 0x100, in network namespaces of its own.
_MARK = 0x1000


_ENTRY = schema.table(
    {"protocol": network.protocol, "port": network.ports, "from": network.network}
)


@schema.shaped(**schema.shape_of(_ENTRY))
def _allow(value: object) -> dict[str, Any]:
    """One entry of the firewall's `allow`: what is not given matches everything."""
    entry = _ENTRY(value)
    if not entry:
        raise schema.Misfit(("", "an empty entry would allow everything"))
    name = entry.get("protocol", "")
    if "port" in entry and name not in ("", "tcp", "udp", "sctp", "dccp", "udplite"):
        raise schema.Misfit((".port", f"protocol {name} has no ports"))
    number = network.protocol_number(name) if name else 0
    return {"protocol": name, "number": number, "port": "", "from": None, **entry}


@schema.shaped(type="string")
def _upstream(value: object) -> str:
    """What stands behind nginx's `proxy_pass`: an address without a port takes each listener's."""
    written = schema.text(value)
    if re.fullmatch(r"[A-Za-z_][\w.-]*|unix:/[\w./-]+", written, re.ASCII):
        return written
    place = re.fullmatch(r"(\[.*\]|[^:]*):(\d+|\$server_port)", written, re.ASCII)
    host, port = place.groups() if place else (written, "$server_port")
    try:
        address = network.address(re.sub(r"^\[(.*)\]$", r"\1", host))
        number = network.port(int(port)) if port.isdecimal() else port
    except schema.Misfit:
        forms = 'an address, an address and a port, the name of an upstream block, or "unix:/PATH"'
        raise schema.Misfit(("", f"{schema.shown(value)} is not {forms}")) from None
    return f"[{address}]:{number}" if address.version == 6 else f"{address}:{number}"


def _firewall_agrees(variables: Any) -> None:
    """The bits of `mark` are among those of `mark_mask`, and no port is limited by two settings."""
    mark, mask = variables["mark"], variables["mark_mask"]
    if mark & ~mask:
        raise schema.Misfit((".vars.mark", f"{mark:#x} has bits outside mark_mask, {mask:#x}"))
    restrictions.spare_ssh(variables["restrict"], variables["ssh_ports"])


@schema.shaped(type="array", items={"type": ["string", "integer"]})
def _users(value: object) -> tuple[int, ...]:
    """Numbers of users, by number or name; one that this machine lacks has no process that could
    be let in."""
    return accounts.known(schema.items(_user)(value))


@schema.shaped(type=["string", "integer"])
def _user(value: object) -> str:
    number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return str(value) if number else schema.text(value)


_PORTS = schema.items(network.port)
_LISTENERS: Mapping[str, tuple[schema.Read[Any], Any]] = {
    "ports": (_PORTS, ()),
    "except_ports": (_PORTS, None),
}
_PARAMETERS = schema.words(r"[\w=:./ -]*", 'listen parameters, such as "ssl"')
_PROXY = schema.words(r"[\w.:-]+", "the name of a section of haproxy")
_PROBE_SOURCES = (
    schema.items(network.address),
    tuple(network.address(source) for source in _AZURE_PROBES),
)

SHIPPED: Mapping[str, Kind] = {
    "env": Kind(
        defaults={"template": "lb.env.j2", "path": "{runtime}/lb.env"},
        named=True,
        early=True,
    ),
    "nftables": Kind(
        defaults={
            "template": "lbhook.nft.j2",
            "resting_template": "lbhook.nft.resting.j2",
            "path": "/etc/nftables.d/lbhook.nft",
            "requires": ("nft",),
            "check": ("nft", "-c", "-f", "{staged}"),
            "reload": ("nft", "-f", "{path}"),
            "observe": ("nft", "--stateless", "--numeric", "list", "table", "inet", "lbhook"),
            "remove": ("nft", "add table inet lbhook; delete table inet lbhook"),
        },
        variables={
            "policy": (schema.choice("enforce", "mark", "prerouting"), "enforce"),
            "ssh_ports": (_PORTS, (22,)),
            "follow_sshd": (schema.boolean, None),
            "ssh_from": (schema.items(network.network), ()),
            "allow": (schema.items(_allow), ()),
            "trusted_interfaces": (schema.items(network.interface), ()),
            "probe_sources": _PROBE_SOURCES,
            "mark": (network.mark, _MARK),
            "mark_mask": (network.mark, _MARK),
            "restrict_imds": (schema.boolean, False),
            "imds_users": (_users, _users(["lbhook"])),
            "log_dropped": (schema.boolean, False),
        },
        beside={"restrict": (restrictions.read, ())},
        named=True,
        single=True,
        agree=_firewall_agrees,
        early=True,
    ),
    "nginx": Kind(
        defaults={
            "template": "listen.conf.j2",
            "path": "/etc/nginx/lbhook/listen.conf",
            "requires": ("nginx",),
            "reload_unit": "nginx.service",
        },
        variables={
            "listen": (schema.choice("port", "address"), "port"),
            **_LISTENERS,
            "parameters": (_PARAMETERS, ""),
        },
        daemon="nginx",
        context="a server block",
        named=True,
        local_only=True,
        shared=True,
    ),
    "nginx-stream": Kind(
        defaults={
            "template": "stream.conf.j2",
            "path": "/etc/nginx/lbhook/stream.conf",
            "requires": ("nginx",),
            "reload_unit": "nginx.service",
        },
        variables={
            "upstream": (_upstream, "127.0.0.1:$server_port"),
            "protocols": (schema.items(schema.choice("tcp", "udp")), ("tcp", "udp")),
            **_LISTENERS,
            "parameters": (_PARAMETERS, ""),
            "udp_timeout": (
                schema.words(r"[1-9]\d*(ms|s|m|h)", 'an nginx time, such as "30s"'),
                "30s",
            ),
        },
        daemon="nginx",
        context="a stream block",
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
        early=True,
    ),
    "firewalld": Kind(
        defaults={
            "template": "lbhook.xml.j2",
            "resting_template": "lbhook.xml.resting.j2",
            "path": "/etc/firewalld/policies/lbhook.xml",
            "requires": ("firewall-cmd", "firewall-offline-cmd"),
            "reload_unit": "firewalld.service",
            "observe": (
                *("nft", "--stateless", "--numeric", "list", "chain", "inet", "firewalld"),
                "filter_IN_policy_{stem}_allow",
            ),
        },
        variables={"probe_sources": _PROBE_SOURCES},
        daemon="firewalld",
        suffix=".xml",
    ),
    "haproxy": Kind(
        defaults={
            "template": "lbhook.cfg.j2",
            "path": "/etc/haproxy/conf.d/lbhook.cfg",
            "requires": ("haproxy",),
            "reload_unit": "haproxy.service",
        },
        variables={
            "backend": (_PROXY, "servers"),
            "frontend": (_PROXY, None),
            "defaults": (_PROXY, None),
            "mode": (schema.choice("tcp", "http"), None),
            **_LISTENERS,
            "parameters": (
                schema.words(r"[\w=:./,@!+ -]*", 'bind parameters, such as "accept-proxy"'),
                "",
            ),
        },
        daemon="haproxy",
        named=True,
        local_only=True,
        binds_once=True,
    ),
}


def kind_of(target: Target) -> Kind:
    """The shipped kind of a target; an empty one for a user's own."""
    return SHIPPED.get(target.kind, Kind(defaults={}))
