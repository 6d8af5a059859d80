"""What a reload means in each state of a unit, from each place where lbhook runs."""

from __future__ import annotations

import time
from functools import partial

import pytest

from ..lab.fabric import VM4
from ..lab.hosts import wait_for
from .azure import Azure
from .machine import SETTINGS, SITE, Machine

WAYS = {
    "shell": ["lbhook", "apply"],
    "boot unit": ["systemctl", "restart", "lbhook.service"],
    "reload": ["systemctl", "reload", "lbhook.service"],
    "timer": ["systemctl", "start", "lbhook-refresh.service"],
}
# A unit that is ordered after lbhook is held back by it; another is not.
ORDERS = [([*WAYS][:1], ""), ([*WAYS][1:], "After=lbhook.service")]
# Starting takes as long as the file is there; so does the reload of a user's own program.
HELD = "/bin/sh -c 'while test -e /etc/hold; do sleep 0.05; done'"
SLOW_START = f"[Service]\nExecStartPre={HELD}\n"
APP = f"""
[Service]
ExecStart=/bin/sleep infinity
ExecReload={HELD}
ExecReload=/bin/sh -c 'test ! -e /etc/broken && cp /etc/app/app.conf /run/app.loaded'
"""
APP_TARGET = """
[targets.app]
template = "app.j2"
path = "/etc/app/app.conf"
reload_unit = "app.service"
"""


def apply(machine: Machine, way: str) -> int:
    """Run lbhook one way, in less than a job may take: nothing waits for one that waits for lbhook.
    Returns the status of `lbhook apply`."""
    begin = time.monotonic()
    machine.run(WAYS[way], check=False)
    assert time.monotonic() - begin < 60
    return int(machine.status()["status"])


@pytest.fixture
def running(machine: Machine, azure: Azure) -> Machine:
    """The machine, booted with port 8080 in force."""
    machine.write("/etc/lbhook/lbhook.toml", SETTINGS + 'timeout = "1s"\n')
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    machine.assert_listens(":8080")
    return machine


def test_active(running: Machine, azure: Azure) -> None:
    """nginx opens the new listener within the run, which has verified it when it ends; its main
    process is the same, and the next run has nothing to do."""
    main = running.show("nginx", "MainPID")
    for port, way in enumerate(WAYS, 8081):
        azure.send(8080, port)
        assert apply(running, way) == 0
        assert running.reloads() == {"env": "none", "nftables": "done", "nginx": "done"}
        running.assert_listens(":8080", f":{port}")
        assert running.firewall_ports() == {8080, port}
        assert running.show("nginx", "MainPID") == main
        assert azure.ask(port) == f"{VM4}:{port}"
        assert apply(running, way) == 0
        assert set(running.reloads().values()) == {"none"}


def test_status_line(running: Machine, azure: Azure) -> None:
    """`systemctl status` says what the boot came to, and later what the last reload came to."""
    before = running.show("lbhook", "StatusText")
    assert "1 inbound rule" in before
    azure.send(8080, 8081)
    assert apply(running, "reload") == 0
    assert "2 inbound rules" in running.show("lbhook", "StatusText")


def test_stopped_by_hand(running: Machine, azure: Azure) -> None:
    """Stopped stays stopped, which is no failure; started later, nginx has the new listener."""
    for port, way in enumerate(WAYS, 8081):
        running.run(["systemctl", "stop", "nginx"])
        azure.send(port)
        assert apply(running, way) == 0
        assert running.reloads() == {"env": "none", "nftables": "done", "nginx": "none"}
        assert running.active("nginx") == "inactive"
        assert running.show("nginx", "Job") in ("", "0")
        running.run(["systemctl", "start", "nginx"])
        running.assert_listens(f":{port}")
        assert apply(running, way) == 0
        assert set(running.reloads().values()) == {"none"}


def test_failed(running: Machine, azure: Azure) -> None:
    """Failed, and our file changed: started again, and the next run verifies it."""
    for port, way in enumerate(WAYS, 8081):
        running.crash("nginx")
        assert apply(running, way) == 0
        assert running.active("nginx") == "failed"
        azure.send(port)
        assert apply(running, way) == 0
        assert running.reloads()["nginx"] == "queued"
        running.wait_for_state("nginx", "active")
        running.assert_listens(f":{port}")
        assert apply(running, way) == 0
        assert running.reloads()["nginx"] == "done"


def test_failed_and_disabled(running: Machine, azure: Azure) -> None:
    """What nobody wants started at boot is not started by lbhook."""
    running.run(["systemctl", "disable", "nginx"])
    running.crash("nginx")
    for port, way in enumerate(WAYS, 8081):
        azure.send(port)
        assert apply(running, way) == 0
        assert running.reloads()["nginx"] == "none"
        assert running.active("nginx") == "failed"


def restart_slowly(machine: Machine) -> None:
    """Restart nginx, and let it hang in between."""
    machine.write("/etc/hold", "")
    machine.run(["systemctl", "--no-block", "restart", "nginx"])
    machine.wait_for_state("nginx", "activating")


def test_activating(running: Machine, azure: Azure) -> None:
    """A unit that takes longer to start than `timeout` is owed its reload, and gets it from the
    first run after that."""
    running.drop_in("nginx.service", SLOW_START)
    for port, way in enumerate(WAYS, 8081):
        restart_slowly(running)
        azure.send(port)
        assert apply(running, way) == 0
        assert running.reloads()["nginx"] == "owed"
        running.path("/etc/hold").unlink()
        running.wait_for_state("nginx", "active")
        assert apply(running, way) == 0
        assert running.reloads()["nginx"] == "done"
        running.assert_listens(f":{port}")


def test_activating_within_the_timeout(running: Machine, azure: Azure) -> None:
    """A unit that comes up in time is waited for, and reloaded by the same run."""
    running.write("/etc/lbhook/lbhook.toml", SETTINGS)
    running.drop_in("nginx.service", SLOW_START)
    restart_slowly(running)
    azure.send(8081)
    running.run(["systemctl", "--no-block", "start", "lbhook-refresh.service"])
    wait_for(lambda: running.firewall_ports() == {8081}, "the first reload of the run")
    running.path("/etc/hold").unlink()
    running.wait_for_state("lbhook-refresh", "inactive")
    assert running.reloads()["nginx"] == "done"
    running.assert_listens(":8081")


def has_loaded(machine: Machine, port: int) -> bool:
    """Whether the user's own program has taken a port in."""
    loaded = machine.path("/run/app.loaded")
    return loaded.exists() and loaded.read_text() == f"{port}\n"


@pytest.mark.parametrize(("ways", "order"), ORDERS)
def test_unit_of_a_users_own(machine: Machine, azure: Azure, ways: list[str], order: str) -> None:
    """Its reload is queued, held back if the unit is ordered after lbhook, and verified by the
    next run; one that failed is due again."""
    machine.write("/usr/lib/systemd/system/app.service", f"[Unit]\n{order}\n{APP}")
    machine.enable("app.service")
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    machine.write("/etc/lbhook/lbhook.toml.d/app.toml", APP_TARGET)
    machine.write("/etc/lbhook/templates/app.j2", "{{ lb.listeners[0].port }}\n")
    machine.run(["lbhook", "install"])
    assert apply(machine, "shell") == 0
    wait_for(partial(has_loaded, machine, 8080), "the first reload")
    machine.wait_for_state("app", "active")
    for port, way in enumerate(ways, 8081):
        azure.send(port)
        machine.write("/etc/hold", "")
        assert apply(machine, way) == 0
        assert machine.reloads()["app"] == "queued"
        machine.path("/etc/hold").unlink()
        wait_for(partial(has_loaded, machine, port), "the reload")
        machine.wait_for_state("app", "active")
        assert apply(machine, way) == 0
        assert machine.reloads()["app"] == "done"
        machine.write("/etc/broken", "")
        azure.send(port + 1000)
        assert apply(machine, way) == 0
        wait_for(lambda: machine.show("app", "ReloadResult") == "exit-code", "the failure")
        machine.path("/etc/broken").unlink()
        assert apply(machine, way) == 0
        # Queued when the run began; done if nothing has held it back until its end.
        assert machine.reloads()["app"] in ("queued", "done")
        wait_for(partial(has_loaded, machine, port + 1000), "the reload that was due again")


def test_the_port_of_another_program(running: Machine, azure: Azure) -> None:
    """nginx leaves that out and nothing else, now and after a boot in which it is there first;
    once the port is free, nginx has it."""
    with running.occupied(VM4, 8081):
        azure.send(8080, 8081)
        assert apply(running, "reload") == 0
        assert f"has {VM4}:8081; stop that program, or" in running.journal("--unit=lbhook")
        running.assert_listens(":8080")
        assert running.firewall_ports() == {8080, 8081}
        assert azure.ask(8080) == f"{VM4}:8080"
        assert apply(running, "timer") == 0
        assert running.reloads()["nginx"] == "none"
    assert apply(running, "shell") == 0
    running.assert_listens(":8080", ":8081")


def test_mistake_of_somebody_else(running: Machine, azure: Azure) -> None:
    """nginx's configuration is broken elsewhere: blocked, and the firewall follows all the same;
    once it is fixed, nginx does, too."""
    for port, way in enumerate(WAYS, 8081):
        before = running.listeners()
        running.write("/etc/nginx/conf.d/other.conf", "no such directive;\n")
        azure.send(port)
        assert apply(running, way) == 69
        outcomes = {one["name"]: one["outcome"] for one in running.status()["targets"]}
        assert outcomes == {"env": "changed", "nftables": "changed", "nginx": "blocked"}
        assert (running.listeners(), running.firewall_ports()) == (before, {port})
        running.path("/etc/nginx/conf.d/other.conf").unlink()
        assert apply(running, way) == 0
        running.assert_listens(f":{port}")


# Stands for what nobody can see before nginx starts: its own limits, a security module.
REFUSING = """[Service]
ExecStartPre=/bin/sh -c '! grep "^listen 8081;" /etc/nginx/lbhook/listen.conf'
"""


def test_nginx_that_could_not_start_with_its_listeners(machine: Machine, azure: Azure) -> None:
    """They are put to rest, and all else that nginx serves comes back; the next run brings them to
    the running nginx, where what it can't open would harm nobody."""
    machine.drop_in("nginx.service", REFUSING)
    azure.send(8081)
    machine.boot(failed=("nginx.service",))
    machine.stop_timer()
    assert machine.show("nginx", "ActiveState") == "failed"
    assert apply(machine, "timer") == 69
    assert "lbhook's listeners are removed" in str(machine.status()["problems"])
    machine.wait_for_state("nginx", "active")
    machine.assert_listens("127.0.0.127:10009")
    assert machine.firewall_ports() == {8081}
    assert apply(machine, "timer") == 0
    machine.assert_listens(":8081")


# As hardened units have it: nobody of it is ever root.
UNPRIVILEGED = """[Service]
User=www-data
RuntimeDirectory=nginx
LogsDirectory=nginx
StateDirectory=nginx
PIDFile=/run/nginx/nginx.pid
"""
BARE = "pid /run/nginx/nginx.pid;\nevents {}\n"


DATABASE = """[Unit]
After=nginx.service
[Service]
User=nobody
ExecStart=systemd-socket-activate --listen=5432 /bin/true
[Install]
WantedBy=multi-user.target
"""


def test_an_nginx_that_is_never_root(machine: Machine, azure: Azure) -> None:
    """What its user may not open is left out before it first starts, too; it starts with the rest,
    and at rest. The port of another program of that user is not taken for its own."""
    machine.drop_in("nginx.service", UNPRIVILEGED)
    machine.write("/etc/systemd/system/app.service", DATABASE.replace("nobody", "www-data"))
    machine.enable("app.service")
    machine.write("/etc/nginx/nginx.conf", f"{BARE}http {{ {SITE} }}\n")
    azure.send(443, 8081)
    machine.boot()
    machine.stop_timer()
    machine.assert_listens(":8081")
    assert "port 443 is left out: nginx, as user www-data" in machine.said("--unit=lbhook")
    azure.send(443, 8082, 5432)
    assert apply(machine, "timer") == 0
    machine.assert_listens(":8082")
    said = "port 5432 is left out: systemd-socket- has [::]:5432"
    assert said in machine.said("--unit=lbhook-refresh")
    machine.run(["lbhook", "clean"])
    machine.assert_listens("127.0.0.127:10009")
    machine.run(["systemctl", "restart", "nginx"])
    machine.assert_listens("127.0.0.127:10009")


def test_the_port_of_another_users_program(machine: Machine, azure: Azure) -> None:
    """The timer knows whose it is, and leaves it to that at the next boot, when nginx is first."""
    machine.write("/etc/systemd/system/database.service", DATABASE)
    machine.enable("database.service")
    azure.send(8080)
    machine.boot()
    machine.stop_timer()
    azure.send(8080, 5432)
    assert apply(machine, "timer") == 0
    said = "port 5432 is left out: systemd-socket- has [::]:5432"
    assert said in machine.said("--unit=lbhook-refresh")
    machine.power_off()
    machine.boot()
    machine.stop_timer()
    machine.assert_listens(":8080")
    assert "*:5432" in machine.listeners("systemd-socket-")
