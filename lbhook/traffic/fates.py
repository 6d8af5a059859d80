"""What is said of packets that were watched: what became of them, by whom, and what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..firewall.verdict import Verdict
from ..layout import count, place, wrapped
from ..metadata.reader import Address
from .probes import NAME as DRAINED
from .remedies import Advice


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of packets that are alike: `outcome` is dropped, taken, passed, forwarded,
    unanswered, whose answer is dropped, lost, or unseen: lost where rules of iptables-legacy may
    have taken it. `listener` is who has the port here."""

    protocol: str
    source: Address
    destination: Address
    port: int
    outcome: str
    verdict: Verdict
    text: str = ""
    to: str = ""
    listener: str = ""


def remedy(fate: Fate, advice: Advice) -> str:
    """What to do; empty if there is nothing to do on this machine."""
    if fate.outcome == "dropped":
        return _let_in(fate, advice)
    way = f"`ip route get {fate.destination} from {fate.source} iif DEVICE` says why"
    return {
        "unanswered": "accept established connections in the output chain",
        "passed": "" if fate.listener else "start the program that should listen there",
        "lost": way,
        "unseen": "`iptables-legacy-save` and `ip6tables-legacy-save` show those rules",
    }.get(fate.outcome, "")


def _let_in(fate: Fate, advice: Advice) -> str:
    table = fate.verdict.chain.rpartition(" ")[0]
    if table == DRAINED:
        return "this VM is drained: `sudo lbhook undrain` ends it"
    if table != "inet lbhook" or not fate.verdict.chain.endswith((" input", " prerouting")):
        return advice.opening(fate.verdict, fate.to)
    if "invalid" in fate.text:
        return "it belongs to no connection that this machine knows: let the client begin anew"
    if fate.to:
        return advice.opening(fate.verdict, fate.to)
    return (
        "no rule of the load balancer and no setting opens it: add a rule in Azure, or an"
        " `allow` in the `vars` of the target nftables"
    )


def to_text(fates: Mapping[Fate, int], advice: Advice) -> str:
    """What became of packets, in the width of a screen."""
    lines: list[str] = []
    for fate, often in fates.items():
        where = f"{fate.protocol} {place(fate.destination, fate.port)}"
        lines.append(wrapped(f"{where} from {fate.source}: {count(often, 'packet')}", "", "  "))
        lines.append(wrapped(said(fate), "  ", "    "))
        lines += [wrapped(f"rule: {fate.text}", "  ", "    ")] if fate.text else []
        what = remedy(fate, advice)
        lines += [wrapped(f"→ {what}", "  ", "    ")] if what else []
    return "".join(f"{line}\n" for line in lines)


def said(fate: Fate) -> str:
    """What became of packets, in a sentence."""
    by = fate.verdict.place
    moved = f", redirected to {fate.to}" if fate.to else ""
    let_in = f"let in by {by}{moved}, and " if fate.verdict.chain else ""
    listener = f"{fate.listener} listens there" if fate.listener else "nobody listens there"
    return {
        "dropped": f"redirected to {fate.to}, and dropped by {by}" if moved else f"dropped by {by}",
        "taken": f"taken by {by}, and what becomes of it is not seen here",
        "passed": f"let in by {by}{moved}; {listener}",
        "forwarded": f"let through by {by}{moved}",
        "unanswered": f"let in{moved}, but its answer is dropped by {by}",
        "lost": f"{let_in}not passed on by the kernel's routing",
        "unseen": f"{let_in}dropped by rules of iptables-legacy, which no trace shows, or by the"
        " kernel's routing",
    }[fate.outcome]


def to_json(fates: Mapping[Fate, int], port: int, advice: Advice) -> dict[str, Any]:
    """The same for programs."""
    packets = [
        {
            "protocol": one.protocol,
            "from": str(one.source),
            "to": str(one.destination),
            "port": one.port,
            "packets": often,
            "outcome": one.outcome,
            "chain": one.verdict.chain,
            "rule": one.verdict.rule,
            "text": one.text,
            "redirected_to": one.to,
            "listener": one.listener,
            "remedy": remedy(one, advice),
        }
        for one, often in fates.items()
    ]
    return {"version": 1, "port": port, "packets": packets}
