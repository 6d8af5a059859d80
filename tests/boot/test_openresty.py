"""What was made from nginx and has another name and prefix: a target of one's own, as printed."""

from __future__ import annotations

from ..lab.hosts import wait_for
from ..test_docs import blocks
from .azure import Azure
from .machine import CONFIGURATION, Machine

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


def test_openresty_by_a_target_of_ones_own(machine: Machine, azure: Azure) -> None:
    """It follows Azure while it runs; shipped targets say that nginx is not there."""
    for one in blocks("docs/targets.md"):
        if "openresty" in one.file:
            machine.write(one.file, one.text)
    machine.write(CONFIGURATION, f'{SETTINGS}[targets.nginx]\nrequires = ["openresty"]\n')
    machine.write("/usr/local/bin/openresty", PROGRAM)
    machine.write(f"{PREFIX}/conf/nginx.conf", CONF)
    machine.write("/etc/systemd/system/openresty.service", UNIT)
    machine.let_write(f"{PREFIX}/conf")
    azure.send(8080)
    machine.switch_on()
    machine.wait_until_up()
    machine.run(["systemctl", "stop", "nginx", "lbhook-refresh.timer"])
    machine.run(["mkdir", "-p", f"{PREFIX}/sbin", f"{PREFIX}/logs"])
    machine.run(["chmod", "755", "/usr/local/bin/openresty"])
    machine.run(["mv", "/usr/sbin/nginx", f"{PREFIX}/sbin/nginx"])
    machine.run(["lbhook", "apply"])
    machine.run(["systemctl", "start", "openresty"])
    wait_for(lambda: azure.ask(8080) == "8080", "an answer at the first port")
    azure.send(8080, 8081)
    machine.run(["lbhook", "apply"])
    wait_for(lambda: azure.ask(8081) == "8081", "an answer at the second port")
    found = {one["name"]: one for one in machine.status()["targets"]}
    assert (machine.status()["status"], found["openresty"]["reload"]) == (0, "queued")
    assert found["nginx"]["reason"] == "nginx not installed"
    # Its job has ended, and what came of it is looked at.
    machine.run(["lbhook", "apply"])
    assert machine.reloads()["openresty"] == "done"
    machine.run(["lbhook", "apply"])
    assert machine.reloads()["openresty"] == "none"
