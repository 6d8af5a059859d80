"""What the doctor advises where a chain drops what is to be let in."""

import pytest

from lbhook.config import settings as config
from lbhook.firewall.verdict import Verdict
from lbhook.traffic.remedies import Advice

from ..stand import Runner

MARKING = '[targets.nftables.vars]\npolicy = "mark"\n'
# As nft prints it.
CHAIN = """table inet filter {{
\tchain input {{
\t\ttype filter hook {hook}; policy drop;
\t\ttcp dport 22 accept
\t}}
}}
"""
DROPPED = Verdict(action="drop", chain="inet filter input", rule="handle 7")
OWN = CHAIN.partition("\t\ttype")[0].format() + "\t\ttcp dport 80 drop\n\t}\n}\n"


@pytest.mark.parametrize(
    ("listed", "says"),
    [
        (CHAIN.format(hook="input priority 0"), "let in what lbhook marks: `nft insert rule inet"),
        (CHAIN.format(hook="input priority -5"), "let in what lbhook marks"),
        (CHAIN.format(hook="input priority -10"), "it runs before lbhook's chain marks anything"),
        (CHAIN.format(hook="input priority -150"), "it runs before lbhook's chain marks anything"),
        (CHAIN.format(hook="prerouting priority 0"), "it runs before lbhook's chain marks"),
        (CHAIN.format(hook='ingress device "eth0" priority 0'), "it runs before lbhook's chain"),
        (OWN, "let in what lbhook marks"),
    ],
)
def test_a_mark_that_comes_too_late(listed: str, says: str) -> None:
    """A chain that runs before lbhook's sees no mark: a rule for it would help nobody."""
    runner = Runner(lambda _: (0, listed))
    advice = Advice(runner, config.parse(MARKING).active())
    assert advice.opening(DROPPED).startswith(says)
    # Of a chain alone nft would read all of a set of 400,000 networks.
    asked = "nft --numeric-priority --stateless --terse list ruleset"
    assert next(one for one in runner.taken() if " list " in one) == asked


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("meta mark & 0x00001000 == 0x00001000 accept", "it lets in what lbhook marks, and"),
        ("meta mark and 0x1000 == 0x1000 counter packets 0 bytes 0 accept", "it lets in what"),
        ("meta mark & 0x00001000 == 0x00001000 drop", "let in what lbhook marks: `nft insert"),
        ("meta mark & 0x00002000 == 0x00002000 accept", "let in what lbhook marks: `nft insert"),
        (
            "tcp dport 80 meta mark & 0x00001000 == 0x00001000 accept",
            "let in what lbhook marks: `nft insert",
        ),
        (
            "tcp dport 80 drop # handle 7\n\t\tmeta mark & 0x00001000 == 0x00001000 accept",
            "let in what lbhook marks: `nft insert",
        ),
        (
            "ct state invalid drop # handle 6\n\t\tmeta mark & 0x00001000 == 0x00001000 accept",
            "it lets in what lbhook marks, and",
        ),
    ],
)
def test_a_mark_that_is_set_anew(rule: str, says: str) -> None:
    """The rule that is advised is there already, for all ports and before any that drops: another
    one before it is to blame."""
    listed = CHAIN.format(hook="input priority 0").replace("tcp dport 22 accept", rule)
    advice = Advice(Runner(lambda _: (0, listed)), config.parse(MARKING).active())
    assert advice.opening(DROPPED).startswith(says)
