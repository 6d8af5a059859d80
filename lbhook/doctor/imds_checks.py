"""The doctor's checks of Azure: the way to the metadata service, and what it answers."""

import ipaddress
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

from ..errors import NoAnswerError
from ..metadata.model import ABSENT
from ..metadata.reader import Address
from ..traffic.expressions import ESTABLISHED, PROTOCOLS, Packet
from ..traffic.ruleset import OUTWARD
from .findings import Check, Evidence, Finding, note

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
# A port that a client here may be given.
_EPHEMERAL = 40000


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
        remedy = "a firewall or a policy route of this machine has none: `ip route get` shows it"
        yield Finding(text=f"there is no route to {imds}", remedy=remedy)
        return
    default = evidence.routes.far(imds.version)
    if default and default.device != way.device:
        yield Finding(
            text=f"{imds} is asked by way of {way.device}, the default route is by way of"
            f" {default.device}; it answers the primary NIC only",
            remedy=f"`ip route replace {imds}/32 dev {default.device}`, and mend the"
            " configuration of the network, or it comes back",
        )
    elif way.source and way.source != (primary := _primary(evidence, way.device, imds.version)):
        yield Finding(
            text=f"{imds} is asked from {way.source}; it answers the primary address only",
            remedy=f"let the route have {primary} as its source, `src` of ip-route(8)",
        )


def firewall(evidence: Evidence) -> Iterator[Finding]:
    """Where nobody answers: whether rules of this machine drop the question, or the answer."""
    imds = _unanswered(evidence)
    way = evidence.routes.to(str(imds)) if imds else None
    if not imds or not way or not way.source or not evidence.picture.rules:
        return
    check = Packet(
        source=way.source,
        destination=imds,
        protocol=PROTOCOLS["tcp"],
        port=80,
        leaves_by=way.device,
        user=os.geteuid(),
    )
    answer = Packet(
        source=imds,
        source_port=80,
        destination=way.source,
        protocol=PROTOCOLS["tcp"],
        port=_EPHEMERAL,
        interface=way.device,
        state=ESTABLISHED,
    )
    rules = evidence.picture.rules
    asked, answered = rules.judge(check, OUTWARD), rules.judge(answer)
    if asked.action == "drop":
        text = f"what is sent to {imds} is dropped by chain {asked.chain} ({asked.rule})"
        yield Finding(text=text, remedy=f"let it out: tcp port 80 of {imds}")
    elif answered.action == "drop":
        text = f"what {imds} answers is dropped by chain {answered.chain} ({answered.rule})"
        yield Finding(text=text, remedy="let in what belongs to established connections")


def proxies(evidence: Evidence) -> Iterator[Finding]:
    """Proxies of the environment, which are for others."""
    names = [name for name in os.environ if name.lower() in _PROXIES]
    if names and evidence.asked:
        yield note(f"{', '.join(sorted(names))}: set here, and lbhook goes by none of them")


CHECKS: tuple[Check, ...] = (answer, route, firewall, proxies)


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
