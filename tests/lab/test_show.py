"""What `lbhook show` sees on a machine: its addresses, listeners and firewall are real."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .fabric import VM4, VM6, body, rule
from .hosts import REPO, wait_for
from .knock import one
from .lab import Lab
from .rules import ADMIN, FRONT4, FRONT6, NAMES, PAIRS, WEB
from .vm import Vm

AWAY = "10.1.0.5"
# A program, for which the kernel takes the name of the script.
PROGRAM = f"""#!{sys.executable}
import runpy
runpy.run_path("{Path(__file__).parent}/standin.py", run_name="__main__")
"""
ALSO_OPEN = [
    "SSH: tcp 22, and where sshd listens, from anywhere",
    "health probes: tcp, any port, from 168.63.129.16, fe80::1234:5678:9abc",
    "by allow: nothing more; by policy enforce: open connections, ICMP, DHCP",
]


def serve(vm: Vm, name: str, spec: str) -> None:
    """Start a stand-in of this name at a `protocol,address,port`."""
    protocol, _, port = spec.split(",")
    vm.write(f"/run/{name}", PROGRAM)
    vm.run(["chmod", "755", f"/run/{name}"])
    vm.spawn([f"/run/{name}", spec])
    wait_for(lambda: vm.listens(protocol, int(port)), name)


def test_the_way_of_the_traffic(lab: Lab) -> None:
    """From the frontend to who listens, and how many connections the firewall has let in."""
    more = (rule(FRONT4, 54, VM4, 7777, "Udp"), rule(FRONT4, 90, AWAY, 443))
    lab.balance(body(*WEB, *NAMES, *more, **PAIRS))
    lab.vm.apply()
    for _ in range(3):
        assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    lab.vm.run(["nft", f"delete element inet lbhook listeners6 {{ {VM6} . udp . 5353 }}"])
    python = f"{Path(sys.executable).name[:15]:<14}"
    assert lab.vm.lbhook("show").stdout.split("\n\n")[1] == (
        "Inbound rules\n"
        f"  {FRONT4}  →  {VM4}\n"
        "    tcp     80  →    443  nginx           open, 3 packets\n"
        f"    udp     53  →   5353  {python}  open, 0 packets\n"
        "!   udp     54  →   7777  nobody listens  open, 0 packets\n"
        f"! {FRONT4}  →  {AWAY}  not an address of this machine\n"
        "    tcp     90  →    443  nginx           open, 0 packets\n"
        f"  {FRONT6}  →  {VM6}\n"
        "    tcp     80  →    443  nginx           open, 0 packets\n"
        f"!   udp     53  →   5353  {python}  dropped by inet lbhook input\n"
        "! something is wrong with 3 of 6 inbound rules"
    )


def test_what_programs_may_read_of_it(lab: Lab) -> None:
    """`--json --here` has the same beside the model, which stays as it is."""
    lab.balance(body(*WEB[:1], **PAIRS))
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    value = json.loads(lab.vm.lbhook("show", "--json", "--here").stdout)
    here = value.pop("here")
    assert value == json.loads(lab.vm.lbhook("show", "--json").stdout)
    (way,) = here["inbound_rules"]
    assert way.pop("counter")["packets"] == 1
    assert way == {
        "local": True,
        "listening": [{"program": "nginx", "unit": ""}],
        "verdict": {
            "action": "accept",
            "chain": "",
            "rule": "",
            "by_source": False,
            "answer": False,
            "later": False,
            "to": "",
        },
        "problems": [],
    }
    assert here["unseen"] == []


def test_without_the_firewall(lab: Lab) -> None:
    """What nobody drops is open, and nothing is counted."""
    lab.balance(body(*WEB, **PAIRS))
    out = lab.vm.lbhook("show").stdout
    assert out.count("nobody listens  open\n") == 2


def test_answers_are_dropped_on_the_way_out(lab: Lab) -> None:
    """The row has a mark and says which chain drops them, for as long as it does."""
    lab.balance(body(*WEB, **PAIRS))
    lab.vm.apply()
    lab.vm.run(["nft", "table ip own { chain out { type filter hook output priority 0; }; }"])
    lab.vm.run(["nft", "add rule ip own out ip protocol tcp tcp dport != 80 drop"])
    assert one(lab.client, "tcp", FRONT4, 80).state == "filtered"
    out = lab.vm.lbhook("show").stdout
    assert "!   tcp     80  →    443  nginx  replies dropped by ip own out\n" in out
    assert "! something is wrong with 1 of 2 inbound rules\n" in out
    lab.vm.run(["nft", "insert rule ip own out ct state established accept"])
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert "!" not in lab.vm.lbhook("show").stdout


def test_the_page_shows_what_comes(lab: Lab) -> None:
    """docs/troubleshooting.md has the rules and what else is open; here no unit has nginx."""
    page = (REPO / "docs/troubleshooting.md").read_text(encoding="utf-8")
    block = page.split("\n## The way of the traffic\n")[1].split("```\n")[1]
    unit = "nginx (nginx.service)"
    rules, also_open = block.replace(unit, "nginx".ljust(len(unit))).split("...\n")
    lab.vm.write(
        "/etc/lbhook/lbhook.toml", "[targets.nftables]\n[targets.nginx.vars]\nports=[443]\n"
    )
    more = (rule(FRONT4, 82, VM4, 82), rule(FRONT4, 53, VM4, 53, "Udp"))
    lab.balance(body(*WEB[:1], *ADMIN[:1], *more, rule(FRONT4, 90, AWAY, 443), **PAIRS))
    serve(lab.vm, "app", "tcp,127.0.0.1,82")
    serve(lab.vm, "dnsmasq", "udp,0.0.0.0,53")
    lab.vm.run(["iptables-nft", "-A", "INPUT", "-p", "udp", "--dport", "53", "-j", "DROP"])
    lab.vm.apply()
    for port, times, state in ((80, 4, "open"), (81, 3, "refused")):
        assert [one(lab.client, "tcp", FRONT4, port).state for _ in range(times)] == [state] * times
    out = lab.vm.lbhook("show").stdout
    assert rules in out, out
    assert out.endswith(f"\n{also_open}"), out


def test_what_else_is_open(lab: Lab) -> None:
    """In text, on the page and for programs: SSH, probes and what is allowed; then what was set."""
    lab.balance(body(*WEB, **PAIRS))
    lab.vm.apply()
    lines = [f"  {it}" for it in ALSO_OPEN]
    assert "\n".join(["Also open", *lines, ""]) in lab.vm.lbhook("show").stdout
    assert (
        json.loads(lab.vm.lbhook("show", "--json", "--here").stdout)["here"]["also_open"]
        == ALSO_OPEN
    )
    html = lab.vm.lbhook("show", "--html", "-").stdout
    assert ">Also open<" in html
    assert all(f"<li>{it}</li>" in html for it in ALSO_OPEN), html
    settings = 'ssh_from = ["198.51.100.0/24"]\nallow = [{ protocol = "tcp", port = 9000 }]\n'
    lab.vm.write("/etc/lbhook/lbhook.toml", f"[targets.nftables.vars]\n{settings}")
    out = lab.vm.lbhook("show").stdout
    assert "from 198.51.100.0/24\n" in out
    assert "by allow: tcp 9000" in out
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    assert "Also open" not in lab.vm.lbhook("show").stdout
