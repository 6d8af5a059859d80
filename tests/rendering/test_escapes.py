"""Attempts to write more than a value into a file, or to read or write another file: refused, or
without effect."""

import json
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lbhook.config import network, schema
from lbhook.config import settings as config
from lbhook.errors import ConfigError
from lbhook.metadata.facts import Facts
from lbhook.rendering import render

from ..packet import Packet
from ..program import Desk
from .test_openings import firewall

CLOSED = Packet(source=ip_address("192.0.2.1"), destination=ip_address("10.0.0.4"), port=9000)
EVIL = (
    "tcp dport 9000 accept",
    '" accept; tcp dport 9000 accept; iifname "x',
    "eth0\n\t\taccept",
    "eth0 accept #",
    "x }; flush ruleset; table inet lbhook {",
    "@probes4",
    "$(reboot)",
    "`reboot`",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "../../etc/shadow",
    "a\0b",
    "é",
    "",
    " ",
    "*",
)
# Where a text may stand among the firewall's variables, with one that is good there.
PLACES: dict[str, Any] = {
    "policy": "enforce",
    "mark": "0x1000",
    "mark_mask": "0x1000",
    "ssh_from[0]": "10.0.0.0/8",
    "probe_sources[0]": "168.63.129.16",
    "trusted_interfaces[0]": "docker0",
    "ssh_ports[0]": 22,
    "restrict_imds": True,
    "allow[0].protocol": "tcp",
    "allow[0].port": 9000,
    "allow[0].from": "10.0.0.0/8",
}


def variables(place: str, value: object) -> str:
    """A configuration in which one place holds a value."""
    name, _, rest = place.partition("[0]")
    text = json.dumps(value, ensure_ascii=True)
    if rest:
        text = f"{{ {rest[1:]} = {text} }}"
    if "[0]" in place:
        text = f"[{text}]"
    return f"[targets.nftables.vars]\n{name} = {text}\n"


def is_interface(text: str) -> bool:
    """Whether it may be the name of an interface: what that does is another test."""
    try:
        return network.interface(text) == text
    except schema.Misfit:
        return False


@pytest.mark.parametrize("place", PLACES)
def test_a_variable_takes_no_text_that_means_something(place: str) -> None:
    """Each is refused, and the message names the place, in one line."""
    config.parse(variables(place, PLACES[place]))
    for text in (*EVIL, *(f"{PLACES[place]}{more}" for more in EVIL if more)):
        if place == "trusted_interfaces[0]" and is_interface(text):
            continue
        with pytest.raises(ConfigError) as caught:
            config.parse(variables(place, text))
        (problem,) = caught.value.problems
        assert problem.startswith(f"lbhook.toml: targets.nftables.vars.{place}: "), text
        assert "\n" not in problem


NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15)


@pytest.mark.needs("nft", "unshare")
@settings(max_examples=25)
@given(name=NAMES.filter(is_interface))
def test_an_interface_of_any_name_is_that_interface(name: str) -> None:
    """What the kernel allows in a name opens what comes from there, and nothing else; with `*`
    behind it, from all whose names begin so."""
    table = firewall({"policy": "enforce", "trusted_interfaces": [name]}, Facts())
    assert table.judge(replace(CLOSED, interface=name)).action == "accept"
    assert table.judge(replace(CLOSED, interface=f" {name}")).action == "drop"


@pytest.mark.parametrize("name", ["", "a b", "../a", "a/b", "a\nb", "-a", "a.b", "x" * 65, "é"])
def test_a_targets_name_is_a_word(name: str) -> None:
    """It stands in messages, and nowhere else."""
    with pytest.raises(ConfigError) as caught:
        config.parse(f"[targets.{json.dumps(name)}]\ntemplate = 't.j2'\npath = '/etc/a'\n")
    assert "a name of letters, digits, - and _" in caught.value.problems[0]


@pytest.mark.parametrize(
    "path", ["a", "/", "/etc/../b", "/..", "../b", "", "/a\nb", "/a\0b", "/a\x1b[0m"]
)
def test_a_targets_path_stays_where_it_says(path: str) -> None:
    """Absolute, without a way up, without anything that a message or a log would break at."""
    with pytest.raises(ConfigError):
        config.parse(f'[targets.a]\ntemplate = "t.j2"\npath = {json.dumps(path)}\n')


@pytest.mark.parametrize(
    "path", ["/etc/a b", "/etc/$(touch x)", "/etc/a;b", "/etc/{staged}", "/etc/{path}", "/etc/-f"]
)
def test_a_path_is_one_word_of_a_command(tmp_path: Path, path: str) -> None:
    """No shell reads it, and what is put in its place is not read again."""
    desk = Desk(tmp_path)
    (desk.templates / "a.j2").write_text("hello\n")
    check = 'check = ["test", "-f", "{staged}"]'
    desk.configure(f'[targets.a]\ntemplate = "a.j2"\npath = "{path}"\n{check}\n')
    assert desk.apply().status == 0
    assert desk.files()[path[1:]] == "hello\n"


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "{secret}"])
def test_a_template_comes_from_its_directories_alone(tmp_path: Path, name: str) -> None:
    """Neither the configuration nor another template gets at a file beside them."""
    (tmp_path / "secret").write_text("secret")
    places = [tmp_path / "templates"]
    places[0].mkdir()
    name = name.format(secret=tmp_path / "secret")
    (places[0] / "t.j2").write_text(f"{{% include {json.dumps(name)} %}}")
    for template in (name, "t.j2"):
        target = config.parse('[targets.a]\ntemplate = "t.j2"\npath = "/etc/a"\n').targets[-1]
        with pytest.raises(ConfigError, match="no such template"):
            render.renderer(places).render(target._replace(template=template), Facts())
