"""What was made from nginx and has another name and prefix: a target of one's own, as printed."""

from __future__ import annotations

import re
from functools import partial

from ..lab.hosts import wait_for
from ..test_docs import blocks, read
from .azure import Azure
from .machine import CONFIGURATION, Machine
from .test_reloads import WAYS, apply

PREFIX = "/usr/local/openresty/nginx"
# Its package has this link and this unit; the prefix is built into its program.
PROGRAM = f'#!/bin/sh\nexec {PREFIX}/sbin/nginx -p {PREFIX} -c conf/nginx.conf "$@"\n'
UNIT = f"""
[Service]
Type=forking
PIDFile={PREFIX}/logs/nginx.pid
ExecStartPre=/usr/local/bin/openresty -t
ExecStart=/usr/local/bin/openresty
ExecReload=/bin/kill -s HUP $MAINPID
"""
CONF = """
pid logs/nginx.pid;
events {}
http {
    access_log off;
    server {
        include lbhook.conf;
        return 200 "$server_port\\n";
    }
}
"""
SETTINGS = '[imds]\nendpoint = "http://169.254.169.254"\n[targets.nftables]\n'


def commands() -> list[str]:
    """What the page has root type."""
    section = read("docs/targets.md").split("\n### openresty\n")[1].split("\n### ")[0]
    return re.findall(r"^# (lbhook .*)$", section, re.M)


def test_openresty_by_a_target_of_ones_own(machine: Machine, azure: Azure) -> None:
    """It follows Azure while it runs, whoever runs lbhook; once its reload is looked at, there is
    nothing to do. Shipped targets say that nginx is not there."""
    machine.write(CONFIGURATION, f'{SETTINGS}[targets.nginx]\nrequires = ["openresty"]\n')
    machine.write("/usr/local/bin/openresty", PROGRAM)
    machine.write(f"{PREFIX}/conf/nginx.conf", CONF)
    machine.write("/etc/systemd/system/openresty.service", UNIT)
    azure.send(8080)
    machine.switch_on()
    machine.wait_until_up()
    machine.run(["systemctl", "stop", "nginx", "lbhook-refresh.timer"])
    machine.run(["mkdir", "-p", f"{PREFIX}/sbin", f"{PREFIX}/logs"])
    machine.run(["chmod", "755", "/usr/local/bin/openresty"])
    machine.run(["mv", "/usr/sbin/nginx", f"{PREFIX}/sbin/nginx"])
    for one in blocks("docs/targets.md"):
        if "openresty" in one.file:
            machine.write(one.file, one.text)
    for line in commands():
        machine.run(line.split())
    machine.run(["systemctl", "start", "openresty"])
    wait_for(lambda: azure.ask(8080) == "8080", "an answer at the first port")
    for port, way in enumerate(WAYS, 8081):
        azure.send(8080, port)
        assert apply(machine, way) == 0, way
        wait_for(partial(answers, azure, port), f"an answer by {way}")
        # Its job has ended, and what came of it is looked at.
        assert apply(machine, way) == 0, way
        assert machine.reloads()["openresty"] == "done", way
        assert apply(machine, way) == 0, way
        assert machine.reloads()["openresty"] == "none", way
    found = {one["name"]: one for one in machine.status()["targets"]}
    assert found["nginx"]["reason"] == "nginx not installed"


def answers(azure: Azure, port: int) -> bool:
    """Whether openresty does, at a port."""
    return azure.ask(port) == str(port)
