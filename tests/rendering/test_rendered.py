"""Properties of what is rendered, for any valid body: same bytes, no foreign text, and programs
that accept it."""

import ipaddress
import os
import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.reader import Address
from lbhook.processes import run
from lbhook.programs.daemon import Daemon, Place, places
from lbhook.programs.firewalld import Firewalld
from lbhook.programs.haproxy import Haproxy
from lbhook.programs.nginx import Nginx
from lbhook.rendering.fingerprint import SHIPPED_TEMPLATES
from lbhook.rendering.render import renderer

from ..conftest import lacking
from ..strategies import Document, encoded, rearranged, valid_bodies, valid_documents

NAMES = ("nftables", "nginx", "nginx-stream", "floating-ip", "firewalld", "haproxy")
SETTINGS = config.parse("".join(f"[targets.{name}]\n" for name in NAMES))
TARGETS = {target.name: target for target in SETTINGS.active()}
RENDERER = renderer([])
PROBES = ("168.63.129.16", "fe80::1234:5678:9abc")
_WORDS = re.compile(r"[^\s,;{}\"=#]+")
_OURS = {"tcp", "udp", "all", "internal", "external", "vxlan"}
_INDEX = re.compile(r"LB_INBOUND_\d+")
_PLACE = re.compile(r"(\[[0-9a-f:.]+\]|[0-9.]+):(\d+)")
_SOURCES = "".join(file.read_text(encoding="utf-8") for file in SHIPPED_TEMPLATES.iterdir())
# Names that a template puts together stand in the file for no rule at all, too.
_SOURCES += "".join(
    RENDERER.render(target, facts.Facts()).decode("ascii") for target in TARGETS.values()
)
# And the settings.
_SOURCES += " ".join(str(one) for target in TARGETS.values() for one in target.vars.values())
_KNOWN = set(_WORDS.findall(_SOURCES)) | _OURS


def render(target: Target, body: bytes) -> bytes:
    """The target's file for a body."""
    return RENDERER.render(target, facts.derive(parse(body)))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.data(), document=valid_documents())
def test_order_and_duplicates_change_no_byte(
    name: str, data: st.DataObject, document: Document
) -> None:
    """Promise 8: same input, same bytes."""
    other = data.draw(rearranged(document))
    target = TARGETS[name]
    assert render(target, encoded(document)) == render(target, encoded(other))


def _is_known(word: str) -> bool:
    """The template's own text, a known word, a number, an address with or without the length of
    its prefix, or an address and a port."""
    if word in _KNOWN or word.isdecimal() or _INDEX.fullmatch(word):
        return True
    place = _PLACE.fullmatch(word)
    try:
        ipaddress.ip_interface((place[1] if place else word).strip("[]"))
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", TARGETS)
@given(body=valid_bodies())
def test_files_hold_addresses_numbers_and_the_templates_own_text(name: str, body: bytes) -> None:
    """Promise 6: the network writes no text."""
    text = render(TARGETS[name], body).decode("ascii")
    assert [word for word in _WORDS.findall(text) if not _is_known(word)] == []


@pytest.mark.parametrize("name", TARGETS)
@given(document=valid_documents(), text=st.text(min_size=1, max_size=20))
def test_what_is_not_understood_reaches_no_file(name: str, document: Document, text: str) -> None:
    """Unknown keys, unknown protocols and entries that lack a key leave no trace."""
    lists = {key: [dict(entry) for entry in some] for key, some in document["loadbalancer"].items()}
    plain = {"loadbalancer": lists}
    before = render(TARGETS[name], encoded(plain))
    marked = f"zz{text}zz; drop"
    for some in lists.values():
        for entry in some:
            entry[marked] = marked
    lists["outboundRules"].append({"frontendIpAddress": "9.9.9.9", marked: marked})
    rule = {"frontendIpAddress": "9.9.9.9", "privateIpAddress": "9.9.9.9", "protocol": marked}
    lists["inboundRules"].append({**rule, "frontendPort": 1, "backendPort": 1})
    assert render(TARGETS[name], encoded(plain)) == before


@pytest.mark.needs("nft", "unshare")
@settings(max_examples=25)
@given(body=valid_bodies())
def test_nft_accepts_any_firewall(body: bytes) -> None:
    """Whatever the rules, the real nft takes the file."""
    with tempfile.NamedTemporaryFile(suffix=".nft") as file:
        file.write(render(TARGETS["nftables"], body))
        file.flush()
        alone = () if os.geteuid() == 0 else ("--map-root-user",)
        argv = ("unshare", *alone, "--net", "nft", "-c", "-f", file.name)
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("firewall-offline-cmd", "unshare")
@settings(max_examples=15)
@given(body=valid_bodies())
def test_firewalld_accepts_any_policy(body: bytes) -> None:
    """Whatever the rules, firewalld's checker takes the file and leaves out none of them."""
    with tempfile.NamedTemporaryFile(suffix=".xml") as file:
        file.write(render(TARGETS["firewalld"], body))
        file.flush()
        result = Firewalld(run, os.geteuid() == 0).check(TARGETS["firewalld"], Path(file.name))
        if result.output.startswith("unshare:"):
            lacking("not root, and no user namespaces")
        assert result.ok, result.report()


def _accepted(rule: ElementTree.Element) -> tuple[str, str, str, str]:
    """What a rule of firewalld's accepts: source, destination, protocol, port; empty is any."""
    assert rule[-1].tag == "accept"
    said = {f"{one.tag} {key}": value for one in rule.iter() for key, value in one.items()}
    source, destination = (said.pop(f"{end} address", "") for end in ("source", "destination"))
    protocol = said.pop("port protocol", "") or said.pop("protocol value", "")
    port = said.pop("port port", "")
    version = ipaddress.ip_network(source or destination).version
    assert said == {"rule family": f"ipv{version}"}
    return source, destination, protocol, port


def _alone(ip: Address) -> str:
    return str(ipaddress.ip_network(ip))


@given(body=valid_bodies())
def test_firewalld_opens_what_rules_lead_to_and_nothing_else(body: bytes) -> None:
    """Promise 5: listeners, HA ports, tunnels from their gateways alone, and probes."""
    lb = facts.derive(parse(body))
    wanted = {(_alone(ipaddress.ip_address(source)), "", "tcp", "") for source in PROBES}
    for rule in lb.inbound_rules:
        port = (rule.protocol.value, str(rule.backend_port))
        wanted.add(("", _alone(rule.private_ip), *(("", "") if rule.ha_ports else port)))
    for tunnel in lb.tunnel_interfaces:
        ends = (_alone(tunnel.gateway_ip_address), _alone(tunnel.local_ip_address))
        wanted.add((*ends, "udp", str(tunnel.local_port)))
    policy = ElementTree.fromstring(render(TARGETS["firewalld"], body))
    others = {one.tag for one in policy if one.tag != "rule"}
    assert others == {"short", "description", "ingress-zone", "egress-zone"}
    assert {_accepted(rule) for rule in policy.iter("rule")} == wanted


DAEMONS: dict[str, Callable[..., Daemon]] = {
    "nginx": Nginx,
    "nginx-stream": Nginx,
    "haproxy": Haproxy,
}


@pytest.mark.needs("nginx", "nginx-stream", "haproxy")
@pytest.mark.parametrize("name", DAEMONS)
@settings(max_examples=25)
@given(body=valid_bodies())
def test_proxies_accept_any_listeners(name: str, body: bytes) -> None:
    """Whatever the rules, the real program takes the file where it belongs."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "candidate")
        file.write_bytes(render(TARGETS[name], body))
        result = DAEMONS[name](run).check(TARGETS[name], file)
        assert result.ok, result.report()


@pytest.mark.parametrize("name", [*DAEMONS, "nginx by address"])
@given(body=valid_bodies())
def test_proxies_listen_where_rules_lead_and_nowhere_else(name: str, body: bytes) -> None:
    """Each listener once, but SSH's; a tunnel is the kernel's, and only a stream passes UDP on.
    nginx listens at the port, on every address, unless it is told otherwise (decision 10)."""
    target = TARGETS[name.split()[0]]
    if name == "nginx by address":
        target = target._replace(vars={**target.vars, "listen": "address"})
    protocols = ("tcp", "udp") if name == "nginx-stream" else ("tcp",)
    listeners = [
        one
        for one in facts.derive(parse(body)).listeners
        if one.rules and one.port != 22 and one.protocol.value in protocols
    ]
    wanted = [Place(one.protocol.value, one.ip, one.port) for one in listeners]
    if name == "nginx":
        everywhere = [ipaddress.ip_address(ip) for ip in ("0.0.0.0", "::")]
        ports = dict.fromkeys(one.port for one in listeners)
        wanted = [Place("tcp", ip, port) for port in ports for ip in everywhere]
    found = [one for one in places(render(target, body)) if not one.ip.is_loopback]
    assert sorted(map(str, found)) == sorted(map(str, wanted))
