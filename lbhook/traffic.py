"""The way of each inbound rule through this machine: its address, who listens, the firewall."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .facts import Facts
from .host import Host
from .machine import Machine, Socket
from .model import InboundRule
from .reader import Address

_TABLE = ("nft", "--json", "list", "table", "inet", "lbhook")
# Sets of the firewall whose elements are places of inbound rules.
_SETS = ("listeners4", "listeners6", "ha_ports4", "ha_ports6")
_Element = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Who has a socket, as far as that can be read; `unit` is systemd's."""

    program: str = ""
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What an element of the firewall has let in: of a connection only the first packets."""

    packets: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One inbound rule on this machine. What is None was not looked at.

    `listening` is empty if nobody listens; of HA ports it is None, for they name no port.
    `counter` is None as well where the firewall lets the rule in without one.
    """

    rule: InboundRule
    local: bool | None = None
    listening: tuple[Process, ...] | None = None
    admitted: bool | None = None
    counter: Counter | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps the traffic of this rule from being answered."""
        found = {
            "not an address of this machine": self.local is False,
            "nobody listens": self.listening == () and self.local is not False,
            "not in the firewall": self.admitted is False,
        }
        return tuple(problem for problem, holds in found.items() if holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The ways of all inbound rules, and what could not be looked at."""

    ways: tuple[Way, ...] = ()
    unseen: tuple[str, ...] = ()


def told(lb: Facts) -> Picture:
    """What Azure says alone: nothing of this machine was looked at."""
    return Picture(ways=tuple(Way(rule=rule) for rule in lb.inbound_rules))


def seen(lb: Facts, host: Host) -> Picture:
    """The ways of all rules through the machine that lbhook runs on."""
    if not lb.inbound_rules:
        return Picture()
    addresses = host.machine.addresses()
    listening = _listening(lb, host.machine)
    table, unseen = _table(host)
    ways = []
    for rule in lb.inbound_rules:
        element = _element(rule)
        ways.append(
            Way(
                rule=rule,
                local=rule.private_ip in addresses,
                listening=listening.get(rule),
                admitted=None if table is None else element in table,
                counter=table.get(element) if table else None,
            )
        )
    return Picture(ways=tuple(ways), unseen=tuple(filter(None, (unseen, _unnamed(ways)))))


def _unnamed(ways: Iterable[Way]) -> str:
    processes = (process for way in ways for process in way.listening or ())
    if all(process.program for process in processes):
        return ""
    return "whose sockets the unnamed ones are: root sees that of most"


def _listening(lb: Facts, machine: Machine) -> dict[InboundRule, tuple[Process, ...]]:
    """Who listens where each rule leads, but for HA ports; on the address itself before any."""
    sockets: dict[tuple[str, int], list[Socket]] = {}
    for socket in (*machine.listening(), *machine.bound()):
        sockets.setdefault((socket.protocol, socket.port), []).append(socket)
    takers = {rule: _takers(rule, sockets) for rule in lb.inbound_rules if not rule.ha_ports}
    inodes = {socket.inode for found in takers.values() for socket in found}
    processes = {
        inode: Process(program=machine.program(pid), unit=machine.unit(pid))
        for inode, pid in machine.holding(inodes).items()
    }
    return {
        rule: tuple(dict.fromkeys(processes.get(one.inode, Process()) for one in found))
        for rule, found in takers.items()
    }


def _takers(rule: InboundRule, sockets: Mapping[tuple[str, int], list[Socket]]) -> list[Socket]:
    ip, port = rule.private_ip, rule.backend_port
    found = [one for one in sockets.get((rule.protocol.value, port), ()) if one.covers(ip, port)]
    return [one for one in found if one.ip == ip] or found


def _table(host: Host) -> tuple[Mapping[_Element, Counter | None] | None, str]:
    """What lbhook's table in the kernel lets in; or None, and why that is not known."""
    if not host.root:
        return None, "the firewall: only root may list it"
    if not host.find("nft"):
        return None, "the firewall: nft is not installed"
    listed = host.run(_TABLE)
    if not listed.ok:
        return None, "the firewall: nft lists no table inet lbhook"
    try:
        return dict(_elements(json.loads(listed.output))), ""
    except (ValueError, LookupError, TypeError, AttributeError):
        return None, "the firewall: nft lists it in a way that is not known here"


def _elements(ruleset: Any) -> Iterable[tuple[_Element, Counter | None]]:
    """libnftables-json(5): an element is a value, or an object that has one and a counter."""
    for item in ruleset["nftables"]:
        found = item.get("set", {})
        for element in found.get("elem", ()) if found.get("name") in _SETS else ():
            counted = isinstance(element, dict) and "elem" in element
            whole = element["elem"] if counted else {"val": element}
            value, counter = whole["val"], whole.get("counter")
            words = value["concat"] if isinstance(value, dict) else [value]
            yield (
                tuple(map(str, words)),
                Counter(packets=counter["packets"], bytes=counter["bytes"]) if counter else None,
            )


def _element(rule: InboundRule) -> _Element:
    """How the firewall's sets have the place that a rule leads to."""
    ip: Address = rule.private_ip
    if rule.ha_ports:
        return (str(ip),)
    return str(ip), rule.protocol.value, str(rule.backend_port)
