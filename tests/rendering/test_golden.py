"""What is rendered from each body, file by file, and what the real programs make of it.

`pytest --write-golden` writes the files of tests/golden anew; their difference is then reviewed
like any other.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from lbhook import processes
from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.programs.daemon import Daemon
from lbhook.programs.firewalld import Firewalld
from lbhook.programs.haproxy import Haproxy
from lbhook.programs.nginx import Nginx
from lbhook.rendering import render

from ..conftest import lacking
from ..program import BODIES
from ..stand import rule

GOLDEN = Path(__file__).parents[1] / "golden"
# Bodies of load balancers; the others are errors and another API's.
NAMES = sorted(
    file.stem for file in BODIES.glob("*.json") if not file.stem.startswith(("error-", "instance-"))
)
# Every variable of the firewalls and of the proxies away from its default.
VARIED = """
[targets.nftables.vars]
ssh_ports = [22, 2222]
ssh_from = ["10.0.0.0/8", "fd00::/8"]
trusted_interfaces = ["docker0", "virbr0"]
probe_sources = ["168.63.129.16"]
mark = "0x50"
mark_mask = "0xf0"
restrict_imds = true
imds_users = []
log_dropped = true
allow = [
  { protocol = "tcp", port = 9100, from = "10.0.0.0/8" },
  { protocol = "udp", port = "60000-61000" },
  { protocol = "vrrp" },
  { port = 53, from = "fd00::/8" },
  { from = "192.0.2.0/24" },
]
[[targets.nftables.restrict]]
protocol = "tcp"
port = 443
sources = ["203.0.113.128/25", "203.0.113.0/25", "2001:db8::/32", "198.51.100.9"]
[[targets.nftables.restrict]]
port = "8000-8100"
sources = ["fd00::/8"]
[targets.firewalld.vars]
probe_sources = ["168.63.129.16"]
[targets.nginx.vars]
ports = [443, 8443, 6443]
except_ports = [8443]
parameters = "proxy_protocol backlog=64"
[targets.nginx-stream.vars]
upstream = "servers"
protocols = ["tcp"]
ports = [443, 8443, 6443]
except_ports = [8443]
parameters = "so_keepalive=on"
udp_timeout = "2m"
[targets.haproxy.vars]
backend = "web.servers"
frontend = "azure"
mode = "http"
ports = [443, 8443, 6443]
except_ports = [8443]
parameters = "accept-proxy alpn h2,http/1.1"
"""
FIREWALLD = next(one for one in config.parse("").targets if one.name == "firewalld")
SUFFIX = {
    "env": "env",
    "nftables": "nft",
    "nginx": "conf",
    "nginx-stream": "stream",
    "floating-ip": "ips",
    "firewalld": "xml",
    "haproxy": "cfg",
}
LISTS = ("PUBLIC", "FRONTEND", "OUTBOUND")
ALWAYS = (
    *(f"LB_{what}_{family}" for what in LISTS for family in ("IPV4", "IPV6")),
    "LB_TCP_PORTS",
    "LB_UDP_PORTS",
    "LB_INBOUND_COUNT",
)


# The bodies have no rule for UDP.
NAMES_AND_WEB = json.dumps(
    {
        "loadbalancer": {
            "publicIpAddresses": [],
            "inboundRules": [
                {**rule(port, ip, protocol), "frontendIpAddress": frontend}
                for frontend, ip in (("50.0.0.1", "10.0.0.4"), ("fd01::1", "fd00::4"))
                for port, protocol in ((443, "Tcp"), (53, "Tcp"), (53, "Udp"), (443, "Udp"))
            ],
            "outboundRules": [],
        }
    }
).encode()
# What the other policies of the firewall are rendered from: every kind of line is in one of them.
POLICIES = ("mark", "prerouting")
SHOWN = ("documented", "gateway-ha-ports")
# What an owner adds at both places.
SNIPPETS = {
    "input": (
        {
            "file": "/etc/lbhook/nftables.d/input-10-admin.nft",
            "lines": ("# Who may.", "ip saddr { 203.0.113.0/24,", "  198.51.100.9 } accept"),
        },
        {
            "file": "/etc/lbhook/nftables.d/input-20.nft",
            "lines": ("tcp dport 9100 counter accept",),
        },
    ),
    "prerouting": (
        {
            "file": "/etc/lbhook/nftables.d/prerouting-blocked.nft",
            "lines": ('ip6 saddr 2001:db8::/32 counter drop comment "} # no"',),
        },
    ),
}


def _targets(text: str = "") -> dict[str, Target]:
    return {target.name: target for target in config.parse(text).targets}


def _firewall(policy: str, text: str = "[targets.nftables.vars]\n") -> Target:
    head = "[targets.nftables.vars]\n"
    return _targets(text.replace(head, f'{head}policy = "{policy}"\n'))["nftables"]


def _lb(name: str) -> Facts:
    return facts.derive(parse((BODIES / f"{name}.json").read_bytes()))


def _render() -> Iterator[tuple[str, bytes]]:
    """Every golden file by name, as it is rendered now."""
    templates = render.renderer([])
    for name, target in _targets().items():
        yield f"resting.{SUFFIX[name]}", templates.rest(target)
        for body in NAMES:
            yield f"{body}.{SUFFIX[name]}", templates.render(target, _lb(body))
    for name, target in _targets(VARIED).items():
        if target.vars:
            content = templates.render(target, _lb("dual-stack-bracketed"))
            yield f"varied.{SUFFIX[name]}", content
    both = facts.derive(parse(NAMES_AND_WEB))
    yield "tcp-and-udp.stream", templates.render(_targets()["nginx-stream"], both)
    for policy in POLICIES:
        for body in SHOWN:
            yield f"{body}.{policy}.nft", templates.render(_firewall(policy), _lb(body))
        varied = templates.render(_firewall(policy, VARIED), _lb("dual-stack-bracketed"))
        yield f"varied.{policy}.nft", varied

    for policy in ("enforce", *POLICIES):
        plain = _firewall(policy)
        own = plain._replace(vars={**plain.vars, "snippets": SNIPPETS})
        yield f"snippets.{policy}.nft", templates.render(own, _lb("documented"))


RENDERED: Mapping[str, bytes] = dict(_render())


def _named(suffix: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "name", [name for name in RENDERED if name.endswith(f".{suffix}")]
    )


@pytest.mark.parametrize("name", RENDERED)
def test_golden(name: str, pytestconfig: pytest.Config) -> None:
    """Each body renders to the same bytes as when somebody last looked at them."""
    file = GOLDEN / name
    if pytestconfig.getoption("--write-golden"):
        file.write_bytes(RENDERED[name])
    assert RENDERED[name].decode() == file.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    """A golden file that nothing renders any more proves nothing."""
    assert sorted(RENDERED) == sorted(file.name for file in GOLDEN.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_order_and_duplicates_change_nothing(name: str) -> None:
    """A body with every list backwards and everything in it twice renders to the same bytes."""
    body = json.loads((BODIES / f"{name}.json").read_bytes())
    lists = body["loadbalancer"]
    body["loadbalancer"] = {key: [*lists[key][::-1], *lists[key]] for key in reversed(lists)}
    lb = facts.derive(parse(json.dumps(body).encode()))
    templates = render.renderer([])
    for target in _targets().values():
        assert templates.render(target, lb) == RENDERED[f"{name}.{SUFFIX[target.name]}"]


@pytest.mark.needs("nft")
@_named("nft")
def test_nft_takes_it(name: str) -> None:
    """`nft -c` accepts the file, in a network namespace of its own where it can be had."""
    result = processes.run(("unshare", "--net", "nft", "-c", "-f", str(GOLDEN / name)))
    if os.geteuid() != 0:
        argv = ("unshare", "--map-root-user", "--net", "nft", "-c", "-f", str(GOLDEN / name))
        result = processes.run(argv)
        if "Operation not permitted" in result.output:
            lacking("not root, and no user namespaces")
    assert (result.output, result.status) == ("", 0)


@pytest.mark.needs("nft")
def test_nft_loads_it_again_and_takes_it_away() -> None:
    """Each policy over the one before, then the resting form: no table is left."""
    names = ("varied", "varied.mark", "varied.prerouting", "varied", "varied")
    *busy, resting = (GOLDEN / f"{name}.nft" for name in (*names, "resting"))
    script = " && ".join(f"nft -f {file}" for file in busy)
    script += f" && nft list tables && nft -f {resting}"
    script += " && echo rests && nft list tables"
    user = () if os.geteuid() == 0 else ("--map-root-user",)
    result = processes.run(("unshare", *user, "--net", "sh", "-c", script))
    if "Operation not permitted" in result.output:
        lacking("no network namespaces of one's own")
    assert (result.output, result.status) == ("table inet lbhook\nrests\n", 0)


@pytest.mark.needs("firewall-offline-cmd")
@_named("xml")
def test_firewalld_takes_it(name: str) -> None:
    """firewalld's checker has nothing to say about the policy."""
    result = Firewalld(processes.run, os.geteuid() == 0).check(FIREWALLD, GOLDEN / name)
    if result.output.startswith("unshare:"):
        lacking("not root, and no user namespaces")
    assert (result.output, result.status) == ("", 0)


def _checked(daemon: Daemon, kind: str, name: str) -> None:
    targets = _targets(VARIED if name.startswith("varied.") else "")
    result = daemon.check(targets[kind], GOLDEN / name)
    assert result.ok, result.report()
    assert "warn" not in result.output.lower()


@pytest.mark.needs("nginx")
@_named("conf")
def test_nginx_takes_it(name: str) -> None:
    """nginx reads the file inside a server block."""
    _checked(Nginx(processes.run), "nginx", name)


@pytest.mark.needs("nginx", "nginx-stream")
@_named("stream")
def test_nginx_takes_it_in_a_stream_block(name: str) -> None:
    """nginx reads the file inside a stream block, where it has the module for it."""
    _checked(Nginx(processes.run), "nginx-stream", name)


@pytest.mark.needs("haproxy")
@_named("cfg")
def test_haproxy_takes_it(name: str) -> None:
    """haproxy reads the file beside a backend, and has nothing to warn of."""
    _checked(Haproxy(processes.run), "haproxy", name)


@_named("conf")
def test_nginx_listens_somewhere(name: str) -> None:
    """No file is without a listener: nginx would open port 80 to the world."""
    assert re.search(rb"^listen (\d|\[)", RENDERED[name], re.MULTILINE)


def _values(name: str) -> dict[str, str]:
    """The values of an env file, read as strictly as it is promised to be written."""
    lines = RENDERED[name].decode("ascii").splitlines()
    pairs = [line.partition("=") for line in lines if not line.startswith("#")]
    assert all(re.fullmatch("LB_[A-Z0-9_]+", key) for key, _, _ in pairs)
    values = {key: value for key, _, value in pairs}
    assert len(values) == len(pairs)
    return values


@_named("env")
def test_env_names_and_alphabet(name: str) -> None:
    """Every name is there, each value needs no quotes, and the count says how many rules."""
    values = _values(name)
    rules = [f"LB_INBOUND_{index}" for index in range(int(values["LB_INBOUND_COUNT"]))]
    assert list(values) == [*ALWAYS, *rules]
    for value in values.values():
        assert re.fullmatch(r"[A-Za-z0-9_.,:/@%+=-]*", value, re.ASCII)


@_named("env")
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_shells_read_the_same_values(name: str, shell: str) -> None:
    """Sourced, each name has the value that stands in the file, and no command was run."""
    program = processes.find(shell)
    if not program:
        lacking(f"{shell} not installed")
    values = _values(name)
    script = f'. "{GOLDEN / name}"; ' + "; ".join(f'echo "{key}=${{{key}}}"' for key in values)
    done = subprocess.run(
        ["env", "-i", str(program), "-eu", "-c", script], capture_output=True, check=False
    )
    assert (done.stderr, done.returncode) == (b"", 0)
    assert done.stdout.decode().splitlines() == [f"{key}={value}" for key, value in values.items()]


def test_env_of_a_dual_stack_body() -> None:
    """One file in full: families apart, IPv6 bare, rules in the order of the model."""
    assert _values("dual-stack-bracketed.env") == {
        "LB_PUBLIC_IPV4": "20.10.5.34",
        "LB_PUBLIC_IPV6": "2603:1020:10:5::34",
        "LB_FRONTEND_IPV4": "172.16.136.5",
        "LB_FRONTEND_IPV6": "fd60:172:16:88::5",
        "LB_OUTBOUND_IPV4": "",
        "LB_OUTBOUND_IPV6": "",
        "LB_TCP_PORTS": "6443",
        "LB_UDP_PORTS": "",
        "LB_INBOUND_COUNT": "2",
        "LB_INBOUND_0": "tcp,172.16.136.5,6443,172.18.1.10,6443",
        "LB_INBOUND_1": "tcp,fd60:172:16:88::5,6443,fd00::10,6443",
    }
