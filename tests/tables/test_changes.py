"""What is told to nft of two files, and of what was counted."""

from collections.abc import Mapping

import pytest

from lbhook.firewall.verdict import Counter, Element, TalliedRule, Tally
from lbhook.tables.changes import Changes, with_counts
from lbhook.tables.table_file import Table, parsed

NAME = "inet lbhook"
MOST = (1 << 64) - 1
FILE = """table inet lbhook
delete table inet lbhook
table inet lbhook {
\tset listeners4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\tcounter
\t\telements = {
\t\t\t10.0.0.4 . tcp . 443,
\t\t\t10.0.0.4 . udp . 53,
\t\t}
\t}
\tchain input {
\t\ttype filter hook input priority filter; policy drop;
\t\ttcp dport 22 counter accept comment "ssh"
\t\tip daddr . meta l4proto . th dport @listeners4 accept
\t\tcounter
\t}
}
"""
RULES = {"input": tuple(TalliedRule(handle=handle) for handle in (7, 8, 9))}


_PORTS = """set ports {
\t\ttype inet_service
\t\telements = { %s }
\t}
\tchain input"""
_MERGED = """set nets {
\t\ttype ipv4_addr
\t\tflags interval
\t\tauto-merge
\t\telements = { %s10.0.0.0/8 }
\t}
\tchain input"""


def table(text: str) -> Table:
    """A file that is understood."""
    found = parsed(text.encode(), NAME)
    assert found
    return found


def script(*changes: tuple[str, str], rules: Mapping[str, tuple[TalliedRule, ...]] = RULES) -> str:
    """What makes of the file one that is changed; "none" if it has to be replaced."""
    text = FILE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    found = Changes(NAME, table(FILE), table(text), rules).script()
    return "none" if found is None else found


def test_the_same_is_told_nothing() -> None:
    """Comments and spaces are no difference."""
    assert script(("tcp . 443,", "tcp   .   443, # from 50.0.0.1:80")) == ""


def test_elements_come_and_go() -> None:
    """What stays is not named."""
    told = script(("10.0.0.4 . tcp . 443", "10.0.0.5 . tcp . 443"))
    assert told == (
        "delete element inet lbhook listeners4 { 10.0.0.4 . tcp . 443 }\n"
        "add element inet lbhook listeners4 { 10.0.0.5 . tcp . 443 }\n"
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("80, http, 443", "80, 443"),
        ("80, 443, 080", "80, 443"),
        ("http, 443", "443"),
        ("http-90, 443", "443"),
    ],
)
def test_what_goes_may_be_what_stays_in_another_spelling(old: str, new: str) -> None:
    """By itself it would take the other along: then the table is replaced."""
    before, after = (table(FILE.replace("chain input", _PORTS % one)) for one in (old, new))
    assert Changes(NAME, before, after, RULES).script() is None
    assert Changes(NAME, after, before, RULES).script()


def test_networks_that_are_merged_are_not_taken_apart() -> None:
    """A part of what stays may go by that name."""
    both = ("10.0.0.0/9, ", "")
    before, after = (table(FILE.replace("chain input", _MERGED % one)) for one in both)
    assert Changes(NAME, before, after, RULES).script() is None
    assert Changes(NAME, after, before, RULES).script()


def test_rules_come_where_they_belong() -> None:
    """Before one that stays; at the end behind all."""
    ssh = '\t\ttcp dport 22 counter accept comment "ssh"\n'
    told = script(
        (ssh, "\t\taccept\n\t\tdrop\n"), ("\t\tcounter\n\t}", "\t\tcounter\n\t\tlog\n\t}")
    )
    assert told == (
        "insert rule inet lbhook input handle 8 accept\n"
        "insert rule inet lbhook input handle 8 drop\n"
        "delete rule inet lbhook input handle 7\n"
        "add rule inet lbhook input log\n"
    )


def test_sets_and_chains_come_and_go() -> None:
    """What a rule needs is there before it, and goes after it."""
    more = "\tset new { type ipv4_addr; elements = { 10.9.9.9 } }\n\tchain more { counter; }\n"
    there = script(("\tchain input", f"{more}\tchain input"), ("\t\tcounter\n\t}", "\t\tlog\n\t}"))
    assert there == (
        "add set inet lbhook new { type ipv4_addr; elements = { 10.9.9.9 }; }\n"
        "add chain inet lbhook more\n"
        "add rule inet lbhook more counter\n"
        "add rule inet lbhook input log\n"
        "delete rule inet lbhook input handle 9\n"
    )
    old = FILE.replace("\tchain input", f"{more}\tchain input")
    rules = {**RULES, "more": (TalliedRule(handle=3),)}
    assert Changes(NAME, table(old), table(FILE), rules).script() == (
        "flush chain inet lbhook more\ndelete chain inet lbhook more\ndelete set inet lbhook new\n"
    )


@pytest.mark.parametrize(
    "change",
    [
        ("policy drop", "policy accept"),
        ("chain input", "chain prerouting"),
        ("\t\tcounter\n\t\telements", "\t\telements"),
        ("\tchain input", "\tcounter every { }\n\tchain input"),
        ("table inet lbhook\ndelete", "define a = 1\ntable inet lbhook\ndelete"),
        ("10.0.0.4 . udp . 53", '10.0.0.4 . udp . 53 comment "dns"'),
    ],
)
def test_another_shape_is_another_table(change: tuple[str, str]) -> None:
    """Hooks, declarations, objects, definitions, and elements that are more than a key."""
    assert script((change[0], change[1])) == "none"


def test_rules_that_are_not_the_file_s_are_not_touched() -> None:
    """Somebody has added one by hand: nobody knows which is which."""
    more = {"input": (*RULES["input"], TalliedRule(handle=10))}
    assert script(("udp . 53", "udp . 54"), rules=more) == "none"


def test_what_was_counted_goes_with_a_replacement() -> None:
    """By key and by comment, also as much as a counter can hold; a rule without a comment by its
    text, if the kernel's table is known."""
    ssh, rest = Counter(packets=MOST, bytes=MOST), Counter(packets=9, bytes=90)
    rules = {
        "input": (
            TalliedRule(handle=7, comment="ssh", counter=ssh),
            TalliedRule(handle=8),
            TalliedRule(handle=9, counter=rest),
        )
    }
    elements: dict[str, dict[Element, Counter]] = {
        "listeners4": {("10.0.0.4", "6", "443"): Counter(packets=3, bytes=180)}
    }
    tally = Tally(rules=rules, elements=elements)
    known = FILE.replace(
        'counter accept comment "ssh"', f'counter packets {MOST} bytes {MOST} accept comment "ssh"'
    )
    known = known.replace("tcp . 443", "tcp . 443 counter packets 3 bytes 180")
    content = FILE.encode()
    assert with_counts(content, table(FILE), None, tally).decode() == known
    known = known.replace("\t\tcounter\n\t}", "\t\tcounter packets 9 bytes 90\n\t}")
    assert with_counts(content, table(FILE), table(FILE), tally).decode() == known


def test_what_two_rules_are_called_is_no_name() -> None:
    """Of two with one comment nobody knows which has counted."""
    twice = FILE.replace("\t\tcounter\n\t}", '\t\tcounter comment "ssh"\n\t}')
    rules = {"input": (TalliedRule(handle=7, comment="ssh", counter=Counter(packets=1, bytes=1)),)}
    tally = Tally(rules=rules, elements={})
    assert with_counts(twice.encode(), table(twice), None, tally).decode() == twice
