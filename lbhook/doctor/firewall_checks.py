"""The doctor's checks of lbhook's firewall: what it keeps closed, and what it can't know."""

import re
from collections.abc import Collection, Iterator

from ..config.shipped import kind_of
from ..config.targets import Target
from ..deployment.report import named
from ..levers.reach import sources
from ..plan import Closed
from ..planning.closing import Closing
from ..programs.daemon import places
from ..programs.nftables import drops
from ..programs.tunnels import RULES
from ..traffic import probes
from .findings import Check, Evidence, Finding, unsure

# The bridge of a network of Docker's has a new name each time that it is made.
_DOCKERS = re.compile(r"br-[0-9a-f]{12}")
# Rules that name another protocol alone; the answers of TCP find the socket that waits for them.
_NOT_UDP = re.compile(r"\b(tcp|icmp|icmpv6|sctp) |l4proto (tcp|6|icmp)\b")


def closed(evidence: Evidence) -> Iterator[Finding]:
    """What waits here and is let in from nowhere, by lbhook's table alone."""
    firewall = _firewall(evidence)
    if not firewall:
        return
    closing = Closing(firewall, evidence.lb, evidence.host)
    found: dict[str, list[Closed]] = {}
    own = _listeners(evidence)
    for one in closing.standing:
        if not _is_own(one, own):
            found.setdefault(closing.inner(one), []).append(one)
    for device, some in found.items():
        yield from _closed(firewall.name, device, named(some))


def untracked(evidence: Evidence) -> Iterator[Finding]:
    """Whether rules of raw tables keep connection tracking from UDP: its answers are dropped."""
    firewall = _firewall(evidence)
    if not firewall or not evidence.host.root:
        return
    chain = ""
    for line in evidence.host.run(RULES).output.splitlines():
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


def drained(evidence: Evidence) -> Iterator[Finding]:
    """Whether this VM is drained, and its table says the same."""
    known, host = evidence.drained, evidence.host
    seen = host.root and host.find("nft")
    stands = probes.stands(host.run, sources(evidence.settings)) if seen else known is not None
    if known and stands:
        text = f"{known.text}: Azure is to send no new connections here"
        yield unsure(text, known.remedy)
    elif known:
        text = f"{known.text}, but the table that refuses health probes is gone"
        yield Finding(text=text, remedy="`sudo lbhook apply` loads it again")
    elif stands:
        text = f"table {probes.NAME} refuses health probes, and no record says why"
        yield Finding(text=text, remedy="`sudo lbhook undrain` removes it")


CHECKS: tuple[Check, ...] = (drained, closed, untracked)


def _closed(name: str, device: str, what: str) -> Iterator[Finding]:
    """What is closed to everybody or, of an address of theirs, to containers or a VPN."""
    if device:
        lasting = "br-*" if _DOCKERS.fullmatch(device) else device
        yield unsure(
            f"{name} keeps what comes by {device} from these: {what}",
            f'`trusted_interfaces = ["{lasting}"]` in its `vars` lets them in',
        )
    else:
        yield unsure(
            f"{name} closes these, because no rule or setting opens them: {what}",
            "if it is to be reached from outside, `allow` in its `vars` lets it in",
        )


def _listeners(evidence: Evidence) -> set[tuple[str, str, int]]:
    """What lbhook's files for nginx and haproxy ask for."""
    ours = (one for one in evidence.plan.changes if kind_of(one.target).daemon)
    files = [one.actual.content for one in ours if one.actual]
    return {(one.protocol, str(one.ip), one.port) for file in files for one in places(file)}


def _is_own(one: Closed, own: Collection[tuple[str, str, int]]) -> bool:
    """Whether nginx or haproxy listens there by a file of lbhook's: at all addresses, and in both
    families, where a rule leads to one."""
    anywhere = "::" if ":" in one.ip else "0.0.0.0"  # noqa: S104
    return any((one.protocol, ip, one.port) in own for ip in (one.ip, anywhere))


def _firewall(evidence: Evidence) -> Target | None:
    """The firewall, if it is in force here and has a policy of its own."""
    loaded = evidence.host.state.loaded()
    named = (one.target for one in evidence.plan.changes if str(one.path) in loaded)
    return next((one for one in named if drops(one)), None)
