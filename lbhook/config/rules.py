"""Rules that the configuration gives, beside those that Azure tells, in Azure's own terms."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from . import network, schema
from .network import Address
from .toml_files import Tables

KEYS: Mapping[str, schema.Read[Any]] = {
    "frontend_ip": network.host,
    "protocol": schema.choice("tcp", "udp", "all"),
    "frontend_port": network.port,
    "backend_port": network.port,
    "private_ip": network.host,
    "floating_ip": schema.boolean,
}


class ConfiguredRule(NamedTuple):
    """One such rule, whole; ports are 0 for every port."""

    name: str
    frontend_ip: Address
    protocol: str
    frontend_port: int
    private_ip: Address
    backend_port: int


def read(tables: Tables, raw: object, name: schema.Read[str]) -> tuple[ConfiguredRule, ...]:
    """The rules of `[rules.NAME]`; what is wrong is noted with its key."""
    if not isinstance(raw, dict):
        tables.note(".rules", f"{schema.shown(raw)} is not a table")
        return ()
    return tuple(filter(None, (_rule(tables, key, raw[key], name) for key in sorted(raw))))


def _rule(tables: Tables, key: str, raw: object, name: schema.Read[str]) -> ConfiguredRule | None:
    at, before = f".rules.{key}", len(tables.problems)
    with tables.noting(at):
        name(key)
    values = tables.section(at, raw, KEYS)
    if len(tables.problems) == before:
        for place, problem in _problems(values):
            tables.note(f"{at}{place}", problem)
    if len(tables.problems) > before:
        return None
    frontend, ports = (
        values["frontend_ip"],
        (values.get("frontend_port"), values.get("backend_port")),
    )
    return ConfiguredRule(
        name=key,
        frontend_ip=frontend,
        protocol=values["protocol"],
        frontend_port=ports[0] or ports[1] or 0,
        private_ip=values.get("private_ip", frontend),
        backend_port=ports[1] or ports[0] or 0,
    )


def _problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the keys don't say together; with Floating IP packets arrive at the frontend itself."""
    for key in ("frontend_ip", "protocol"):
        if key not in values:
            yield f".{key}", "missing"
    frontend, private = values.get("frontend_ip"), values.get("private_ip")
    if values.get("floating_ip"):
        if private not in (None, frontend):
            yield ".private_ip", "with floating_ip it is the frontend address: leave it out"
    elif private is None:
        yield (
            ".private_ip",
            "missing; or set floating_ip, if packets arrive at the frontend address",
        )
    elif private == frontend and "floating_ip" in values:
        yield ".floating_ip", "false, and private_ip is the frontend address"
    if frontend and private and frontend.version != private.version:
        yield ".private_ip", f"{private} is not of the family of frontend_ip, {frontend}"
    yield from _port_problems(values)


def _port_problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = [key for key in ("frontend_port", "backend_port") if key in values]
    if values.get("protocol") == "all":
        for key in given:
            yield f".{key}", "means nothing with protocol all, which is every port"
    elif not given:
        yield ".frontend_port", "missing"
