"""What a target asks to listen at, of what rules lead to."""

import re
from collections.abc import Collection, Iterator, Sequence

from ..config.shipped import kind_of
from ..config.targets import Target
from ..metadata.facts import Facts, Listener
from ..metadata.model import Protocol
from .nginx_config import OURS, Listen

_HTTPS = "443"
_DUAL = re.compile(rb"(?m)^\s*listen \[::\]:(\d+)[^;\n]* ipv6only=off;")
_CONTEXTS = {"a server block": "http", "a stream block": "stream"}


def context(target: Target) -> str:
    """Which block of nginx's a target's file is for."""
    return _CONTEXTS[kind_of(target).context]


def grouped(target: Target, lb: Facts) -> Iterator[list[Listener]]:
    """The listeners of each port and protocol that a target asks for."""
    ports, but = target.vars["ports"], target.vars["except_ports"]
    usual = ("udp",) if "quic" in target.vars["parameters"].split() else ("tcp",)
    protocols = target.vars.get("protocols", usual)
    found: dict[object, list[Listener]] = {}
    for one in lb.listeners:
        meant = (not ports or one.port in ports) and one.port not in but
        if meant and one.protocol in protocols and one.rules:
            found.setdefault((one.protocol, one.port), []).append(one)
    yield from found.values()


def line(target: Target, one: Listener) -> Listen:
    """How nginx is told to listen there."""
    passed_on = context(target) == "stream" and one.protocol is Protocol.UDP
    words = ("udp", "reuseport") if passed_on else tuple(target.vars["parameters"].split())
    return Listen(one.ip, one.port, words, context(target), OURS, str(target.path))


def duals(content: bytes) -> Collection[int]:
    """The ports of a file at which one socket takes both families."""
    return {int(port) for port in _DUAL.findall(content)}


def is_tls(those: Sequence[Listener], there: Collection[int] = ()) -> bool:
    """Whether clients of a port speak TLS, by the number that it has here or at a frontend: 443, or
    one such as 8443, which is a guess: what is `there` already goes on as it is."""
    here = those[0].port
    ports = {str(here), *(str(rule.frontend_port) for one in those for rule in one.rules)}
    guessed = here not in there and any(port.endswith(_HTTPS) for port in ports)
    return _HTTPS in ports or guessed


def listener(place: Listen, those: Sequence[Listener], rest: Sequence[Listen] = ()) -> Listener:
    """The rules that lead to a line: to its address, or to any of its family; to any at all where
    it, or the same place in the rest of the configuration, takes both families."""
    shared = (one for one in rest if (one.context, one.protocol) == (place.context, place.protocol))
    both = place.dual or any(one.dual and one.ip == place.ip for one in shared)
    everywhere = place.ip.is_unspecified
    rules = (
        rule
        for one in those
        if one.ip == place.ip or (everywhere and (both or one.ip.version == place.ip.version))
        for rule in one.rules
    )
    return Listener(
        ip=place.ip,
        protocol=those[0].protocol,
        port=place.port,
        rules=tuple(rules),
        dual=place.dual,
    )
