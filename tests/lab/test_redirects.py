"""The server block of docs/targets.md, behind a rule whose ports differ."""

import pytest

from ..test_docs import blocks
from .fabric import VM4, body, rule
from .lab import Lab
from .rules import FRONT4
from .vm import NGINX

OFF = "absolute_redirect off;"
(BLOCK,) = (one.text for one in blocks("docs/targets.md", "nginx") if OFF in one.text)


@pytest.mark.parametrize(("block", "port"), [(BLOCK, ""), (BLOCK.replace(OFF, ""), ":8080")])
def test_a_redirect_names_no_port_of_this_machine(lab: Lab, block: str, port: str) -> None:
    """A directory without its slash is redirected to one with it, at the port that the client
    knows; without the line in question nginx names its own."""
    lab.vm.path("/var/lib/site/dir").mkdir(parents=True)
    block = block.replace("/var/www/html", "/var/lib/site")
    lab.vm.write("/etc/nginx/nginx.conf", f"{NGINX.partition('server {')[0]}{block}}}\n")
    lab.balance(body(rule(FRONT4, 80, VM4, 8080)))
    lab.vm.apply()
    asked = ["curl", "-s", "--max-time", "10", "-o", "/dev/null", "-w", "%{redirect_url}"]
    told = lab.client.run([*asked, "-H", "Host: example.com", f"http://{FRONT4}/dir"]).stdout
    assert told == f"http://{FRONT4 if not port else 'example.com'}{port}/dir/"
