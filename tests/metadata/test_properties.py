"""What holds for any body at all, and for any valid one."""

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from lbhook.errors import MetadataError
from lbhook.imds.classification import classify
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts, derive
from lbhook.metadata.model import Metadata

from ..strategies import (
    broken_documents,
    encoded,
    json_values,
    rearranged,
    valid_bodies,
    valid_documents,
)


def read(body: bytes) -> Metadata | None:
    """A model, or None for a body that is refused as it should be."""
    metadata, problems = None, list[str]()
    try:
        metadata = parse(body)
    except MetadataError as error:
        problems += error.problems
    assert bool(problems) == (metadata is None)
    for problem in problems:
        assert problem.isascii()
        assert problem.isprintable()
        assert len(problem) < 400
    return metadata


def within(value: Any) -> bytes:
    """A body with a value where the lists should be."""
    lists = {"publicIpAddresses": value, "inboundRules": [value], "outboundRules": value}
    return encoded({"loadbalancer": {**lists, "tunnelInterfaces": value}})


@given(st.binary())
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Never another exception than `MetadataError`."""
    read(body)


@given(st.text(alphabet='{}[]",:0123456789.eE+-\\ u tfn\ud800ÿ'))
def test_anything_like_json_is_read_or_refused(text: str) -> None:
    """Brackets, digits and escapes in any order, lone surrogates among them."""
    read(text.encode("utf-8", "surrogatepass"))


@given(json_values())
def test_any_json_is_read_or_refused(value: Any) -> None:
    """As the body, as what loadbalancer is, as a list, as an entry."""
    for body in (encoded(value), encoded({"loadbalancer": value}), within(value)):
        read(body)


@given(broken_documents())
def test_a_broken_body_is_read_or_refused(document: Any) -> None:
    """A valid body with a few values wrong, missing or new."""
    read(encoded(document))


@given(valid_bodies(), st.data())
def test_a_cut_or_flipped_body_is_read_or_refused(body: bytes, data: st.DataObject) -> None:
    """A cut one is refused, and one with a wrong byte never ends in anything else."""
    at = data.draw(st.integers(0, len(body) - 1))
    assert read(body[:at]) is None
    read(body[:at] + data.draw(st.binary(min_size=1, max_size=1)) + body[at + 1 :])


@given(valid_bodies())
def test_a_valid_body_is_read(body: bytes) -> None:
    """And facts can be derived from it."""
    metadata = parse(body)
    assert isinstance(derive(metadata), Facts)


@given(st.data())
def test_order_and_duplicates_change_nothing(data: st.DataObject) -> None:
    """The same model and the same facts, to the last tuple, however entries are arranged."""
    document = data.draw(valid_documents())
    other = data.draw(rearranged(document))
    one, two = parse(encoded(document)), parse(encoded(other))
    assert one == two
    assert repr(derive(one)) == repr(derive(two))


@given(broken_documents(), st.data())
def test_order_does_not_decide_what_is_refused(document: Any, data: st.DataObject) -> None:
    """A body that is refused is refused in any order of its entries."""
    assume(_has_lists_of_objects(document))
    other = data.draw(rearranged(document))
    one, two = read(encoded(document)), read(encoded(other))
    assert one == two


@given(valid_documents())
def test_everything_that_is_read_is_of_few_types(document: Any) -> None:
    """No text of the body reaches a fact: addresses, numbers, enums and our own words only."""
    facts = derive(parse(encoded(document)))
    words = {"internal", "external", "vxlan"}
    for one in facts.tunnel_interfaces:
        assert {one.type, one.protocol} <= words
    for rule in facts.inbound_rules:
        assert {type(rule.frontend_port), type(rule.backend_port)} == {int}
        assert rule.ha_ports == (rule.frontend_port == 0) == (rule.backend_port == 0)


@given(valid_documents())
def test_what_is_printed_is_read_again(document: Any) -> None:
    """A model written as a body is the same model: nothing was lost or made up."""
    metadata = parse(encoded(document))
    again = {
        "publicIpAddresses": [_pair(one) for one in (*metadata.public_ips, *metadata.private_ips)],
        "outboundRules": [_pair(one) for one in metadata.outbound_rules],
        "inboundRules": [
            {
                **_pair(one),
                "protocol": str(one.protocol),
                "frontendPort": one.frontend_port,
                "backendPort": one.backend_port,
            }
            for one in metadata.inbound_rules
        ],
        "tunnelInterfaces": [
            {
                "gatewayIpAddress": str(one.gateway_ip_address),
                "gatewayPort": one.gateway_port,
                "identifier": one.identifier,
                "type": one.type,
                "protocol": one.protocol,
                "localIpAddress": str(one.local_ip_address),
                "localPort": one.local_port,
            }
            for one in metadata.tunnel_interfaces
        ],
    }
    assert parse(json.dumps({"loadbalancer": again}).encode()) == metadata


def _has_lists_of_objects(document: Any) -> bool:
    lists = document.get("loadbalancer") if set(document) == {"loadbalancer"} else None
    return isinstance(lists, dict) and all(
        isinstance(entries, list) and all(isinstance(one, dict) for one in entries)
        for entries in lists.values()
    )


def _pair(pair: Any) -> dict[str, str]:
    return {
        "frontendIpAddress": str(pair.frontend_ip),
        "privateIpAddress": str(pair.private_ip),
    }


@given(
    st.integers(100, 599),
    st.dictionaries(
        st.sampled_from(["retry-after", "date", "content-type", "content-encoding", "location"]),
        st.text(max_size=40) | st.dates().map(str) | st.just("application/json"),
    ),
    st.binary(max_size=50) | json_values().map(encoded) | st.just(b'{"error": "No load"}'),
)
def test_any_answer_is_classified(status: int, headers: dict[str, str], body: bytes) -> None:
    """Whatever status, headers and body: a meaning with one line of ASCII, and no exception."""
    meaning = classify(status, headers, body)
    assert meaning.reason.isascii()
    assert meaning.reason == "" or meaning.reason.isprintable()
    assert meaning.retry_after >= 0
    assert len(meaning.reason) < 500
