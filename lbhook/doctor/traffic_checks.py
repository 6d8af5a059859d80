"""The doctor's checks of the traffic: whether what Azure sends is let in and answered."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby

from ..firewall.verdict import ROUTING
from ..layout import place
from ..metadata.model import Protocol
from ..programs.nftables import unruled
from ..traffic.diagram import limit_words
from ..traffic.paths import Way
from ..traffic.remedies import Advice
from .findings import Check, Evidence, Finding, note, unsure

# Azure probes every 5 s at most (Microsoft: "Azure Load Balancer health probes").
_PROBED = 60.0
# What holds the ports that Podman publishes; it has them of IPv4 alone.
PODMAN = "conmon"
_FULL = 0.9


def addresses(evidence: Evidence) -> Iterator[Finding]:
    """Whether this machine has the addresses that rules lead to."""
    absent = (one for one in evidence.picture.ways if not one.local)
    for ways in _by_place(absent, lambda one: one.rule.floating_ip):
        floating = ways[0].rule.floating_ip
        how = "turn on the target floating-ip" if floating else "bring it up on its NIC"
        text = f"{_named(ways)}: not an address of this machine"
        yield Finding(text=text, remedy=f"{how}, or take it out of the backend pool")


def replies(evidence: Evidence) -> Iterator[Finding]:
    """Whether answers leave by the interface that questions come in by."""
    for ip, device in dict.fromkeys((one.rule.private_ip, one.device) for one in _here(evidence)):
        way = evidence.routes.far(ip.version, ip)
        if device and not way:
            remedy = f"give {device} a default route; `ip route get` shows what is chosen"
            yield Finding(text=f"{ip} has no route back to clients", remedy=remedy)
        elif way and device not in ("", way.device):
            text = f"{ip} is on {device}, but its replies leave by {way.device}: Azure drops them"
            remedy = (
                f"`ip rule add from {ip} table 100`, and a default route by {device} in that table"
            )
            yield Finding(text=text, remedy=remedy)
    by_port = {version for version in (4, 6) if evidence.routes.by_port(version)}
    for one in _here(evidence):
        chosen = one.rule.private_ip.version in by_port
        if chosen and one.device and evidence.routes.refuses(one.rule):
            what = f"{one.rule.private_ip} {one.rule.protocol} {one.rule.backend_port}"
            remedy = "`ip rule` shows which of its rules prohibits them"
            yield Finding(text=f"replies from {what} have no route", remedy=remedy)


def listening(evidence: Evidence) -> Iterator[Finding]:
    """Whether somebody listens where each rule leads."""
    deaf = [one for one in _here(evidence) if "nobody listens" in one.problems]
    for ways in _by_place(deaf, lambda one: one.elsewhere):
        near = ways[0].elsewhere
        who = ", ".join(dict.fromkeys(one.program or "a program" for _, one in near))
        places = ", ".join(dict.fromkeys(str(ip) for ip, _ in near))
        remedy = (
            f"{who} listens there on {places} only: let it listen on {ways[0].rule.private_ip}"
            if near
            else "start the program that should"
        )
        if who == PODMAN and ways[0].rule.private_ip.version == 6:
            remedy = (
                "Podman publishes the port, and its container has no IPv6: give its network some"
            )
        yield Finding(text=f"nobody listens on {_named(ways)}", remedy=remedy)


def firewall(evidence: Evidence) -> Iterator[Finding]:
    """Whether the kernel's rules, of all tables, let in what each rule sends."""
    if evidence.picture.ways and not evidence.picture.firewall:
        yield unsure(
            evidence.picture.unseen[0], "" if evidence.host.root else "run `sudo lbhook doctor`"
        )
    advice = Advice(evidence.host.run, evidence.settings.active())
    for ways in _by_place(_here(evidence), lambda one: (one.verdict, one.dropped)):
        yield from _judged(ways, advice)


def restricted(evidence: Evidence) -> Iterator[Finding]:
    """Who alone may come where rules lead, and whether the kernel keeps the others out."""
    found = (one for one in _here(evidence) if one.limits)
    for ways in _by_place(found, lambda one: (one.limits, one.unlimited)):
        if ways[0].unlimited:
            text = f"{_named(ways)} is open to everybody, and the configuration restricts it"
            yield Finding(text=text, remedy="`sudo lbhook apply` loads lbhook's table again")
        else:
            yield note(f"{_named(ways)}: {limit_words(ways[0])}")


def probes(evidence: Evidence) -> Iterator[Finding]:
    """Whether Azure's health probes have come, and to which ports."""
    packets = [one.packets for one in evidence.picture.probes.values() if one]
    if not packets or not evidence.picture.ways or evidence.drained:
        return
    if not sum(packets) and evidence.since_applied > _PROBED:
        yield unsure(
            "no health probe since the firewall was loaded: Azure sends this VM no"
            " traffic, unless all its rules are NAT rules",
            "look at the load balancer's health probe, its backend pool, and the network security"
            " group (tag AzureLoadBalancer)",
        )
    targets = evidence.settings.active()
    sources = [one for target in targets for one in target.vars.get("probe_sources", ())]
    ports = evidence.host.machine.callers(sources)
    if ports:
        yield note(f"health probes came to tcp {', '.join(map(str, ports))}")


def tracked(evidence: Evidence) -> Iterator[Finding]:
    """Whether connection tracking has room: without any it drops what is new."""
    count, most = evidence.host.machine.tracked()
    if count > _FULL * most:
        text = f"connection tracking is nearly full, {count} of {most}: new connections fail"
        remedy = "raise net.netfilter.nf_conntrack_max; `conntrack -L` shows whose they are"
        yield Finding(text=text, remedy=remedy)


def legacy(evidence: Evidence) -> Iterator[Finding]:
    """Rules of iptables-legacy, which nft does not list."""
    for program in evidence.picture.legacy:
        yield unsure(f"{program} has rules, which are not judged here", f"`{program}-save`")


def own_frontend(evidence: Evidence) -> Iterator[Finding]:
    """Whether a program here calls a frontend that leads back here and gets no answer: an
    internal load balancer has no way for that (Microsoft: "Troubleshoot Azure Load Balancer
    backend traffic")."""
    machine = evidence.host.machine
    calls = {(one.ip, one.port): one for one in machine.calling()}
    for rule in evidence.lb.inbound_rules:
        call = calls.get((rule.frontend_ip, rule.frontend_port))
        if not call or rule.protocol is not Protocol.TCP or not rule.frontend_ip.is_private:
            continue
        who = ", ".join(machine.holders({call.inode}).values()) or "a program"
        yield Finding(
            text=f"{who} on this machine calls {place(rule.frontend_ip, rule.frontend_port)} and"
            " gets no reply: an internal load balancer does not send a backend's own traffic back",
            remedy=f"let it call {place(rule.private_ip, rule.backend_port)}",
        )


def unreached(evidence: Evidence) -> Iterator[Finding]:
    """Programs that listen where no rule leads."""
    sockets = unruled(evidence.lb, evidence.host.machine)
    programs = evidence.host.machine.holders({one.inode for one in sockets})
    found = {
        f"{one.protocol} {one.port} {programs.get(one.inode, '')}".strip()
        for one in sorted(sockets, key=lambda one: one.port)
    }
    if found:
        yield note(f"no rule leads to: {', '.join(sorted(found))}")


CHECKS: tuple[Check, ...] = (
    *(addresses, replies, listening, firewall, restricted, probes),
    *(tracked, legacy, own_frontend, unreached),
)


def _here(evidence: Evidence) -> tuple[Way, ...]:
    """The ways to addresses that this machine has."""
    return tuple(one for one in evidence.picture.ways if one.local)


def _judged(ways: list[Way], advice: Advice) -> Iterator[Finding]:
    """What the kernel's rules make of ways that they judge alike."""
    verdict = ways[0].verdict
    if not verdict or verdict.action == "accept":
        return
    what, by = _named(ways), verdict.place
    remedy = f"`nft --handle list chain {verdict.chain}` shows it"
    if verdict.chain == ROUTING:
        remedy = "`ip route get` shows where the kernel sends it"
    if verdict.answer:
        remedy = "accept established connections in the output chain"
        yield Finding(text=f"replies from {what} are dropped by {by}", remedy=remedy)
    elif verdict.later and ways[0].dropped:
        remedy = "accept established connections there"
        text = f"{what} is let in, but what clients send next is dropped by {by}"
        yield Finding(text=text, remedy=remedy)
    elif ways[0].dropped:
        moved = f"redirected to {verdict.to}, and " if verdict.to else ""
        remedy = advice.opening(verdict, verdict.to)
        yield Finding(text=f"{what} is {moved}dropped by {by}", remedy=remedy)
    elif verdict.action == "drop":
        yield unsure(f"{what} is dropped by {by}, except from sources that a rule names", remedy)
    elif verdict.action == "translated":
        yield note(f"{what} is redirected to another address or port by {by}")
    else:
        yield unsure(f"can't tell whether {what} is let in: it depends on {by}", remedy)


def _by_place(ways: Iterable[Way], fate: Callable[[Way], object]) -> Iterable[list[Way]]:
    """Of many rules those to one address, of one protocol and with one fate are one finding."""
    found: dict[object, list[Way]] = {}
    for one in ways:
        found.setdefault((one.rule.private_ip, one.rule.protocol, fate(one)), []).append(one)
    return found.values()


def _named(ways: list[Way]) -> str:
    """Where it is and, of one rule alone, where it comes from."""
    rule = ways[0].rule
    if rule.ha_ports:
        return f"{rule.private_ip} every port"
    ports = ", ".join(_ranges(one.rule.backend_port for one in ways))
    front = place(rule.frontend_ip, rule.frontend_port)
    origin = f" (frontend {front})" if len(ways) == 1 else ""
    return f"{rule.private_ip} {rule.protocol} {ports}{origin}"


def _ranges(ports: Iterable[int]) -> Iterator[str]:
    """Numbers that follow each other as one range."""
    numbered = enumerate(sorted(set(ports)))
    for _, run in groupby(numbered, lambda one: one[1] - one[0]):
        found = [port for _, port in run]
        yield str(found[0]) if len(found) == 1 else f"{found[0]}-{found[-1]}"
