"""The machine that lbhook is for."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from typing import Any

from .fabric import IMDS, PROBE6, VM4, VM6
from .hosts import REPO, Host, Popen, wait_for

VM_LINKS = f"""
link set eth0 up
addr add {VM4}/24 dev eth0
addr add {VM6}/64 dev eth0 nodad
route add default via 10.1.0.1
route add default via {PROBE6} dev eth0
"""

# What the linker, name look-ups, nft and ufw need; all else of the real /etc is out of reach.
ETC = (
    "alternatives default group hosts ld.so.cache ld.so.conf ld.so.conf.d nsswitch.conf passwd"
    " protocols services ufw"
)

# Only user 0 exists in a user namespace, hence `user root`. The listener nobody uses is what an
# installation leaves: without any, nginx would listen on port 80 of every address.
NGINX_BEGINS = """
user root;
worker_processes 1;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events {}
"""
NGINX = (
    NGINX_BEGINS
    + """\
http {
    log_format source "$remote_addr $server_addr:$server_port";
    access_log /var/log/nginx/access.log source;
    server {
        include /etc/nginx/lbhook/listen.conf;
        return 200 "$remote_addr $server_addr:$server_port\\n";
    }
}
"""
)
ENV = "/run/lbhook/lb.env"
NFT = "/etc/nftables.d/lbhook.nft"
LISTEN = "/etc/nginx/lbhook/listen.conf"
RESTING = "listen 127.0.0.127:10009;\n"


class Vm(Host):
    """The machine that lbhook is for: its default paths, a real nginx, and other servers."""

    def __init__(self, inside: Host) -> None:
        private = ("/run", "/tmp", "/var/lib", "/var/log")
        super().__init__("vm", inside, private, etc=ETC.split())
        self.write("/etc/machine-id", "0123456789abcdef0123456789abcdef\n")
        self.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n[targets.nginx]\n")
        self.write("/etc/nginx/nginx.conf", NGINX)
        self.write(LISTEN, RESTING)
        for directory in ("/var/log/nginx", "/var/lib/nginx", "/etc/nftables.d"):
            self.path(directory).mkdir()

    def lbhook(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run lbhook from this checkout, with its default paths."""
        command = [sys.executable, "-m", "lbhook", *words]
        return self.run(command, check=check, env=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        """What lbhook is run with. An endpoint of one's own, though it is the default: this is no
        Azure machine."""
        return {"PYTHONPATH": str(REPO), "LBHOOK_ENDPOINT": f"http://{IMDS}"}

    def apply(self, *words: str) -> dict[str, Any]:
        """Run `lbhook apply` and return its report."""
        report: dict[str, Any] = json.loads(self.lbhook("apply", "--json", *words).stdout)
        return report

    def serve(self, *specs: str) -> Popen:
        """Start stand-ins that echo, each at a `protocol,address,port`."""
        process = self.spawn([*self.python("standin.py"), *specs])
        for protocol, _, port in (spec.split(",") for spec in specs):
            wait_for(partial(self.listens, protocol, int(port)), f"{protocol} port {port}")
        return process

    def workers(self) -> set[str]:
        """Return the process ids of nginx's workers: a reload makes new ones."""
        main = self.read("/run/nginx.pid").strip()
        return set(self.run(["cat", f"/proc/{main}/task/{main}/children"]).stdout.split())
