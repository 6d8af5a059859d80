"""Behind a Private Link service with the PROXY protocol: real v2 headers, real daemons.

The service sends a header before the first byte, with Azure's own field in it, and so do health
probes (Microsoft: "Private Link service: TCP proxy v2"); what comes without one gets no answer.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

import pytest

from .fabric import CLIENT4, PROBE4, VM4, VM6, body, rule
from .hosts import REPO, Host, wait_for
from .lab import Lab
from .rules import FRONT4, FRONT6
from .vm import NGINX_BEGINS

CONSUMER = "10.9.9.9"
PORT = 8443
SETTINGS = '[targets.nftables]\n[targets.{}.vars]\nparameters = "{}"\n'
ASK = """
import socket, sys
source, ip, port, header = sys.argv[1:]
client = socket.create_connection((ip, int(port)), 5, (source, 0) if source else None)
client.sendall(bytes.fromhex(header) + b"GET / HTTP/1.0\\r\\n\\r\\n")
said = b""
try:
    while part := client.recv(4096):
        said += part
except OSError:
    pass
sys.stdout.write(said.decode())
"""
HTTP = (
    NGINX_BEGINS
    + """\
http {
    access_log off;
    server {
        include /etc/nginx/lbhook/listen.conf;
        return 200 "for $proxy_protocol_addr\\n";
    }
}
"""
)
PAIR = (
    NGINX_BEGINS
    + """\
http {
    access_log off;
    server {
        include /etc/nginx/lbhook/listen.conf;
        return 200 "public $remote_addr\\n";
    }
    server {
        include /etc/nginx/lbhook/listen-private-link.conf;
        set_real_ip_from 198.51.100.0/24;
        set_real_ip_from 2001:db8:7::/64;
        real_ip_header proxy_protocol;
        return 200 "private $remote_addr\\n";
    }
}
"""
)
STREAM = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
stream {
    log_format who "for $proxy_protocol_addr";
    access_log /var/log/nginx/stream.log who;
    include /etc/nginx/lbhook/stream.conf;
}
"""
HAPROXY = """
global
    log stderr local0
defaults
    mode http
    option forwardfor
    timeout connect 5000
    timeout client 5000
    timeout server 5000
backend servers
    server one 127.0.0.1:8000
"""


def header(source: str, destination: str, *, local: bool = False) -> str:
    """A PROXY v2 header for TCP, in hexadecimal, with Azure's LINKID (type 0xEE, subtype 1);
    `local` is for a connection that nobody else has made."""
    ends = [ipaddress.ip_address(one) for one in (source, destination)]
    addresses, family = b"".join(one.packed for one in ends), {4: 0x11, 6: 0x21}[ends[0].version]
    field = bytes((0xEE, 0, 5, 1)) + (7).to_bytes(4, "little")
    rest = addresses + (40000).to_bytes(2, "big") + PORT.to_bytes(2, "big") + field
    command = 0x20 if local else 0x21
    begin = b"\r\n\r\n\0\r\nQUIT\n" + bytes((command, family)) + len(rest).to_bytes(2, "big")
    return (begin + rest).hex()


def ask(host: Host, said: str, ip: str = FRONT4, source: str = "", port: int = PORT) -> str:
    """What a client is told that begins with these bytes."""
    return host.run(["python3", "-c", ASK, source, ip, str(port), said], timeout=20).stdout


def restart(lab: Lab, configuration: str) -> None:
    """Let nginx have a configuration of a test's own."""
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.path("/run/nginx.pid").exists(), "nginx has stopped")
    lab.vm.write("/etc/nginx/nginx.conf", configuration)
    lab.vm.run(["nginx"])


def through_nginx(lab: Lab) -> None:
    """A website."""
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS.format("nginx", "proxy_protocol"))
    restart(lab, HTTP)


def through_stream(lab: Lab) -> None:
    """A server behind nginx, which sees plain bytes."""
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS.format("nginx-stream", "proxy_protocol"))
    lab.vm.write("/etc/nginx/lbhook/stream.conf", "# Nothing yet.\n")
    restart(lab, STREAM)
    lab.vm.serve(f"tcp,127.0.0.1,{PORT}")


def through_haproxy(lab: Lab) -> None:
    """A backend that is told by X-Forwarded-For."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    lab.vm.write("/etc/haproxy/haproxy.cfg", HAPROXY)
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS.format("haproxy", "accept-proxy"))
    restart(
        lab,
        HTTP.replace("include /etc/nginx/lbhook/listen.conf", "listen 127.0.0.1:8000").replace(
            "$proxy_protocol_addr", "$http_x_forwarded_for"
        ),
    )
    pid = "/run/haproxy.pid"
    files = ["-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/conf.d"]
    lab.vm.run(["haproxy", "-W", "-D", "-p", pid, *files])
    wait_for(lambda: lab.vm.path(pid).exists(), "haproxy")


@pytest.mark.parametrize(
    ("start", "seen"),
    [
        pytest.param(through_nginx, True, id="nginx"),
        pytest.param(
            through_stream, False, id="nginx-stream", marks=pytest.mark.needs("nginx-stream")
        ),
        pytest.param(through_haproxy, True, id="haproxy", marks=pytest.mark.needs("haproxy")),
    ],
)
def test_only_who_sends_the_header_is_served(
    lab: Lab, start: Callable[[Lab], None], seen: bool
) -> None:
    """The consumer's address is known, probes with the header are answered, and a connection
    without one is closed."""
    start(lab)
    lab.balance(body(rule(FRONT4, PORT, VM4, PORT)))
    assert lab.vm.apply()["outcome"] == "changed"
    told = ask(lab.client, header(CONSUMER, VM4))
    assert told.endswith(f"for {CONSUMER}\n" if seen else "GET / HTTP/1.0\n\n"), told
    if not seen:
        log = "/var/log/nginx/stream.log"
        wait_for(lambda: f"for {CONSUMER}\n" in lab.vm.read(log), "the line in the log")
    for local in (False, True):
        probe = header(PROBE4, VM4, local=local)
        assert ask(lab.fabric, probe, ip=VM4, source=PROBE4), local
    plain = ask(lab.client, "")
    assert f"for {CONSUMER}" not in plain
    assert "200" not in plain.partition("\n")[0]
    assert not plain.endswith("GET / HTTP/1.0\n\n")


def test_a_website_beside_a_private_link_service(lab: Lab) -> None:
    """The page's two targets at once: clients of the public port are served without a header, those
    of the service with one, and `$remote_addr` is the consumer's, in both families and for as long
    as the service's subnet is believed."""
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    section = page.split("\n### Behind a Private Link service\n")[1].split("\n## ")[0]
    lab.vm.write("/etc/lbhook/lbhook.toml", section.split("```toml\n")[1].split("```")[0])
    lab.vm.write("/etc/nginx/lbhook/listen-private-link.conf", "listen 127.0.0.127:10009;\n")
    restart(lab, PAIR)
    places = ((FRONT4, VM4), (FRONT6, VM6))
    rules = [rule(front, port, vm, port) for front, vm in places for port in (8080, PORT)]
    lab.balance(body(*rules))
    assert lab.vm.apply()["outcome"] == "changed"
    assert ask(lab.client, "", port=8080).endswith(f"\n\npublic {CLIENT4}\n")
    for consumer, end in ((CONSUMER, VM4), ("fd00:9::9", VM6)):
        for front in (FRONT4, FRONT6):
            told = ask(lab.client, header(consumer, end), ip=front)
            assert told.endswith(f"\n\nprivate {consumer}\n"), told
    told = ask(lab.fabric, header(CONSUMER, VM4), ip=VM4, source=PROBE4)
    assert told.endswith(f"\n\nprivate {PROBE4}\n"), told
    for front, port, said in ((FRONT4, PORT, ""), (FRONT4, 8080, header(CONSUMER, VM4))):
        assert " 200 " not in ask(lab.client, said, ip=front, port=port).partition("\n")[0]
