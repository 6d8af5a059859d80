"""What is shipped: the table of targets holds together, and its variables are checked."""

from pathlib import Path, PurePosixPath

import pytest
from jinja2 import FileSystemLoader
from jinja2.meta import find_referenced_templates

from lbhook.config import network, schema, shipped, targets
from lbhook.config import settings as config
from lbhook.errors import ConfigError
from lbhook.metadata import facts
from lbhook.rendering import fingerprint, render, sandbox

SHIPPED = pytest.mark.parametrize("name", list(shipped.SHIPPED))


@SHIPPED
def test_a_shipped_target_is_whole(name: str) -> None:
    """Its defaults make a target, and its templates are shipped."""
    target = next(one for one in config.parse("").targets if one.name == name)
    assert target.kind == name
    assert target.mode == 0o644
    assert not (target.reload and target.reload_unit)
    for template in {target.template, target.resting_template} - {""}:
        assert (fingerprint.SHIPPED_TEMPLATES / template).is_file()


@SHIPPED
def test_default_variables_are_what_their_readers_give(name: str) -> None:
    """A default that the configuration could not say would be a second kind of value."""
    kind = shipped.SHIPPED[name]
    for read, default in kind.variables.values():
        if default is None:  # stands for another target's value
            continue
        given = (
            [str(one) if not isinstance(one, int) else one for one in default]
            if isinstance(default, tuple)
            else default
        )
        assert read(given) == default


def test_every_template_belongs_to_a_target() -> None:
    """No template is shipped that nothing renders, be it by way of one that imports it."""
    named = {
        kind.defaults[key]
        for kind in shipped.SHIPPED.values()
        for key in ("template", "resting_template")
        if key in kind.defaults
    }
    environment = sandbox.environment(FileSystemLoader(fingerprint.SHIPPED_TEMPLATES))
    for name in named.copy():
        source = (fingerprint.SHIPPED_TEMPLATES / name).read_text(encoding="utf-8")
        named |= {str(one) for one in find_referenced_templates(environment.parse(source))}
    assert {file.name for file in Path(fingerprint.SHIPPED_TEMPLATES).iterdir()} == named


def test_kind_of_a_users_own_target() -> None:
    """A target of one's own is of no kind: nothing of a program is assumed."""
    own = targets.Target(name="motd", template="motd.j2", path=PurePosixPath("/etc/motd"))
    assert shipped.kind_of(own) == shipped.Kind(defaults={})


def test_allow_takes_what_the_contract_shows() -> None:
    """An entry of `allow` in full, with a range, and with an address alone."""
    read, _ = shipped.SHIPPED["nftables"].variables["allow"]
    first, second, third = read(
        [
            {"protocol": "tcp", "port": 9100, "from": "10.0.0.0/8"},
            {"protocol": "udp", "port": "8000-8100"},
            {"from": "fd00::/8"},
        ]
    )
    office, inside = network.network("10.0.0.0/8"), network.network("fd00::/8")
    assert first == {"protocol": "tcp", "number": 6, "port": "9100", "from": office}
    assert second == {"protocol": "udp", "number": 17, "port": "8000-8100", "from": None}
    assert third == {"protocol": "", "number": 0, "port": "", "from": inside}


def test_allow_refuses_what_would_open_everything() -> None:
    """An empty entry, a port of a protocol without ports, and an unknown key, all at once."""
    text = """
[targets.nftables]
vars = { allow = [{}, { protocol = "esp", port = 5 }, { form = "10.0.0.0/8" }] }
"""
    with pytest.raises(ConfigError) as caught:
        config.parse(text)
    assert caught.value.problems == (
        "lbhook.toml: targets.nftables.vars.allow[0]: an empty entry would allow everything",
        "lbhook.toml: targets.nftables.vars.allow[1].port: protocol esp has no ports",
        'lbhook.toml: targets.nftables.vars.allow[2].form: unknown key; did you mean "from"?',
    )


def test_a_mark_is_among_the_bits_of_its_mask() -> None:
    """By number or in hexadecimal; a mark that the other firewall would never see is refused."""
    head = '[targets.nftables.vars]\npolicy = "mark"\n'
    given = config.parse(f'{head}mark = "0x50"\nmark_mask = 240\n').targets
    found = next(one for one in given if one.name == "nftables").vars
    assert (found["mark"], found["mark_mask"]) == (0x50, 0xF0)
    with pytest.raises(ConfigError) as caught:
        config.parse(f'{head}mark = "0x3000"\n')
    assert caught.value.problems == (
        "lbhook.toml: targets.nftables.vars.mark: 0x3000 has bits outside mark_mask, 0x1000",
    )


def test_the_mark_is_one_bit_that_nobody_else_has() -> None:
    """Cilium, CNI's portmap, kube-proxy, Calico and Tailscale have theirs."""
    variables = shipped.SHIPPED["nftables"].variables
    mark, mask = (variables[name][1] for name in ("mark", "mark_mask"))
    assert mark == mask
    assert bin(mark).count("1") == 1
    assert not mark & (0x0F00 | 0x2000 | 0x4000 | 0x8000 | 0xFFFF0000 | 0xFF0000)


def test_parameters_of_nginx_are_words() -> None:
    """What stands behind a listen line can't end it."""
    read, default = shipped.SHIPPED["nginx"].variables["parameters"]
    assert default == ""
    assert read("ssl proxy_protocol") == "ssl proxy_protocol"
    with pytest.raises(schema.Misfit) as caught:
        read("ssl; root /")
    assert caught.value.problems == (("", '"ssl; root /" is not listen parameters, such as "ssl"'),)


def _stream(name: str, value: object) -> object:
    read, _ = shipped.SHIPPED["nginx-stream"].variables[name]
    return read(value)


@pytest.mark.parametrize(
    ("written", "passed"),
    [
        ("127.0.0.1", "127.0.0.1:$server_port"),
        ("::1", "[::1]:$server_port"),
        ("[::1]", "[::1]:$server_port"),
        ("10.0.0.9:8443", "10.0.0.9:8443"),
        ("[FD00::9]:53", "[fd00::9]:53"),
        ("servers", "servers"),
        ("web.servers-1", "web.servers-1"),
        ("unix:/run/app.sock", "unix:/run/app.sock"),
    ],
)
def test_upstream_is_what_nginx_passes_to(written: str, passed: str) -> None:
    """An address without a port takes the port of each listener."""
    assert _stream("upstream", written) == passed


@pytest.mark.parametrize(
    "written",
    [
        *("", "10.0.0.4:0", "10.0.0.4:70000", "10.0.0.4:", "fe80::1%eth0", "[::1", "1.2.3"),
        *("a b", "a;", "a\n", "$host", "example.com:80", "unix:", "unix:/a;b", "127.0.0.1:$port"),
    ],
)
def test_upstream_is_nothing_else(written: str) -> None:
    """No name that would have to be resolved, nothing that ends the line."""
    with pytest.raises(schema.Misfit) as caught:
        _stream("upstream", written)
    forms = 'an address, an address and a port, the name of an upstream block, or "unix:/PATH"'
    assert caught.value.problems == (("", f"{schema.shown(written)} is not {forms}"),)


@pytest.mark.parametrize("written", ["30", "0s", "1.5s", "30s;", "-1s", "30 s"])
def test_a_time_of_nginx_is_one(written: str) -> None:
    """Whole, more than nothing, and with its unit."""
    assert _stream("udp_timeout", "2m") == "2m"
    with pytest.raises(schema.Misfit):
        _stream("udp_timeout", written)


def test_frontends_have_names_of_their_own() -> None:
    """A second one is named after its target, and either may have another name."""
    text = """
[targets.haproxy]
[targets.tls]
like = "haproxy"
path = "/etc/haproxy/conf.d/tls.cfg"
[targets.named]
like = "haproxy"
path = "/etc/haproxy/conf.d/named.cfg"
vars = { frontend = "azure" }
"""
    named = {one.name: one.vars["frontend"] for one in config.parse(text).active()[1:]}
    assert named == {"haproxy": "lbhook", "tls": "lbhook-tls", "named": "azure"}


@pytest.mark.parametrize("name", ["backend", "frontend", "parameters"])
@pytest.mark.parametrize("written", ["a\nbind :1", "a # b", 'a "b"', "a\\", "${a}"])
def test_words_of_haproxy_stay_on_their_line(name: str, written: str) -> None:
    """Nor do they begin a comment, a quote or a variable."""
    read, _ = shipped.SHIPPED["haproxy"].variables[name]
    with pytest.raises(schema.Misfit):
        read(written)


@pytest.mark.parametrize(
    ("users", "allowed"),
    [("[]", "0"), ('["no-such-user"]', "0"), ('["nobody", 990]', "{ 0, 65534, 990 }")],
)
def test_who_may_ask_for_the_identity(users: str, allowed: str) -> None:
    """With restrict_imds root, and the users that are named and exist."""
    keys = f"restrict_imds = true\nimds_users = {users}\n"
    settings = config.parse(f"[targets.nftables.vars]\n{keys}")
    (target,) = (one for one in settings.targets if one.name == "nftables")
    text = render.renderer([]).render(target, facts.Facts()).decode()
    assert f"ip daddr 169.254.169.254 meta skuid != {allowed} counter reject" in text
