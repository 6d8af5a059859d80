"""Addresses that Azure lists as public and nobody on the Internet reaches: each kind decided."""

import ipaddress
import json
from pathlib import Path

import pytest

from lbhook.metadata.body import parse
from lbhook.metadata.facts import derive
from lbhook.metadata.ranges import Range, kind
from lbhook.traffic import diagram, html, model_json
from lbhook.traffic.paths import Way, rules_only

from ..program import Desk
from ..stand import NO_ENV, Stand, rule

# The first and the last address of a range, what is before it and behind it, and its kind.
ROWS = [
    ("9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0", Range.PRIVATE),
    ("172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0", Range.PRIVATE),
    ("192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0", Range.PRIVATE),
    ("100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0", Range.SHARED),
    ("192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0", Range.DOCUMENTATION),
    ("198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0", Range.DOCUMENTATION),
    ("203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0", Range.DOCUMENTATION),
    ("", "0.0.0.1", "0.255.255.255", "1.0.0.0", Range.RESERVED),
    ("191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0", Range.RESERVED),
    ("192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0", Range.RESERVED),
    ("198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0", Range.RESERVED),
    ("", "240.0.0.0", "255.255.255.254", "", Range.RESERVED),
    ("", "fc00::", "fdff:ffff::1", "", Range.PRIVATE),
    ("2001:db7:ffff::", "2001:db8::", "2001:db8:ffff::1", "2001:db9::", Range.DOCUMENTATION),
    ("3ffe:ffff::", "3fff::", "3fff:fff::1", "3fff:1000::", Range.DOCUMENTATION),
    ("2000:ffff::", "2001::", "2001:1ff::1", "2001:200::", Range.RESERVED),
    ("2001:ffff::", "2002::", "2002:ffff::1", "2003::", Range.RESERVED),
    ("", "64:ff9b::1", "1fff:ffff::1", "2000::", Range.RESERVED),
    ("3fff:1000::", "4000::", "fbff:ffff::1", "", Range.RESERVED),
]


@pytest.mark.parametrize(("before", "first", "last", "behind", "expected"), ROWS)
def test_a_range(before: str, first: str, last: str, behind: str, expected: Range) -> None:
    """To its edges, and no further."""
    assert {kind(ipaddress.ip_address(one)) for one in (first, last)} == {expected}
    for neighbour in filter(None, (before, behind)):
        assert kind(ipaddress.ip_address(neighbour)) is Range.PUBLIC


def body(*public: str) -> bytes:
    """A body with these under publicIpAddresses."""
    pairs = [{"frontendIpAddress": one, "privateIpAddress": "10.1.0.4"} for one in public]
    lists = {"publicIpAddresses": pairs, "inboundRules": [rule(80)], "outboundRules": []}
    return json.dumps({"loadbalancer": lists}).encode()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A configuration, and a place for bodies."""
    return Desk(tmp_path)


PRIVATE = ("10.1.0.5", "100.64.0.9", "203.0.113.7", "240.0.0.1", "[fd00::9]", "[2001:db8::1]")


def test_they_are_kept_apart() -> None:
    """In the model and for templates: nobody takes one for a public address."""
    lb = derive(parse(body("51.0.0.1", "[2603:1020:10:5::34]", *PRIVATE)))
    assert [str(one.frontend_ip) for one in lb.public_ips] == ["51.0.0.1", "2603:1020:10:5::34"]
    assert {str(one.frontend_ip) for one in lb.private_ips} == {one.strip("[]") for one in PRIVATE}


def test_they_are_in_no_variable_of_the_env_file(desk: Desk) -> None:
    """What is left of them is an empty name."""
    (desk.place / "body.json").write_bytes(body(*PRIVATE))
    done = desk.run("render", "env", "--metadata", str(desk.place / "body.json"))
    assert "LB_PUBLIC_IPV4=\n" in done.out
    assert "LB_PUBLIC_IPV6=\n" in done.out
    for one in PRIVATE:
        assert one.strip("[]") not in done.out


def test_they_are_shown_as_what_they_are() -> None:
    """Apart from the public ones, with their kind; in JSON under a key of their own."""
    metadata = parse(body("51.0.0.1", "100.64.0.9"))
    lb = derive(metadata)
    text = diagram.to_text(lb, metadata)
    assert text.startswith(
        "Public addresses of this VM\n  51.0.0.1  →  10.1.0.4\n\n"
        "Not public, though Azure lists them there\n  100.64.0.9  shared  →  10.1.0.4\n"
    )
    value = model_json.model(lb, metadata)
    assert value["private_ips"] == [{"frontend_ip": "100.64.0.9", "private_ip": "10.1.0.4"}]
    assert "Not public, though Azure" in html.to_html(lb, metadata, rules_only(lb), "here")
    plain = parse(body("51.0.0.1"))
    assert "private_ips" not in model_json.model(derive(plain), plain)


def test_it_is_said_once(tmp_path: Path) -> None:
    """What the last good answer has as well is said with -v alone; another address is news."""
    stand = Stand(tmp_path)
    settings = stand.settings(NO_ENV)

    def said(answer: bytes) -> list[str]:
        stand.apply(settings, answer)
        stand.update(settings, None).fetcher.last_good.keep(answer)
        return list(stand.warnings)

    text = "loadbalancer.publicIpAddresses: {}: not public; listed as private_ips"
    assert said(body("10.1.0.5", "51.0.0.1")) == [text.format("10.1.0.5 (private)")]
    assert said(body("10.1.0.5", "51.0.0.2")) == []
    assert said(body("192.0.2.1")) == [text.format("192.0.2.1 (documentation)")]
    assert said(body("51.0.0.1")) == []


def test_a_change_of_theirs_is_a_change() -> None:
    """Templates may use them, so that an answer that differs in them is another one."""
    from lbhook.rendering import fingerprint

    one, other = (derive(parse(body(ip))) for ip in ("10.1.0.5", "10.1.0.6"))
    assert fingerprint.answer(one, None) != fingerprint.answer(other, None)


@pytest.mark.parametrize(
    ("frontend", "internal"), [("10.0.0.9", True), ("100.64.0.9", True), ("50.0.0.1", False)]
)
def test_a_frontend_that_is_not_public_is_internal(frontend: str, internal: bool) -> None:
    """Azure lets a virtual network have shared addresses, too: who calls them only you know."""
    from lbhook.firewall.verdict import Verdict

    (entry,) = parse(
        json.dumps(
            {
                "loadbalancer": {
                    "publicIpAddresses": [],
                    "inboundRules": [{**rule(80), "frontendIpAddress": frontend}],
                    "outboundRules": [],
                }
            }
        ).encode()
    ).inbound_rules
    verdict = Verdict(action="drop", by_source=True)
    assert Way(rule=entry, verdict=verdict).open_to_some is internal
