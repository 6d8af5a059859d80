"""What `lbhook show` sees on a machine: its addresses, listeners and firewall are real."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from .fabric import VM4, VM6, body, rule
from .knock import one
from .lab import Lab
from .rules import FRONT4, FRONT6, NAMES, PAIRS, WEB

AWAY = "10.1.0.5"


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
    assert "!   tcp     80  →    443  nginx  answers dropped by ip own out\n" in out
    assert "! something is wrong with 1 of 2 inbound rules\n" in out
    lab.vm.run(["nft", "insert rule ip own out ct state established accept"])
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert "!" not in lab.vm.lbhook("show").stdout
