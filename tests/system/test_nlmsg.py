"""Messages of netlink: written, and read again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbhook.system import nlmsg


@given(st.lists(st.tuples(st.integers(1, 100), st.binary(max_size=40))))
def test_attributes_are_read_as_they_were_written(parts: list[tuple[int, bytes]]) -> None:
    """Whatever their lengths: each begins at four bytes."""
    written = b"".join(nlmsg.attribute(kind, content) for kind, content in parts)
    assert len(written) % 4 == 0
    assert list(nlmsg.attributes(written)) == parts


def test_nested_attributes() -> None:
    """Their kind is the same without the flag that says so."""
    written = nlmsg.nested(4, nlmsg.number(1, 7), nlmsg.text(3, "eth0"))
    inner = nlmsg.by_kind(nlmsg.by_kind(written)[4])
    assert nlmsg.as_number(inner[1]) == 7
    assert nlmsg.as_text(inner[3]) == "eth0"


@given(st.binary(max_size=60))
def test_what_is_no_attribute(content: bytes) -> None:
    """Is read as far as it goes, and does not go on for ever."""
    assert len(list(nlmsg.attributes(content))) <= len(content)


def test_messages() -> None:
    """Several in one, and one that is cut."""
    one, other = nlmsg.message(1, b"abcd", sequence=5), nlmsg.message(2, b"", sequence=6)
    found = [
        (kind, sequence, content) for kind, _, sequence, content in nlmsg.messages(one + other)
    ]
    assert found == [(1, 5, b"abcd"), (2, 6, b"")]
    with pytest.raises(ValueError, match="cut"):
        list(nlmsg.messages(one[:-1]))
