"""Bodies of the metadata service for property tests: valid ones, broken ones, any JSON."""

import ipaddress
import json
import os
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# In CI the same examples each time; and no directory of examples is left behind.
settings.register_profile(
    "lbhook",
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("lbhook")

Json = Any
Document = dict[str, dict[str, list[dict[str, Json]]]]

# A few, so that entries meet each other; IPv6 as IMDS may write it: bare or in brackets, in any
# case, short or long.
_IPV4 = ("10.0.0.1", "10.0.0.9", "10.0.0.10", "20.0.0.1", "100.100.100.100")
_IPV6 = (
    *("fd00::10", "[fd00::10]", "FD00::10", "fd00:0:0:0:0:0:0:10", "[fd00::9]"),
    *("2603:10e1:100:2::1:1", "[2603:10E1:100:2:0:0:1:1]"),
)


def addresses(version: int) -> st.SearchStrategy[str]:
    """An address as IMDS may write it."""
    if version == 4:
        return st.sampled_from(_IPV4) | st.integers(1 << 24, 9 << 24).map(_ipv4)
    return st.sampled_from(_IPV6) | st.integers(0, 1 << 64).map(_ipv6)


def _ipv4(number: int) -> str:
    return str(ipaddress.IPv4Address(number))


def _ipv6(number: int) -> str:
    return str(ipaddress.IPv6Address((0xFD << 120) + number))


def pairs() -> st.SearchStrategy[dict[str, Json]]:
    """An entry of publicIpAddresses or outboundRules, now and then of two families."""
    either = addresses(4) | addresses(6)
    four, six = addresses(4), addresses(6)
    kinds = ((four, four), (six, six), (either, either))
    return st.one_of(
        *(
            st.fixed_dictionaries({"frontendIpAddress": one, "privateIpAddress": other})
            for one, other in kinds
        )
    )


def _numbers(first: int, last: int) -> st.SearchStrategy[Json]:
    numbers = st.integers(first, last) | st.sampled_from((first, last))
    return numbers | numbers.map(str)


def ports() -> st.SearchStrategy[Json]:
    """A port, as a number or in decimal digits."""
    return _numbers(1, 65535) | st.sampled_from((22, 80, 443, "443"))


@st.composite
def inbound_rules(draw: st.DrawFn) -> dict[str, Json]:
    """An entry of inboundRules: plain, floating, HA ports, or of an unknown protocol."""
    rule = draw(pairs())
    if draw(st.integers(0, 4)) == 0:
        rule["privateIpAddress"] = rule["frontendIpAddress"]
    words = ("Tcp", "tcp", "Udp", "UDP", "all", "All", "Quic", "Sctp")
    rule["protocol"] = draw(st.sampled_from(words))
    every = rule["protocol"].lower() == "all"
    port = st.sampled_from((0, "0")) if every else ports()
    return {**rule, "frontendPort": draw(port), "backendPort": draw(port)}


@st.composite
def tunnels(draw: st.DrawFn) -> dict[str, Json]:
    """An entry of tunnelInterfaces, both ends of one family."""
    version = draw(st.sampled_from((4, 6)))
    return {
        "gatewayIpAddress": draw(addresses(version)),
        "gatewayPort": draw(ports()),
        "identifier": draw(_numbers(0, (1 << 24) - 1)),
        "type": draw(st.sampled_from(("internal", "External", "sideways"))),
        "protocol": draw(st.sampled_from(("vxlan", "VXLAN"))),
        "localIpAddress": draw(addresses(version)),
        "localPort": draw(ports()),
    }


@st.composite
def valid_documents(draw: st.DrawFn) -> Document:
    """What a valid body says, before it is JSON."""
    lists = {
        "publicIpAddresses": draw(st.lists(pairs(), max_size=3)),
        "inboundRules": draw(st.lists(inbound_rules(), max_size=6)),
        "outboundRules": draw(st.lists(pairs(), max_size=3)),
    }
    if draw(st.booleans()):
        lists["tunnelInterfaces"] = draw(st.lists(tunnels(), max_size=3))
    return {"loadbalancer": lists}


@st.composite
def rearranged(draw: st.DrawFn, document: Document) -> Document:
    """The same document with entries and keys in another order, and some entries twice."""

    def entries(some: list[dict[str, Json]]) -> list[dict[str, Json]]:
        twice = draw(st.lists(st.sampled_from(some), max_size=3)) if some else []
        moved = draw(st.permutations([*some, *twice]))
        return [{key: one[key] for key in draw(st.permutations(sorted(one)))} for one in moved]

    lists = document["loadbalancer"]
    names = draw(st.permutations(sorted(lists)))
    return {"loadbalancer": {name: entries(lists[name]) for name in names}}


def encoded(document: Json) -> bytes:
    """A document as a body."""
    return json.dumps(document).encode()


def valid_bodies() -> st.SearchStrategy[bytes]:
    """A body that is read without a problem, with a warning at most."""
    return valid_documents().map(encoded)


def json_values() -> st.SearchStrategy[Json]:
    """Any value that JSON has, and those that only Python's JSON has."""
    scalars = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(0, 70000)
        | st.floats()
        | st.text(max_size=20)
        | addresses(4)
        | addresses(6)
    )
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=12,
    )


@st.composite
def broken_documents(draw: st.DrawFn) -> Json:
    """A valid document in which a few values were replaced, taken away or added."""
    document: Json = draw(valid_documents())
    for _ in range(draw(st.integers(1, 3))):
        _break(draw, document)
    return document


def _break(draw: st.DrawFn, place: Json) -> None:
    while isinstance(place, (dict, list)) and place:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = draw(st.sampled_from(keys))
        if isinstance(place[key], (dict, list)) and draw(st.integers(0, 3)):
            place = place[key]
            continue
        how = draw(st.sampled_from(("replace", "remove", "add")))
        if how == "remove":
            del place[key]
        elif how == "add" and isinstance(place, dict):
            place[draw(st.text(max_size=8))] = draw(json_values())
        else:
            place[key] = draw(json_values())
        return
