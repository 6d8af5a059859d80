"""What `show` draws: the way of the traffic, for people who have 80 columns and no colour."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest

from lbhook.firewall.verdict import Counter, Verdict
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.metadata.model import InboundRule, Metadata, Protocol
from lbhook.traffic import diagram
from lbhook.traffic.paths import Picture, Process, Way

Body = Callable[[str], bytes]
NGINX = Process(program="nginx", unit="nginx.service")
OPEN = Verdict(action="accept")
DROPPED = Verdict(action="drop", chain="inet lbhook input", rule="policy drop")


def way(port: int, frontend: str = "50.0.0.1", private: str = "10.1.0.4", **seen: Any) -> Way:
    """The way of a TCP rule to the same port here; unless said otherwise all is well with it."""
    rule = InboundRule(
        frontend_ip=ipaddress.ip_address(frontend),
        frontend_port=port,
        protocol=Protocol.TCP,
        private_ip=ipaddress.ip_address(private),
        backend_port=port,
    )
    well: dict[str, Any] = {"local": True, "listening": (NGINX,), "verdict": OPEN}
    return Way(rule=rule, **{**well, **seen})


def drawn(*ways: Way, everything: bool = False) -> list[str]:
    """The lines of a picture's inbound rules."""
    text = diagram.to_text(Facts(), Metadata(), Picture(ways=ways), everything=everything)
    return text.split("\n\n")[1].splitlines()


def test_tables(body: Body) -> None:
    """Without a look at a machine: addresses and ports, and what is special about a rule."""
    metadata = parse(body("floating-ip"))
    assert diagram.to_text(facts.derive(metadata), metadata) == (
        "Public addresses of this VM\n"
        "  none\n"
        "\n"
        "Not public, though Azure lists them there\n"
        "  100.100.100.100  shared  →  10.240.0.2\n"
        "\n"
        "Inbound rules\n"
        "  11.11.11.11  →  11.11.11.11  Floating IP\n"
        "    tcp     80  →     80\n"
        "  20.20.20.20  →  20.20.20.20  Floating IP\n"
        "    tcp     99  →     99\n"
        "\n"
        "Outbound rules\n"
        "  none\n"
    )


def test_long_addresses_take_two_lines() -> None:
    """Where a row would not fit, the arrow begins a second line."""
    far, here = "2603:10e1:1000:2222:3333:4444:5555:6666", "fd00:1111:2222:3333:4444:5555:6666:7777"
    entry = {"frontendIpAddress": far, "privateIpAddress": here}
    rule = {**entry, "protocol": "udp", "frontendPort": 60443, "backendPort": 60443}
    body = {"publicIpAddresses": [entry], "inboundRules": [rule], "outboundRules": []}
    metadata = parse(json.dumps({"loadbalancer": body}).encode())
    text = diagram.to_text(facts.derive(metadata), metadata)
    assert text == (
        "Public addresses of this VM\n"
        f"  {far}\n"
        f"    →  {here}\n"
        "\n"
        "Inbound rules\n"
        f"  {far}\n"
        f"    →  {here}\n"
        "    udp  60443  →  60443\n"
        "\n"
        "Outbound rules\n"
        "  none\n"
    )
    assert drawn(way(1, far, here, local=False))[1:5] == [
        f"! {far}",
        f"!   →  {here}",
        "!      not an address of this machine",
        "    tcp      1  →      1  nginx (nginx.service)  open",
    ]


def test_what_is_wrong_is_marked() -> None:
    """In the first column, so that it can be searched for; and what is well is not."""
    assert drawn(
        way(80, counter=Counter(packets=1, bytes=60)),
        way(81, listening=()),
        way(82, verdict=DROPPED, counter=None),
        way(83, listening=(Process(), Process(program="haproxy"))),
        way(84, local=None, listening=None, verdict=None),
        way(80, "50.0.0.2", "10.1.0.5", local=False, listening=()),
    ) == [
        "Inbound rules",
        "  50.0.0.1  →  10.1.0.4",
        "    tcp     80  →     80  nginx (nginx.service)  open, 1 packet",
        "!   tcp     81  →     81  nobody listens         open",
        "!   tcp     82  →     82  nginx (nginx.service)  dropped by inet lbhook input",
        "    tcp     83  →     83  a program, haproxy     open",
        "    tcp     84  →     84",
        "! 50.0.0.2  →  10.1.0.5  not an address of this machine",
        "    tcp     80  →     80                         open",
        "! something is wrong with 3 of 6 inbound rules",
    ]


@pytest.mark.parametrize(
    ("frontend", "verdict", "said", "marked"),
    [
        ("10.1.0.9", DROPPED, "dropped by inet lbhook input", True),
        ("50.0.0.1", DROPPED._replace(by_source=True), "dropped by inet lbhook input", True),
        ("10.1.0.9", DROPPED._replace(by_source=True), "open to some", False),
        ("50.0.0.1", DROPPED._replace(action="unknown"), "unknown: inet lbhook input", False),
    ],
)
def test_what_the_firewall_does(frontend: str, verdict: Verdict, said: str, marked: bool) -> None:
    """Only who calls an internal frontend may be meant to be known by address."""
    line = drawn(way(80, frontend, verdict=verdict))[2]
    assert (line.endswith(f"  {said}"), line.startswith("!")) == (True, marked)


def test_who_listens_elsewhere() -> None:
    """Is named; where the packets are handed on, nobody needs to listen."""
    here = ((ipaddress.ip_address("127.0.0.1"), Process(program="app")),)
    assert drawn(way(80, listening=(), elsewhere=here))[2] == (
        "!   tcp     80  →     80  only app on 127.0.0.1  open"
    )
    handed_on = Verdict(action="translated", chain="ip nat prerouting", rule="handle 2")
    assert drawn(way(80, listening=(), verdict=handed_on))[2] == (
        "    tcp     80  →     80    redirected by ip nat prerouting"
    )


def test_many_rules_are_few_lines() -> None:
    """The first of each address and those that are marked; the others are counted."""
    many = [way(port) for port in range(1, 300)] + [way(300, listening=())]
    assert drawn(*many) == [
        "Inbound rules",
        "  50.0.0.1  →  10.1.0.4",
        *(
            f"    tcp  {port:>5}  →  {port:>5}  nginx (nginx.service)  open"
            for port in range(1, 10)
        ),
        "!   tcp    300  →    300  nobody listens         open",
        "    and 290 more rules; --all shows all",
        "! something is wrong with 1 of 300 inbound rules",
    ]
    assert len(drawn(*many, everything=True)) == 303


def test_many_frontends_are_few_lines() -> None:
    """So are frontends; what is wrong is among them, or counted."""
    many = [way(22, f"50.0.0.{last}", local=last != 200) for last in range(1, 256)]
    lines = drawn(*many)
    assert lines[-4:] == [
        "! 50.0.0.200  →  10.1.0.4  not an address of this machine",
        "    tcp     22  →     22  nginx (nginx.service)  open",
        "  and 235 more frontend addresses; --all shows all",
        "! something is wrong with 1 of 255 inbound rules",
    ]
    assert len(drawn(*many, everything=True)) == 1 + 2 * 255 + 1
    bad = drawn(*(way(22, f"50.0.0.{last}", listening=()) for last in range(1, 256)))
    assert bad[-2] == "! and 235 more frontend addresses, all of them marked; --all shows all"
    some = drawn(*(way(port, listening=() if port > 5 else (NGINX,)) for port in range(1, 32)))
    assert some[-2] == "!   and 21 more rules, 16 of them marked; --all shows all"


def test_a_long_unit_is_cut() -> None:
    """The last column stays in sight."""
    scope = Process(program="docker-proxy", unit=f"docker-{'0' * 64}.scope")
    lines = drawn(way(80, listening=(scope,), counter=Counter(packets=123456789, bytes=1)))
    assert lines[2].endswith("...  open, 123456789 packets")
    assert len(lines[2]) == 80


def test_what_was_not_seen_is_said_once() -> None:
    """At the end, whatever the number of rules."""
    picture = Picture(ways=(way(1), way(2)), unseen=("the firewall: only root may list it",))
    text = diagram.to_text(Facts(), Metadata(), picture)
    assert text.endswith("\nNot seen\n  the firewall: only root may list it\n")


def test_warnings_are_wrapped() -> None:
    """A warning of the body stands below the tables, within the width."""
    warning = "loadbalancer.outboundRules[0].frontendIpAddress: missing; the entry is left out"
    text = diagram.to_text(Facts(), Metadata(warnings=(warning,)))
    assert text.endswith(
        "Outbound rules\n  none\n\nWarnings\n"
        "  loadbalancer.outboundRules[0].frontendIpAddress: missing; the entry is left\n"
        "  out\n"
    )


@pytest.mark.parametrize("name", ["documented", "dual-stack-bracketed", "gateway-ha-ports"])
def test_every_body_fits_in_eighty_columns(name: str, body: Body) -> None:
    """No table of a body that was seen is wider than a terminal."""
    metadata = parse(body(name))
    lines = diagram.to_text(facts.derive(metadata), metadata).splitlines()
    assert max(map(len, lines)) <= 80
