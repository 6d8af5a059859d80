"""Files of the firewall taken apart, and those that are not."""

import pytest

from lbhook.tables.table_file import parsed

NAME = "inet lbhook"
WHOLE = """#!/usr/sbin/nft -f
table inet lbhook
delete table inet lbhook

define web = { 80,
\t443 }
table inet lbhook {
\tset listeners4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\tcounter
\t\telements = {
\t\t\t10.0.0.4 . tcp . 443,  # from 50.0.0.1:80, "a" }
\t\t\t10.0.0.4 . tcp . 444,
\t\t}
\t}
\tcounter every { }
\tchain input {
\t\ttype filter hook input priority filter + 10; policy drop;
\t\ttcp dport { 22, # ssh
\t\t\t2222 } counter accept comment "ssh; {1} # 2"
\t\tct state established,\\
\t\t\trelated accept; counter comment "dropped"
\t}
}
"""


def test_a_file_is_taken_apart() -> None:
    """Comments and line ends go, quoted ones stay; each rule is one, whatever its lines."""
    table = parsed(WHOLE.encode(), NAME)
    assert table
    assert table.defines == ("define web = { 80 , 443 }",)
    (name, listeners), *_ = table.sets.items()
    assert (name, listeners.kind) == ("listeners4", "set")
    assert listeners.declared == ("type ipv4_addr . inet_proto . inet_service", "counter")
    texts = [one.text for one in listeners.elements]
    assert texts == ["10.0.0.4 . tcp . 443", "10.0.0.4 . tcp . 444"]
    assert [one.text for one in table.others] == ["counter every { }"]
    chain = table.chains["input"]
    assert chain.header == ("type filter hook input priority filter + 10", "policy drop")
    assert [one.text for one in chain.rules] == [
        'tcp dport { 22 , 2222 } counter accept comment "ssh; {1} # 2"',
        "ct state established , related accept",
        'counter comment "dropped"',
    ]
    assert [one.name for one in chain.rules] == ["ssh; {1} # 2", "", "dropped"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("\tcounter every", '\tinclude "/etc/more.nft"\n\tcounter every'),
        ("\t\ttcp dport", '\t\tinclude "/etc/more.nft"\n\t\ttcp dport'),
        ("#!/usr/sbin/nft -f", 'include "/etc/more.nft"'),
        ("\t\ttcp dport", "\t\tjump {\n\t\tcounter\n\t\taccept\n\t\t}\n\t\ttcp dport"),
        ("\t\ttcp dport", "\t\ttcp dport 9 goto { accept; }\n\t\ttcp dport"),
        ("table inet lbhook {", "table inet lbhook { flags dormant;"),
        ("delete table inet lbhook\n", "delete table inet lbhook\ndelete table inet other\n"),
        ("delete table inet lbhook\n", "flush ruleset\n"),
        ("chain input {", "chain listeners4 {"),
        ('comment "dropped"\n\t}\n}\n', 'comment "dropped"\n\t}\n'),
        ('comment "dropped"\n\t}\n}\n', 'comment "dropped"\n\t}\n}\n}\n'),
        ('comment "dropped"\n\t}\n}\n', 'comment "dropped"\n\t}\n}\ntable ip x { }\n'),
        ('comment "dropped"\n\t}\n}\n', 'comment "dropped"\n\t}\n}\nadd rule ip x y drop\n'),
        ('comment "dropped"', 'comment "dropped'),
        ("table inet lbhook {", "table ip lbhook {"),
    ],
)
def test_what_is_not_known_for_certain_is_nothing(old: str, new: str) -> None:
    """What else may be in such a file, what is broken, and another table."""
    text = WHOLE.replace(old, new)
    assert text != WHOLE
    assert parsed(text.encode(), NAME) is None


@pytest.mark.parametrize("content", [b"", b"\xff", b"# nothing\n", b"table inet lbhook\n"])
def test_a_file_without_the_table_is_nothing(content: bytes) -> None:
    """A resting form has no table, and bytes may be no text."""
    assert parsed(content, NAME) is None
