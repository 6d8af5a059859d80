"""What the kernel's rules are said to make of a packet, and what becomes of it."""

from __future__ import annotations

from itertools import product

import pytest

from lbhook.firewall.verdict import PROTOCOLS

from . import firewalld
from .fabric import CLIENT4, CLIENT6, VM4, VM6
from .judge import judge
from .knock import Target, knock
from .lab import Lab
from .neighbours import build, choose
from .rules import ALL

PORTS = (22, 80, 443, 5353, 8081, 9000, 9001)
OWN = """
table inet own {
    set web { type inet_service; flags interval; elements = { 80, 440-450 }; }
    map which { type inet_service : verdict; elements = { 9000 : jump some, 9001 : drop }; }
    chain some { meta mark set 7; return; }
    chain rest { tcp dport 22 counter accept; ip protocol udp goto names; udp dport 5353 accept; }
    chain names { udp sport 1024-65535 udp dport { 5353, 53 } accept; }
    chain raw {
        type filter hook prerouting priority raw;
        ct state invalid ip6 nexthdr tcp tcp dport 443 drop
    }
    chain early {
        type filter hook prerouting priority mangle;
        iifname != { eth0, lo } drop
        iifname "eth1*" drop
        ip saddr 192.0.2.0/24 drop
        ct state vmap { established : accept, invalid : drop }
        limit rate over 1000/second burst 500 packets drop
    }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        meta l4proto { icmp, icmpv6 } accept
        tcp dport vmap @which
        meta mark & 0xff == 7 accept
        meta nfproto ipv6 tcp dport @web accept
        ip daddr . tcp dport { 10.1.0.4 . 443, 10.1.0.5 . 80 } accept
        fib daddr type local jump rest
        fib saddr . iif oif missing drop
        tcp dport 8081 reject with tcp reset
    }
}
"""
TRANSLATED = """
table ip nat { chain prerouting { type nat hook prerouting priority dstnat;
    tcp dport 8080 redirect to :22; tcp dport 8090 dnat to 172.17.0.2:80; }; }
"""
IPTABLES = """
iptables-nft -P INPUT DROP
iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
iptables-nft -N WEB
iptables-nft -A INPUT -p tcp -m multiport --dports 80,440:450 -g WEB
iptables-nft -A WEB -m addrtype ! --dst-type LOCAL -j DROP
iptables-nft -A WEB -m limit --limit 1000/s -j LOG
iptables-nft -A WEB -m state --state NEW -m comment --comment web -j ACCEPT
iptables-nft -A INPUT -p udp --sport 1024: --dport 5353 -i eth0 -j ACCEPT
iptables-nft -A INPUT -p tcp --dport 9000 -j REJECT
"""


def compare(lab: Lab) -> set[str]:
    """Knock at many doors, and expect what the rules are said to do; returns what that was."""
    # UDP is served wherever it is tried: the kernel is sparing with ICMP.
    lab.vm.serve(*(f"udp,::,{port}" for port in PORTS if port != 5353))
    found = set()
    for source, vm in ((CLIENT4, VM4), (CLIENT6, VM6)):
        doors = [Target(protocol, vm, port) for protocol, port in product(PROTOCOLS, PORTS)]
        verdicts = judge(lab.vm, *doors, source=source)
        for door, answer in knock(lab.client, *doors, source=source).items():
            verdict = verdicts[door]
            found.add(verdict.action)
            # A packet that is rejected is answered as one that nobody waits for.
            known = {"filtered": ("drop",), "open": ("accept",)}
            assert verdict.action in known.get(answer.state, ("accept", "drop")), (door, verdict)
    return found


def test_rules_of_nftables(lab: Lab) -> None:
    """Sets, maps, ranges, chains that are jumped to and gone to, marks, two hooks."""
    lab.vm.run(["nft", "-f", "-"], stdin=OWN)
    assert compare(lab) == {"accept", "drop"}


def test_packets_that_are_lost(lab: Lab) -> None:
    """They are sent anew: a cable of the copy drops what comes before the kernel has seen to it,
    and its rules say nothing of that."""
    lab.vm.run(["nft", "-f", "-"], stdin=OWN)
    doors = [Target(protocol, VM4, port) for protocol, port in product(PROTOCOLS, PORTS)]
    sound = judge(lab.vm, *doors)
    assert {one.action for one in sound.values()} == {"accept", "drop"}
    assert judge(lab.vm, *doors, lost=1) == judge(lab.vm, *doors, lost=len(doors)) == sound


@pytest.mark.needs("iptables-nft")
def test_rules_of_iptables(lab: Lab) -> None:
    """nft only names its matches; what they are about it says in words."""
    lab.vm.run(["sh", "-euc", IPTABLES])
    assert compare(lab) == {"accept", "drop"}


@pytest.mark.needs("ufw")
def test_rules_of_ufw(lab: Lab) -> None:
    """A hundred rules of iptables, and lbhook's mark."""
    choose(lab.vm, "mark")
    lab.vm.run(["nft", "flush ruleset"])
    build(lab.vm, "ufw")
    lab.balance(ALL)
    assert lab.vm.apply()["status"] == 0
    assert compare(lab) == {"accept", "drop"}


@pytest.mark.needs("firewalld")
def test_rules_of_firewalld(lab: Lab) -> None:
    """Zones, policies, and lbhook's among them."""
    firewalld.start(lab.vm)
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.firewalld]\n[targets.nginx]\n")
    lab.balance(ALL)
    assert lab.vm.apply()["status"] == 0
    assert compare(lab) == {"accept", "drop"}


def test_rules_of_lbhook(lab: Lab, policy: str) -> None:
    """All policies, iptables beside one."""
    lab.balance(ALL)
    lab.vm.apply()
    assert compare(lab) == {"accept", "drop"}
