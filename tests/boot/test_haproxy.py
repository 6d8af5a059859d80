"""haproxy as Debian's unit starts it, from a machine that has never heard of lbhook's file on."""

from __future__ import annotations

from functools import partial

import pytest

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from ..test_docs import blocks
from .azure import Azure
from .machine import CONFIGURATION, LISTEN, RESTING, SETTINGS, SITE, Machine
from .test_reloads import apply

MAIN = "/etc/haproxy/haproxy.cfg"
FRONTEND = "/etc/haproxy/conf.d/lbhook.cfg"
BACKEND = "\nbackend servers\n\tserver one 127.0.0.1:8000\n"
# A socket that does not listen is in no list, and keeps others from its port all the same.
BOUND = f"""
import pathlib, socket, time
mine = socket.socket()
mine.bind(("{VM4}", 8081))
pathlib.Path("/run/bound").touch()
time.sleep(1000000)
"""


def documented() -> list[str]:
    """What the page tells to do once."""
    shown = next(one for one in blocks("docs/targets.md", "console") if "EXTRAOPTS" in one.text)
    return [line.removeprefix("# ") for line in shown.text.splitlines()]


@pytest.fixture
def haproxy(machine: Machine, azure: Azure) -> Machine:
    """The machine, booted with port 8080 in force and a backend in haproxy's configuration."""
    settings = SETTINGS.replace("[targets.nginx]", "[targets.haproxy]")
    machine.write(CONFIGURATION, settings)
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    machine.write(MAIN, machine.read(MAIN) + BACKEND)
    return machine


def applied(machine: Machine) -> str:
    """What an apply says, in one line."""
    return " ".join(machine.run(["lbhook", "apply"]).stdout.split())


def test_the_way_to_a_frontend(haproxy: Machine, azure: Azure) -> None:
    """Skipped with what to do; then that haproxy has to be restarted; then served, verified, and
    there again after a boot."""
    make, set_option, restart, apply = documented()
    said = applied(haproxy)
    option = '`EXTRAOPTS="-S /run/haproxy-master.sock -f /etc/haproxy/conf.d"`'
    assert f"put {option} into /etc/default/haproxy, and restart haproxy" in said
    assert option.strip("`") in set_option
    for command in (make, set_option):
        haproxy.run(["sh", "-euc", command])
    said = applied(haproxy)
    assert "haproxy was started before its command line named this file; restart haproxy" in said
    assert not haproxy.path(FRONTEND).exists()
    for command in (restart, apply):
        haproxy.run(["sh", "-euc", command])
    assert haproxy.reloads()["haproxy"] == "done"
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080"}
    main = haproxy.show("haproxy", "MainPID")
    azure.send(8080, 8081)
    haproxy.run(["systemctl", "reload", "lbhook.service"])
    assert {f"{VM4}:8080", f"{VM4}:8081"} <= haproxy.listeners("haproxy")
    assert haproxy.show("haproxy", "MainPID") == main
    haproxy.power_off()
    azure.send(8081)
    haproxy.boot()
    assert haproxy.active("haproxy") == "active"
    assert haproxy.listeners("haproxy") == {f"{VM4}:8081"}
    assert haproxy.run(["lbhook", "plan"]).stdout.startswith("Nothing to do")


EDGE = "/etc/haproxy/edge.cfg"
TEMPLATE = """
[Service]
Type=notify
ExecStart=/usr/sbin/haproxy -Ws -f /etc/haproxy/%i.cfg -p /run/haproxy-%i.pid
ExecReload=/bin/kill -USR2 $MAINPID
[Install]
WantedBy=multi-user.target
"""
OWN = f"\nfrontend own\n\tmode http\n\tbind {VM4}:8082\n\thttp-request return status 200\n"


def test_a_haproxy_of_another_unit(haproxy: Machine, azure: Azure) -> None:
    """By the page, beside haproxy.service, which has a port of its own: told what to do, then
    followed by each run, its own listeners with it, through a boot and a mistake of its owner's."""
    target = next(one.text for one in blocks("docs/targets.md", "toml") if "@edge" in one.text)
    order = next(one for one in blocks("docs/targets.md", "ini") if "@edge" in one.file)
    haproxy.write(CONFIGURATION, SETTINGS.replace("[targets.nginx]", target))
    haproxy.write(order.file, order.text)
    haproxy.write("/etc/systemd/system/haproxy@.service", TEMPLATE)
    haproxy.write(EDGE, haproxy.read(MAIN).replace("/run/haproxy/admin", "/run/haproxy/edge"))
    haproxy.write(MAIN, haproxy.read(MAIN) + OWN)
    haproxy.run(["mkdir", "-p", "/etc/haproxy/conf.d"])
    haproxy.run(["systemctl", "daemon-reload"])
    haproxy.run(["systemctl", "restart", "haproxy"])
    haproxy.run(["systemctl", "enable", "--now", "haproxy@edge"])
    said = applied(haproxy)
    advice = "put `-f /etc/haproxy/conf.d` into the command line of haproxy@edge, and restart"
    assert advice in said
    unit = TEMPLATE.replace(" -p ", " -f /etc/haproxy/conf.d -p ")
    haproxy.write("/etc/systemd/system/haproxy@.service", unit)
    haproxy.run(["systemctl", "daemon-reload"])
    haproxy.run(["systemctl", "restart", "haproxy@edge"])
    for ports in ((8080, 8082), (8080, 8081, 8082)):
        azure.send(*ports)
        for way in ("shell", "timer", "timer"):
            assert apply(haproxy, way) == 0, way
            places = {f"{VM4}:{port}" for port in ports}
            wait_for(partial(_has, haproxy, places), f"{places} by {way}")
        assert haproxy.reloads()["haproxy"] == "none"
    haproxy.write(EDGE, haproxy.read(EDGE) + "nonsense\n")
    azure.send(8080, 8082)
    assert apply(haproxy, "timer") == 69
    assert "unknown keyword 'nonsense'" in haproxy.journal("-u", "lbhook-refresh")
    haproxy.write(EDGE, haproxy.read(EDGE).removesuffix("nonsense\n"))
    haproxy.power_off()
    haproxy.boot()
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8082"}
    assert haproxy.run(["lbhook", "plan"]).stdout.startswith("Nothing to do")


def _has(machine: Machine, places: set[str]) -> bool:
    return machine.listeners("haproxy") == places


def test_two_frontends_by_the_timer(haproxy: Machine, azure: Azure) -> None:
    """With the two targets that the page prints: a rule of each comes and goes."""
    printed = next(one for one in blocks("docs/targets.md", "toml") if "haproxy-tls" in one.text)
    haproxy.write(CONFIGURATION, SETTINGS.replace("[targets.nginx]", printed.text))
    haproxy.write(MAIN, haproxy.read(MAIN) + BACKEND.replace("servers", "secure"))
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    for ports in ((8080, 8443), (8443,), (8080,), (8080, 8443)):
        azure.send(*ports)
        assert apply(haproxy, "timer") == 0
        haproxy_listens(haproxy, *ports)
        assert haproxy.firewall_ports() == {*ports}


def haproxy_listens(machine: Machine, *ports: int) -> None:
    """It does so there, and nowhere else once its old worker has ended, but where a file at rest
    has it listen."""
    wanted = {f"{VM4}:{port}" for port in ports}
    assert wanted <= machine.listeners("haproxy")
    resting = {8443: "127.0.0.127:10010", 8080: "127.229.32.127:10010"}
    expected = wanted | ({resting[ports[0]]} if len(ports) == 1 else set())
    wait_for(lambda: machine.listeners("haproxy") == expected, f"{expected} alone")


def test_a_restart_before_an_apply_is_mended(haproxy: Machine) -> None:
    """With a file named that is not there yet haproxy does not start; an apply writes it, and
    starts haproxy again."""
    haproxy.write("/etc/default/haproxy", f'EXTRAOPTS="-f {FRONTEND}"\n')
    haproxy.run(["mkdir", "-p", "/etc/haproxy/conf.d"])
    haproxy.run(["systemctl", "restart", "haproxy"], check=False)
    haproxy.wait_for_state("haproxy", "failed", timeout=30)
    haproxy.run(["lbhook", "apply"])
    haproxy.wait_for_state("haproxy", "active")
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080"}


def test_a_port_that_another_program_has(haproxy: Machine, azure: Azure) -> None:
    """It alone is left out, at this apply and at those of the timer, and haproxy's unit is never
    told to try; a rule that comes meanwhile is served; when the port is free the timer takes it."""
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    # Of every address, IPv4 among them.
    argv = ["systemd-socket-activate", "--listen=8082", "/bin/true"]
    haproxy.run(["systemd-run", "--unit=third", *argv])
    wait_for(lambda: "*:8082" in haproxy.listeners("systemd-socket-"), "the other program")
    with haproxy.occupied(VM4, 8081):
        azure.send(8080, 8081, 8082, 8083)
        for words in ([], ["--skip-refused"]):
            said = haproxy.run(["lbhook", "apply", *words]).stderr
            assert "haproxy: port 8081 is left out: " in said
            assert "haproxy: port 8082 is left out: systemd-socket- has [::]:8082; stop" in said
            assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8083"}
        assert haproxy.firewall_ports() == {8080, 8081, 8082, 8083}
        assert "Reload failed" not in haproxy.journal("-u", "haproxy")
    haproxy.run(["systemctl", "stop", "third"])
    haproxy.run(["lbhook", "apply", "--skip-refused"])
    assert haproxy.listeners("haproxy") == {f"{VM4}:{port}" for port in range(8080, 8084)}


def test_what_the_other_ones_configuration_asks_for(haproxy: Machine, azure: Azure) -> None:
    """nginx and haproxy both start with the machine, after lbhook, and nginx has never held the
    port: who asks for it by its own configuration gets it, and both start. What haproxy has when
    such a line comes it keeps until then, with a warning."""
    azure.send(8080, 8081)
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    haproxy.write("/etc/nginx/conf.d/own.conf", "server { listen 8081; return 204; }\n")
    found = "nginx is to listen on 0.0.0.0:8081 by /etc/nginx/conf.d/own.conf:1"
    said = haproxy.run(["lbhook", "apply"]).stderr
    assert f"haproxy: {found}, too; only one can have it after a boot: take that line" in said
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8081"}
    haproxy.power_off()
    haproxy.boot()
    said = haproxy.journal("-u", "lbhook")
    assert f"haproxy: port 8081 is left out: {found}; take that line away, or" in said
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080"}
    assert "0.0.0.0:8081" in haproxy.listeners("nginx")
    # The other way round: now nginx takes what is left.
    haproxy.run(["rm", "/etc/nginx/conf.d/own.conf"])
    haproxy.write("/etc/nginx/conf.d/site.conf", SITE)
    haproxy.write(LISTEN, RESTING)
    own = "\nfrontend own\n\tbind *:8081\n\tdefault_backend servers\n"
    haproxy.write(MAIN, haproxy.read(MAIN) + own)
    haproxy.write(CONFIGURATION, SETTINGS)
    haproxy.run(["rm", FRONTEND])
    number = len(haproxy.read(MAIN).splitlines()) - 1
    haproxy.power_off()
    haproxy.boot()
    by = f"haproxy is to listen on 0.0.0.0:8081 by {MAIN}:{number}; take that line away"
    assert f"nginx: port 8081 is left out: {by}" in haproxy.journal("-u", "lbhook")
    assert haproxy.listeners("haproxy") == {"0.0.0.0:8081", "127.0.0.127:10010"}
    assert "0.0.0.0:8080" in haproxy.listeners("nginx")
    assert haproxy.run(["lbhook", "plan"]).stdout.startswith("Nothing to do")


def test_a_unit_that_is_reloading_counts_as_running(haproxy: Machine, azure: Azure) -> None:
    """A reload in which haproxy can't listen is a failure and is put back, whatever kept it from
    listening; what it served before goes on."""
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    haproxy.run(["systemd-run", "--unit=other", "python3", "-c", BOUND])
    wait_for(lambda: not haproxy.run(["test", "-e", "/run/bound"], check=False).returncode, "it")
    azure.send(8080, 8081)
    done = haproxy.run(["lbhook", "apply"], check=False)
    assert done.returncode == 69, (done.stdout, done.stderr)
    assert f"haproxy does not listen on {VM4} port 8081" in done.stderr
    assert "8081" not in haproxy.read(FRONTEND)
    again = haproxy.run(["lbhook", "apply", "--skip-refused"], check=False)
    assert (again.returncode, "haproxy was not reloaded again" in again.stderr) == (69, True)
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080"}
    haproxy.run(["systemctl", "stop", "other"])
    haproxy.run(["lbhook", "apply"])
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8081"}
