"""What IMDS says of the VM itself: `/metadata/instance`, tolerant of what is missing.

Unlike the load balancer's, this answer may be partial for a while (a Microsoft engineer said so
in azure-init issue 134), so nothing in it is required. Names reach a template only if they hold
nothing but the characters that Azure allows in them; tags, which may hold anything, only if they
hold no character that a configuration file could take for its own.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .reader import Address, decode

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.()-]{0,89}", re.ASCII)
_TAG = re.compile(r"[A-Za-z0-9 _.:/@+=,-]{0,256}", re.ASCII)
# The tag that moves a lever, and its values.
LEVER, LEVERS = "lbhook", ("hold", "drain")
_MAC = re.compile(r"[0-9A-Fa-f]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """A network interface of the VM; `interface` is its name here, empty if it is not here."""

    mac: str
    interface: str = ""
    private_ips: tuple[Address, ...] = ()
    subnets: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """The `vm` of a template. What IMDS did not say is empty."""

    name: str = ""
    location: str = ""
    zone: str = ""
    scale_set: str = ""
    vm_id: str = ""
    size: str = ""
    resource_group: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    nics: tuple[Nic, ...] = ()


def parse(body: bytes, interfaces: Mapping[str, str]) -> tuple[Vm, tuple[str, ...]]:
    """The VM in the body of `GET /metadata/instance`, and warnings about what is left out.

    `interfaces` are the names of this machine's interfaces by MAC address, twelve digits in
    lower case. Raises `MetadataError` if the body is not JSON.
    """
    root = _table(decode(body))
    compute, warnings = _table(root.get("compute")), _Warnings()
    vm = Vm(
        name=warnings.name(compute, "name"),
        location=warnings.name(compute, "location"),
        zone=warnings.name(compute, "zone"),
        scale_set=warnings.name(compute, "vmScaleSetName"),
        vm_id=warnings.name(compute, "vmId"),
        size=warnings.name(compute, "vmSize"),
        resource_group=warnings.name(compute, "resourceGroupName"),
        tags=warnings.tags(compute),
        nics=tuple(_nics(_table(root.get("network")), interfaces)),
    )
    return vm, tuple(warnings.texts)


def name(body: bytes) -> str:
    """The VM's name in such a body, empty if it is not there; in a scale set that of the instance,
    such as `vmss_3`. Raises `MetadataError` if the body is not JSON."""
    return _Warnings().name(_table(_table(decode(body)).get("compute")), "name")


def lever(body: bytes) -> str | None:
    """What the VM's tag `lbhook` says: `hold` or `drain`; empty if there is no such tag; None if
    the body does not tell, or the tag says something else.

    Names of tags are not case-sensitive (Microsoft, "Use tags to organize your Azure resources").
    Raises `MetadataError` if the body is not JSON.
    """
    compute = _table(_table(decode(body)).get("compute"))
    listed = compute.get("tagsList")
    if listed is None and compute.get("tags") == "":
        return ""
    if not isinstance(listed, list):
        return None
    pairs = ((_table(one).get("name"), _table(one).get("value")) for one in listed)
    values = [value for key, value in pairs if isinstance(key, str) and key.lower() == LEVER]
    said = str(values[0]).strip().lower() if values else ""
    return said if said in ("", *LEVERS) and len(values) <= 1 else None


@dataclass(slots=True)
class _Warnings:
    texts: list[str] = field(default_factory=list)

    def name(self, compute: Mapping[str, Any], key: str) -> str:
        value = compute.get(key, "")
        if value == "" or (isinstance(value, str) and _NAME.fullmatch(value)):
            return str(value)
        self.texts.append(f"compute.{key}: not a name that Azure gives; it is left out")
        return ""

    def tags(self, compute: Mapping[str, Any]) -> dict[str, str]:
        """`tagsList` is the form without the ambiguity of `a:b;c:d`."""
        tags = {}
        for at, entry in enumerate(_list(compute.get("tagsList"))):
            name, value = _table(entry).get("name"), _table(entry).get("value")
            if _is_tag(name) and _is_tag(value):
                tags[str(name)] = str(value)
            else:
                self.texts.append(f"compute.tagsList[{at}]: unusual characters; it is left out")
        return dict(sorted(tags.items()))


def _is_tag(value: object) -> bool:
    return isinstance(value, str) and bool(_TAG.fullmatch(value))


def _nics(network: Mapping[str, Any], interfaces: Mapping[str, str]) -> Iterator[Nic]:
    """The order of NICs is not guaranteed, so they are sorted by MAC address."""
    found = {}
    for entry in map(_table, _list(network.get("interface"))):
        mac = entry.get("macAddress", "")
        if isinstance(mac, str) and _MAC.fullmatch(mac):
            found[mac.lower()] = entry
    for mac, entry in sorted(found.items()):
        families = [_table(entry.get(family)) for family in ("ipv4", "ipv6")]
        yield Nic(
            mac=":".join(mac[at : at + 2] for at in range(0, 12, 2)),
            interface=interfaces.get(mac, ""),
            private_ips=tuple(dict.fromkeys(_addresses(families))),
            subnets=tuple(dict.fromkeys(_subnets(families))),
        )


def _addresses(families: Iterable[Mapping[str, Any]]) -> Iterator[Address]:
    for family in families:
        for entry in map(_table, _list(family.get("ipAddress"))):
            try:
                yield ipaddress.ip_address(str(entry.get("privateIpAddress", "")).strip("[]"))
            except ValueError:
                continue


def _subnets(families: Iterable[Mapping[str, Any]]) -> Iterator[Network]:
    for family in families:
        for entry in map(_table, _list(family.get("subnet"))):
            try:
                yield ipaddress.ip_network(f"{entry.get('address', '')}/{entry.get('prefix', '')}")
            except ValueError:
                continue


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
