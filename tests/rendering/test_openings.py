"""What the firewall opens, no more and no less: every packet that could make a difference, through
a simulator of the table that the real nft has loaded."""

import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_network
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.programs import sshd
from lbhook.rendering.render import renderer

from ..packet import (
    ACK,
    ESTABLISHED,
    FIN,
    ICMP,
    ICMPV6,
    INVALID,
    LOCAL,
    NEW,
    RELATED,
    RST,
    SYN,
    TCP,
    UDP,
    UNICAST,
    Address,
    Packet,
    Table,
    Verdict,
    loaded,
)
from ..strategies import addresses, valid_bodies

pytestmark = pytest.mark.needs("nft", "unshare")
Values = Mapping[str, Any]
# GRE, ESP and VRRP have no ports; the other two have.
PROTOCOLS = (ICMP, TCP, UDP, 47, 50, ICMPV6, 112, 132, 136)
NUMBERS = {"tcp": TCP, "udp": UDP}
LINK_LOCAL = ip_network("fe80::/10")
OUTSIDE = {4: ip_address("233.252.0.1"), 6: ip_address("2001:db8:ffff::1")}
POLICIES = ("enforce", "mark", "prerouting")


def target(values: Values) -> Target:
    """The firewall with these variables."""
    lines = [f"{key} = {_toml(value)}" for key, value in values.items() if key != "sshd"]
    found = config.parse("\n".join(["[targets.nftables.vars]", *lines])).targets
    firewall = next(one for one in found if one.name == "nftables")
    places = sshd.recorded(values.get("sshd", ()))
    return firewall._replace(vars={**firewall.vars, "sshd": places})


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value)


def firewall(values: Values, lb: Facts, root: Path | None = None) -> Table:
    """Its table, loaded by the real nft, or by that of a root file system."""
    return loaded(renderer([]).render(target(values), lb), root)


def networks() -> st.SearchStrategy[str]:
    """A network of either family, now and then one around another."""
    few = ("0.0.0.0/0", "10.0.0.0/8", "10.0.0.0/30", "192.0.2.7", "::/0", "fd00::/8", "fd00::10")
    some = st.tuples(st.integers(0, (1 << 32) - 1), st.integers(1, 32))
    return st.sampled_from(few) | some.map(lambda one: str(ip_network(one, strict=False)))


PORT = st.sampled_from((22, 80, 443, 53, 67, 68, 546)) | st.integers(1, 65535)
RANGE = st.sets(PORT, min_size=2, max_size=2).map(lambda one: f"{min(one)}-{max(one)}")

# Where sshd listens: at any address, of one family, or at one.
PLACE = st.builds(
    "{}:{}".format, st.sampled_from(("*", "0.0.0.0", "[::]", "10.0.0.4", "[fd00::4]")), PORT
)


def allowances() -> st.SearchStrategy[dict[str, Any]]:
    """An entry of `allow`."""
    with_ports = st.fixed_dictionaries(
        {"port": PORT | RANGE},
        optional={"protocol": st.sampled_from(("tcp", "udp", "sctp")), "from": networks()},
    )
    without = st.fixed_dictionaries(
        {"protocol": st.sampled_from(("tcp", "udp", "esp", "vrrp", "gre", "icmp"))},
        optional={"from": networks()},
    )
    return with_ports | without | st.fixed_dictionaries({"from": networks()})


@st.composite
def variables(draw: st.DrawFn) -> dict[str, Any]:
    """Variables of the firewall, each away from its default now and then."""
    mask = draw(st.sampled_from((0x1000, 0xF0, 0xFFFFFFFF, 1 << 31)))
    given = draw(
        st.fixed_dictionaries(
            {"policy": st.sampled_from(POLICIES), "allow": st.lists(allowances(), max_size=4)},
            optional={
                "ssh_ports": st.lists(PORT, max_size=3),
                "ssh_from": st.lists(networks(), max_size=4),
                "sshd": st.lists(PLACE, max_size=3),
                "trusted_interfaces": st.lists(st.sampled_from(("docker0", "virbr0")), max_size=2),
                "probe_sources": st.lists(addresses(4) | addresses(6).map(_bare), max_size=3),
                "restrict_imds": st.booleans(),
            },
        )
    )
    mark = draw(st.integers(1, 15).map(lambda bits: (bits * (mask & -mask)) & mask or mask))
    return {**given, "mark": mark, "mark_mask": hex(mask)}


def _bare(address: str) -> str:
    return address.strip("[]")


class Asked:
    """What rules and settings ask for, as the documentation puts it."""

    def __init__(self, values: Values, lb: Facts) -> None:
        self._values = values
        self._marks = values["policy"] == "mark"
        self._ha_ports = set(lb.ha_ports)
        self._listeners = {
            (one.ip, NUMBERS[one.protocol.value], one.port) for one in lb.listeners if one.rules
        }
        self._tunnels = {
            (one.gateway_ip_address, one.local_ip_address, one.local_port)
            for one in lb.tunnel_interfaces
        }

    def judge(self, packet: Packet) -> Verdict:
        """What is to become of it."""
        if not self._opens(packet):
            return Verdict("accept" if self._marks else "drop", packet.mark)
        mark, mask = (self._values["mark"], self._values["mark_mask"]) if self._marks else (0, 0)
        return Verdict("accept", packet.mark & ~mask | mark)

    def _opens(self, packet: Packet) -> bool:
        return (
            packet.interface in self._values["trusted_interfaces"]
            or self._passes_always(packet)
            or self._is_ssh(packet)
            or (packet.protocol == TCP and packet.source in self._values["probe_sources"])
            or any(_is_allowed(packet, entry) for entry in self._values["allow"])
            or self._is_ruled(packet)
        )

    def _passes_always(self, packet: Packet) -> bool:
        way = (packet.protocol, packet.source_port, packet.port)
        dhcp = way == (UDP, 67, 68) or (way == (UDP, 547, 546) and packet.source in LINK_LOCAL)
        return not self._marks and (packet.protocol in (ICMP, ICMPV6) or dhcp)

    def _is_ssh(self, packet: Packet) -> bool:
        networks = self._values["ssh_from"]
        known = packet.port in self._values["ssh_ports"]
        open_here = known or any(_is_at(packet, place) for place in self._values["sshd"])
        here = packet.protocol == TCP and open_here
        anywhere = not networks and not self._marks
        return here and (anywhere or any(packet.source in one for one in networks))

    def _is_ruled(self, packet: Packet) -> bool:
        tunnel = (packet.source, packet.destination, packet.port)
        return (
            packet.destination in self._ha_ports
            or (packet.destination, packet.protocol, packet.port) in self._listeners
            or (packet.protocol == UDP and tunnel in self._tunnels)
        )


def _is_at(packet: Packet, place: Values) -> bool:
    address = packet.destination
    return (
        packet.port == place["port"]
        and place["version"] in (0, address.version)
        and place["ip"] in (None, address)
    )


def _is_allowed(packet: Packet, entry: Values) -> bool:
    first, _, last = entry["port"].partition("-")
    numbers = (entry["number"],) if entry["protocol"] else (TCP, UDP)
    return (
        (packet.protocol in numbers or not (entry["protocol"] or entry["port"]))
        and (not entry["port"] or int(first) <= packet.port <= int(last or first))
        and (entry["from"] is None or packet.source in entry["from"])
    )


def around(numbers: Iterable[int], bits: int) -> list[int]:
    """Each number and both its neighbours, of all with so many bits. A table compares with
    nothing but the numbers that it names, so these stand for all there are."""
    near = {one + step for one in numbers for step in (-1, 0, 1)}
    return sorted(one for one in near if 0 <= one < 1 << bits)


def _ports(values: Values, lb: Facts) -> list[int]:
    ranges = [entry["port"].split("-") for entry in values["allow"] if entry["port"]]
    named = {int(bound) for bounds in ranges for bound in bounds}
    named |= {one["port"] for one in values["sshd"]}
    named |= {*values["ssh_ports"], *(one.port for one in lb.listeners), 67, 68, 546, 65535}
    return around(named, 16)


def _addresses(version: int, found: Iterable[Any]) -> list[Address]:
    """Those of this version, the first and the last of networks, an outsider; and neighbours."""
    nets = [one for one in map(ip_network, found) if one.version == version]
    outside = OUTSIDE[version]
    numbers = [int(end) for one in nets for end in (one[0], one[-1])]
    kind = type(outside)
    return [kind(one) for one in around([*numbers, int(outside)], outside.max_prefixlen)]


def packets(values: Values, lb: Facts, chance: random.Random) -> Iterator[Packet]:
    """Every destination from an outsider, every source to an outsider's address (no rule but a
    tunnel's looks at both), and a sample of all pairs; each protocol and port."""
    ports = _ports(values, lb)
    tunnels = lb.tunnel_interfaces
    sources = [*values["ssh_from"], *(one["from"] for one in values["allow"] if one["from"])]
    sources += [*values["probe_sources"], *(one.gateway_ip_address for one in tunnels), "fe80::/10"]
    places = [*(one.ip for one in lb.listeners), *lb.ha_ports]
    places += [one["ip"] for one in values["sshd"] if one["ip"]]
    for version, outside in OUTSIDE.items():
        here, there = _addresses(version, places), _addresses(version, sources)
        ways = [*product([outside], here), *product(there, [outside])]
        for way, protocol, port in product(ways, PROTOCOLS, ports):
            yield Packet(source=way[0], destination=way[1], protocol=protocol, port=port)
        for _ in range(3000):
            yield Packet(
                source=chance.choice(there),
                destination=chance.choice(here),
                protocol=chance.choice(PROTOCOLS),
                source_port=chance.choice((67, 547, 40000)),
                port=chance.choice(ports),
                interface=chance.choice(("eth0", "docker0", "virbr0")),
            )


def misjudged(table: Table, asked: Asked, some: Iterable[Packet]) -> Packet | None:
    """The first packet of which the table makes something else than was asked for."""
    return next((one for one in some if table.judge(one) != asked.judge(one)), None)


# Not shrunk, which would take minutes: the packet that is judged wrong says enough.
@settings(max_examples=30, phases=[Phase.generate])
@given(body=valid_bodies(), given=variables(), seed=st.integers(0, 1 << 32))
def test_open_is_what_rules_and_settings_ask_for(
    body: bytes, given: dict[str, Any], seed: int
) -> None:
    """For any valid answer and any settings: nothing is missing, and nothing more is open."""
    chance = random.Random(seed)
    lb, values = facts.derive(parse(body)), target(given).vars
    table, asked = firewall(given, lb), Asked(values, lb)
    mark = chance.getrandbits(32)
    some = (replace(one, mark=mark) for one in packets(values, lb, chance))
    assert misjudged(table, asked, some) is None


def many_rules() -> Facts:
    """As many rules as a VM can have, of both families and both protocols."""
    rules = [
        {
            "frontendIpAddress": ("50.0.0.1", "2603::1")[number % 2],
            "privateIpAddress": (f"10.0.{number % 7}.4", f"fd00::{number % 7}")[number % 2],
            "protocol": ("Tcp", "Udp")[number % 3 == 0],
            "frontendPort": number + 1,
            "backendPort": number * 27 + 1,
        }
        for number in range(2400)
    ]
    lists = {"publicIpAddresses": [], "outboundRules": [], "inboundRules": rules}
    return facts.derive(parse(json.dumps({"loadbalancer": lists}).encode()))


@pytest.mark.parametrize("policy", POLICIES)
def test_many_rules_open_no_more_than_they_say(policy: str) -> None:
    """Each listener, its neighbours, and the same port of the other protocol."""
    lb = many_rules()
    assert len(lb.listeners) == 2400
    table, asked = firewall({"policy": policy}, lb), Asked(target({"policy": policy}).vars, lb)
    some = [
        Packet(source=OUTSIDE[one.ip.version], destination=one.ip, protocol=protocol, port=port)
        for one in lb.listeners
        for protocol in (TCP, UDP)
        for port in around([one.port], 16)
    ]
    assert misjudged(table, asked, some) is None
    assert len({table.judge(one) for one in some}) == 2


SSH = Packet(source=OUTSIDE[4], destination=ip_address("10.0.0.4"), port=22)
CLOSED = replace(SSH, port=9000)


@pytest.mark.parametrize("policy", ["enforce", "prerouting"])
@pytest.mark.parametrize(
    ("packet", "action"),
    [
        (SSH, "accept"),
        (CLOSED, "drop"),
        (replace(CLOSED, state=ESTABLISHED), "accept"),
        (replace(CLOSED, state=RELATED), "accept"),
        (replace(SSH, state=INVALID), "drop"),
        (replace(CLOSED, flags=ACK, wildcard=0), "accept"),
        (replace(CLOSED, flags=SYN | ACK, wildcard=0), "accept"),
        (replace(CLOSED, flags=ACK | FIN, wildcard=0, state=INVALID), "accept"),
        (replace(CLOSED, flags=SYN, wildcard=0), "drop"),
        (replace(CLOSED, flags=ACK, wildcard=1), "drop"),
        (replace(CLOSED, flags=RST), "drop"),
        (replace(CLOSED, interface="lo"), "accept"),
        (replace(CLOSED, interface="docker0", state=INVALID), "accept"),
        (replace(CLOSED, protocol=ICMP, state=INVALID), "accept"),
    ],
)
def test_packets_of_connections(policy: str, packet: Packet, action: str) -> None:
    """Those that were there before pass, whatever the port; a new one is judged, and what belongs
    to none is dropped."""
    table = firewall({"policy": policy, "trusted_interfaces": ["docker0"]}, Facts())
    assert table.judge(packet).action == action


def test_what_is_forwarded_is_not_judged_before_it_is_translated() -> None:
    """Not even what conntrack calls invalid; for this machine it is dropped."""
    table = firewall({"policy": "prerouting"}, Facts())
    for state in (NEW, INVALID):
        forwarded = replace(CLOSED, state=state, route=UNICAST)
        assert table.judge(forwarded).action == "accept"
        assert table.judge(replace(forwarded, route=LOCAL)).action == "drop"


@pytest.mark.parametrize("policy", POLICIES)
def test_only_root_asks_the_metadata_service(policy: str) -> None:
    """With `restrict_imds`, and whatever becomes of what comes in."""
    table = firewall({"policy": policy, "restrict_imds": True}, Facts())
    ask = Packet(source=SSH.destination, destination=ip_address("169.254.169.254"), port=80)
    others = replace(ask, destination=OUTSIDE[4], user=1000)
    sent = [
        table.judge(one, hooks=["output"]).action for one in (ask, replace(ask, user=1), others)
    ]
    assert sent == ["accept", "reject", "accept"]
