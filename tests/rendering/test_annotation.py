"""Where each line of a rendered file comes from, in shipped templates and in such as hide it."""

import json
from pathlib import Path
from typing import Any

import pytest
from jinja2 import DictLoader

from lbhook.config import settings as config
from lbhook.metadata import facts, model
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.rendering import annotation, render, sandbox
from lbhook.rendering.annotation import Explanation

from ..program import BODIES, Desk
from .test_render import target

SETTINGS = """
[targets.nftables.vars]
ssh_from = ["10.0.0.0/8", "192.168.0.0/16"]
trusted_interfaces = ["docker0"]
allow = [{ protocol = "tcp", port = 9100, from = "10.2.0.0/16" }]
"""
NAMES = [one.name for one in config.parse("").targets]


def lb(body: str = "documented") -> Facts:
    """The facts of a body."""
    return facts.derive(parse((BODIES / f"{body}.json").read_bytes()))


def explained(template: str, **values: Any) -> Explanation:
    """A template of one's own, explained."""
    plain = render.Renderer(sandbox.environment(DictLoader({"t.j2": template})))
    return annotation.explain(plain, target(**values), lb())


def shipped(name: str, body: str = "documented", text: str = "") -> Explanation:
    """A shipped target, explained."""
    found = next(one for one in config.parse(text).targets if one.name == name)
    return annotation.explain(render.renderer([]), found, lb(body))


def sources(explanation: Explanation) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Sure and likely sources of each line that has any."""
    return {
        line.text.strip(): (line.sources, line.likely)
        for line in explanation.lines
        if line.sources or line.likely
    }


def test_the_env_file() -> None:
    """Rules, lists, and what is likely: addresses that the template keeps in variables."""
    assert sources(shipped("env")) == {
        "LB_PUBLIC_IPV4=51.0.0.1": ((), ("public address 1",)),
        "LB_FRONTEND_IPV4=50.0.0.1": (("lb.frontend_ips",), ()),
        "LB_FRONTEND_IPV6=2603:10e1:100:2::1:1": (("lb.frontend_ips",), ()),
        "LB_OUTBOUND_IPV4=50.0.0.1": ((), ("rule 1", "outbound rule 1")),
        "LB_OUTBOUND_IPV6=2603:10e1:100:2::1:1": ((), ("rule 2", "outbound rule 2")),
        "LB_TCP_PORTS=443": (("rule 1", "rule 2"), ()),
        "LB_INBOUND_COUNT=2": (("lb.inbound_rules",), ()),
        "LB_INBOUND_0=tcp,50.0.0.1,80,10.1.0.4,443": (("rule 1",), ()),
        "LB_INBOUND_1=tcp,2603:10e1:100:2::1:1,80,ace:cab:deca:deed::1,443": (("rule 2",), ()),
    }


def test_the_firewall() -> None:
    """Through its macros, too: elements of sets come from rules, openings from settings."""
    explanation = shipped("nftables", text=SETTINGS)
    found = {line.split("#")[0].strip(): names for line, names in sources(explanation).items()}
    assert found == {
        "10.1.0.4 . tcp . 443,": (("rule 1",), ()),
        "ace:cab:deca:deed::1 . tcp . 443,": (("rule 2",), ()),
        "168.63.129.16,": ((), ("vars.probe_sources[0]",)),
        "fe80::1234:5678:9abc,": ((), ("vars.probe_sources[1]",)),
        'iifname "docker0" accept': ((), ("vars.trusted_interfaces[0]",)),
        'ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 22 counter accept comment "ssh"': (
            ("vars.ssh_ports",),
            ("vars.ssh_from[0]", "vars.ssh_from[1]"),
        ),
        'ip saddr 10.2.0.0/16 tcp dport 9100 counter accept comment "allow tcp 9100"': (
            ("vars.allow[0].from", "vars.allow[0].protocol", "vars.allow[0].port"),
            (),
        ),
    }
    assert explanation.meanings["rule 1"] == "tcp 50.0.0.1:80 → 10.1.0.4:443"
    assert explanation.meanings["vars.ssh_ports"] == "[22], the default"
    assert explanation.meanings["vars.ssh_from[0]"] == "10.0.0.0/8"


@pytest.mark.parametrize(
    "body", ["documented", "gateway-ha-ports", "floating-ip", "dual-stack-bracketed"]
)
@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_template_can_be_explained(name: str, body: str) -> None:
    """Its lines are those that are rendered, and what it holds of an answer is no template's."""
    explanation = shipped(name, body)
    found = next(one for one in config.parse("").targets if one.name == name)
    text = render.renderer([]).render(found, lb(body)).decode()
    assert explanation.whole
    assert "".join(f"{line.text}\n" for line in explanation.lines) == text
    addresses = {str(rule.private_ip) for rule in lb(body).inbound_rules}
    for line in explanation.lines:
        if any(address in line.text for address in addresses):
            assert line.sources or line.likely, line.text


def test_a_rule_that_goes_takes_its_lines_along() -> None:
    """What is said to come from one rule alone is not there without it."""
    whole = lb()
    last = facts.derive(model.Metadata(inbound_rules=whole.inbound_rules[1:]))
    for name in NAMES:
        found = next(one for one in config.parse("").targets if one.name == name)
        left = render.renderer([]).render(found, last).decode().splitlines()
        for line in shipped(name).lines:
            if line.sources == ("rule 1",) and "50.0.0.1" in line.text:
                assert line.text not in left


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{% for r in lb.inbound_rules %}{{ r.backend_port }} {% endfor %}", ("rule 1", "rule 2")),
        ("{{ lb.inbound_rules[1].private_ip }}", ("rule 2",)),
        ("{{ lb.listeners | map(attribute='port') | join }}", ("rule 1", "rule 2")),
        ("{{ lb.listeners | length }}", ("lb.listeners",)),
        ("{{ vars.a.b }}", ("vars.a.b",)),
        ("{{ vars.l[1] }}", ("vars.l",)),
        ("{{ 'x' if lb.ha_ports else 'y' }}", ("lb.ha_ports",)),
        ("{{ 5 }}{{ 'x' if false }}", ()),
        ("{% if lb.listeners %}x{% endif %}", ()),
        ("{{ 1, vars.n }}", ("vars.n",)),
        ("{{ lb.public_ips[0].frontend_ip }}", ("public address 1",)),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(vars.n) }}", ("vars.n",)),
    ],
)
def test_what_an_expression_looks_at(template: str, names: tuple[str, ...]) -> None:
    """And only an expression: what a condition looks at is the template's."""
    explanation = explained(template, a={"b": "c"}, n=7, l=[1, 2])
    assert explanation.whole
    assert (explanation.lines[0].sources, explanation.lines[0].likely) == (names, ())


@pytest.mark.parametrize(
    "template",
    [
        "{% macro m() %}{{ vars.n }}{% endmacro %}{{ m() | length }}\nx\n",
        "{% macro m() %}{{ vars.n }}{% endmacro %}{{ m() | env }}\nx\n",
        "{% macro m() %}{{ vars.n }}{% endmacro %}{{ m() == '7' }}\nx\n",
    ],
)
def test_a_template_that_works_on_its_own_output(template: str) -> None:
    """Is shown as it is rendered, and nothing is claimed."""
    explanation = explained(template, n="7")
    assert not explanation.whole
    assert [line.text for line in explanation.lines][1:] == ["x"]
    assert sources(explanation) == {}


def test_a_resting_form() -> None:
    """Without an answer, the file holds what the template has."""
    found = next(one for one in config.parse("").targets if one.name == "env")
    explanation = annotation.explain(render.renderer([]), found, None)
    assert set(sources(explanation)) <= {
        "LB_INBOUND_COUNT=0",
        "LB_FRONTEND_IPV4=",
        "LB_FRONTEND_IPV6=",
    }


def test_numbers_in_short() -> None:
    """Runs of them are one; what is too long for its column is cut."""
    many = facts.derive(
        model.Metadata(
            inbound_rules=tuple(
                model.InboundRule(
                    frontend_ip=rule.frontend_ip,
                    frontend_port=port,
                    protocol=rule.protocol,
                    private_ip=rule.private_ip,
                    backend_port=port,
                )
                for rule in lb().inbound_rules[:1]
                for port in range(1, 13)
            )
        )
    )
    text = (
        "{% set r = lb.inbound_rules %}{{ r | map(attribute='backend_port') | join }}\n"
        "{{ r[0].backend_port }}{{ r[2].backend_port }}{{ r[3].backend_port }}\n"
        "{{ r[::2] | map(attribute='backend_port') | join }}{{ vars.x }}\n"
        "a\tb\n"
    )
    plain = render.Renderer(sandbox.environment(DictLoader({"t.j2": text})))
    lines = annotation.to_text(annotation.explain(plain, target(x="y"), many)).splitlines()
    assert [line.partition(" |")[0].rstrip() for line in lines[:4]] == [
        *("rules 1-12", "rules 1, 3-4", "rules 1, 3, 5, 7, 9, ...", "template"),
    ]
    assert lines[3].endswith(" | a   b")
    assert lines[5] == "rule 1   tcp 50.0.0.1:1 → 10.1.0.4:1"
    assert lines[17] == "vars.x   y"


def test_the_command(tmp_path: Path) -> None:
    """Beside each line its source, and below what that is; the same as JSON."""
    desk = Desk(tmp_path)
    desk.own_target("hello\n{{ lb.inbound_rules[0].frontend_ip }} {{ vars.x }}\n", "vars.x = 1\n")
    ended = desk.run("explain", "motd")
    assert (ended.status, ended.err) == (0, "")
    assert ended.out == (
        "template       | hello\n"
        "rule 1, vars.x | 50.0.0.1 1\n"
        "\n"
        "rule 1  tcp 50.0.0.1:80 → 10.1.0.4:443\n"
        "vars.x  1\n"
    )
    value = json.loads(desk.run("explain", "motd", "--json").out)
    assert value["lines"][1] == {
        "text": "50.0.0.1 1",
        "sources": ["rule 1", "vars.x"],
        "likely": [],
    }
    assert value["sources"]["vars.x"] == "1"
    desk.own_target("{% macro m() %}{{ 7 }}{% endmacro %}{{ m() | length }}\n")
    ended = desk.run("explain", "motd")
    assert ended.out == "template | 1\n"
    assert ended.err == (
        "lbhook: warning: motd: processes its own output, so the sources of its lines are hidden\n"
    )


def test_who_alone_may_come() -> None:
    """Each network of a set comes from its setting, and so does the line that keeps others out."""
    text = '[[targets.nftables.restrict]]\nport = 443\nsources = ["2001:db8::/32", "10.0.0.0/8"]\n'
    found = sources(shipped("nftables", text=text))
    for line in ("10.0.0.0/8,", "2001:db8::/32,"):
        sure, likely = found[line]
        assert any(one.startswith("vars.restrict[0]") for one in (*sure, *likely)), found[line]
    drop = 'meta l4proto { tcp, udp } th dport 443 counter drop comment "restricted port 443"'
    assert any(one.startswith("vars.restrict[0]") for one in sum(found[drop], ())), found[drop]
