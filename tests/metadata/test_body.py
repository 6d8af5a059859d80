"""What a body says, whole; and every body that is refused, with the whole reason."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest

from lbhook.errors import MetadataError, UnreadableBodyError
from lbhook.metadata.body import parse
from lbhook.metadata.model import (
    AddressPair,
    InboundRule,
    Metadata,
    Protocol,
    TunnelInterface,
    order,
)

Body = Callable[[str], bytes]
INBOUND = {
    "frontendIpAddress": "50.0.0.1",
    "protocol": "Tcp",
    "frontendPort": 80,
    "backendPort": 8080,
    "privateIpAddress": "10.1.0.4",
}
PAIR = {"frontendIpAddress": "51.0.0.1", "privateIpAddress": "10.1.0.4"}
TUNNEL = {
    "gatewayIpAddress": "10.1.0.7",
    "gatewayPort": 2666,
    "identifier": 800,
    "type": "internal",
    "protocol": "vxlan",
    "localIpAddress": "10.1.0.8",
    "localPort": 2667,
}
AT = "loadbalancer.inboundRules[0]"


def pair(frontend: str, private: str) -> AddressPair:
    """A pair from text."""
    return AddressPair(
        frontend_ip=ipaddress.ip_address(frontend), private_ip=ipaddress.ip_address(private)
    )


def rule(
    frontend: str, port: int, private: str, backend: int, protocol: Protocol = Protocol.TCP
) -> InboundRule:
    """An inbound rule from text."""
    return InboundRule(
        frontend_ip=ipaddress.ip_address(frontend),
        frontend_port=port,
        protocol=protocol,
        private_ip=ipaddress.ip_address(private),
        backend_port=backend,
    )


def lists(**changed: Any) -> bytes:
    """A body with empty lists, but for those that are given."""
    empty: dict[str, Any] = {"publicIpAddresses": [], "inboundRules": [], "outboundRules": []}
    return json.dumps({"loadbalancer": {**empty, **changed}}).encode()


def inbound(*without: str, **changed: Any) -> bytes:
    """A body with one inbound rule that differs from a sound one."""
    entry = {key: value for key, value in {**INBOUND, **changed}.items() if key not in without}
    return lists(inboundRules=[entry])


def tunnel(*without: str, **changed: Any) -> bytes:
    """A body with one tunnel that differs from a sound one."""
    entry = {key: value for key, value in {**TUNNEL, **changed}.items() if key not in without}
    return lists(tunnelInterfaces=[entry])


def whole(metadata: Metadata) -> tuple[Any, ...]:
    """Everything in it, warnings and unknown keys too, which equality leaves out."""
    return (metadata, metadata.warnings, metadata.unknown)


def refused(body: bytes) -> MetadataError:
    """The error of a body that is refused."""
    with pytest.raises(MetadataError) as caught:
        parse(body)
    return caught.value


DOCUMENTED_INBOUND = (
    rule("50.0.0.1", 80, "10.1.0.4", 443),
    rule("2603:10e1:100:2::1:1", 80, "ace:cab:deca:deed::1", 443),
)
MODELS = {
    "documented": Metadata(
        public_ips=(pair("51.0.0.1", "10.1.0.4"),),
        inbound_rules=DOCUMENTED_INBOUND,
        outbound_rules=(
            pair("50.0.0.1", "10.1.0.4"),
            pair("2603:10e1:100:2::1:1", "ace:cab:deca:deed::1"),
        ),
    ),
    "documented-2021-typo": Metadata(
        public_ips=(pair("51.0.0.1", "10.1.0.4"),),
        inbound_rules=DOCUMENTED_INBOUND,
        outbound_rules=(pair("50.0.0.1", "10.1.0.4"),),
        warnings=(
            "loadbalancer.outboundRules[1].frontendIpAddress: missing; the entry is left out",
        ),
        unknown=("loadbalancer.outboundRules[1].frotendIpAddress",),
    ),
    "dual-stack-bracketed": Metadata(
        public_ips=(
            pair("20.10.5.34", "172.18.1.10"),
            pair("2603:1020:10:5::34", "fd00::10"),
        ),
        inbound_rules=(
            rule("172.16.136.5", 6443, "172.18.1.10", 6443),
            rule("fd60:172:16:88::5", 6443, "fd00::10", 6443),
        ),
    ),
    "floating-ip": Metadata(
        private_ips=(pair("100.100.100.100", "10.240.0.2"),),
        inbound_rules=(
            rule("11.11.11.11", 80, "11.11.11.11", 80),
            rule("20.20.20.20", 99, "20.20.20.20", 99),
        ),
    ),
    "gateway-ha-ports": Metadata(
        inbound_rules=(
            rule("10.1.0.7", 0, "10.1.0.8", 0, Protocol.ALL),
            rule("10.1.0.7", 0, "10.1.0.9", 0, Protocol.ALL),
        ),
        tunnel_interfaces=(
            TunnelInterface(
                gateway_ip_address=ipaddress.ip_address("10.1.0.7"),
                gateway_port=2666,
                identifier=800,
                type="internal",
                protocol="vxlan",
                local_ip_address=ipaddress.ip_address("10.1.0.8"),
                local_port=2666,
            ),
            TunnelInterface(
                gateway_ip_address=ipaddress.ip_address("10.1.0.7"),
                gateway_port=2667,
                identifier=801,
                type="external",
                protocol="vxlan",
                local_ip_address=ipaddress.ip_address("10.1.0.9"),
                local_port=2667,
            ),
        ),
    ),
    "public-ip-only": Metadata(public_ips=(pair("52.249.223.56", "10.0.0.4"),)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_published_body_is_read_whole(name: str, body: Body) -> None:
    """Every list, every entry, every warning and every unknown key of each body there is."""
    assert whole(parse(body(name))) == whole(MODELS[name])


OTHER_SHAPES = ["error-api-version", "error-no-load-balancer", "instance-network"]


@pytest.mark.parametrize("name", OTHER_SHAPES)
def test_a_body_of_another_shape_is_refused_at_once(name: str, body: Body) -> None:
    """What is JSON and not a load balancer's metadata is no partial answer: 65, no waiting."""
    error = refused(body(name))
    assert (error.problems, error.partial, error.status) == (
        ("loadbalancer: missing; this is not a load balancer's metadata",),
        False,
        65,
    )


def test_the_gateway_body_may_be_in_capitals(body: Body) -> None:
    """An earlier revision of the gateway sample has All, VXLAN, Internal, External."""
    text = body("gateway-ha-ports").decode()
    for word in ("all", "internal", "external"):
        text = text.replace(f'"{word}"', f'"{word.title()}"')
    assert parse(text.replace("vxlan", "VXLAN").encode()) == MODELS["gateway-ha-ports"]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.1.0.4", "10.1.0.4"),
        ("fd00::10", "fd00::10"),
        ("[fd00::10]", "fd00::10"),
        ("FD00:0:0::0010", "fd00::10"),
        ("[64:ff9b::10.0.0.1]", "64:ff9b::a00:1"),
    ],
)
def test_addresses_are_normalised(text: str, address: str) -> None:
    """IPv6 bare or in brackets, in any case, short or long, is one address."""
    (found,) = parse(inbound(privateIpAddress=text, frontendIpAddress=text)).inbound_rules
    assert found == rule(address, 80, address, 8080)


NO_HOST = "is not an address that a load balancer or a VM can have"
BAD_ADDRESSES = [
    ("nonsense", "'nonsense' is not an address"),
    ("10.0.0.256", "'10.0.0.256' is not an address"),
    ("010.0.0.1", "'010.0.0.1' is not an address"),
    (" 10.0.0.1", "' 10.0.0.1' is not an address"),
    ("10.0.0.1\n", "'10.0.0.1\\n' is not an address"),
    ("10.0.0.0/24", "'10.0.0.0/24' is not an address"),
    ("10.0.0.1:80", "'10.0.0.1:80' is not an address"),
    ("[10.0.0.1]", "'[10.0.0.1]' is not an address"),
    ("[fd00::1", "'[fd00::1' is not an address"),
    ("[[fd00::1]]", "'[[fd00::1]]' is not an address"),
    ("[fd00::1]:80", "'[fd00::1]:80' is not an address"),
    ("\u0661\u0660.0.0.1", "'\\u0661\\u0660.0.0.1' is not an address"),
    ("x" * 99, f"'{'x' * 43}... is not an address"),
    ("fe80::1%eth0", "'fe80::1%eth0' is not an address without a scope"),
    ("[fd00::1%1; accept]", "'[fd00::1%1; accept]' is not an address without a scope"),
    ("::ffff:10.0.0.1", "'::ffff:10.0.0.1' is not a plain IPv4 or IPv6 address"),
    ("0.0.0.0", f"'0.0.0.0' {NO_HOST}"),
    ("::", f"'::' {NO_HOST}"),
    ("127.0.0.1", f"'127.0.0.1' {NO_HOST}"),
    ("[::1]", f"'[::1]' {NO_HOST}"),
    ("224.0.0.1", f"'224.0.0.1' {NO_HOST}"),
    ("ff02::1", f"'ff02::1' {NO_HOST}"),
    ("255.255.255.255", f"'255.255.255.255' {NO_HOST}"),
    ("169.254.169.254", f"'169.254.169.254' {NO_HOST}"),
    ("168.63.129.16", f"'168.63.129.16' {NO_HOST}"),
    ("fe80::1234:5678:9abc", f"'fe80::1234:5678:9abc' {NO_HOST}"),
    (None, "null is not an address"),
    (True, "true is not an address"),
    (167772161, "167772161 is not an address"),
    (["10.0.0.1"], "a list is not an address"),
    ({"ip": "10.0.0.1"}, "an object is not an address"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_ADDRESSES)
@pytest.mark.parametrize("key", ["frontendIpAddress", "privateIpAddress"])
def test_what_is_no_address_is_refused(key: str, value: object, problem: str) -> None:
    """Text, other types, scopes, mapped and special addresses: the body is refused, with path."""
    error = refused(inbound(**{key: value}))
    assert (error.problems, error.partial) == ((f"{AT}.{key}: {problem}",), False)


@pytest.mark.parametrize("name", ["publicIpAddresses", "outboundRules"])
def test_a_bad_address_in_a_pair_refuses_the_body(name: str) -> None:
    """Malformed is refused everywhere; only what is missing is left out."""
    error = refused(lists(**{name: [PAIR, {**PAIR, "privateIpAddress": "x"}]}))
    assert error.problems == (f"loadbalancer.{name}[1].privateIpAddress: 'x' is not an address",)


@pytest.mark.parametrize(
    ("value", "port"), [(1, 1), (65535, 65535), ("443", 443), ("1", 1), ("65535", 65535)]
)
def test_ports_are_numbers_or_decimal_strings(value: object, port: int) -> None:
    """Every body seen has numbers; the general page says that all values are strings."""
    assert parse(inbound(backendPort=value)).inbound_rules[0].backend_port == port


BAD_PORTS: list[tuple[Any, str]] = [
    (70000, "70000 is not a port"),
    (65536, "65536 is not a port"),
    (-1, "-1 is not a port"),
    (1.5, "1.5 is not a port"),
    (80.0, "80.0 is not a port"),
    (True, "true is not a port"),
    (None, "null is not a port"),
    ([80], "a list is not a port"),
    ({}, "an object is not a port"),
    ("080", "'080' is not a port"),
    ("+80", "'+80' is not a port"),
    ("80 ", "'80 ' is not a port"),
    ("8_0", "'8_0' is not a port"),
    ("٨٠", "'\\u0668\\u0660' is not a port"),
    ("0x50", "'0x50' is not a port"),
    ("http", "'http' is not a port"),
    ("70000", "70000 is not a port"),
    ("80; drop", "'80; drop' is not a port"),
    (10**500, f"1{'0' * 43}... is not a port"),
]


@pytest.mark.parametrize(("value", "problem"), BAD_PORTS)
@pytest.mark.parametrize("key", ["frontendPort", "backendPort"])
def test_what_is_no_port_is_refused(key: str, value: object, problem: str) -> None:
    """A port out of range, of another type or in another notation refuses the body."""
    error = refused(inbound(**{key: value}))
    assert (error.problems, error.partial) == ((f"{AT}.{key}: {problem}",), False)


@pytest.mark.parametrize(
    ("word", "protocol"),
    [
        ("Tcp", Protocol.TCP),
        ("tcp", Protocol.TCP),
        ("TCP", Protocol.TCP),
        ("Udp", Protocol.UDP),
        ("udp", Protocol.UDP),
        ("UDP", Protocol.UDP),
    ],
)
def test_protocols_are_read_in_any_case(word: str, protocol: Protocol) -> None:
    """Tcp was seen, tcp is documented."""
    metadata = parse(inbound(protocol=word))
    expected = Metadata(inbound_rules=(rule("50.0.0.1", 80, "10.1.0.4", 8080, protocol),))
    assert whole(metadata) == whole(expected)


@pytest.mark.parametrize("word", ["all", "All", "ALL"])
def test_ha_ports_are_protocol_all_and_port_zero(word: str) -> None:
    """An HA ports rule is protocol all with both ports 0, numbers or strings."""
    metadata = parse(inbound(protocol=word, frontendPort=0, backendPort="0"))
    expected = Metadata(inbound_rules=(rule("50.0.0.1", 0, "10.1.0.4", 0, Protocol.ALL),))
    assert whole(metadata) == whole(expected)
    assert metadata.inbound_rules[0].ha_ports


def test_protocol_all_with_a_port_is_refused() -> None:
    """Read as HA ports it would open every port, where one is named."""
    error = refused(inbound(protocol="All"))
    assert error.problems == (
        f"{AT}.frontendPort: 80 with protocol all; an HA ports rule has port 0",
        f"{AT}.backendPort: 8080 with protocol all; an HA ports rule has port 0",
    )


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_port_zero_without_protocol_all_is_refused(protocol: str) -> None:
    """Port 0 of tcp or udp is no port, and no HA ports rule."""
    error = refused(inbound(protocol=protocol, frontendPort=0, backendPort=0))
    assert error.problems == (
        f"{AT}.frontendPort: 0 with protocol {protocol}; only an HA ports rule has port 0",
        f"{AT}.backendPort: 0 with protocol {protocol}; only an HA ports rule has port 0",
    )


def test_quic_is_udp_with_a_warning() -> None:
    """ARM knows Quic; no body with it was seen, so that is said."""
    expected = Metadata(
        inbound_rules=(rule("50.0.0.1", 80, "10.1.0.4", 8080, Protocol.UDP),),
        warnings=(f"{AT}.protocol: 'Quic' is read as udp; not yet seen on Azure",),
    )
    assert whole(parse(inbound(protocol="Quic"))) == whole(expected)


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ({**INBOUND, "protocol": "Sctp"}, "'Sctp'"),
        ({**INBOUND, "protocol": "tcp "}, "'tcp '"),
        ({**INBOUND, "protocol": "a\nb\u202e"}, "'a\\nb\\u202e'"),
        ({"protocol": "Icmp", "frontendIpAddress": "50.0.0.1"}, "'Icmp'"),
        ({**INBOUND, "protocol": "Esp", "frontendPort": None, "backendPort": 0}, "'Esp'"),
    ],
)
def test_an_unknown_protocol_costs_its_own_entry_only(entry: object, shown: str) -> None:
    """It is left out with a warning, whatever else it has or lacks; the other rules stay."""
    metadata = parse(lists(inboundRules=[INBOUND, entry]))
    warning = f"loadbalancer.inboundRules[1].protocol: {shown} is unknown; the entry is left out"
    expected = Metadata(
        inbound_rules=(rule("50.0.0.1", 80, "10.1.0.4", 8080),), warnings=(warning,)
    )
    assert whole(metadata) == whole(expected)


@pytest.mark.parametrize(
    ("value", "shown"), [(6, "6"), (None, "null"), (["tcp"], "a list"), (False, "false")]
)
def test_a_protocol_that_is_no_word_is_refused(value: object, shown: str) -> None:
    """A number or null is malformed, not unknown."""
    error = refused(inbound(protocol=value))
    assert (error.problems, error.partial) == ((f"{AT}.protocol: {shown} is not a word",), False)


@pytest.mark.parametrize("name", ["publicIpAddresses", "inboundRules", "outboundRules"])
def test_a_missing_list_is_missing_and_not_empty(name: str) -> None:
    """It is worth asking again: IMDS answers 200 with partial data while it is updated."""
    body = json.loads(lists())
    del body["loadbalancer"][name]
    error = refused(json.dumps(body).encode())
    assert (error.problems, error.partial, error.status) == (
        (f"loadbalancer.{name}: missing",),
        True,
        65,
    )


def test_all_missing_lists_are_named() -> None:
    """An empty object lacks three lists; the fourth is a gateway's, and optional."""
    error = refused(b'{"loadbalancer": {}}')
    assert (error.problems, error.partial) == (
        (
            "loadbalancer.publicIpAddresses: missing",
            "loadbalancer.inboundRules: missing",
            "loadbalancer.outboundRules: missing",
        ),
        True,
    )


@pytest.mark.parametrize("key", INBOUND)
def test_an_inbound_entry_that_lacks_a_key_is_partial(key: str) -> None:
    """A rule without one of its keys is not dropped: that would close a port that is open."""
    error = refused(inbound(key))
    assert (error.problems, error.partial) == ((f"{AT}.{key}: missing",), True)


@pytest.mark.parametrize("key", INBOUND)
def test_an_empty_string_is_a_missing_key(key: str) -> None:
    """/metadata/instance writes "" for what there is not."""
    error = refused(inbound(**{key: ""}))
    assert (error.problems, error.partial) == ((f"{AT}.{key}: missing",), True)


def test_an_empty_inbound_entry_lacks_everything() -> None:
    """Each missing key is named."""
    error = refused(lists(inboundRules=[{}]))
    keys = ("protocol", "frontendIpAddress", "frontendPort", "privateIpAddress", "backendPort")
    assert (error.problems, error.partial) == (tuple(f"{AT}.{key}: missing" for key in keys), True)


@pytest.mark.parametrize("key", TUNNEL)
def test_a_tunnel_that_lacks_a_key_is_partial(key: str) -> None:
    """As with rules: without it the gateway's traffic would be dropped."""
    error = refused(tunnel(key))
    assert (error.problems, error.partial) == (
        (f"loadbalancer.tunnelInterfaces[0].{key}: missing",),
        True,
    )


@pytest.mark.parametrize("name", ["publicIpAddresses", "outboundRules"])
@pytest.mark.parametrize("key", PAIR)
def test_a_pair_that_lacks_a_key_is_left_out(name: str, key: str) -> None:
    """The documentation itself misspelt one; the other entries are taken."""
    lacking = {other: value for other, value in PAIR.items() if other != key}
    metadata = parse(lists(**{name: [PAIR, lacking]}))
    field = {"publicIpAddresses": "public_ips", "outboundRules": "outbound_rules"}[name]
    assert getattr(metadata, field) == (pair("51.0.0.1", "10.1.0.4"),)
    assert metadata.warnings == (f"loadbalancer.{name}[1].{key}: missing; the entry is left out",)


def test_something_wrong_and_something_missing_is_not_partial() -> None:
    """Asking again would not fix it: all of it is listed, what is wrong first."""
    body = {"loadbalancer": {"publicIpAddresses": [], "inboundRules": [{**INBOUND}]}}
    entry: dict[str, Any] = body["loadbalancer"]["inboundRules"][0]
    entry["backendPort"] = 70000
    del entry["protocol"]
    error = refused(json.dumps(body).encode())
    assert (error.problems, error.partial) == (
        (
            f"{AT}.backendPort: 70000 is not a port",
            "loadbalancer.outboundRules: missing",
            f"{AT}.protocol: missing",
        ),
        False,
    )


def test_all_problems_are_listed_at_once() -> None:
    """Every value of every entry of every list that is wrong, in one go."""
    error = refused(
        lists(
            publicIpAddresses={"frontendIpAddress": "51.0.0.1"},
            inboundRules=[
                {**INBOUND, "frontendIpAddress": "x", "frontendPort": -1, "backendPort": "y"},
                "rule",
                {**INBOUND, "privateIpAddress": "::1"},
            ],
            outboundRules=[{**PAIR, "frontendIpAddress": 1}, None],
            tunnelInterfaces=[{**TUNNEL, "identifier": 1 << 24, "localPort": 0}, []],
        )
    )
    assert error.problems == (
        "loadbalancer.publicIpAddresses: an object is not a list",
        f"{AT}.frontendIpAddress: 'x' is not an address",
        f"{AT}.frontendPort: -1 is not a port",
        f"{AT}.backendPort: 'y' is not a port",
        "loadbalancer.inboundRules[1]: 'rule' is not an object",
        f"loadbalancer.inboundRules[2].privateIpAddress: '::1' {NO_HOST}",
        "loadbalancer.outboundRules[0].frontendIpAddress: 1 is not an address",
        "loadbalancer.outboundRules[1]: null is not an object",
        "loadbalancer.tunnelInterfaces[0].identifier: 16777216 is not a VXLAN identifier",
        "loadbalancer.tunnelInterfaces[1]: a list is not an object",
    )


def test_duplicates_count_once() -> None:
    """The same rule twice, in another notation too, is one rule; so are pairs and tunnels."""
    again = {**INBOUND, "protocol": "TCP", "frontendPort": "80"}
    metadata = parse(
        lists(
            publicIpAddresses=[PAIR, PAIR],
            inboundRules=[INBOUND, again, INBOUND],
            outboundRules=[PAIR, PAIR],
            tunnelInterfaces=[TUNNEL, {**TUNNEL, "type": "Internal"}],
        )
    )
    assert metadata == parse(
        lists(
            publicIpAddresses=[PAIR],
            inboundRules=[INBOUND],
            outboundRules=[PAIR],
            tunnelInterfaces=[TUNNEL],
        )
    )
    assert len(metadata.inbound_rules) == 1


def test_the_order_is_ours() -> None:
    """IPv4 before IPv6, then by value and not by text; entries come in any order."""
    addresses = ["fd00::10", "10.0.0.10", "10.0.0.9", "fd00::9"]
    entries = [{**PAIR, "frontendIpAddress": one, "privateIpAddress": one} for one in addresses]
    metadata = parse(lists(outboundRules=entries))
    assert [str(one.frontend_ip) for one in metadata.outbound_rules] == [
        "10.0.0.9",
        "10.0.0.10",
        "fd00::9",
        "fd00::10",
    ]
    assert [order(one.frontend_ip)[0] for one in metadata.outbound_rules] == [4, 4, 6, 6]


def test_one_frontend_and_port_may_lead_to_several_addresses() -> None:
    """(frontend, protocol, port) is not unique: both rules are kept."""
    second = {**INBOUND, "privateIpAddress": "10.1.0.5"}
    assert parse(lists(inboundRules=[second, INBOUND])).inbound_rules == (
        rule("50.0.0.1", 80, "10.1.0.4", 8080),
        rule("50.0.0.1", 80, "10.1.0.5", 8080),
    )


def test_floating_ip_shows_in_the_addresses_alone() -> None:
    """private == frontend is Floating IP; there is no flag."""
    assert parse(inbound(privateIpAddress="50.0.0.1")).inbound_rules[0].floating_ip
    assert not parse(inbound()).inbound_rules[0].floating_ip


@pytest.mark.parametrize("name", ["publicIpAddresses", "inboundRules", "outboundRules"])
def test_a_pair_of_two_families_is_taken_with_a_warning(name: str) -> None:
    """Azure does not translate between families; what is opened is the private address only."""
    entry = {**(INBOUND if name == "inboundRules" else PAIR), "frontendIpAddress": "fd00::1"}
    metadata = parse(lists(**{name: [entry]}))
    found = (*metadata.private_ips, *metadata.inbound_rules, *metadata.outbound_rules)
    assert len(found) == 1
    assert metadata.warnings == (
        f"loadbalancer.{name}[0]: frontend fd00::1 and private 10.1.0.4 are of different families",
    )


def test_a_tunnel_of_two_families_is_refused() -> None:
    """No packet has both, and no firewall loads a rule with both."""
    error = refused(tunnel(gatewayIpAddress="fd00::7"))
    assert (error.problems, error.partial) == (
        (
            "loadbalancer.tunnelInterfaces[0].localIpAddress: 10.1.0.8 is not of the family of"
            " gatewayIpAddress, fd00::7",
        ),
        False,
    )


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("gatewayPort", 0, "0 is not a port"),
        ("localPort", "0", "0 is not a port"),
        ("localPort", 65536, "65536 is not a port"),
        ("identifier", -1, "-1 is not a VXLAN identifier"),
        ("identifier", "x", "'x' is not a VXLAN identifier"),
        ("localIpAddress", "x", "'x' is not an address"),
        ("type", 1, "1 is not a word"),
        ("protocol", None, "null is not a word"),
    ],
)
def test_a_tunnel_with_a_bad_value_is_refused(key: str, value: object, problem: str) -> None:
    """Each with its path."""
    error = refused(tunnel(**{key: value}))
    assert error.problems == (f"loadbalancer.tunnelInterfaces[0].{key}: {problem}",)


@pytest.mark.parametrize(("key", "word"), [("type", "Sideways"), ("protocol", "geneve")])
def test_a_tunnel_of_an_unknown_kind_is_left_out(key: str, word: str) -> None:
    """With a warning, as a rule with an unknown protocol."""
    path = f"loadbalancer.tunnelInterfaces[0].{key}"
    expected = Metadata(warnings=(f"{path}: '{word}' is unknown; the entry is left out",))
    assert whole(parse(tunnel(**{key: word}))) == whole(expected)


def test_unknown_keys_are_kept_apart() -> None:
    """At every level, in the order of the body, with nothing but ASCII in their names."""
    body = json.loads(inbound(newKey=1))
    body["loadbalancer"]["moreRules"] = [{"x": 1}]
    body["a b\u202e"] = None
    metadata = parse(json.dumps(body).encode())
    assert metadata.unknown == (
        "'a b\\u202e'",
        "loadbalancer.moreRules",
        f"{AT}.newKey",
    )
    assert metadata.warnings == ()
    assert metadata == parse(inbound())


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "body: a list is not an object"),
        (b"null", "body: null is not an object"),
        (b'"text"', "body: 'text' is not an object"),
        (b"12", "body: 12 is not an object"),
        (b"{}", "loadbalancer: missing; this is not a load balancer's metadata"),
        (b'{"loadbalancer": []}', "loadbalancer: a list is not an object"),
        (b'{"loadbalancer": null}', "loadbalancer: null is not an object"),
        (lists(inboundRules=None), "loadbalancer.inboundRules: null is not a list"),
        (lists(inboundRules={}), "loadbalancer.inboundRules: an object is not a list"),
        (lists(inboundRules=""), "loadbalancer.inboundRules: '' is not a list"),
        (lists(tunnelInterfaces=0), "loadbalancer.tunnelInterfaces: 0 is not a list"),
        (
            lists(outboundRules=[0] * 50_001),
            "loadbalancer.outboundRules: 50001 entries are more than Azure can have",
        ),
        (b"[" * 100_000, "body: nested too deep"),
        (b'{"loadbalancer": ' * 100_000, "body: nested too deep"),
        (b'{"x": ' + b"1" * 5000 + b"}", "body: a number of thousands of digits"),
        (b'{"x": -' + b"1" * 4_000_000 + b"}", "body: a number of thousands of digits"),
        (b'{"x": 1.' + b"1" * 5000 + b"}", "body: a number of thousands of digits"),
        (b'{"x": 1e' + b"1" * 5000 + b"}", "body: a number of thousands of digits"),
        (b'{"x": NaN}', "body: NaN is not JSON"),
        (b'{"x": Infinity}', "body: Infinity is not JSON"),
        (b'{"x": -Infinity}', "body: -Infinity is not JSON"),
        (b'{"a": 1, "a": 1}', "body: key a stands twice in one object"),
        (
            b'{"loadbalancer": {"inboundRules": [{"a b": 1, "a b": 2}]}}',
            "body: key 'a b' stands twice in one object",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_json_that_is_something_else_is_refused_at_once(body: bytes, problem: str) -> None:
    """Another shape, too deep, too long a number, two meanings: 65, and no partial answer."""
    error = refused(body)
    assert (error.problems, error.partial) == ((problem,), False)
    assert not isinstance(error, UnreadableBodyError)


def test_a_key_twice_in_a_huge_object_is_found_in_time() -> None:
    """4 MiB of keys, the last one twice, take no longer than reading them."""
    keys = [f'"k{number}":0' for number in range(300_000)]
    error = refused(("{" + ",".join((*keys, keys[-1])) + "}").encode())
    assert error.problems == ("body: key k299999 stands twice in one object",)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "body: not JSON: Expecting value, line 1, column 1; it is empty"),
        (
            b"<html>Log in</html>",
            "body: not JSON: Expecting value, line 1, column 1;"
            " 19 bytes that begin with '<html>Log in</html>'",
        ),
        (
            b'{"loadbalancer": {\n"inboundRules"',
            "body: not JSON: Expecting ':' delimiter, line 2, column 15;"
            ' 33 bytes that begin with \'{"loadbalancer": {\\n"inboundRules"\'',
        ),
        (b"{} x", "body: not JSON: Extra data, line 1, column 4; 4 bytes that begin with '{} x'"),
        (b'{"a": "\xff"}', "body: not UTF-8 at byte 7"),
        (b"\x1f\x8b\x08\x00", "body: not UTF-8 at byte 1"),
        ('{"a": 1}'.encode("utf-16"), "body: not UTF-8 at byte 0"),
    ],
)
def test_what_is_not_json_is_unreadable(body: bytes, problem: str) -> None:
    """A cut body or a proxy's page: its own kind of error, since asking again may help."""
    error = refused(body)
    assert isinstance(error, UnreadableBodyError)
    assert (error.problems, error.partial, error.status) == ((problem,), False, 65)


def test_a_byte_order_mark_is_passed_over() -> None:
    """RFC 8259 lets a parser ignore it."""
    assert parse(b"\xef\xbb\xbf" + inbound()) == parse(inbound())


def test_nothing_of_a_model_can_be_changed() -> None:
    """Frozen, slotted, hashable: an answer stays what it was."""
    metadata = parse(inbound())
    assert hash(metadata) == hash(parse(inbound()))
    # mypy would not let either pass, which is the other half of the promise.
    with pytest.raises(AttributeError):
        metadata.inbound_rules[0].backend_port = 1  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        metadata.more = 1  # type: ignore[attr-defined]


def test_a_protocol_prints_as_its_word() -> None:
    """Templates join it into text."""
    assert [str(one) for one in Protocol] == ["tcp", "udp", "all"]
