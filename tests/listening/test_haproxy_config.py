"""What the `bind` lines of haproxy's configuration take."""

from ipaddress import ip_address

import pytest

from lbhook.listening.files import Files
from lbhook.listening.haproxy_config import Bind, binds, taken
from lbhook.metadata.facts import Listener
from lbhook.metadata.model import Protocol

HERE4, HERE6 = ip_address("10.1.0.4"), ip_address("ace:cab:deca:deed::1")


NAME = "/etc/haproxy/haproxy.cfg"
HOSTS = (
    "10.1.0.4 web.example\nace:cab:deca:deed::1 web.example web6.example\n10.1.0.5 away.example\n"
)


def found(text: str, *, v6only: bool = False, **env: str) -> list[Bind]:
    """The places of one file."""
    files = Files({NAME: text, "/etc/hosts": HOSTS}.get, lambda _: ())
    return [*binds(NAME, files, env, v6only)]


def has(line: str, port: int = 443, *, v6only: bool = False, **env: str) -> tuple[bool, bool]:
    """Whether a line takes this VM's IPv4 address, and its IPv6 one."""
    there = found(f"frontend web\n    {line}\n", v6only=v6only, **env)
    return any(one.has(HERE4, port) for one in there), any(one.has(HERE6, port) for one in there)


# Each was tried with haproxy 2.6 and looked at with `ss`.
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bind *:443 ssl crt /etc/site.pem", (True, False)),
        ("bind :443", (True, False)),
        ("bind 0.0.0.0:443", (True, False)),
        ("bind :::443", (True, True)),
        ("bind [::]:443 v4v6", (True, True)),
        ("bind :::443 v6only", (False, True)),
        ("bind ipv6@:443 v6only", (False, True)),
        ("bind ipv4@*:443", (True, False)),
        ("bind 10.1.0.4:443", (True, False)),
        ("bind 10.1.0.5:443", (False, False)),
        ("bind [ace:cab:deca:deed::1]:443", (False, True)),
        ("bind ace:cab:deca:deed::1:443", (False, True)),
        ("bind 127.0.0.1:443", (False, False)),
        ("bind *:440-450", (True, False)),
        ("bind *:80,10.1.0.4:443,ace:cab:deca:deed::1:443", (True, True)),
        ("bind *:80", (False, False)),
        ('bind "*:${PORT}"', (True, False)),
        ('bind "*:${NONE-443}"', (True, False)),
        ("bind *:443 # the site", (True, False)),
        ("# bind *:443", (False, False)),
        ("stats socket ipv4@*:443 level admin", (True, False)),
        ("stats socket /run/haproxy.sock mode 660", (False, False)),
        ("peer here 10.1.0.4:443", (True, False)),
        ("peer there 10.1.0.5:443", (False, False)),
        ("server one 10.1.0.4:443", (False, False)),
        ("bind /run/haproxy.sock mode 600", (False, False)),
        ("bind unix@/run/web:443", (False, False)),
        ("bind fd@3", (False, False)),
        ("bind quic4@:443 ssl crt /etc/site.pem", (False, False)),
        ("bind *:443 namespace blue", (False, False)),
        ("bind somewhere.example:443", (False, False)),
        ("bind web.example:443", (True, True)),
        ("bind Web6.example:443 ssl crt /etc/site.pem", (False, True)),
        ("bind away.example:443", (False, False)),
        ("bind '*:443", (False, False)),
        ("bind", (False, False)),
        ("no bind-process", (False, False)),
        ("redirect location https://a.example:443/bind", (False, False)),
    ],
)
def test_what_a_line_takes(line: str, expected: tuple[bool, bool]) -> None:
    """Each form of an address, and what is none of this machine's."""
    assert has(line, PORT="443") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("bind :::443", (False, True)),
        ("bind :::443 v4v6", (True, True)),
        ("bind *:443", (True, False)),
    ],
)
def test_what_a_line_takes_where_ipv6_is_alone(line: str, expected: tuple[bool, bool]) -> None:
    """With net.ipv6.bindv6only, tried likewise."""
    assert has(line, v6only=True) == expected


def test_the_line_is_named() -> None:
    """With its file."""
    [one] = found("defaults\n    mode http\nlisten web\n    bind 10.1.0.4:80\n")
    assert one.line == "/etc/haproxy/haproxy.cfg:4"


def test_what_is_said() -> None:
    """The address is named where the other family's listener of the port stays."""
    four, six = (
        Listener(ip=ip, protocol=Protocol.TCP, port=443, rules=()) for ip in (HERE4, HERE6)
    )
    there = found("listen web\n    bind *:443\n")
    assert taken(there, [], [four]) == (
        (four,),
        "port 443 is left out: /etc/haproxy/haproxy.cfg:2 binds it; take that line away, or set"
        " `except_ports = [443]`",
    )
    gone, said = taken(there, [], [four, six])
    assert gone == (four,)
    assert said.startswith("port 443 on 10.1.0.4 is left out: ")
    assert taken(there, [], [six])[0] == ()


def test_tls_goes_along_with_its_line() -> None:
    """Who does what is said has no plain HTTP where clients speak TLS."""
    one = Listener(ip=HERE4, protocol=Protocol.TCP, port=443, rules=())
    _, said = taken(found("listen web\n    bind *:443 ssl crt /a.pem\n"), [], [one])
    assert said == (
        "port 443 is left out: /etc/haproxy/haproxy.cfg:2 binds it; take that line away and put"
        " what it has from `ssl` on into `parameters`, or set `except_ports = [443]`"
    )
