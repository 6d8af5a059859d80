"""What a target of a configuration can be, and what it is when little is said of it."""

from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any

import pytest

from lbhook.config import settings as config
from lbhook.config import shipped
from lbhook.config.shipped import SHIPPED
from lbhook.config.targets import Target
from lbhook.errors import ConfigError

from .test_settings import EXAMPLE, problems, target


def test_every_key_of_an_own_target() -> None:
    """The example's own target, whole."""
    assert target(config.parse(EXAMPLE), "motd") == Target(
        name="motd",
        template="motd.j2",
        path=PurePosixPath("/etc/motd"),
        mode=0o644,
        owner="root",
        group="root",
        requires=("run-parts",),
        check=("grep", "-q", ".", "{staged}"),
        check_live=(),
        reload_unit="app.service",
        verify=("test", "-s", "{path}"),
        remove=(),
        timeout=30.0,
        enabled=True,
        vars={"greeting": "hello"},
    )


def test_a_shipped_target_keeps_what_the_file_does_not_say() -> None:
    """The example's firewall: two variables given, everything else as shipped."""
    assert target(config.parse(EXAMPLE), "nftables") == Target(
        name="nftables",
        kind="nftables",
        template="lbhook.nft.j2",
        resting_template="lbhook.nft.resting.j2",
        path=PurePosixPath("/etc/nftables.d/lbhook.nft"),
        requires=("nft",),
        check=("nft", "-c", "-f", "{staged}"),
        reload=("nft", "-f", "{path}"),
        observe=("nft", "--stateless", "--numeric", "list", "table", "inet", "lbhook"),
        remove=("nft", "add table inet lbhook; delete table inet lbhook"),
        vars={
            "policy": "enforce",
            "ssh_ports": (22,),
            "follow_sshd": None,
            "ssh_from": (),
            "allow": (
                {
                    "protocol": "tcp",
                    "number": 6,
                    "port": "9100",
                    "from": ip_network("10.0.0.0/8"),
                },
            ),
            "trusted_interfaces": (),
            "probe_sources": (ip_address("168.63.129.16"), ip_address("fe80::1234:5678:9abc")),
            "mark": 0x1000,
            "mark_mask": 0x1000,
            "restrict_imds": False,
            "imds_users": shipped.SHIPPED["nftables"].variables["imds_users"][1],
            "log_dropped": False,
            "restrict": (),
        },
    )


def test_a_second_one_of_a_kind() -> None:
    """`like` takes everything of a shipped target but what is given."""
    assert target(config.parse(EXAMPLE), "nginx-tls") == Target(
        name="nginx-tls",
        kind="nginx",
        template="listen.conf.j2",
        path=PurePosixPath("/etc/nginx/lbhook/listen-tls.conf"),
        requires=("nginx",),
        reload_unit="nginx.service",
        vars={
            "listen": "port",
            "ports": (8443,),
            "except_ports": (22,),
            "parameters": "ssl",
        },
    )


def test_env_is_on_and_the_others_are_off() -> None:
    """Without a file env alone is on; every shipped target is known, for `render`."""
    settings = config.parse("")
    assert [one.name for one in settings.active()] == ["env"]
    assert [one.name for one in settings.targets] == list(SHIPPED)
    assert [one.name for one in config.parse("[targets.nginx]").active()] == ["env", "nginx"]


def test_disabled_targets() -> None:
    """`enabled = false` puts any target off, env too."""
    text = "[targets.env]\nenabled = false\n[targets.nginx]\nenabled = false\n"
    assert config.parse(text).active() == ()


def test_env_file_follows_the_runtime_directory() -> None:
    """The env file is in the runtime directory, wherever that is."""
    settings = config.parse('[paths]\nruntime = "/run/other"\n')
    assert target(settings, "env").path == PurePosixPath("/run/other/lb.env")


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("[targets.nginx]", (22,)),
        ("[targets.nftables]\nvars = { ssh_ports = [2222, 22] }", (2222, 22)),
        ("[targets.nftables]\nvars = { ssh_ports = [] }", (22,)),
        ("[targets.nftables]\nenabled = false\nvars = { ssh_ports = [2222] }", (22,)),
        ("[targets.nginx]\nvars = { except_ports = [9] }", (9, 22)),
        ("[targets.nginx]\nvars = { except_ports = [] }", (22,)),
        ("[targets.nginx]\nvars = { ports = [22, 80] }", ()),
        ("[targets.nginx]\nvars = { ports = [22], except_ports = [22] }", (22,)),
    ],
)
def test_ports_that_never_become_a_web_server(text: str, ports: tuple[int, ...]) -> None:
    """nginx leaves out what it is told, and SSH's ports (those of the firewall that is on, or 22)
    unless they are named."""
    assert target(config.parse(text), "nginx").vars["except_ports"] == ports


def test_one_reload_replaces_the_shipped_one() -> None:
    """Whichever way of reloading is given, the other one of the shipped target is gone."""
    settings = config.parse(
        '[targets.nginx]\nreload = ["true"]\n[targets.nftables]\nreload_unit = "a.service"\n'
    )
    nginx, firewall = target(settings, "nginx"), target(settings, "nftables")
    assert (nginx.reload, nginx.reload_unit) == (("true",), "")
    assert (firewall.reload, firewall.reload_unit) == ((), "a.service")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[targets.motd]", "targets.motd: a target of your own needs template and path"),
        ('[targets.motd]\npath = "/x"', "targets.motd: a target of your own needs template"),
        ('[targets.motd]\ntemplate = "x.j2"', "targets.motd: a target of your own needs path"),
        (
            "[targets.nftable]",
            "targets.nftable: a target of your own needs template and path;"
            ' did you mean "nftables"?',
        ),
        (
            '[targets.web]\nlike = "ngnix"\npath = "/x"',
            'targets.web.like: "ngnix" is not a shipped target; did you mean "nginx"?',
        ),
        (
            '[targets.nginx]\n[targets.web]\nlike = "nginx"',
            "targets.web.path: /etc/nginx/lbhook/listen.conf is also the path of nginx",
        ),
        (
            '[targets.nginx]\nreload = ["true"]\nreload_unit = "nginx.service"',
            "targets.nginx.reload_unit: reload is set too; one of them is enough",
        ),
        (
            '[targets.nginx]\nreload_unit = "nginx"',
            'targets.nginx.reload_unit: "nginx" is not a unit such as "app.service"',
        ),
        (
            '[targets.firewalld]\npath = "/etc/firewalld/policies/web"',
            "targets.firewalld.path: /etc/firewalld/policies/web does not end in .xml, and"
            " firewalld would not read it",
        ),
        ("targets = 5", "targets: 5 is not a table"),
        ("imds = 5", "imds: 5 is not a table"),
        ("[targets]\nnginx = true", "targets.nginx: true is not a table"),
        ("[targets.nginx]\nvars = 5", "targets.nginx.vars: 5 is not a table"),
        ("[targets.env]\nvars = { a = 1 }", "targets.env.vars.a: unknown key"),
        (
            '[targets.motd]\ntemplate = "/abs.j2"\npath = "/x"',
            'targets.motd.template: "/abs.j2" is not a file below one of paths.templates',
        ),
    ],
)
def test_what_a_target_can_not_be(text: str, problem: str) -> None:
    """Each mistake by itself, with the whole message."""
    assert problems(text) == (f"lbhook.toml: {problem}",)


@pytest.mark.parametrize(
    "path",
    [
        *("/run/lbhook/lock", "/run/lbhook/status.json", "/run/lbhook/loaded.json"),
        *("/run/lbhook/refused.json", "/run/lbhook", "/var/lib/lbhook"),
        *("/run/lbhook/drain.json", "/run/lbhook/drain.nft"),
        *("/run/lbhook/unconfirmed", "/run/lbhook/booted"),
        *("/var/lib/lbhook/answer.json", "/var/lib/lbhook/originals/x", "/var/lib/lbhook/own"),
    ],
)
def test_a_target_is_none_of_lbhooks_own_files(path: str) -> None:
    """What lbhook remembers must not be what it writes."""
    text = f'[targets.web]\nlike = "nginx"\npath = "{path}"\n'
    assert problems(text) == (
        f"lbhook.toml: targets.web.path: {path} belongs to lbhook; choose another path",
    )


def test_the_runtime_directory_has_room_for_targets() -> None:
    """Beside lbhook's own files, also where it is inside of the state directory."""
    for runtime in ("/run/lbhook", "/var/lib/lbhook/run"):
        text = f'[paths]\nruntime = "{runtime}"\n[targets.web]\nlike = "nginx"\n'
        found = config.parse(f'{text}path = "{runtime}/web.conf"\n').active()
        assert [str(one.path) for one in found] == [f"{runtime}/lb.env", f"{runtime}/web.conf"]


def test_a_path_may_be_shared_with_a_target_that_is_off() -> None:
    """Two targets on one path clash only if both are on."""
    text = '[targets.web]\nlike = "nginx"\n[targets.nginx]\nenabled = false\n'
    assert [one.name for one in config.parse(text).active()] == ["env", "web"]


def test_variables_of_an_own_target_are_free() -> None:
    """lbhook can't know what an own template wants: any TOML value reaches it."""
    text = '[targets.m]\ntemplate = "m.j2"\npath = "/m"\nvars = { items = [1, { a = 2.5 }] }\n'
    expected: dict[str, Any] = {"items": [1, {"a": 2.5}]}
    assert target(config.parse(text), "m").vars == expected


def test_one_firewall_is_enough() -> None:
    """Two would replace each other's table; one that is off does not count."""
    second = '[targets.fw]\nlike = "nftables"\npath = "/etc/fw.nft"\n'
    with pytest.raises(ConfigError) as caught:
        config.parse(f"[targets.nftables]\n{second}")
    assert caught.value.problems == (
        "lbhook.toml: targets.fw: nftables is of this kind too; only one is allowed",
    )
    assert [one.name for one in config.parse(second).active()] == ["env", "fw"]
