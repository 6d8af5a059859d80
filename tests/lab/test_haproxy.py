"""haproxy in master-worker mode with a frontend of lbhook's: traffic, and what goes wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from .fabric import CLIENT4, CLIENT6, VM4, VM6, body, rule
from .hosts import wait_for
from .knock import Target, one, states
from .lab import Lab
from .rules import FRONT4, FRONT6, PAIRS, WEB
from .talk import Talk
from .vm import LISTEN, NFT

pytestmark = pytest.mark.needs("haproxy")

# A stand-in's name, as the kernel has it.
PYTHON = Path(sys.executable).name[:15]
MAIN = "/etc/haproxy/haproxy.cfg"
FRONTEND = "/etc/haproxy/conf.d/lbhook.cfg"
SETTINGS = "[targets.nftables]\n[targets.haproxy]\n"
# What Debian ships, but for what only its own user needs, and two backends.
HAPROXY = """
global
    log stderr local0
    stats socket /run/haproxy.sock mode 660 level admin
defaults
    log global
    mode {mode}
    option forwardfor
    timeout connect 5000
    timeout client 50000
    timeout server 50000
backend servers
    server one 127.0.0.1:8000
"""
# Behind haproxy: what the client is said to be, and what haproxy was asked.
WEBSITE = """
user root;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log off;
    server {
        listen 127.0.0.1:8000;
        return 200 "$http_x_forwarded_for\\n";
    }
    server {
        include /etc/nginx/lbhook/listen.conf;
        return 200 "nginx\\n";
    }
}
"""
MORE = (rule(FRONT4, 81, VM4, 8081), rule(FRONT6, 81, VM6, 8081))


def start(lab: Lab, mode: str = "tcp", *words: str) -> None:
    """haproxy as its unit starts it, with further words of its command line."""
    lab.vm.write(MAIN, HAPROXY.format(mode=mode))
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    pid = "/run/haproxy.pid"
    lab.vm.run(["haproxy", "-W", "-D", "-p", pid, "-f", MAIN, *words])
    wait_for(lambda: len(workers(lab)) == 1, "haproxy's worker")


def workers(lab: Lab) -> list[str]:
    """The processes that haproxy's main process has started."""
    main = lab.vm.read("/run/haproxy.pid").strip()
    children = ["cat", f"/proc/{main}/task/{main}/children"]
    return lab.vm.run(children, check=False).stdout.split()


@pytest.fixture
def haproxy(lab: Lab) -> Lab:
    """The laboratory with a haproxy that passes TCP to a server which echoes, and a web rule."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    start(lab, "tcp", "-f", "/etc/haproxy/conf.d")
    lab.vm.serve("tcp,127.0.0.1,8000")
    lab.balance(body(*WEB))
    return lab


def became(report: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """What became of each target and of its reload."""
    return {one["name"]: (one["outcome"], one["reload"]) for one in report["targets"]}


def test_tcp_reaches_the_backend(haproxy: Lab) -> None:
    """By both families; and another run finds nothing to do."""
    assert became(haproxy.vm.apply())["haproxy"] == ("created", "done")
    for frontend in (FRONT4, FRONT6):
        assert one(haproxy.client, "tcp", frontend, 80).reply == "GET / HTTP/1.0\r\n\r\n"
    before = workers(haproxy)
    assert haproxy.vm.apply()["outcome"] == "unchanged"
    assert workers(haproxy) == before


@pytest.mark.parametrize("dropped", [True, False])
def test_a_target_that_haproxy_reads_no_more(haproxy: Lab, dropped: bool) -> None:
    """It was started anew without the directory: a target that is dropped is undone, another one
    is skipped, and no run fails."""
    haproxy.vm.apply()
    haproxy.vm.run(["kill", haproxy.vm.read("/run/haproxy.pid").strip()])
    wait_for(lambda: not workers(haproxy), "the end of haproxy")
    own = "frontend own\n    bind 127.0.0.1:8001\n    default_backend servers\n"
    haproxy.vm.write(MAIN, HAPROXY.format(mode="tcp") + own)
    haproxy.vm.run(["haproxy", "-W", "-D", "-p", "/run/haproxy.pid", "-f", MAIN])
    wait_for(lambda: haproxy.vm.listens("tcp", 8001), "haproxy")
    if dropped:
        haproxy.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    outcomes = [[("removed", "done")], []] if dropped else [[("skipped", "none")]] * 2
    for expected in outcomes:
        found = became(haproxy.vm.apply())
        assert [one for name, one in found.items() if name == "haproxy"] == expected


def test_a_file_that_nginx_does_not_read_takes_no_listener_from_haproxy(haproxy: Lab) -> None:
    """Both want it, and one is skipped, as is said; once nginx reads it, both are refused."""
    nginx = haproxy.vm.read("/etc/nginx/nginx.conf")
    unread = nginx.replace("include /etc/nginx/lbhook/listen.conf;", "listen 127.0.0.1:8001;")
    haproxy.vm.write("/etc/nginx/nginx.conf", unread)
    haproxy.vm.write("/etc/lbhook/lbhook.toml", f"{SETTINGS}[targets.nginx]\n")
    report = became(haproxy.vm.apply())
    assert (report["haproxy"], report["nginx"]) == (("created", "done"), ("skipped", "none"))
    haproxy.vm.write("/etc/nginx/nginx.conf", nginx)
    done = haproxy.vm.lbhook("apply", check=False)
    assert done.returncode == 78
    assert "haproxy and nginx would both listen on" in done.stderr


def test_http_keeps_the_clients_address(lab: Lab) -> None:
    """The mode is that of `defaults`, and so is what they say of a header."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    start(lab, "http", "-f", "/etc/haproxy/conf.d")
    lab.vm.write("/etc/nginx/nginx.conf", WEBSITE)
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: lab.vm.listens("tcp", 8000), "the web server behind haproxy")
    lab.balance(body(*WEB))
    lab.vm.apply()
    for frontend, client in ((FRONT4, CLIENT4), (FRONT6, CLIENT6)):
        assert one(lab.client, "tcp", frontend, 80).reply.endswith(f"\r\n\r\n{client}\n")


@pytest.mark.parametrize("frontend", [FRONT4, FRONT6])
def test_rules_come_and_go_and_connections_stay(haproxy: Lab, frontend: str) -> None:
    """A new rule is served after an apply, a removed one is not, and who is connected goes on."""
    haproxy.vm.apply()
    talk = Talk.connect(haproxy.client, frontend, 80)
    assert talk.ask("before") == "before"
    haproxy.balance(body(*WEB, *MORE))
    haproxy.vm.apply()
    assert one(haproxy.client, "tcp", frontend, 81).state == "open"
    haproxy.fabric.answer(body(*MORE))
    haproxy.vm.apply()
    assert talk.ask("after") == "after"
    assert one(haproxy.client, "tcp", frontend, 80).state == "filtered"
    assert one(haproxy.client, "tcp", frontend, 81).state == "open"


def test_somebody_elses_mistake_blocks_haproxy_alone(haproxy: Lab) -> None:
    """The firewall follows the rules; haproxy goes on with what it has, until that is fixed."""
    haproxy.vm.apply()
    haproxy.vm.write(MAIN, HAPROXY.format(mode="tcp") + "nonsense\n")
    haproxy.balance(body(*WEB, *MORE))
    done = haproxy.vm.lbhook("apply", "--json", check=False)
    assert done.returncode == 69
    assert became(json.loads(done.stdout)) == {
        "env": ("changed", "none"),
        "nftables": ("changed", "done"),
        "haproxy": ("blocked", "none"),
    }
    assert "haproxy refuses its configuration without this change, too" in done.stderr
    assert f"[ALERT] parsing [{MAIN}:14] : unknown keyword 'nonsense'" in done.stderr
    # The firewall lets it in; nobody is there yet.
    assert one(haproxy.client, "tcp", FRONT4, 81).state == "refused"
    assert one(haproxy.client, "tcp", FRONT4, 80).state == "open"
    haproxy.vm.write(MAIN, HAPROXY.format(mode="tcp"))
    assert became(haproxy.vm.apply())["haproxy"] == ("changed", "done")
    assert one(haproxy.client, "tcp", FRONT4, 81).state == "open"


def test_a_backend_that_is_not_there_is_refused(haproxy: Lab) -> None:
    """haproxy is left alone, the firewall is not held back, and the message has what haproxy
    says."""
    haproxy.vm.write("/etc/lbhook/lbhook.toml", f'{SETTINGS}vars = {{ backend = "none" }}\n')
    done = haproxy.vm.lbhook("apply", check=False)
    assert done.returncode == 78
    assert "unable to find required default_backend: 'none'" in done.stderr
    assert not haproxy.vm.path(FRONTEND).exists()
    assert haproxy.vm.path(NFT).exists()


def test_a_port_that_another_program_has_is_left_out(haproxy: Lab) -> None:
    """It alone, and named, by each run: what else the rules ask for comes and goes, and haproxy is
    not told to try, since it would refuse all connections meanwhile; the timer takes the port when
    it is free."""
    haproxy.vm.apply()
    process = haproxy.vm.serve("tcp,0.0.0.0,9100")
    there = workers(haproxy)
    haproxy.balance(body(*WEB, rule(FRONT4, 90, VM4, 9100)))
    said = haproxy.vm.lbhook("apply").stderr
    assert (
        f"haproxy: port 9100 is left out: {PYTHON} has 0.0.0.0:9100; stop that program, or" in said
    )
    assert workers(haproxy) == there
    haproxy.balance(body(*WEB, *MORE, rule(FRONT4, 90, VM4, 9100)))
    for words in ((), ("--skip-refused",)):
        assert "haproxy: port 9100 is left out: " in haproxy.vm.lbhook("apply", *words).stderr
        targets = [Target("tcp", front, port) for front in (FRONT4, FRONT6) for port in (80, 81)]
        assert states(haproxy.client, *targets) == {"open"}
    assert "9100" not in haproxy.vm.read(FRONTEND)
    assert "9100" in haproxy.vm.read(NFT)
    assert "9100 is left out" in " ".join(haproxy.vm.lbhook("doctor", check=False).stdout.split())
    process.terminate()
    process.wait()
    haproxy.vm.lbhook("apply", "--skip-refused")
    assert one(haproxy.client, "tcp", FRONT4, 90).state == "open"


def test_a_program_that_takes_ipv6_alone_leaves_ipv4_to_haproxy(haproxy: Lab) -> None:
    """Its address of IPv6 alone is left out; clients of IPv4 come to haproxy."""
    haproxy.vm.serve("tcp,[::],9100")
    haproxy.balance(body(*WEB, rule(FRONT4, 90, VM4, 9100), rule(FRONT6, 90, VM6, 9100)))
    said = haproxy.vm.lbhook("apply").stderr
    assert f"haproxy: port 9100 on {VM6} is left out: {PYTHON} has [::]:9100; stop" in said
    assert f"bind {VM4}:9100 " in haproxy.vm.read(FRONTEND)
    assert one(haproxy.client, "tcp", FRONT4, 90).state == "open"
    assert haproxy.vm.apply()["outcome"] == "unchanged"


def test_a_port_of_nginxs_own_is_left_out_at_a_first_boot(haproxy: Lab) -> None:
    """Neither runs yet, and nothing is known of an earlier boot: nginx's configuration asks for the
    port, and whoever starts first would keep the other down."""
    stopped(haproxy)
    haproxy.vm.run(["nginx", "-s", "quit"])
    wait_for(lambda: not haproxy.vm.path("/run/nginx.pid").exists(), "the end of nginx")
    site = WEBSITE.replace("127.0.0.1:8000", "8443").replace("include", "# include")
    haproxy.vm.write("/etc/nginx/nginx.conf", site)
    haproxy.balance(body(rule(FRONT4, 443, VM4, 8443), rule(FRONT6, 443, VM6, 8443), *MORE))
    said = haproxy.vm.lbhook("apply").stderr
    by = "nginx is to listen on 0.0.0.0:8443 by /etc/nginx/nginx.conf:9; take that line away, or"
    assert f"haproxy: port 8443 on {VM4} is left out: {by}" in said
    assert "is left out" in haproxy.vm.lbhook("plan").stderr
    started(haproxy)
    haproxy.vm.run(["nginx"])
    assert one(haproxy.client, "tcp", FRONT4, 443).reply.startswith("HTTP/1.1 200 OK")
    assert one(haproxy.client, "tcp", FRONT6, 443).reply.startswith("GET /")
    assert one(haproxy.client, "tcp", FRONT4, 81).reply.startswith("GET /")
    # Now by nginx's socket.
    assert haproxy.vm.apply()["outcome"] == "unchanged"


def stopped(lab: Lab) -> None:
    """haproxy has ended, as before a boot."""
    lab.vm.run(["kill", lab.vm.read("/run/haproxy.pid").strip()])
    wait_for(lambda: not workers(lab), "the end of haproxy")
    lab.vm.run(["rm", "/run/haproxy.pid"])


def started(lab: Lab) -> None:
    """haproxy, with what is configured by now."""
    words = ["-p", "/run/haproxy.pid", "-f", MAIN, "-f", "/etc/haproxy/conf.d"]
    lab.vm.run(["haproxy", "-W", "-D", *words])
    wait_for(lambda: len(workers(lab)) == 1, "haproxy's worker")


@pytest.mark.needs("setpriv")
def test_ports_that_haproxy_may_not_open(haproxy: Lab) -> None:
    """It lacks the right for those below 1024: such a port alone is left out."""
    haproxy.vm.run(["sh", "-c", "kill $(cat /run/haproxy.pid)"])
    wait_for(lambda: not workers(haproxy), "the end of haproxy")
    words = ["-p", "/run/haproxy.pid", "-f", MAIN, "-f", "/etc/haproxy/conf.d"]
    limited = ["setpriv", "--bounding-set=-net_bind_service"]
    haproxy.vm.run([*limited, "haproxy", "-W", "-D", *words])
    wait_for(lambda: len(workers(haproxy)) == 1, "haproxy's worker")
    haproxy.balance(body(rule(FRONT4, 443, VM4, 443), rule(FRONT4, 80, VM4, 8080)))
    done = haproxy.vm.lbhook("apply")
    assert done.returncode == 0
    said = "port 443 is left out: haproxy, as user root, has no CAP_NET_BIND_SERVICE for it; "
    assert said in done.stderr
    assert f"bind {VM4}:8080 " in haproxy.vm.read(FRONTEND)
    assert f"bind {VM4}:443" not in haproxy.vm.read(FRONTEND)


def test_a_haproxy_that_does_not_read_the_file_is_left_alone(lab: Lab) -> None:
    """The target is skipped with what to do, and the firewall follows the rules."""
    start(lab, "tcp")
    lab.balance(body(*WEB))
    done = lab.vm.lbhook("apply", "--json")
    assert became(json.loads(done.stdout)) == {
        "env": ("created", "none"),
        "nftables": ("created", "done"),
        "haproxy": ("skipped", "none"),
    }
    assert "haproxy does not read it; create /etc/haproxy/conf.d" in lab.vm.lbhook("apply").stdout
    assert not lab.vm.path(FRONTEND).exists()


BOTH = """
[targets.nftables]
[targets.haproxy]
vars = {{ ports = {haproxy} }}
[targets.nginx]
vars = {{ ports = {nginx} }}
"""


def test_a_listener_changes_hands(haproxy: Lab) -> None:
    """From nginx to haproxy and back in one apply each, with a neighbour that stays where it is:
    nobody looks whether a port is still taken but the program that can't have it."""
    haproxy.vm.write("/etc/nginx/nginx.conf", WEBSITE.replace("8000", "8001"))
    haproxy.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: haproxy.vm.listens("tcp", 8001), "nginx")
    haproxy.balance(body(*WEB, *MORE))
    for ports in ([443], [443, 8081], [443]):
        others = [port for port in (443, 8081) if port not in ports] or [9]
        text = BOTH.format(haproxy=ports, nginx=others)
        haproxy.vm.write("/etc/lbhook/lbhook.toml", text)
        haproxy.vm.apply()
        for frontend in (FRONT4, FRONT6):
            assert one(haproxy.client, "tcp", frontend, 80).reply.startswith("GET /")
            reply = one(haproxy.client, "tcp", frontend, 81).reply
            assert reply.startswith("GET /" if 8081 in ports else "HTTP/1.1 200 OK"), ports


def test_two_that_want_one_listener_are_refused(haproxy: Lab) -> None:
    """Neither program finds that wrong, and nginx would not start again."""
    haproxy.vm.write("/etc/lbhook/lbhook.toml", f"{SETTINGS}[targets.nginx]\n")
    done = haproxy.vm.lbhook("apply", check=False)
    assert done.returncode == 78
    assert f"haproxy and nginx would both listen on {VM4} port 443, {VM6} port 443" in done.stderr
    assert not haproxy.vm.path(FRONTEND).exists()


def test_without_a_rule_haproxy_starts_all_the_same(haproxy: Lab) -> None:
    """What clean leaves has one listener, where nobody calls and beside nginx's own."""
    haproxy.vm.apply()
    haproxy.vm.lbhook("clean")
    assert "bind 127.0.0.127:10010\n" in haproxy.vm.read(FRONTEND)
    assert "listen 127.0.0.127:10009;" in haproxy.vm.read(LISTEN)
    haproxy.vm.run(["haproxy", "-c", "-f", FRONTEND])
    wait_for(lambda: one(haproxy.client, "tcp", FRONT4, 80).state == "refused", "a closed port")


def test_a_target_that_is_dropped_leaves_what_haproxy_can_start_with(haproxy: Lab) -> None:
    """Its file is named on a command line, perhaps; its listeners go at once."""
    haproxy.vm.apply()
    haproxy.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    assert became(haproxy.vm.apply())["haproxy"] == ("removed", "done")
    assert "bind 127.0.0.127:10010\n" in haproxy.vm.read(FRONTEND)
    wait_for(lambda: one(haproxy.client, "tcp", FRONT4, 80).state == "refused", "a closed port")


def test_a_target_that_gets_another_path_leaves_what_haproxy_can_start_with(haproxy: Lab) -> None:
    """Its old file rests beside the new one, which has the same frontend."""
    haproxy.vm.apply()
    path = "/etc/haproxy/conf.d/00-lbhook.cfg"
    text = haproxy.vm.read("/etc/lbhook/lbhook.toml")
    moved = text.replace("[targets.haproxy]\n", f'[targets.haproxy]\npath = "{path}"\n')
    haproxy.vm.write("/etc/lbhook/lbhook.toml", moved)
    assert haproxy.vm.lbhook("apply").returncode == 0
    assert "frontend lbhook" in haproxy.vm.read(path)
    haproxy.vm.run(["haproxy", "-c", "-f", MAIN, "-f", "/etc/haproxy/conf.d"])
    wait_for(lambda: one(haproxy.client, "tcp", FRONT4, 80).state == "open", "the open port")


def test_a_haproxy_without_a_master_is_told_apart(lab: Lab) -> None:
    """It takes no signal for a reload: that is said, and the firewall goes on."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    lab.vm.write(MAIN, HAPROXY.format(mode="tcp") + "listen own\n    bind 127.0.0.1:8001\n")
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    words = ["-f", MAIN, "-f", "/etc/haproxy/conf.d"]
    lab.vm.run(["haproxy", "-D", "-p", "/run/haproxy.pid", *words])
    lab.balance(body(*WEB))
    done = lab.vm.lbhook("apply", check=False)
    assert done.returncode == 69
    assert "haproxy was started without a master, and can't reload; start it with -W" in done.stderr
    assert lab.vm.path(NFT).exists()


def test_more_listeners_than_haproxy_may_open_are_not_even_tried(lab: Lab) -> None:
    """Its hard limit is what it was started with; what it has goes on without a gap."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    lab.vm.write(MAIN, HAPROXY.format(mode="tcp"))
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    words = f"haproxy -W -D -p /run/haproxy.pid -f {MAIN} -f /etc/haproxy/conf.d"
    lab.balance(body(*WEB))
    lab.vm.lbhook("apply")
    lab.vm.run(["sh", "-c", f"ulimit -n 300; exec {words}"])
    wait_for(lambda: len(workers(lab)) == 1, "haproxy's worker")
    there = workers(lab)
    lab.fabric.answer(body(*WEB, *(rule(FRONT4, port, VM4, port) for port in range(7000, 7400))))
    done = lab.vm.lbhook("apply", check=False)
    assert done.returncode == 69
    assert "haproxy can't listen: 402 listeners, and it may open 300 files" in done.stderr
    assert "set LimitNOFILE=804 in its unit and restart it once" in done.stderr
    assert workers(lab) == there
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


NAMED = """
global
    log stderr local0
defaults web
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
backend servers from web
    server one 127.0.0.1:8000
defaults databases
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
listen pg from databases
    bind 127.0.0.1:5432
    server db 127.0.0.1:5433
"""


def test_a_defaults_section_is_named_or_haproxys_alert_is_passed_on(lab: Lab) -> None:
    """Without a name the frontend takes whichever came last; with one it takes that."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    lab.vm.write(MAIN, NAMED)
    pid = "/run/haproxy.pid"
    lab.vm.run(["haproxy", "-W", "-D", "-p", pid, "-f", MAIN, "-f", "/etc/haproxy/conf.d"])
    lab.balance(body(*WEB))
    lab.vm.write("/etc/lbhook/lbhook.toml", SETTINGS)
    said = lab.vm.lbhook("apply").stderr
    assert "haproxy: its check warns: parsing [/etc/haproxy/conf.d/lbhook.cfg:" in said
    assert "defaults section 'databases'" in said
    lab.vm.write("/etc/lbhook/lbhook.toml", f'{SETTINGS}vars = {{ defaults = "web" }}\n')
    assert "its check warns" not in lab.vm.lbhook("apply").stderr
    assert "frontend lbhook from web\n" in lab.vm.read(FRONTEND)
    assert lab.vm.lbhook("plan").stdout.startswith("Nothing to do")


@pytest.mark.parametrize("place", ["*", VM4, f"127.0.0.1:8444,{VM4}"])
def test_a_frontend_of_the_owners_keeps_its_port(lab: Lab, place: str) -> None:
    """A rule that leads to it makes no frontend of lbhook's beside it, which would get all of its
    connections, or some; the other rule has one, and the warning names the line.
    So it is at a boot, before haproxy is started."""
    answer = 'http-request return status 200 content-type text/plain string "own"'
    file = "/etc/haproxy/conf.d/own.cfg"
    lab.vm.write(file, f"frontend own\n    bind {place}:8443\n    {answer}\n")
    start(lab, "http", "-f", "/etc/haproxy/conf.d")
    wait_for(lambda: lab.vm.listens("tcp", 8443), "the owner's frontend")
    lab.balance(body(rule(FRONT4, 443, VM4, 8443), *MORE, **PAIRS))
    left_out = f"haproxy: port 8443 is left out: {file}:2 binds it; take that line away, or"
    assert left_out in lab.vm.lbhook("apply").stderr
    stopped(lab)
    lab.vm.run(["rm", "-rf", "/run/lbhook"])
    assert left_out in lab.vm.lbhook("apply").stderr
    start(lab, "http", "-f", "/etc/haproxy/conf.d")
    assert one(lab.client, "tcp", FRONT4, 81).state == "open"
    answers = [one(lab.client, "tcp", FRONT4, 443).reply for _ in range(12)]
    assert all(reply.endswith("own") for reply in answers), answers
    assert lab.vm.lbhook("plan").stdout.startswith("Nothing to do")


def test_a_boot_takes_no_port_from_another_program(lab: Lab) -> None:
    """Who has it while haproxy runs keeps it: it is left out now, and before haproxy and that
    program start again."""
    lab.vm.path("/etc/haproxy/conf.d").mkdir(parents=True)
    start(lab, "tcp", "-f", "/etc/haproxy/conf.d")
    lab.vm.serve("tcp,127.0.0.1,8000")
    server = lab.vm.serve(f"tcp,{VM4},9100")
    lab.balance(body(*WEB, rule(FRONT4, 90, VM4, 9100)))
    assert f" has {VM4}:9100; stop that program, or" in lab.vm.lbhook("apply").stderr
    server.terminate()
    server.wait()
    stopped(lab)
    lab.vm.run(["rm", "-r", "/run/lbhook"])
    said = lab.vm.lbhook("apply").stderr
    assert "haproxy: port 9100 is left out: " in said
    assert f" had {VM4}:9100 when lbhook looked last" in said
    assert "9100" not in lab.vm.read(FRONTEND)
    assert f"bind {VM4}:443 " in lab.vm.read(FRONTEND)
