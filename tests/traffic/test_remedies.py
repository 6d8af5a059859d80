"""What the doctor advises where a chain drops what is to be let in."""

import pytest

from lbhook.config import settings as config
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
    assert advice.opening("inet filter input").startswith(says)
    assert runner.taken()[0] == "nft --numeric-priority list chain inet filter input"
