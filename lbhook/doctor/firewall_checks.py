"""The doctor's checks of lbhook's firewall: what it keeps closed, and what it can't know."""

import re
from collections.abc import Iterator

from ..config.targets import Target
from ..planning.closing import Closing
from ..programs.nftables import drops
from .findings import Check, Evidence, Finding, unsure

_LIST = ("nft", "--stateless", "-nn", "list", "ruleset")
# Rules that name another protocol alone; the answers of TCP find the socket that waits for them.
_NOT_UDP = re.compile(r"\b(tcp|icmp|icmpv6|sctp) |l4proto (tcp|6|icmp)\b")


def closed(evidence: Evidence) -> Iterator[Finding]:
    """What waits here and is let in from nowhere, by lbhook's table alone."""
    firewall = _firewall(evidence)
    if not firewall:
        return
    found = Closing(firewall, evidence.lb, evidence.host).standing
    if found:
        yield unsure(
            f"{firewall.name} closes these, because no rule or setting opens them:"
            f" {', '.join(map(str, found))}",
            "if it is to be reached from outside, `allow` in its `vars` lets it in",
        )


def untracked(evidence: Evidence) -> Iterator[Finding]:
    """Whether rules of raw tables keep connection tracking from UDP: its answers are dropped."""
    firewall = _firewall(evidence)
    if not firewall or not evidence.host.root:
        return
    chain = ""
    for line in evidence.host.run(_LIST).output.splitlines():
        words = line.split()
        if line.startswith("table "):
            table = " ".join(words[1:3])
        elif words[:1] == ["chain"]:
            chain = f"{table} {words[1]}"
        elif "notrack" in words and not _NOT_UDP.search(line):
            yield unsure(
                f"chain {chain} takes UDP out of connection tracking ({line.strip()}): replies to"
                f" this machine's own requests match no connection, so {firewall.name} drops them",
                "add them to `allow` (`port` is the local port, `from` the server), or remove that"
                " rule",
            )


CHECKS: tuple[Check, ...] = (closed, untracked)


def _firewall(evidence: Evidence) -> Target | None:
    """The firewall, if it is in force here and has a policy of its own."""
    loaded = evidence.host.state.loaded()
    named = (one.target for one in evidence.plan.changes if str(one.path) in loaded)
    return next((one for one in named if drops(one)), None)
