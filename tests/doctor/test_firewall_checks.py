"""What the doctor says of lbhook's firewall and of rules beside it."""

import pytest

from lbhook.doctor import firewall_checks
from lbhook.doctor.findings import Evidence

from ..stand import Runner, Stand, altered, body
from .evidence import said

FIREWALL = "[targets.nftables]\n"
NOTRACK = """table ip raw {
\tchain PREROUTING {
\t\ttype filter hook prerouting priority raw; policy accept;
\t\tudp dport { 53, 853 } notrack
\t\ttcp dport 80 notrack
\t}
}
"""


def evidence(stand: Stand, listed: str) -> Evidence:
    """A machine with lbhook's firewall in force, whose nft lists these rules."""
    settings = stand.settings(FIREWALL)
    stand.apply(settings, body(80))
    plan = stand.plan(settings, body(80))
    stand.runner = Runner(lambda _: (0, listed))
    host = stand.host(settings)
    tree = altered(host.tree, privileged=True)
    return Evidence(host=altered(host, tree=tree), settings=settings, plan=plan)


@pytest.mark.parametrize("listed", ["", NOTRACK])
def test_what_sets_hold_is_not_listed(stand: Stand, listed: str) -> None:
    """nft takes half a minute for a set of 400,000 networks, which says nothing of its rules."""
    found = said(firewall_checks.untracked(evidence(stand, listed)))
    assert stand.runner.taken() == ["nft --stateless --terse -nn list ruleset"]
    assert len(found) == bool(listed)
    assert all("takes UDP out of connection tracking (udp dport { 53, 853 }" in it for it in found)
