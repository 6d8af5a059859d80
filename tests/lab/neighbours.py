"""Other firewalls on the VM, made by their own programs as an operator would have them, and the
rule that lets in what lbhook marks: the documentation's."""

from __future__ import annotations

import re

from .fabric import CLIENT4, CLIENT6
from .hosts import REPO, require
from .vm import Vm

# Answers, neighbours, DHCP, and SSH from the client: nothing that a rule of Azure's leads to.
IPTABLES = f"""
for program in iptables ip6tables; do
    $program -P INPUT DROP
    $program -A INPUT -i lo -j ACCEPT
    $program -A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
    $program -A INPUT -p udp --sport 67 --dport 68 -j ACCEPT
done
iptables -A INPUT -p icmp -j ACCEPT
ip6tables -A INPUT -p icmpv6 -j ACCEPT
iptables -A INPUT -p tcp -s {CLIENT4} --dport 22 -j ACCEPT
ip6tables -A INPUT -p tcp -s {CLIENT6} --dport 22 -j ACCEPT
"""
UFW = f"""
ufw allow proto tcp from {CLIENT4} to any port 22
ufw allow proto tcp from {CLIENT6} to any port 22
ufw --force enable
"""


POLICIES = ("enforce", "mark", "prerouting")


def configure(vm: Vm, policy: str, variables: str = "") -> None:
    """Configure lbhook for a policy."""
    firewall = f'[targets.nftables.vars]\npolicy = "{policy}"\n{variables}\n'
    vm.write("/etc/lbhook/lbhook.toml", f"{firewall}[targets.nginx]\n")


def choose(vm: Vm, policy: str, variables: str = "") -> None:
    """The same, and for `mark` iptables beside it, which owns the policy."""
    configure(vm, policy, variables)
    if policy == "mark":
        build(vm, "iptables-nft")
        hand_over(vm, "iptables-nft")


def build(vm: Vm, firewall: str) -> None:
    """Start `ufw`, `iptables-nft` or `iptables-legacy`, which lets in none of Azure's rules."""
    require(firewall)
    vm.run(["sh", "-euc", UFW if firewall == "ufw" else _with(firewall, IPTABLES)])


def hand_over(vm: Vm, firewall: str) -> None:
    """Run the commands that docs/targets.md has for this firewall."""
    vm.run(["sh", "-euc", _with(firewall, commands(firewall))])


def commands(firewall: str) -> str:
    """The commands that docs/targets.md has for this firewall."""
    heading = "ufw" if firewall == "ufw" else "iptables"
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    section = page.split(f"\n### {heading}\n", 1)[1].split("\n#", 1)[0]
    (block,) = re.finditer(r"^```sh\n(.*?)^```$", section, re.M | re.S)
    return block[1]


def _with(firewall: str, commands: str) -> str:
    """The commands with one of the two programs that are called iptables."""
    kind = firewall.removeprefix("iptables")
    return re.sub(r"\b(ip6?tables)\b", rf"\1{kind}", commands) if kind != "ufw" else commands
