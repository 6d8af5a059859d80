"""Facts and a template become text: what a template may do, and how it is told what is wrong."""

from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from jinja2 import DictLoader

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.errors import ConfigError
from lbhook.metadata import facts, instance
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.rendering import render, sandbox

Body = Callable[[str], bytes]

NO_JSON = "tojson takes what is defined: text, numbers, true or false, lists and tables of them"


def target(**values: Any) -> Target:
    """A target of one's own, whose template is `t.j2`."""
    return Target(name="t", template="t.j2", path=PurePosixPath("/t"), vars=values)


def rendered(template: str, lb: Facts | None = None, vm: object = None, **values: Any) -> str:
    """A template's text."""
    templates = render.Renderer(sandbox.environment(DictLoader({"t.j2": template})))
    return templates.render(target(**values), lb or Facts(), vm).decode()


def refused(template: str, lb: Facts | None = None, **values: Any) -> str:
    """What is said about a template that can't be rendered."""
    with pytest.raises(ConfigError) as caught:
        rendered(template, lb, **values)
    assert caught.value.hint == "its file was not changed; fix the template of target t"
    (problem,) = caught.value.problems
    return problem


@pytest.fixture
def lb(body: Body) -> Facts:
    """The facts of the documented body."""
    return facts.derive(parse(body("documented")))


def shipped(name: str) -> Target:
    """A shipped target with its defaults."""
    return next(one for one in config.parse("").targets if one.name == name)


def test_white_space_is_the_templates(lb: Facts) -> None:
    """Lines of tags leave nothing behind, and the last line keeps its end."""
    text = "a\n  {% for one in lb.frontend_ips %}\n{{ one }}\n  {% endfor %}\nb\n"
    assert rendered(text, lb) == "a\n50.0.0.1\n2603:10e1:100:2::1:1\nb\n"


def test_nothing_is_escaped() -> None:
    """No configuration file is HTML."""
    assert rendered("{{ vars.x }}", x="<&>\"'") == "<&>\"'"


def test_variables_are_the_users_first() -> None:
    """A key named like a method of a dict is the user's value, at every depth."""
    tables: dict[str, Any] = {"items": [1, {"keys": "k"}], "get": {"values": "v"}}
    text = "{{ vars.items[0] }} {{ vars.items[1].keys }} {{ vars.get.values }}"
    assert rendered(text, **tables) == "1 k v"
    assert rendered("{% for key in vars %}{{ key }} {% endfor %}{{ vars | length }}", **tables) == (
        "items get 2"
    )
    assert rendered("{{ 'get' in vars }} {{ vars['get'] is defined }}", **tables) == "True True"


def test_a_table_prints_the_same_each_time() -> None:
    """Nothing of the process, such as an address in memory, gets into a file."""
    assert rendered("{{ vars.x }} {{ vars.y }}", x=[{"a": 1}], y={"b": 2}) == "({'a': 1},) {'b': 2}"
    assert refused("{{ [1, 2] | random }}") == "t.j2:1: No filter named 'random'."


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{% do x %}", "t.j2:1: Encountered unknown tag 'do'."),
        ("{{ lb | tojson }}", f"<template>:1: {NO_JSON}"),
        ("{{ vars.x | default({lb: 1}) | tojson }}", f"<template>:1: {NO_JSON}"),
        ("\n{{ foo }}", '<template>:2: "foo" is not defined; known: lb, vars'),
        ("{{ vers.x }}", '<template>:1: "vers" is not defined; did you mean "vars"?'),
        (
            "{{ vm.zone }}",
            '<template>:1: "vm" is not defined; it needs imds.instance = true, '
            "and an answer from IMDS",
        ),
        ("{{ lb.listners }}", '<template>:1: lb has no "listners"; did you mean "listeners"?'),
        (
            "{{ lb.colour }}",
            '<template>:1: lb has no "colour"; known: floating_ips, frontend_ips, ha_ports,'
            " inbound_rules, listeners, outbound_rules, private_ips, public_ips, tunnel_interfaces",
        ),
        (
            "{% for one in lb.listeners %}\n{{ one.protocl }}\n{% endfor %}",
            '<template>:2: listener has no "protocl"; did you mean "protocol"?',
        ),
        (
            "{{ lb.inbound_rules[0].frontend }}",
            '<template>:1: inbound rule has no "frontend"; did you mean "frontend_ip"?',
        ),
        ("{{ vars.greting }}", '<template>:1: vars has no "greting"; did you mean "greeting"?'),
        ("{{ vars.t.x }}", '<template>:1: vars.t has no "x"; known: y'),
        ("{{ vars.l[0].x }}", '<template>:1: vars.l[0] has no "x"; known: z'),
        ("{{ lb.listeners[9] }}", '<template>:1: tuple has no "9"'),
        ("{% if vars.t.z %}x{% endif %}", '<template>:1: vars.t has no "z"; known: y'),
    ],
)
def test_an_undefined_name_is_an_error(template: str, problem: str, lb: Facts) -> None:
    """Even in a condition, with the line, whose name it would be, and the nearest one."""
    assert refused(template, lb, greeting="x", t={"y": 1}, l=[{"z": 1}]) == problem


def test_an_undefined_name_may_be_asked_for(lb: Facts) -> None:
    """`is defined` and `default` are how a template says that it knows."""
    text = "{{ vm is defined }} {{ vars.x | default('none') }}"
    assert rendered(text, lb) == "False none"


def test_vm(lb: Facts) -> None:
    """What IMDS says of the VM itself, if it was asked."""
    assert rendered("{{ vm.zone }}", lb, instance.Vm(zone="2")) == "2"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("lb.listeners[0].protocol == 'tcp'", "True"),
        ("lb.listeners[0].protocol in ['udp']", "False"),
        ("lb.listeners | selectattr('protocol', 'equalto', 'tcp') | list | length", "2"),
        ("lb.listeners | rejectattr('protocol', 'in', ['tcp']) | list | length", "0"),
        ("lb.listeners | groupby('protocol') | map('first') | join", "tcp"),
        ("lb.listeners | map(attribute='protocol') | unique | list | tojson", '["tcp"]'),
        ("lb.listeners[0].protocol ~ '/' ~ lb.listeners[0].protocol | upper", "tcp/TCP"),
        ("'%s' | format(lb.listeners[0].protocol)", "tcp"),
        ("{'tcp': 6}[lb.listeners[0].protocol]", "6"),
        ("lb.listeners[0].protocol.value", "tcp"),
    ],
)
def test_a_protocol_is_its_word(expression: str, text: str, lb: Facts) -> None:
    """A template compares, selects, groups and prints it like any string."""
    assert rendered(f"{{{{ {expression} }}}}", lb) == text


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{{ lb.__class__ }}", "access to attribute '__class__' of 'Facts' object is unsafe."),
        ("{{ ().__class__ }}", "access to attribute '__class__' of 'tuple' object is unsafe."),
        (
            "{{ vars._values }}",
            "access to attribute '_values' of 'Values' object is unsafe.",
        ),
        (
            "{{ range(1000000) }}",
            "OverflowError: Range too big. The sandbox blocks ranges larger than MAX_RANGE"
            " (100000).",
        ),
    ],
)
def test_sandbox(template: str, problem: str, lb: Facts) -> None:
    """A template reaches neither Python nor a size that would fill the memory."""
    assert refused(template, lb) == f"<template>:1: {problem}"


@pytest.mark.parametrize("name", ["cycler", "joiner", "lipsum"])
def test_no_other_names(name: str) -> None:
    """A template sees lb, vars and perhaps vm."""
    problem = f'<template>:1: "{name}" is not defined; known: lb, vars'
    assert refused(f"{{{{ {name} }}}}") == problem


def test_a_template_can_not_change_what_it_sees(lb: Facts) -> None:
    """Lists are tuples, entries are frozen."""
    assert refused("{{ lb.listeners.append(1) }}", lb) == '<template>:1: tuple has no "append"'


def test_syntax_errors_name_file_and_line(tmp_path: Path) -> None:
    """The file as the user finds it, and jinja2's words."""
    (tmp_path / "t.j2").write_text("fine\n{% fro x in y %}\n")
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path]).render(target(), Facts())
    assert caught.value.problems == (
        f"{tmp_path}/t.j2:2: Encountered unknown tag 'fro'; did you mean \"from\"?\n"
        "      2 | {% fro x in y %}\n"
        "        |    ^^^",
    )


@pytest.mark.parametrize(
    ("line", "problem", "caret"),
    [
        ("{{ lb.listners }}", 'lb has no "listners"; did you mean "listeners"?', "      ^^^^^^^^"),
        ("\t{{ lb.a }}\t{{ lb.listners }}", 'lb has no "a"; known: ', "\t      ^"),
        ("{{ lb.a or lb.a }}", 'lb has no "a"; known: ', ""),
        ("{{ ve.x }}", '"ve" is not defined; known: lb, vars', "   ^^"),
        (
            "{{ lb | brackets }}",
            "No filter named 'brackets'; did you mean \"bracket\"?",
            "        ^^^^^^^^",
        ),
        (
            "{% if lb is evn %}{% endif %}",
            "No test named 'evn'; did you mean \"even\"?",
            "            ^^^",
        ),
        ("{{ lb | zzz }}", "No filter named 'zzz'.", "        ^^^"),
        ("{{ 1 / 0 }}", "ZeroDivisionError: division by zero", ""),
        ("{{ lb }", "unexpected '}'", "      ^"),
        ("{% for x in lb %}", "Unexpected end of template.", "   ^^^"),
        ("{{ 'x y' | env }}", "'x y' is not read the same way by systemd", "    ^^^"),
    ],
)
def test_the_line_and_the_word(tmp_path: Path, line: str, problem: str, caret: str) -> None:
    """The line as it stands, and a caret below the word, if the line has it once."""
    (tmp_path / "t.j2").write_text(f"fine\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path]).render(target(), Facts())
    head, shown, *below = caught.value.problems[0].splitlines()
    assert head.startswith(f"{tmp_path}/t.j2:2: {problem}")
    assert shown == f"      2 | {line}"
    assert below == ([f"        | {caret}"] if caret else [])


def test_errors_in_an_included_template(tmp_path: Path) -> None:
    """The place is where the error is, not where the including line is."""
    (tmp_path / "t.j2").write_text("{% include 'part.j2' %}\n")
    (tmp_path / "part.j2").write_text("\n\n{{ lb.colour() }}\n")
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path]).render(target(), Facts())
    assert caught.value.problems[0].startswith(f'{tmp_path}/part.j2:3: lb has no "colour"; known: ')


def test_a_missing_template_says_where_it_was_looked_for(tmp_path: Path) -> None:
    """Own places in their order; the shipped ones come last."""
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path, tmp_path / "more"]).render(target(), Facts())
    assert caught.value.problems == (
        f"t.j2: no such template in {tmp_path}, {tmp_path}/more or among the shipped ones",
    )
    (tmp_path / "tt.j2").touch()
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path]).render(target(), Facts())
    assert caught.value.problems[0].endswith('shipped ones; did you mean "tt.j2"?')


def test_a_template_that_is_not_text(tmp_path: Path) -> None:
    """A file in another encoding is named, not guessed at."""
    (tmp_path / "t.j2").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        render.renderer([tmp_path]).render(target(), Facts())
    assert caught.value.problems == (
        "t.j2: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    )


@pytest.mark.parametrize("template", ["", " \n\n", "{% if false %}x{% endif %}"])
def test_nothing_is_never_rendered(template: str) -> None:
    """An empty file would make nginx listen on port 80 of every address."""
    assert refused(template) == ("<template>: renders to an empty file; write at least a comment")


def test_whatever_a_template_calls_may_fail() -> None:
    """Python's own errors come with template and line, too."""
    assert refused("\n{{ 1 / 0 }}") == "<template>:2: ZeroDivisionError: division by zero"
    assert refused("{{ 'x' | bracket }}") == ("<template>:1: 'x' is not an address")


def test_bracket() -> None:
    """IPv6 in brackets, as it stands before a port; IPv4 bare."""
    assert rendered("{{ vars.a | bracket }} {{ vars.b | bracket }}", a="10.0.0.4", b="FD00::4") == (
        "10.0.0.4 [fd00::4]"
    )


def test_families(lb: Facts) -> None:
    """ipv4 and ipv6 select addresses, and whatever has one: listeners, rules and pairs."""
    text = """\
{{ lb.frontend_ips | ipv4 | join }}
{{ lb.listeners | ipv6 | map(attribute="ip") | join }}
{{ lb.inbound_rules | ipv4 | map(attribute="backend_port") | join }}
{{ lb.outbound_rules | ipv6("frontend_ip") | map(attribute="private_ip") | join }}
{{ vars.networks | ipv6 | join }}
"""
    assert rendered(text, lb, networks=["10.0.0.0/8", "fd00::/8"]).splitlines() == [
        "50.0.0.1",
        "ace:cab:deca:deed::1",
        "443",
        "ace:cab:deca:deed::1",
        "fd00::/8",
    ]


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("lb.listeners | bracket", "a list is not an address"),
        ("lb.listeners[0] | bracket", "listener is not an address"),
        ("'web' | bracket", "'web' is not an address"),
        ("vars.t | bracket", "vars.t is not an address"),
        ("[lb.listeners] | ipv4", "a list is neither an address nor a network"),
        (
            "lb.inbound_rules | env",
            "a list is not read the same way by systemd, a shell and docker",
        ),
    ],
)
def test_a_filter_on_a_wrong_value_says_so_in_short(
    expression: str, problem: str, lb: Facts
) -> None:
    """Whatever the value holds, the message is one short line."""
    assert refused(f"{{{{ {expression} }}}}", lb, t={"x": 1}) == f"<template>:1: {problem}"


def test_env_passes_what_all_read_alike() -> None:
    """The alphabet that needs no quotes anywhere, as a whole and nothing else."""
    good = "AZaz09_.,:/@%+=-"
    assert rendered("x{{ vars.x | env }}", x=good) == f"x{good}"
    assert rendered("x{{ vars.x | env }}", x="") == "x"
    for bad in ("a b", "a\n", "$a", "a#b", "é", "[::1]", '"', "~"):
        assert refused("{{ vars.x | env }}", x=bad) == (
            f"<template>:1: {bad!r} is not read the same way by systemd, a shell and docker"
        )


def test_an_own_template_comes_before_the_shipped_one(tmp_path: Path, lb: Facts) -> None:
    """Under the same name, the first place that has it wins."""
    first, second = tmp_path / "first", tmp_path / "second"
    for place in (first, second):
        place.mkdir()
    (second / "lb.env.j2").write_text("SECOND=1\n")
    assert render.renderer([first, second]).render(shipped("env"), lb) == b"SECOND=1\n"
    (first / "lb.env.j2").write_text("FIRST=1\n")
    assert render.renderer([first, second]).render(shipped("env"), lb) == b"FIRST=1\n"


def test_resting_forms() -> None:
    """env names all names, empty; nftables has no table; nginx a listener that nobody uses."""
    templates = render.renderer([])
    rest = {name: templates.rest(shipped(name)).decode() for name in ("env", "nftables", "nginx")}
    names = [line for line in rest["env"].splitlines() if line and not line.startswith("#")]
    assert names == [
        "LB_PUBLIC_IPV4=",
        "LB_PUBLIC_IPV6=",
        "LB_FRONTEND_IPV4=",
        "LB_FRONTEND_IPV6=",
        "LB_OUTBOUND_IPV4=",
        "LB_OUTBOUND_IPV6=",
        "LB_TCP_PORTS=",
        "LB_UDP_PORTS=",
        "LB_INBOUND_COUNT=0",
    ]
    assert rest["nftables"].endswith("\n\ntable inet lbhook\ndelete table inet lbhook\n")
    assert rest["nginx"].endswith("\nlisten 127.0.0.127:10009;\n")
    second = shipped("nginx")._replace(name="tls", path=PurePosixPath("/etc/nginx/tls.conf"))
    assert templates.rest(second).endswith(b"\nlisten 127.80.10.127:10009;\n")


def test_an_own_target_rests_with_its_own_template() -> None:
    """Without an answer a template of one's own sees no rules at all."""
    templates = render.Renderer(sandbox.environment(DictLoader({"t.j2": "{{ lb.listeners }}"})))
    assert templates.rest(target()) == b"()"


def test_a_template_that_lets_everybody_in(tmp_path: Path) -> None:
    """A copy of an older one does not know who alone may come: it is refused where that is said,
    and nowhere else; one that asks for it is its owner's."""
    old, name = tmp_path / "lbhook.nft.j2", "[targets.nftables]\n"
    entry = f'{name}[[targets.nftables.restrict]]\nport = 443\nsources = ["10.0.0.0/8"]\n'
    found = {text: _firewall(text) for text in (name, entry)}
    renderer = render.renderer([tmp_path])
    old.write_text("table inet lbhook {}\n")
    assert renderer.render(found[name], Facts()) == b"table inet lbhook {}\n"
    with pytest.raises(ConfigError) as caught:
        renderer.render(found[entry], Facts())
    problem = "lbhook.nft.j2: does not use restrict of vars, which is set; compare it with the"
    assert caught.value.problems == (f"{problem} shipped one",)
    assert renderer.rest(found[entry])
    old.write_text("# {{ vars.restrict[0].sources[0] }}\n")
    assert renderer.render(found[entry], Facts()) == b"# 10.0.0.0/8\n"


def _firewall(text: str) -> Target:
    return next(one for one in config.parse(text).targets if one.name == "nftables")
