"""What a template sees of the load balancer, worked out from bodies."""

import ipaddress
from collections.abc import Callable

from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts, Listener, derive, here
from lbhook.metadata.model import Metadata, Protocol, TunnelInterface
from lbhook.metadata.reader import Address

from .test_body import pair, rule

Body = Callable[[str], bytes]


def ip(text: str) -> Address:
    """An address from text."""
    return ipaddress.ip_address(text)


def tunnel(local: str, port: int, identifier: int = 800) -> TunnelInterface:
    """A tunnel that ends at a local address and port."""
    return TunnelInterface(
        gateway_ip_address=ip("10.1.0.7" if ip(local).version == 4 else "fd00::7"),
        gateway_port=port,
        identifier=identifier,
        type="internal",
        protocol="vxlan",
        local_ip_address=ip(local),
        local_port=port,
    )


def test_before_any_answer_nothing_is_known() -> None:
    """Facts without an argument are those of an empty answer."""
    assert Facts() == derive(Metadata())


def test_the_documented_body(body: Body) -> None:
    """Listeners are the private address and backend port of each rule; lists come through."""
    metadata = parse(body("documented"))
    four, six = metadata.inbound_rules
    assert derive(metadata) == Facts(
        public_ips=metadata.public_ips,
        private_ips=metadata.private_ips,
        inbound_rules=metadata.inbound_rules,
        outbound_rules=metadata.outbound_rules,
        listeners=(
            Listener(ip=ip("10.1.0.4"), protocol=Protocol.TCP, port=443, rules=(four,)),
            Listener(ip=ip("ace:cab:deca:deed::1"), protocol=Protocol.TCP, port=443, rules=(six,)),
        ),
        frontend_ips=(ip("50.0.0.1"), ip("2603:10e1:100:2::1:1")),
    )


def test_a_floating_ip_is_a_listener_of_its_own(body: Body) -> None:
    """With Floating IP packets arrive at the frontend address, which the guest must own."""
    facts = derive(parse(body("floating-ip")))
    assert [(str(one.ip), one.port) for one in facts.listeners] == [
        ("11.11.11.11", 80),
        ("20.20.20.20", 99),
    ]
    assert facts.floating_ips == facts.frontend_ips == (ip("11.11.11.11"), ip("20.20.20.20"))
    assert facts.ha_ports == ()


def test_ha_ports_are_addresses_and_tunnels_are_listeners(body: Body) -> None:
    """The gateway's rules reach whole addresses; its tunnels reach one udp port each."""
    facts = derive(parse(body("gateway-ha-ports")))
    assert facts.ha_ports == (ip("10.1.0.8"), ip("10.1.0.9"))
    assert facts.listeners == (
        Listener(ip=ip("10.1.0.8"), protocol=Protocol.UDP, port=2666),
        Listener(ip=ip("10.1.0.9"), protocol=Protocol.UDP, port=2667),
    )
    assert facts.frontend_ips == (ip("10.1.0.7"),)
    assert facts.floating_ips == ()


def test_a_public_ip_alone_opens_nothing(body: Body) -> None:
    """The instance's own address is in no inbound rule."""
    facts = derive(parse(body("public-ip-only")))
    assert facts == Facts(public_ips=(pair("52.249.223.56", "10.0.0.4"),))


def test_several_frontends_may_lead_to_one_listener() -> None:
    """It stands once, and names all the rules that lead to it, in order."""
    rules = (
        rule("50.0.0.1", 80, "10.1.0.4", 8080),
        rule("50.0.0.2", 443, "10.1.0.4", 8080),
        rule("50.0.0.2", 8443, "10.1.0.4", 8080),
    )
    facts = derive(Metadata(inbound_rules=rules))
    assert facts.listeners == (
        Listener(ip=ip("10.1.0.4"), protocol=Protocol.TCP, port=8080, rules=rules),
    )
    assert facts.frontend_ips == (ip("50.0.0.1"), ip("50.0.0.2"))


def test_protocols_and_families_are_listeners_apart() -> None:
    """tcp and udp of one port, and both families, each stand for themselves, IPv4 first."""
    rules = (
        rule("50.0.0.1", 53, "10.1.0.4", 53),
        rule("50.0.0.1", 53, "10.1.0.4", 53, Protocol.UDP),
        rule("2603::1", 53, "fd00::4", 53),
    )
    facts = derive(Metadata(inbound_rules=rules))
    assert [(str(one.ip), str(one.protocol), one.port) for one in facts.listeners] == [
        ("10.1.0.4", "tcp", 53),
        ("10.1.0.4", "udp", 53),
        ("fd00::4", "tcp", 53),
    ]


def test_a_rule_of_two_families_listens_at_the_private_address() -> None:
    """What was taken with a warning opens the private address, and nothing of the frontend's."""
    facts = derive(Metadata(inbound_rules=(rule("2603::1", 80, "10.1.0.4", 8080),)))
    assert [one.ip for one in facts.listeners] == [ip("10.1.0.4")]
    assert facts.frontend_ips == (ip("2603::1"),)
    assert facts.floating_ips == ()


def test_ha_ports_and_a_rule_may_overlap() -> None:
    """The address is in ha_ports, and the rule's listener stays: nginx may want that one."""
    rules = (
        rule("10.1.0.7", 0, "10.1.0.8", 0, Protocol.ALL),
        rule("10.1.0.6", 0, "10.1.0.8", 0, Protocol.ALL),
        rule("50.0.0.1", 443, "10.1.0.8", 443),
    )
    facts = derive(Metadata(inbound_rules=rules))
    assert facts.ha_ports == (ip("10.1.0.8"),)
    assert [(str(one.ip), one.port) for one in facts.listeners] == [("10.1.0.8", 443)]


def test_floating_ha_ports_are_both() -> None:
    """Every port of a frontend address that the guest owns."""
    facts = derive(Metadata(inbound_rules=(rule("10.1.0.7", 0, "10.1.0.7", 0, Protocol.ALL),)))
    assert facts.ha_ports == facts.floating_ips == facts.frontend_ips == (ip("10.1.0.7"),)
    assert facts.listeners == ()


def test_a_tunnel_and_a_rule_at_one_port_are_one_listener() -> None:
    """The listener has the rule; two tunnels that end at one port are one listener too."""
    led = rule("50.0.0.1", 2666, "10.1.0.8", 2666, Protocol.UDP)
    tunnels = (tunnel("10.1.0.8", 2666), tunnel("10.1.0.8", 2666, 801), tunnel("fd00::8", 2666))
    facts = derive(Metadata(inbound_rules=(led,), tunnel_interfaces=tunnels))
    assert facts.listeners == (
        Listener(ip=ip("10.1.0.8"), protocol=Protocol.UDP, port=2666, rules=(led,)),
        Listener(ip=ip("fd00::8"), protocol=Protocol.UDP, port=2666),
    )
    assert facts.tunnel_interfaces == tunnels


def test_listeners_elsewhere_are_left_out_with_a_warning() -> None:
    """One warning for each address that this machine lacks; all else stays."""
    rules = (
        rule("50.0.0.1", 80, "10.1.0.4", 80),
        rule("50.0.0.1", 81, "10.1.0.5", 81),
        rule("50.0.0.1", 82, "10.1.0.5", 82),
        rule("50.0.0.1", 83, "fd00::5", 83),
    )
    facts = derive(Metadata(inbound_rules=rules))
    kept, warnings = here(facts, lambda address: address == ip("10.1.0.4"))
    assert warnings == (
        "10.1.0.5 is not an address of this machine; its listeners are left out",
        "fd00::5 is not an address of this machine; its listeners are left out",
    )
    assert kept.listeners == facts.listeners[:1]
    assert (kept.inbound_rules, kept.frontend_ips) == (facts.inbound_rules, facts.frontend_ips)


def test_nothing_is_left_out_where_all_is_here() -> None:
    """The same facts, and no warning."""
    facts = derive(Metadata(inbound_rules=(rule("50.0.0.1", 80, "10.1.0.4", 80),)))
    assert here(facts, lambda _: True) == (facts, ())
