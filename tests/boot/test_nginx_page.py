"""docs/nginx.md to the letter, on a machine that serves a site already: a client asks every 10 ms
through the whole path, and is never refused."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

import pytest

from ..lab.fabric import PROBE4, VM4
from ..lab.hosts import wait_for
from ..lab.steady import Question, Steady
from ..packages import built
from ..test_docs import Block, blocks, read
from .azure import FRONT, Azure
from .machine import CONFIGURATION, LISTEN, Machine
from .test_parameters import certify

PAGE = "docs/nginx.md"
NAME, KEY = "shop.example", "/etc/letsencrypt/live/shop.example/privkey.pem"
CERTIFICATE = "/etc/letsencrypt/live/shop.example/fullchain.pem"
DEFAULT_SITE = "/etc/nginx/sites-enabled/default"
BEHIND = """
[Service]
ExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/shop 3000
"""
# An ACME server on the machine itself, which asks for the proof at port 80.
ACME = "https://127.0.0.1:14000/dir"
PEBBLE = {
    "listenAddress": "127.0.0.1:14000",
    "managementListenAddress": "127.0.0.1:15000",
    "certificate": "/etc/pebble/cert.pem",
    "privateKey": "/etc/pebble/key.pem",
    "httpPort": 80,
    "tlsPort": 443,
}
CLI_INI = f"""
server = {ACME}
no-verify-ssl = true
agree-tos = true
register-unsafely-without-email = true
non-interactive = true
"""
# This is no Azure machine.
ENDPOINT = '[imds]\nendpoint = "http://169.254.169.254"\n'


def block(file: str) -> Block:
    """What the page has for a file."""
    (only,) = (one for one in blocks(PAGE) if one.file == file)
    return only


def commands(heading: str) -> list[str]:
    """The commands of root's below a heading."""
    section = read(PAGE).split(f"\n## {heading}\n", 1)[1].split("\n## ")[0]
    shown = re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S)
    return [line.removeprefix("# ") for text in shown for line in text.splitlines()]


def as_it_was(site: str) -> str:
    """The site with listen lines of its own."""
    for own, include in re.findall(r"^\| `(listen .*)` \| `(include .*)` \|$", read(PAGE), re.M):
        site = site.replace(include, own)
    assert "lbhook" not in site
    return site


@pytest.fixture(params=["default site", "no default site"])
def shop(request: pytest.FixtureRequest, bare: Machine, azure: Azure) -> Machine:
    """A machine with Debian's nginx and a shop, on which lbhook has never been."""
    if request.param == "default site":
        bare.path(DEFAULT_SITE).parent.mkdir(parents=True, exist_ok=True)
        bare.path(DEFAULT_SITE).symlink_to("/etc/nginx/sites-available/default")
    site = block("/etc/nginx/conf.d/shop.conf")
    bare.write("/etc/nginx/conf.d/shop.conf", as_it_was(site.text))
    bare.write(CERTIFICATE, "")
    for one in ("", ".next"):
        certify(bare, NAME, f"{KEY}{one}", f"{CERTIFICATE}{one}")
    bare.write("/srv/shop/index.html", "the shop\n")
    bare.write("/var/www/html/.well-known/acme-challenge/token", "proof\n")
    bare.write("/etc/systemd/system/behind.service", BEHIND)
    bare.write(f"{CONFIGURATION}.d/endpoint.toml", ENDPOINT)
    bare.write(f"/root/{built.deb().name}", "")
    bare.path(f"/root/{built.deb().name}").write_bytes(built.deb().read_bytes())
    azure.send(80, 443)
    bare.switch_on()
    bare.wait_until_up()
    assert bare.active("nginx") == "active", bare.journal("--unit=nginx")
    bare.run(["systemctl", "start", "behind.service"])
    wait_for(lambda: ask(azure, "https") == "the shop", "the shop")
    return bare


def ask(azure: Azure, scheme: str, path: str = "/") -> str:
    """What a client is told; who answers by TLS is told by `steady`."""
    port = {"http": 80, "https": 443}[scheme]
    argv = ["curl", "-sk", "--max-time", "10", "--resolve", f"{NAME}:{port}:{FRONT}"]
    return azure.client.run([*argv, f"{scheme}://{NAME}{path}"], check=False).stdout.strip()


def steady(azure: Azure, machine: Machine) -> Steady:
    """Ask for both ports, again and again."""
    moved = "HTTP/1.1 301 Moved Permanently\r\n"
    certificate = machine.read(CERTIFICATE) + machine.read(f"{CERTIFICATE}.next")
    return Steady(
        azure.client,
        Question(FRONT, 80, NAME, moved),
        Question(FRONT, 443, NAME, "HTTP/1.1 200 OK\r\n", certificate),
    )


def run(machine: Machine, lines: Sequence[str]) -> None:
    """Run commands one after the other, in root's shell."""
    assert lines
    for line in lines:
        machine.run(["sh", "-c", f"cd /root && {line}"], timeout=120)


def put(machine: Machine, file: str) -> None:
    """Write what the page has for a file."""
    machine.write(file, block(file).text)


def renew(machine: Machine, azure: Azure) -> None:
    """As certbot does: another certificate in place, then its hook as the page has it."""
    for file in (KEY, CERTIFICATE):
        machine.run(["mv", f"{file}.next", file])
    (certbot,) = commands("certbot")
    run(machine, [shlex.split(certbot)[-1]])
    new = Question(FRONT, 443, NAME, "HTTP/1.1 200 OK\r\n", machine.read(CERTIFICATE))
    wait_for(lambda: _answered(azure, new), "the new certificate")


def _answered(azure: Azure, question: Question) -> bool:
    asked, failures = Steady(azure.client, question).stop()
    return asked > 0 and not failures


def test_the_page_and_nobody_is_refused(shop: Machine, azure: Azure) -> None:
    """lbhook comes, a certificate is renewed, the probe gets its answer, and lbhook leaves, all
    while nginx is the same process."""
    install, *apply = commands("Give lbhook the `listen` lines")
    asking = steady(azure, shop)
    main = shop.show("nginx", "MainPID")
    run(shop, [install])
    put(shop, "/etc/lbhook/lbhook.toml.d/vm.toml")
    put(shop, "/etc/nginx/conf.d/shop.conf")
    run(shop, apply)
    assert "# from" in shop.read(LISTEN)
    assert shop.firewall_ports() == {80, 443}
    assert ask(azure, "http", "/.well-known/acme-challenge/token") == "proof"
    renew(shop, azure)
    put(shop, "/etc/nginx/conf.d/probe.conf")
    run(shop, commands("Health probes"))
    probe = ["curl", "-s", "--interface", PROBE4, "--max-time", "10", f"http://{VM4}:8080/healthz"]
    # nginx takes a moment after a reload.
    wait_for(lambda: azure.fabric.run(probe, check=False).stdout == "ok\n", "the probe's answer")
    shop.run(["lbhook", "apply"])
    assert shop.status()["outcome"] == "unchanged"
    shop.write("/etc/nginx/conf.d/shop.conf", as_it_was(block("/etc/nginx/conf.d/shop.conf").text))
    run(shop, commands("Back again"))
    assert shop.firewall_ports() == set()
    assert shop.show("nginx", "MainPID") == main
    asked, failures = asking.stop()
    assert failures == []
    assert asked > 100


def await_tls(azure: Azure, served: bool) -> None:
    """Wait until a client of port 443 gets the shop, or nothing."""
    wait_for(lambda: ask(azure, "https") == ("the shop" if served else ""), f"the shop: {served}")


@pytest.mark.parametrize("shop", ["default site"], indirect=True)
def test_from_now_on(shop: Machine, azure: Azure) -> None:
    """After the page a rule that goes closes its port, by the timer, and one that comes opens it;
    after a boot without an answer nginx has what Azure said last."""
    install, *apply = commands("Give lbhook the `listen` lines")
    run(shop, [install])
    put(shop, "/etc/lbhook/lbhook.toml.d/vm.toml")
    put(shop, "/etc/nginx/conf.d/shop.conf")
    run(shop, apply)
    for ports in ((80,), (80, 443)):
        azure.send(*ports, unsaid=[port for port in (443,) if port not in ports])
        shop.run(["systemctl", "start", "lbhook-refresh.service"])
        assert shop.firewall_ports() == {*ports}
        await_tls(azure, served=443 in ports)
    shop.write(f"{CONFIGURATION}.d/endpoint.toml", f'{ENDPOINT}wait_cached = "1s"\n')
    shop.power_off()
    azure.fall_silent()
    shop.boot(failed=["lbhook-fetch.service"])
    assert (shop.status()["source"], shop.firewall_ports()) == ("cache", {80, 443})
    shop.run(["systemctl", "start", "behind.service"])
    await_tls(azure, served=True)
    assert ask(azure, "http", "/.well-known/acme-challenge/token") == "proof"


def issuer(azure: Azure) -> str:
    """Who has signed the certificate that a client gets."""
    served = f"openssl s_client -connect {FRONT}:443 -servername {NAME} </dev/null"
    argv = ["sh", "-c", f"{served} | openssl x509 -noout -issuer"]
    return azure.client.run(argv, check=False).stdout


def serve_acme(machine: Machine) -> None:
    """Let the machine have an ACME server that finds the shop at the VM's own address."""
    machine.write("/etc/pebble/cert.pem", "")
    certify(machine, "localhost", "/etc/pebble/key.pem", "/etc/pebble/cert.pem")
    machine.write("/etc/pebble/config.json", json.dumps({"pebble": PEBBLE}))
    machine.write("/etc/letsencrypt/cli.ini", CLI_INI)
    machine.write("/etc/hosts", f"127.0.0.1 localhost\n{VM4} {NAME}\n")
    argv = ["systemd-run", "--unit=pebble", "pebble", "-config", "/etc/pebble/config.json"]
    machine.run([*argv[:2], "--setenv=PEBBLE_VA_NOSLEEP=1", *argv[2:]])
    wait_for(lambda: "127.0.0.1:14000" in machine.listeners("pebble"), "the ACME server")


@pytest.mark.parametrize("image", ["trixie-certbot"], indirect=True)
@pytest.mark.parametrize("shop", ["default site"], indirect=True)
def test_certbot_itself(shop: Machine, azure: Azure) -> None:
    """Its command as the page prints it gets a certificate through lbhook's listener, by its
    challenge file; nginx serves it after the hook, and no server block has been edited."""
    install, *apply = commands("Give lbhook the `listen` lines")
    run(shop, [install])
    put(shop, "/etc/lbhook/lbhook.toml.d/vm.toml")
    put(shop, "/etc/nginx/conf.d/shop.conf")
    run(shop, apply)
    serve_acme(shop)
    shop.run(["rm", "-r", "/etc/letsencrypt/live"])
    run(shop, commands("certbot"))
    wait_for(lambda: "Pebble" in issuer(azure), "the new certificate")
    assert ask(azure, "https") == "the shop"
    assert shop.read("/etc/nginx/conf.d/shop.conf") == block("/etc/nginx/conf.d/shop.conf").text
