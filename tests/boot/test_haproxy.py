"""haproxy as Debian's unit starts it, from a machine that has never heard of lbhook's file on."""

from __future__ import annotations

import pytest

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from ..test_docs import blocks
from .azure import Azure
from .machine import CONFIGURATION, SETTINGS, Machine
from .test_reloads import apply

MAIN = "/etc/haproxy/haproxy.cfg"
FRONTEND = "/etc/haproxy/conf.d/lbhook.cfg"
BACKEND = "\nbackend servers\n\tserver one 127.0.0.1:8000\n"


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
    rest = {"127.0.0.127:10"} if len(ports) == 1 else set()
    wait_for(lambda: machine.listeners("haproxy") == wanted | rest, f"{wanted} alone")


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
    """Status 69 and not tried: haproxy's unit is never told, at this apply and at those of the
    timer; firewall and file are told apart; and when the port is free the timer takes it."""
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    workers = haproxy.run(["pgrep", "-x", "haproxy"]).stdout
    azure.send(8080, 8081)
    with haproxy.occupied(VM4, 8081):
        for words in ([], ["--skip-refused"]):
            done = haproxy.run(["lbhook", "apply", *words], check=False)
            assert done.returncode == 69, done.stderr
            assert f"has {VM4} port 8081" in done.stderr
        assert "8081" not in haproxy.read(FRONTEND)
        assert haproxy.firewall_ports() == {8080, 8081}
        assert haproxy.run(["pgrep", "-x", "haproxy"]).stdout == workers
        assert "Reload failed" not in haproxy.journal("-u", "haproxy")
    haproxy.run(["lbhook", "apply", "--skip-refused"])
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8081"}


def test_a_unit_that_is_reloading_counts_as_running(haproxy: Machine, azure: Azure) -> None:
    """A reload in which haproxy can't listen is a failure and is put back, whatever kept it from
    listening; what it served before goes on."""
    for command in documented():
        haproxy.run(["sh", "-euc", command])
    # For IPv4, too: it is seen only when haproxy has tried.
    argv = ["systemd-socket-activate", "--listen=8081", "/bin/true"]
    haproxy.run(["systemd-run", "--unit=other", *argv])
    wait_for(lambda: "*:8081" in haproxy.listeners("systemd-socket-"), "the other program")
    azure.send(8080, 8081)
    done = haproxy.run(["lbhook", "apply"], check=False)
    assert done.returncode == 69, (done.stdout, done.stderr)
    assert f"haproxy does not listen on {VM4} port 8081" in done.stderr
    assert "8081" not in haproxy.read(FRONTEND)
    again = haproxy.run(["lbhook", "apply", "--skip-refused"], check=False)
    assert (again.returncode, "haproxy was not reloaded again" in again.stderr) == (69, True)
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080"}
    haproxy.run(["systemctl", "stop", "other"])
    haproxy.run(["lbhook", "apply", "--skip-refused"])
    assert haproxy.listeners("haproxy") == {f"{VM4}:8080", f"{VM4}:8081"}
