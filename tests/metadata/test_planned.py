"""Rules that are only planned: how they are written, and what an answer becomes with them."""

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbhook.errors import UsageError
from lbhook.metadata import planned
from lbhook.metadata.body import parse
from lbhook.metadata.model import AddressPair, Metadata
from lbhook.metadata.planned import Plans

Body = Callable[[str], bytes]


def carried(
    metadata: Metadata, coming: Sequence[str] = (), going: Sequence[str] = ()
) -> tuple[Metadata, tuple[str, ...]]:
    """An answer with these rules come and gone."""
    plans = Plans(coming=tuple(map(planned.read, coming)), going=tuple(map(planned.read, going)))
    return planned.carry_out(plans, metadata)


@pytest.fixture
def documented(body: Body) -> Metadata:
    """A rule from 80 to 443 of each family."""
    return parse(body("documented"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("tcp/8443:443", "+ tcp 50.0.0.1:8443 → 10.1.0.4:443"),
        ("udp/53", "+ udp 50.0.0.1:53 → 10.1.0.4:53"),
        ("TCP/53@52.1.2.3", "+ tcp 52.1.2.3:53 → 10.1.0.4:53"),
        (
            "tcp/53@[2603:10e1:100:2::1:2]",
            "+ tcp [2603:10e1:100:2::1:2]:53 → [ace:cab:deca:deed::1]:53",
        ),
        (
            "tcp/53=ACE:cab:deca:deed::1",
            "+ tcp [2603:10e1:100:2::1:1]:53 → [ace:cab:deca:deed::1]:53",
        ),
        ("tcp/53=10.1.0.9", "+ tcp 50.0.0.1:53 → 10.1.0.9:53"),
        ("tcp/53@52.1.2.3=52.1.2.3", "+ tcp 52.1.2.3:53 → 52.1.2.3:53"),
        ("all", "+ all 50.0.0.1:* → 10.1.0.4:*"),
    ],
)
def test_a_rule_that_comes(text: str, said: str, documented: Metadata) -> None:
    """What is not said is as in a rule that is there, of the family of what is said."""
    metadata, lines = carried(documented, [text])
    assert lines == (said,)
    assert len(metadata.inbound_rules) == 3
    assert replace(metadata, inbound_rules=documented.inbound_rules) == documented


def test_a_rule_takes_the_place_of_one(documented: Metadata) -> None:
    """A frontend has one rule for a protocol and port."""
    metadata, lines = carried(documented, ["tcp/80:8080"])
    assert lines == ("- tcp 50.0.0.1:80 → 10.1.0.4:443", "+ tcp 50.0.0.1:80 → 10.1.0.4:8080")
    assert len(metadata.inbound_rules) == 2


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("tcp", 0),
        ("tcp/80", 0),
        ("tcp/80:443", 0),
        ("tcp/80@50.0.0.1", 1),
        ("tcp=[ACE:cab:deca:deed::1]", 1),
    ],
)
def test_rules_that_go(text: str, left: int, documented: Metadata) -> None:
    """All that are as it says, as far as it says."""
    metadata, lines = carried(documented, going=[text])
    assert (len(metadata.inbound_rules), len(lines)) == (left, 2 - left)


@pytest.mark.parametrize(
    ("coming", "going", "problem"),
    [
        ("tcp/0", "", "--with tcp/0: frontendPort: 0 with protocol tcp; only an HA ports rule has"),
        ("tcp/80:70000", "", "--with tcp/80:70000: backendPort: 70000 is not a port"),
        ("tcp/80@web", "", "--with tcp/80@web: frontendIpAddress: 'web' is not an address"),
        ("tcp/80=127.0.0.1", "", "--with tcp/80=127.0.0.1: privateIpAddress: '127.0.0.1' is not"),
        ("icmp/8", "", "icmp/8: not PROTOCOL/PORT[:BACKEND_PORT][@FRONTEND][=PRIVATE]"),
        ("tcp:80", "", "tcp:80: not PROTOCOL/PORT"),
        ("", "tcp/81", '--without tcp/81: there is no such rule; did you mean "tcp/80:443"?'),
    ],
)
def test_what_does_not_fit(coming: str, going: str, problem: str, documented: Metadata) -> None:
    """In the words that an answer is refused with."""
    with pytest.raises(UsageError) as caught:
        carried(documented, [coming] if coming else (), [going] if going else ())
    assert caught.value.problems[0].startswith(problem)


def test_an_answer_that_tells_no_address(documented: Metadata) -> None:
    """Both must be said; an outbound rule or a public address would do."""
    with pytest.raises(UsageError) as caught:
        carried(Metadata(), ["tcp/80:443@50.0.0.1"])
    assert caught.value.problems == (
        "--with tcp/80:443@50.0.0.1: no existing rule gives its addresses",
    )
    assert caught.value.hint == "give both addresses: tcp/80:443@FRONTEND=PRIVATE"
    pair = AddressPair(
        frontend_ip=ipaddress.ip_address("51.0.0.1"), private_ip=ipaddress.ip_address("10.1.0.4")
    )
    said = ("+ tcp 50.0.0.1:80 → 10.1.0.4:443",)
    for known in (Metadata(outbound_rules=(pair,)), Metadata(public_ips=(pair,))):
        assert carried(known, ["tcp/80:443@50.0.0.1"])[1] == said


@given(st.integers(1, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]))
def test_what_comes_and_goes_leaves_nothing(port: int, backend: int, protocol: str) -> None:
    """A rule that comes, and then goes, leaves the answer as it was."""
    text = f"{protocol}/{port}:{backend}@50.0.0.2=10.1.0.4"
    added, _ = carried(Metadata(), [text])
    assert len(added.inbound_rules) == 1
    assert carried(added, going=[text])[0] == Metadata()
