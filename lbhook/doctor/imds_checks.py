"""The doctor's checks of Azure: the way to the metadata service, and what it answers."""

import ipaddress
import os
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import accounts
from ..errors import NoAnswerError
from ..firewall.kernel import Firewall, FirewallError
from ..imds import guard
from ..metadata.model import ABSENT
from ..metadata.reader import Address
from .findings import Check, Evidence, Finding, note, unsure

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
_LOOPBACK = ipaddress.IPv4Address("127.0.0.1")
# Whom the unit that asks runs as.
_USER = "lbhook"


def answer(evidence: Evidence) -> Iterator[Finding]:
    """Whether there is an answer to go by; if not, why."""
    if evidence.error:
        yield Finding(text="; ".join(evidence.error.problems), remedy=evidence.error.hint)
    if evidence.absent:
        remedy = "put its NIC into a backend pool of a Standard load balancer"
        yield Finding(text=f"no load balancer: {ABSENT}", remedy=remedy)


def route(evidence: Evidence) -> Iterator[Finding]:
    """Where nobody answers: by which interface, and from which address, IMDS is asked."""
    imds = _unanswered(evidence)
    if not imds:
        return
    way = evidence.routes.to(str(imds))
    if not way:
        remedy = f"check routes and policy rules: `ip route get {imds}`, `ip rule`"
        yield Finding(text=f"there is no route to {imds}", remedy=remedy)
        return
    default = evidence.routes.far(imds.version)
    if default and default.device != way.device:
        yield Finding(
            text=f"requests to {imds} leave by {way.device}, but the default route is by"
            f" {default.device}; IMDS answers the primary NIC only",
            remedy=f"`ip route replace {imds}/32 dev {default.device}`, and fix the"
            " configuration of the network, or it comes back",
        )
    elif way.source and way.source != (primary := _primary(evidence, way.device, imds.version)):
        yield Finding(
            text=f"requests to {imds} have the source {way.source}; IMDS answers the primary"
            " address only",
            remedy=f"set `src {primary}` on that route: ip-route(8)",
        )


def firewall(evidence: Evidence) -> Iterator[Finding]:
    """Where nobody answers: whether rules of this machine drop the question, or the answer."""
    imds = _unanswered(evidence)
    way = evidence.routes.to(str(imds)) if imds else None
    if not imds or not way or not evidence.picture.firewall:
        return
    direct = _Leg(name=str(imds), ip=imds, port=80, device=way.device)
    try:
        for leg in (*_by_agent(evidence), direct):
            yield from _dropped(evidence.picture.firewall, leg)
    except FirewallError as error:
        yield unsure(str(error))


def guarded(evidence: Evidence) -> Iterator[Finding]:
    """Where the agent of guarded metadata is in between: whom it sees, and what that changes."""
    if not evidence.guarded:
        return
    asked = guard.asker()
    units = "" if asked.user == _USER else f"; the units ask as user {_USER}"
    yield note(f"metadata is guarded (Metadata Security Protocol); asked as {asked}{units}")
    firewalls = (one for one in evidence.settings.active() if one.kind == "nftables")
    if any(one.vars["restrict_imds"] for one in firewalls):
        yield unsure(
            f"restrict_imds stops nobody: {guard.PROGRAM} takes what is sent to IMDS before a"
            " firewall sees it",
            "the VM's access rules for IMDS can say who may ask; drop the setting",
        )
    yield from _unequal(accounts.numbers(_USER))


def proxies(evidence: Evidence) -> Iterator[Finding]:
    """Proxies of the environment, which are for others."""
    names = [name for name in os.environ if name.lower() in _PROXIES]
    if names and evidence.asked:
        yield note(f"{', '.join(sorted(names))}: set in the environment; lbhook ignores them")


def outbound(evidence: Evidence) -> Iterator[Finding]:
    """Where Azure tells of no way out: there may be one that is in no metadata."""
    lb = evidence.lb
    if lb.inbound_rules and not (lb.outbound_rules or lb.public_ips):
        yield note(
            "Azure tells of no outbound rule and no public address of this VM: its way out, if it"
            " has one, is a NAT gateway or something else that no metadata tells of"
        )


CHECKS: tuple[Check, ...] = (answer, guarded, route, firewall, proxies, outbound)


class _Leg(NamedTuple):
    """A connection on the way to IMDS."""

    name: str
    ip: Address
    port: int
    device: str


def _by_agent(evidence: Evidence) -> Iterator[_Leg]:
    """To the agent of guarded metadata, if it is there: its connect program leads there what is
    sent to IMDS, and the agent, root, goes on (linux-ebpf/ebpf_cgroup.c)."""
    host = evidence.host
    listening = (one for one in host.machine.listening() if one.covers(_LOOPBACK, guard.PORT))
    if evidence.guarded or (host.find(guard.PROGRAM) and any(listening)):
        name = f"{_LOOPBACK}:{guard.PORT} ({guard.PROGRAM}, which relays requests to IMDS)"
        yield _Leg(name=name, ip=_LOOPBACK, port=guard.PORT, device="lo")


def _dropped(firewall: Firewall, leg: _Leg) -> Iterator[Finding]:
    asked, answered = firewall.call(leg.ip, leg.port, leg.device)
    if asked.action == "drop":
        text = f"packets to {leg.name} are dropped by {asked.place}"
        yield Finding(text=text, remedy=f"let it out: tcp port {leg.port} of {leg.ip}")
    elif answered.action == "drop":
        text = f"replies from {leg.name} are dropped by {answered.place}"
        yield Finding(text=text, remedy="accept established connections in the input chain")


def _unequal(numbers: tuple[int, int] | None) -> Iterator[Finding]:
    """The agent seems to look a user up by the number of its group (not verified on Azure)."""
    if numbers and numbers[0] != numbers[1]:
        yield unsure(
            f"user {_USER} has UID {numbers[0]}, its group GID {numbers[1]}: {guard.PROGRAM} may"
            " look one up by the other and not find it in its access rules",
            f"`groupmod -g {numbers[0]} {_USER}`, if that number is free",
        )


def _unanswered(evidence: Evidence) -> Address | None:
    """The address that was asked in vain; None if there was an answer, or it is loopback's."""
    host = urlsplit(evidence.settings.imds.endpoint).hostname or ""
    if not evidence.asked or not isinstance(evidence.error, NoAnswerError) or host == "localhost":
        return None
    address = ipaddress.ip_address(host)
    return None if address.is_loopback else address


def _primary(evidence: Evidence, device: str, version: int) -> Address | None:
    """The first address of an interface."""
    own = (
        ip
        for ip, name in evidence.routes.interfaces().items()
        if name == device and ip.version == version
    )
    return next(own, None)
