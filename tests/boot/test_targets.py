"""Targets under a real systemd: who reads what they write, and what docs/targets.md prints."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import pytest

from ..lab.fabric import VM4, body, rule
from ..lab.hosts import wait_for
from ..test_docs import Block, blocks
from .azure import FRONT, Azure
from .machine import CONFIGURATION, SETTINGS, UNITS, Machine
from .test_reloads import WAYS, apply

GOLDEN = Path(__file__).parents[1] / "golden"
# This is no Azure machine: without an endpoint that is named, lbhook would not ask.
ENDPOINT = '[imds]\nendpoint = "http://169.254.169.254"\n'
FIREWALLD = f"{ENDPOINT}[targets.firewalld]\n[targets.nginx]\n"
APP = """
[Service]
ExecStart=/bin/sh -c 'echo "$LB_TCP_PORTS" >/run/app.ports; exec sleep infinity'
"""


def printed(file: str) -> Block:
    """What docs/targets.md prints of a file."""
    return next(one for one in blocks("docs/targets.md") if one.file == file)


def commands(word: str) -> list[str]:
    """The commands of root's that it prints together, one of which has this word."""
    found = (one.text for one in blocks("docs/targets.md", "console") if one.text[0] == "#")
    return next(re.findall(r"^# (.*)$", text, re.M) for text in found if word in text)


# env


def test_systemd_reads_what_stands_in_an_env_file(machine: Machine) -> None:
    """`EnvironmentFile=` gives a unit each line as it is, and no comment."""
    files = {file.name: file.read_text() for file in GOLDEN.glob("*.env")}
    for name, text in files.items():
        machine.write(f"/etc/golden/{name}", text)
    machine.boot()
    for name, text in files.items():
        run = ["systemd-run", "--quiet", "--wait", "--pipe"]
        argv = [*run, f"--property=EnvironmentFile=/etc/golden/{name}", "/usr/bin/env"]
        found = [one for one in machine.run(argv).stdout.splitlines() if one.startswith("LB_")]
        lines = [line for line in text.splitlines() if line and line[0] != "#"]
        assert sorted(found) == sorted(lines), name


def test_service_that_reads_the_env_file(machine: Machine, azure: Azure) -> None:
    """With what is printed it starts after lbhook, and again when the file has changed, whoever
    runs lbhook."""
    drop_in = printed("/etc/systemd/system/app.service.d/lbhook.conf")
    machine.write(drop_in.file, drop_in.text)
    machine.write(f"/{UNITS}/app.service", APP)
    machine.enable("app.service")
    target = next(one for one in blocks("docs/targets.md", "toml") if "[targets.env]" in one.text)
    machine.write(f"{CONFIGURATION}.d/env.toml", target.text)
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    assert has_read(machine, "8080")
    for port, way in enumerate(WAYS, 8081):
        azure.send(8080, port)
        assert apply(machine, way) == 0, way
        wait_for(partial(has_read, machine, f"8080,{port}"), f"new values by {way}")
        assert apply(machine, way) == 0, way
        assert machine.reloads()["env"] == "none", way


def has_read(machine: Machine, ports: str) -> bool:
    """Whether the service was started with these ports."""
    return machine.read("/run/app.ports") == f"{ports}\n"


# floating-ip and nginx-stream


FLOATING = f"""{ENDPOINT}wait_cached = "1s"
[targets.nftables]
[targets.floating-ip]
[targets.nginx]
vars = {{ ports = [8080] }}
[targets.nginx-stream]
vars = {{ ports = [8081], upstream = "127.0.0.1:8000" }}
"""
STREAM = """
stream {
    include /etc/nginx/lbhook/stream.conf;
}
"""
SERVER = """
server {
    listen 127.0.0.1:8000;
    return 200 "passed on\\n";
}
"""


def test_frontend_addresses_and_streams(machine: Machine, azure: Azure) -> None:
    """The units give the machine its frontend address, and let nginx be tested and reloaded on
    it; at the next boot it is there before there is a network, and without an answer."""
    machine.write(CONFIGURATION, FLOATING)
    machine.write("/etc/nginx/lbhook/stream.conf", "# At rest.\n")
    machine.write("/etc/nginx/conf.d/server.conf", SERVER)
    machine.write("/etc/nginx/modules-enabled/99-stream.conf", STREAM)
    found = body(*(rule(FRONT, port, FRONT, port) for port in (8080, 8081)))
    azure.fabric.load_balance(found)
    azure.fabric.answer(found)
    machine.boot()
    assert (azure.ask(8080), azure.ask(8081)) == (f"{FRONT}:8080", "passed on")
    machine.power_off()
    azure.fall_silent()
    machine.boot(failed=["lbhook-fetch.service"])
    assert "floating-ip      restored" in machine.journal("--unit=lbhook-restore")
    assert (azure.ask(8080), azure.ask(8081)) == (f"{FRONT}:8080", "passed on")
    assert machine.firewall_ports() == {8080, 8081}


DNS = """
import socket
server = socket.socket(type=socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    said, client = server.recvfrom(512)
    server.sendto(said.upper(), client)
"""
QUESTION = """
import socket, sys
client = socket.socket(type=socket.SOCK_DGRAM)
client.settimeout(2)
client.sendto(b"question", (sys.argv[1], 53))
print(client.recvfrom(512)[0].decode())
"""
FLOATING_DNS = "50.0.0.2"


def question(azure: Azure) -> str:
    """What the client is told at port 53; empty if nothing in time."""
    argv = ["python3", "-c", QUESTION, FLOATING_DNS]
    return azure.client.run(argv, check=False).stdout.strip()


def lead(azure: Azure, *rules: dict[str, object]) -> None:
    """Let the load balancer send this here, and say so."""
    azure.fabric.load_balance(body(*rules))
    azure.fabric.answer(body(*rules))


def test_udp_and_a_floating_ip_come_and_go_by_the_timer(machine: Machine, azure: Azure) -> None:
    """With what is printed for nginx and nginx-stream side by side: a rule for questions at a
    frontend address that this machine has only then."""
    targets = next(
        one.text for one in blocks("docs/targets.md", "toml") if "udp_timeout" in one.text
    )
    stream = next(one.text for one in blocks("docs/targets.md", "nginx") if "stream {" in one.text)
    machine.write(CONFIGURATION, ENDPOINT + "[targets.nftables]\n[targets.floating-ip]\n" + targets)
    web, dns = rule(FRONT, 80, VM4, 80), rule(FLOATING_DNS, 53, FLOATING_DNS, 53, "Udp")
    lead(azure, web)
    machine.boot()
    machine.run(["sh", "-c", 'printf "%s" "$1" >>/etc/nginx/nginx.conf', "sh", stream])
    machine.run(["systemd-run", "python3", "-c", DNS])
    lead(azure, web, dns)
    assert apply(machine, "timer") == 0
    assert question(azure) == "QUESTION"
    assert azure.ask(80) == f"{VM4}:80"
    lead(azure, web)
    assert apply(machine, "timer") == 0
    assert question(azure) == ""
    assert azure.ask(80) == f"{VM4}:80"
    assert FLOATING_DNS not in machine.run(["ip", "address"]).stdout
    assert FLOATING_DNS not in machine.run(["ss", "-Hlun"]).stdout


# firewalld


with_firewalld = pytest.mark.parametrize("image", ["bookworm", "forky-firewalld"], indirect=True)


def ports(machine: Machine) -> set[str]:
    """The ports that the running policy opens."""
    listed = machine.run(["firewall-cmd", "--policy=lbhook", "--list-rich-rules"]).stdout
    return set(re.findall(r'port port="(\d+)"', listed))


@pytest.fixture
def walled(machine: Machine, azure: Azure) -> Machine:
    """The machine, booted behind firewalld with port 8080 in force."""
    machine.write(CONFIGURATION, FIREWALLD)
    machine.enable("firewalld.service")
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    return machine


@with_firewalld
def test_firewalld_at_boot(walled: Machine, azure: Azure) -> None:
    """Open when the boot has ended, and at the next boot with the same files."""
    assert azure.ask(8080) == f"{VM4}:8080"
    walled.power_off()
    walled.boot()
    assert walled.reloads()["firewalld"] == "done"
    assert azure.ask(8080) == f"{VM4}:8080"


@with_firewalld
def test_active_firewalld_is_reloaded_within_the_run(walled: Machine, azure: Azure) -> None:
    """Whoever runs lbhook: its unit at boot, a reload of that, the timer's, a person."""
    for port, way in enumerate(WAYS, 8081):
        azure.send(port)
        assert apply(walled, way) == 0
        assert walled.reloads()["firewalld"] == "done"
        assert ports(walled) == {str(port)}
        assert azure.ask(port) == f"{VM4}:{port}"
        assert apply(walled, way) == 0
        assert walled.reloads()["firewalld"] == "none"


@with_firewalld
def test_firewalld_that_was_stopped_by_hand_stays_stopped(walled: Machine, azure: Azure) -> None:
    """It finds the policy when somebody starts it."""
    walled.run(["systemctl", "stop", "firewalld"])
    azure.send(8081)
    assert apply(walled, "shell") == 0
    assert (walled.reloads()["firewalld"], walled.active("firewalld")) == ("none", "inactive")
    walled.run(["systemctl", "start", "firewalld"])
    assert ports(walled) == {"8081"}


@with_firewalld
def test_firewalld_that_failed_is_started_again(walled: Machine, azure: Azure) -> None:
    """Our file changed, and the unit is enabled; the next run verifies it."""
    walled.crash("firewalld")
    azure.send(8081)
    assert apply(walled, "shell") == 0
    assert walled.reloads()["firewalld"] == "queued"
    walled.wait_for_state("firewalld", "active")
    assert apply(walled, "shell") == 0
    assert walled.reloads()["firewalld"] == "done"
    assert ports(walled) == {"8081"}


# A user's own


FTP = """
import ftplib, json, sys
with ftplib.FTP(sys.argv[1], timeout=5) as ftp:
    ftp.trust_server_pasv_ipv4_address = True
    ftp.login()
    address, lines = ftp.makepasv()[0], []
    ftp.retrlines("RETR greeting", lines.append)
    print(json.dumps([address, *lines]))
"""


def download(azure: Azure, server: str) -> object:
    """What an FTP client gets: the address for data that it is told, and a file from there."""
    done = azure.client.run(["python3", "-c", FTP, server], check=False)
    return json.loads(done.stdout) if done.returncode == 0 else done.stderr


def await_download(azure: Azure, server: str, told: str) -> None:
    """Wait until a client of this server is told this address, and gets the file there."""
    wait_for(lambda: download(azure, server) == [told, "hello"], f"data at {told}")


def publish(azure: Azure, *public: str) -> None:
    """Let the VM have these public addresses of its own, and the FTP port a rule."""
    found = body(rule(FRONT, 21, VM4, 21), public=[(one, VM4) for one in public])
    azure.fabric.load_balance(found)
    azure.fabric.answer(found)


def test_vsftpd_tells_its_public_address(machine: Machine, azure: Azure) -> None:
    """With what is printed a client gets its data from the VM's public address; another address
    is told after the timer's next run, without any the private one, and the old file comes
    back."""
    machine.write(f"{CONFIGURATION}.d/endpoint.toml", ENDPOINT)
    machine.write("/srv/ftp/greeting", "hello\n")
    machine.enable("vsftpd.service")
    # Not nginx: it would want the port of the rule.
    machine.write(CONFIGURATION, "")
    publish(azure, "51.0.0.1")
    machine.boot()
    settings = f"{CONFIGURATION}.d/vsftpd.toml"
    for file in (settings, "/etc/lbhook/templates/vsftpd.conf.j2"):
        machine.write(file, printed(file).text)
    for line in commands("vsftpd"):
        machine.run(line.split())
    await_download(azure, "51.0.0.1", "51.0.0.1")
    publish(azure, "52.0.0.1")
    assert apply(machine, "timer") == 0
    await_download(azure, "52.0.0.1", "52.0.0.1")
    publish(azure)
    assert apply(machine, "reload") == 0
    await_download(azure, FRONT, VM4)
    machine.path(settings).unlink()
    assert apply(machine, "timer") == 0
    assert machine.read("/etc/vsftpd.conf").startswith("# Example config file")


# nginx

SECOND = """
[Service]
Type=forking
PIDFile=/run/nginx-%i.pid
ExecStart=/usr/sbin/nginx -c /etc/nginx/%i.conf
ExecReload=/bin/kill -HUP $MAINPID
[Install]
WantedBy=multi-user.target
"""
SECOND_CONF = """
pid /run/nginx-second.pid;
events {}
http { server { %s return 200 "second\\n"; } }
"""
INCLUDE = "include /etc/nginx/lbhook/listen-second.conf;"


def test_an_nginx_of_another_unit(machine: Machine, azure: Azure) -> None:
    """By the page, beside nginx.service: each has its ports while it is taken over, when rules come
    and go, and after a boot."""
    target = next(one.text for one in blocks("docs/targets.md", "toml") if "@second" in one.text)
    order = next(one for one in blocks("docs/targets.md", "ini") if "@second" in one.file)
    machine.write("/etc/systemd/system/nginx@.service", SECOND)
    machine.write(order.file, order.text)
    wanted = "/etc/systemd/system/multi-user.target.wants/nginx@second.service"
    machine.link(wanted, "/etc/systemd/system/nginx@.service")
    machine.write("/etc/nginx/second.conf", SECOND_CONF % "listen 8443;")
    machine.write(CONFIGURATION, SETTINGS + "vars = { except_ports = [8443] }\n")
    azure.send(8080, 8443)
    machine.boot()
    machine.stop_timer()
    assert azure.ask(8443) == "second"
    machine.write("/etc/nginx/second.conf", SECOND_CONF % INCLUDE)
    machine.write(CONFIGURATION, f"{SETTINGS}vars = {{ except_ports = [8443] }}\n{target}")
    for ports in ((8080, 8443), (8080, 8081, 8443), (8081, 8443)):
        azure.send(*ports)
        for way in ("shell", "timer"):
            assert apply(machine, way) == 0, way
            assert azure.ask(8443) == "second"
        assert {azure.ask(port) for port in ports[:-1]} == {f"{VM4}:{port}" for port in ports[:-1]}
        assert machine.run(["lbhook", "plan"]).stdout.startswith("Nothing to do")
    machine.power_off()
    machine.boot()
    assert azure.ask(8443) == "second"
    assert azure.ask(8081) == f"{VM4}:8081"
    assert machine.run(["lbhook", "plan"]).stdout.startswith("Nothing to do")
