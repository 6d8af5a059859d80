"""What a line of a rendered file can come from: rules and addresses of the answer, settings."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..config.shipped import kind_of
from ..config.targets import Target
from ..metadata.described import described
from ..metadata.facts import Facts, Listener
from ..metadata.instance import Nic, Vm
from ..metadata.model import AddressPair, InboundRule, TunnelInterface
from .sandbox import Values

# A thing that an expression of a template looked at, and the name that it asked for.
Look = tuple[object, object]
_ADDRESSES = ("frontend_ip", "private_ip", "local_ip_address", "gateway_ip_address")
_ADDRESS = re.compile(r"[0-9a-fA-F]*[.:][0-9a-fA-F:.]+(?:/\d+)?")


class Sources:
    """The sources of one target, each by a name such as `rule 1` or `vars.ssh_ports`."""

    def __init__(self, target: Target, lb: Facts) -> None:
        self._target = target
        self._things: dict[str, object] = dict(_numbered(lb))
        self._names = {id(thing): name for name, thing in self._things.items()}
        self._addresses: dict[str, list[str]] = {}
        self._settings: dict[str, list[str]] = {}
        for name, thing in self._things.items():
            for key in _ADDRESSES:
                if hasattr(thing, key):
                    self._addresses.setdefault(str(getattr(thing, key)), []).append(name)
        for name, value in _scalars("vars", target.vars):
            self._settings.setdefault(str(value), []).append(name)

    def of(self, looks: Iterable[Look]) -> tuple[str, ...]:
        """The sources of what an expression looked at; a rule says more than the list that it
        is in, and a key more than its table."""
        names = dict.fromkeys(name for look in looks for name in self._of(*look))
        precise = any(name in self._things for name in names)
        tables = {table for name in names if name.startswith("vars.") for table in _tables(name)}
        return tuple(
            name
            for name in names
            if name not in tables and not (precise and name.startswith("lb."))
        )

    def settings_alike(self, text: str) -> tuple[str, ...]:
        """The settings that have this value, or an address that is in it."""
        return _alike(self._settings, text)

    def alike(self, text: str) -> tuple[str, ...]:
        """The rules and addresses of the answer that have an address that is in it."""
        return _alike(self._addresses, text)

    def meaning(self, name: str) -> str:
        """What a source is, in a line; empty if its name says it."""
        thing = self._things.get(name)
        if isinstance(thing, InboundRule):
            return described(thing)
        if isinstance(thing, AddressPair):
            return f"{thing.frontend_ip} → {thing.private_ip}"
        if isinstance(thing, TunnelInterface):
            return f"{thing.type} {thing.protocol} {thing.identifier}"
        return self._setting(name) if name.startswith("vars.") else ""

    def _of(self, thing: object, asked: object) -> Iterator[str]:
        if id(thing) in self._names:
            yield self._names[id(thing)]
        elif isinstance(thing, Listener):
            yield from (self._names[id(rule)] for rule in thing.rules)
        elif isinstance(thing, Facts):
            yield f"lb.{asked}"
        elif isinstance(thing, Values):
            yield f"{thing._place}.{asked}"
        elif isinstance(thing, (Vm, Nic)):
            yield "vm"

    def _setting(self, name: str) -> str:
        """The value of a setting, and whether it is the shipped one."""
        key = re.split(r"[.\[]", name)[1]
        values = dict(_scalars("vars", self._target.vars))
        if key == "snippets" and name not in values:
            return ""  # their files say what they are
        value = values.get(name, self._target.vars.get(key))
        shipped = kind_of(self._target).variables.get(key)
        is_default = shipped is not None and shipped[1] == self._target.vars.get(key)
        return f"{_shown(value)}{', the default' if is_default else ''}"


def _alike(known: Mapping[str, Sequence[str]], text: str) -> tuple[str, ...]:
    words = [text.strip(), *_ADDRESS.findall(text)]
    return tuple(dict.fromkeys(name for word in words for name in known.get(word, ())))


def _tables(name: str) -> Iterator[str]:
    """The tables and lists that a key is in."""
    return (name[: one.start()] for one in re.finditer(r"[.\[]", name))


def _numbered(lb: Facts) -> Iterator[tuple[str, object]]:
    lists: Mapping[str, Sequence[object]] = {
        "rule": lb.inbound_rules,
        "outbound rule": lb.outbound_rules,
        "public address": lb.public_ips,
        "private address": lb.private_ips,
        "tunnel": lb.tunnel_interfaces,
    }
    for kind, things in lists.items():
        for number, thing in enumerate(things, 1):
            yield f"{kind} {number}", thing


def _scalars(place: str, value: Any) -> Iterator[tuple[str, object]]:
    """Each value of a table that is no table and no list, with its place."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _scalars(f"{place}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _scalars(f"{place}[{index}]", inner)
    elif value not in (None, "") and not isinstance(value, bool):
        yield place, value


def _shown(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {_shown(one)}' for key, one in value.items())}}}"
    return str(value)
