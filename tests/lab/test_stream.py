"""TCP and UDP passed through nginx to a server on loopback, as clients see it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fabric import CLIENT4, CLIENT6, VM4, VM6, body, rule
from .hosts import wait_for
from .knock import Target, one, states
from .lab import Lab, laboratory
from .rules import FRONT4, FRONT6, WEB
from .talk import Talk

pytestmark = pytest.mark.needs("nginx-stream")

# Two workers, so that a client's datagrams could go to either. What stands in the block holds for
# each server in it: without half-closing, nginx is done with who has asked and waits.
NGINX = """
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
user root;
worker_processes 2;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
stream {
    log_format source "$protocol $remote_addr $server_addr:$server_port";
    access_log /var/log/nginx/stream.log source;
    proxy_half_close on;
    include /etc/nginx/lbhook/stream.conf;
}
"""
STREAM = "/etc/nginx/lbhook/stream.conf"
SETTINGS = "[targets.nftables]\n[targets.nginx-stream]\n"
QUESTIONS = (rule(FRONT4, 53, VM4, 5300, "Udp"), rule(FRONT6, 53, VM6, 5300, "Udp"))
MORE = (rule(FRONT4, 81, VM4, 8081), rule(FRONT6, 81, VM6, 8081))
# Answers with the port that it was asked from: to a server, that is the session.
SESSIONS = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 5300))
while True:
    said, peer = server.recvfrom(65536)
    for answer in range(2):
        server.sendto(b"%d %s" % (peer[1], said), peer)
"""
ASK = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
for number in range(8):
    client = socket.socket(family, socket.SOCK_DGRAM)
    client.settimeout(10)
    client.connect((sys.argv[1], 53))
    for said in (b"a", b"b", b"c"):
        client.send(said)
        answers = [client.recv(100) for _ in range(2)]
        print(number, *(one.decode() for one in answers))
"""


def streaming(lab: Lab) -> None:
    """An nginx that passes on what a stream block says, and servers behind it."""
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.path("/run/nginx.pid").exists(), "nginx has stopped")
    lab.vm.write("/etc/nginx/nginx.conf", NGINX)
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    lab.vm.write(STREAM, "# Nothing yet.\n")
    lab.vm.run(["nginx"])
    lab.vm.serve("tcp,127.0.0.1,443", "tcp,127.0.0.1,8081")
    lab.vm.spawn(["python3", "-c", SESSIONS])
    wait_for(lambda: lab.vm.listens("udp", 5300), "the server for UDP")
    lab.balance(body(*WEB, *QUESTIONS))
    assert lab.vm.apply()["outcome"] == "changed"


@pytest.fixture
def stream(lab: Lab) -> Lab:
    """The laboratory with rules for TCP and UDP in force."""
    streaming(lab)
    return lab


@pytest.fixture(scope="module")
def applied() -> Iterator[Lab]:
    """The same; for tests that only look."""
    with laboratory() as lab:
        streaming(lab)
        yield lab


FAMILIES = pytest.mark.parametrize(
    ("frontend", "client", "vm"), [(FRONT4, CLIENT4, VM4), (FRONT6, CLIENT6, VM6)]
)


@FAMILIES
def test_tcp_is_passed_through(applied: Lab, frontend: str, client: str, vm: str) -> None:
    """The server answers at the same port of loopback, and the log has the client's address."""
    assert one(applied.client, "tcp", frontend, 80).reply == "GET / HTTP/1.0\r\n\r\n"
    wanted = f"TCP {client} {vm}:443\n"
    wait_for(lambda: wanted in applied.vm.read("/var/log/nginx/stream.log"), "the line in the log")


@FAMILIES
def test_udp_is_passed_through(applied: Lab, frontend: str, client: str, vm: str) -> None:
    """Each of many clients is one session to the server, whatever worker its datagrams meet, and
    gets more answers than it has asked questions."""
    asked = applied.client.run(["python3", "-c", ASK, frontend], timeout=60).stdout.splitlines()
    sessions: dict[str, set[str]] = {}
    for line, said in zip(asked, "abc" * 8, strict=True):
        number, port, first, other, second = line.split()
        assert (first, second) == (said, said)
        sessions.setdefault(number, set()).update((port, other))
    assert all(len(ports) == 1 for ports in sessions.values()), sessions
    assert len(set.union(*sessions.values())) == 8
    assert applied.vm.listens("udp", 5300)


def test_what_no_rule_leads_to_is_not_there(applied: Lab) -> None:
    """Neither the frontend's port nor the other protocol of a rule's."""
    targets = [Target("tcp", VM4, 80), Target("tcp", VM6, 5300), Target("udp", VM4, 443)]
    assert states(applied.client, *targets) == {"filtered"}


def test_a_second_apply_changes_nothing(applied: Lab) -> None:
    """The sockets of both protocols are nginx's: nothing is owed."""
    before = applied.vm.workers()
    assert applied.vm.apply()["outcome"] == "unchanged"
    assert applied.vm.workers() == before


@FAMILIES
def test_the_server_may_be_told_who_asks(stream: Lab, frontend: str, client: str, vm: str) -> None:
    """With the PROXY protocol in the stream block; datagrams stay as they are."""
    telling = NGINX.replace("proxy_half_close on;", "proxy_half_close on; proxy_protocol on;")
    stream.vm.write("/etc/nginx/nginx.conf", telling)
    before = stream.vm.workers()
    stream.vm.run(["nginx", "-s", "reload"])
    # A datagram that an old worker still gets is lost with it: UDP has nobody to ask again.
    wait_for(lambda: not before & stream.vm.workers(), "the end of the old workers")
    told = f"PROXY TCP{4 if client == CLIENT4 else 6} {client} {vm} "
    wait_for(lambda: one(stream.client, "tcp", frontend, 80).reply.startswith(told), told)
    asked = stream.client.run(["python3", "-c", ASK, frontend], timeout=60).stdout
    assert "PROXY" not in asked
    assert len(asked.splitlines()) == 24


@pytest.mark.parametrize("frontend", [FRONT4, FRONT6])
def test_rules_come_and_go_and_connections_stay(stream: Lab, frontend: str) -> None:
    """A new rule is served after an apply, a removed one is not, and who is connected goes on."""
    talk = Talk.connect(stream.client, frontend, 80)
    assert talk.ask("before") == "before"
    stream.balance(body(*WEB, *MORE))
    stream.vm.apply()
    assert one(stream.client, "tcp", frontend, 81).state == "open"
    assert not stream.vm.path(STREAM).read_text().count(" udp ")
    stream.fabric.answer(body(*MORE))
    stream.vm.apply()
    assert talk.ask("after") == "after"
    assert one(stream.client, "tcp", frontend, 80).state == "filtered"
    assert one(stream.client, "tcp", frontend, 81).state == "open"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_another_program_has_is_left_out(stream: Lab, protocol: str) -> None:
    """nginx reports success when it can't bind; the port is left to whoever has it, and said."""
    stream.vm.serve(f"{protocol},{VM4},9100")
    stream.balance(body(*WEB, *QUESTIONS, rule(FRONT4, 90, VM4, 9100, protocol)))
    done = stream.vm.lbhook("apply", check=False)
    over = "UDP " if protocol == "udp" else ""
    assert f"nginx-stream: {over}{VM4}:9100 is left out: " in done.stderr
    assert "9100" not in stream.vm.read(STREAM)
    assert "5300" in stream.vm.read(STREAM)
    assert one(stream.client, "tcp", FRONT4, 80).state == "open"


def test_a_website_on_every_address_keeps_its_port(stream: Lab) -> None:
    """Debian's default site has port 80 of all addresses, outside the stream block: nginx could not
    bind, `nginx -t` does not say so, and its old socket looks as if all were well."""
    website = "http { server { listen 80; return 204; } }"
    stream.vm.write("/etc/nginx/nginx.conf", f"{NGINX}{website}\n")
    stream.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: stream.vm.listens("tcp", 80), "the website")
    stream.balance(body(*WEB, *QUESTIONS, rule(FRONT4, 90, VM4, 80)))
    done = stream.vm.lbhook("apply", check=False)
    assert f"nginx-stream: {VM4}:80 is left out: " in done.stderr
    assert ":80;" not in stream.vm.read(STREAM)
    assert one(stream.client, "tcp", FRONT4, 80).state == "open"


def test_without_an_answer_nginx_starts_all_the_same(stream: Lab) -> None:
    """The resting form is a file without a server, beside whatever else is in nginx."""
    stream.vm.lbhook("clean")
    stream.vm.run(["nginx", "-t"])
    assert not stream.vm.listens("tcp", 80)
    assert "server {" not in stream.vm.read(STREAM)
    wait_for(lambda: one(stream.client, "tcp", FRONT4, 80).state == "refused", "a closed port")


def test_a_socket_for_both_families_is_taken_over(stream: Lab) -> None:
    """nginx holds it by a server of the owner's, which the file takes the place of: IPv4 is passed
    on, and still after a restart without lbhook."""
    stream.vm.write(STREAM, "# Nothing yet.\n")
    stream.vm.run(["rm", "-rf", "/var/lib/lbhook", "/run/lbhook"])  # it has never been here
    stream.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not stream.vm.path("/run/nginx.pid").exists(), "nginx has stopped")
    own = "server { listen [::]:9100 ipv6only=off; proxy_pass 127.0.0.1:8081; }"
    stream.vm.write("/etc/nginx/nginx.conf", NGINX.replace(f"include {STREAM};", own))
    stream.vm.run(["nginx"])
    stream.vm.write("/etc/nginx/nginx.conf", NGINX)
    settings = '[targets.nginx-stream.vars]\nupstream = "127.0.0.1:8081"\n'
    stream.vm.write("/etc/lbhook/lbhook.toml", f"[targets.nftables]\n{settings}")
    stream.balance(body(rule(FRONT4, 90, VM4, 9100)))
    stream.vm.lbhook("apply")
    assert "listen [::]:9100 ipv6only=off;" in stream.vm.read(STREAM)
    stream.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not stream.vm.path("/run/nginx.pid").exists(), "nginx has stopped")
    stream.vm.run(["nginx"])
    assert one(stream.client, "tcp", FRONT4, 90).state == "open"
