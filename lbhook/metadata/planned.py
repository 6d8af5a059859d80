"""Rules that are only planned: read from the command line, and put into an answer."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from ..errors import MetadataError, UsageError
from ..layout import suggestion
from .body import parse
from .described import described
from .model import AddressPair, InboundRule, Metadata, with_rules
from .reader import Address

FORM = "PROTOCOL/PORT[:BACKEND_PORT][@FRONTEND][=PRIVATE]"
_RULE = re.compile(
    r"(?P<protocol>tcp|udp|all)(?:/(?P<port>\d+)(?::(?P<backend>\d+))?)?"
    r"(?:@(?P<frontend>[^@=]+))?(?:=(?P<private>[^@=]+))?",
    re.ASCII | re.IGNORECASE,
)
_Pair = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """A rule as it is written on the command line; what is empty was not said."""

    text: str
    protocol: str
    port: str
    backend: str
    frontend: str
    private: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plans:
    """Rules that are to come, and rules that are to go."""

    coming: tuple[Planned, ...] = ()
    going: tuple[Planned, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.coming or self.going)


def read(text: str) -> Planned:
    """A planned rule. Raises `UsageError` if it is not of the form."""
    found = _RULE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text}: not {FORM}", hint="such as tcp/8443:443, or udp/53@50.0.0.1")
    return Planned(text=text, **{key: value or "" for key, value in found.groupdict().items()})


def carry_out(plans: Plans, metadata: Metadata) -> tuple[Metadata, tuple[str, ...]]:
    """An answer as it will be, and what is new about it, a line for each rule.

    A load balancer has one rule for a protocol and port of a frontend, so one that comes takes
    the place of one that is there. Raises `UsageError` where a plan does not fit the answer.
    """
    rules = list(metadata.inbound_rules)
    said = []
    for plan in plans.going:
        gone = _matching(plan, rules)
        rules = [rule for rule in rules if rule not in gone]
        said += [f"- {described(rule)}" for rule in gone]
    for plan in plans.coming:
        rule = _rule(plan, metadata)
        gone = [one for one in rules if _front(one) == _front(rule)]
        rules = [*(one for one in rules if one not in gone), rule]
        said += [*(f"- {described(one)}" for one in gone), f"+ {described(rule)}"]
    return with_rules(metadata, rules), tuple(said)


def _front(rule: InboundRule) -> tuple[object, ...]:
    return rule.frontend_ip, rule.protocol, rule.frontend_port


def _matching(plan: Planned, rules: Sequence[InboundRule]) -> list[InboundRule]:
    """Rules that are as the plan says, as far as it says."""
    found = [
        rule
        for rule in rules
        if rule.protocol.value == plan.protocol.lower()
        and plan.port in ("", str(rule.frontend_port))
        and plan.backend in ("", str(rule.backend_port))
        and _is(plan.frontend, rule.frontend_ip)
        and _is(plan.private, rule.private_ip)
    ]
    if found:
        return found
    known = [f"{one.protocol}/{one.frontend_port}:{one.backend_port}" for one in rules]
    near = suggestion(plan.text, list(dict.fromkeys(known))[:9])
    raise UsageError(f"--without {plan.text}: there is no such rule{near}")


def _is(text: str, ip: Address) -> bool:
    return not text or text.strip("[]").lower() == str(ip)


def _rule(plan: Planned, metadata: Metadata) -> InboundRule:
    """The rule as an answer would have it, which its reader checks."""
    frontend, private = _pair(plan, metadata)
    entry = {
        "frontendIpAddress": frontend,
        "privateIpAddress": private,
        "protocol": plan.protocol,
        "frontendPort": int(plan.port or 0),
        "backendPort": int(plan.backend or plan.port or 0),
    }
    lists = {"publicIpAddresses": [], "inboundRules": [entry], "outboundRules": []}
    try:
        return parse(json.dumps({"loadbalancer": lists}).encode()).inbound_rules[0]
    except MetadataError as error:
        problems = (problem.rpartition("].")[2] for problem in error.problems)
        raise UsageError(f"--with {plan.text}: {'; '.join(problems)}") from None


def _pair(plan: Planned, metadata: Metadata) -> _Pair:
    """Frontend and private address; what was not said is that of a rule that is there, or of
    an outbound rule or public address, of the family of what was said."""
    if plan.frontend and plan.private:
        return plan.frontend, plan.private
    known = list(_known(metadata))
    said = plan.frontend or plan.private
    same = [pair for pair in known if said.strip("[]").lower() in pair]
    family = [pair for pair in known if not said or (":" in said) == (":" in pair[0])]
    for frontend, private in (*same, *family):
        return plan.frontend or frontend, plan.private or private
    raise UsageError(
        f"--with {plan.text}: no existing rule gives its addresses",
        hint=f"give both addresses: {plan.text.partition('@')[0]}@FRONTEND=PRIVATE",
    )


def _known(metadata: Metadata) -> Iterable[_Pair]:
    """Pairs of addresses; with Floating IP the private one says nothing of another frontend."""
    rules: Iterable[InboundRule | AddressPair] = metadata.inbound_rules
    for one in chain(rules, metadata.outbound_rules, metadata.public_ips):
        if one.frontend_ip != one.private_ip:
            yield str(one.frontend_ip), str(one.private_ip)
