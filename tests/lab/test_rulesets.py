"""Rulesets as people and programs write them: what is said of each door, and what packets meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .rounds import Rounds, rounds

# What each kind of fault in the days of an evaluator was, by its smallest ruleset: the rules of a
# chain `input` with a policy of drop, or a whole file.
CHAINS = {
    "all but one source": "ip saddr != 203.0.113.0/24 drop; tcp dport 443 accept",
    "all but one source, by a set": "ip saddr != @some tcp dport 443 drop; accept",
    "a map of sources": "ip saddr vmap { 203.0.113.0/24 : continue, * : drop }; accept",
    "all but one source is let in": "ip saddr != 203.0.113.0/24 tcp dport 443 accept",
    "everybody": "ip saddr 0.0.0.0/0 tcp dport 443 accept",
    "everybody, as a set": "ip saddr { 0.0.0.0/0 } tcp dport 443 accept",
    "everybody, of IPv6": "ip6 saddr ::/0 tcp dport 443 accept",
    "everybody, in halves": "ip saddr { 0.0.0.0/1, 128.0.0.0/1 } tcp dport 443 accept",
    "everybody, and a port": "ip saddr . tcp dport { 0.0.0.0/0 . 443 } accept",
    "no flags": "tcp flags & (fin|syn|rst|psh|ack|urg) == 0x0 drop; tcp dport 443 accept",
    "not this flag": "tcp flags & syn == 0 tcp dport 443 accept",
    "not established": "ct state ! established tcp dport 443 accept",
    "not translated": "ct status & dnat == 0 tcp dport 443 accept",
    "a set of who is too fast": "update @seen { ip saddr limit rate over 1000/second"
    " burst 1000 packets } drop; accept",
    "a set of who has many": "add @many { ip saddr ct count over 200 } reject; accept",
    "any other port": "tcp dport { 80, * } accept",
    "a map with any other port": "tcp dport vmap { 80 : accept, * : drop }; accept",
    "a mark that is shifted": "meta mark set meta mark << 8; tcp dport 443 accept",
    "a mark by the client": "meta mark set jhash ip saddr mod 16; tcp dport 443 accept",
    "a mark by the class": "meta mark set ip dscp map { 0-63 : 5 }; meta mark 5 accept",
    "several flags": "tcp flags & (fin|syn) == (fin|syn) drop; tcp dport 443 accept",
    "a first packet": "tcp flags & (fin|syn|rst|ack) != syn ct state new drop; accept",
    "a limit with a name": "limit name slow tcp dport 443 accept",
    "a quota with a name": "quota name much tcp dport 443 accept",
    "fragments": "ip frag-off & 0x1fff != 0 drop; tcp dport 443 accept",
    "where a source is": "fib saddr type { broadcast, multicast } drop; tcp dport 443 accept",
    "the protocol of the frame": "meta protocol ip tcp dport 443 accept",
    "not the protocol of the frame": "meta protocol != ip drop; accept",
    "the type of the frame": "ether type ip tcp dport 443 accept",
    "a connection's mark": "tcp dport 443 ct mark set 0x7; ct mark 0x7 accept",
    "the way back": 'fib saddr oifname "eth0" tcp dport 443 accept',
    "limits by a map": "limit name tcp dport map { 443 : slow }; accept",
    "a set that the packet fills": "add @seen { ip saddr }; ip saddr @seen tcp dport 443 accept",
}
FILES = {
    "switched off": """
        table inet t { flags dormant;
            chain input { type filter hook input priority 0; policy drop; }; }
    """,
    "not tracked": """
        table inet t {
            chain raw { type filter hook prerouting priority raw; tcp dport 443 notrack; }
            chain input { type filter hook input priority 0; ct state untracked drop; }
        }
    """,
    "a map without this port": """
        table inet t {
            chain nat { type nat hook prerouting priority dstnat;
                dnat ip to tcp dport map { 9999 : 10.9.9.9 }; }
            chain input { type filter hook input priority 0; policy drop;
                ct state established accept; udp dport 53 accept; }
        }
    """,
    "redirected to a port that is closed": """
        table inet t {
            chain nat { type nat hook prerouting priority dstnat; tcp dport 443 redirect to :8443; }
            chain input { type filter hook input priority 0; tcp dport 8443 drop; }
        }
    """,
    "redirected to a port that is open": """
        table inet t {
            chain nat { type nat hook prerouting priority dstnat; tcp dport 443 redirect to :8080; }
            chain input { type filter hook input priority 0; policy drop;
                ct state established accept; tcp dport { 80, 8080 } accept; }
        }
    """,
    "answers are dropped": """
        table inet t {
            chain output { type filter hook output priority 0; policy drop;
                oifname lo accept; tcp sport 80 accept; }
        }
    """,
    "answers of one client": """
        table inet t {
            chain output { type filter hook output priority 0; ip daddr 198.51.100.7 drop; }
        }
    """,
    "on a device": """
        table netdev t {
            chain in { type filter hook ingress device eth0 priority 0; tcp dport 443 drop; }
        }
    """,
    "forwarded, and dropped there": """
        table inet t {
            chain nat { type nat hook prerouting priority dstnat;
                tcp dport 443 dnat ip to 10.1.0.9:80; }
            chain forward { type filter hook forward priority 0; policy drop; }
        }
    """,
}
_IPV4 = "iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n"
SHELLS = {
    "no flags": f"{_IPV4} iptables-nft -A INPUT -p tcp --tcp-flags ALL NONE -j DROP",
    "a first packet": f"""
        {_IPV4} iptables-nft -A INPUT -p tcp ! --syn -m state --state NEW -j DROP
        iptables-nft -A INPUT -p tcp --syn --dport 443 -j ACCEPT
        iptables-nft -P INPUT DROP
    """,
    "either port": f"""
        {_IPV4} iptables-nft -P INPUT DROP
        iptables-nft -A INPUT -p tcp -m multiport --ports 80,443 -j ACCEPT
    """,
    "a port of the client": f"""
        {_IPV4} iptables-nft -P INPUT DROP
        iptables-nft -A INPUT -p tcp -m tcp --dport 443 -m multiport --sports 1024:65535 -j ACCEPT
        iptables-nft -A INPUT -p tcp -m multiport --sports 80,443 -j ACCEPT
    """,
    "not tracked": f"""
        {_IPV4} iptables-nft -P INPUT DROP
        iptables-nft -t raw -A PREROUTING -p tcp --dport 443 -j CT --notrack
        iptables-nft -A INPUT -m conntrack --ctstate UNTRACKED -j ACCEPT
    """,
    "marks": f"""
        {_IPV4} iptables-nft -P INPUT DROP
        iptables-nft -t mangle -A PREROUTING -p tcp --dport 443 -j MARK --set-mark 0x1000/0x1000
        iptables-nft -t mangle -A PREROUTING -p tcp --dport 80 -j CONNMARK --set-mark 5
        iptables-nft -A INPUT -m connmark --mark 5 -j ACCEPT
        iptables-nft -I INPUT -m mark --mark 0x1000/0x1000 -j ACCEPT
    """,
    "for us": f"{_IPV4} iptables-nft -A INPUT -m pkttype --pkt-type host -p tcp --dport 80 -j DROP",
}


@pytest.fixture(scope="module")
def played() -> Iterator[Rounds]:
    """One machine for all."""
    with rounds() as made:
        yield made


def _check(played: Rounds, rules: str, shell: str = "") -> None:
    outcomes = played.play(rules, shell)
    assert outcomes, "these rules are refused"
    assert [one for one in outcomes if one.wrong or one.unknown] == []


@pytest.mark.parametrize("rules", CHAINS.values(), ids=CHAINS)
def test_a_chain(played: Rounds, rules: str) -> None:
    """Each door is as is said, to nobody in particular and to a client with an address."""
    _check(
        played,
        f"""table inet t {{
            set some {{ type ipv4_addr; flags interval; elements = {{ 203.0.113.0/24 }}; }}
            set seen {{ type ipv4_addr; flags dynamic; timeout 1m; }}
            set many {{ type ipv4_addr; flags dynamic; size 1000; }}
            limit slow {{ rate 1000/second burst 1000 packets; }}
            quota much {{ 1000 mbytes; }}
            chain input {{ type filter hook input priority 0; policy drop;
                {rules}; ct state established accept; }}
        }}""",
    )


@pytest.mark.parametrize("rules", FILES.values(), ids=FILES)
def test_a_file(played: Rounds, rules: str) -> None:
    """More tables and hooks than one."""
    _check(played, rules)


@pytest.mark.needs("iptables-nft")
@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_rules_of_iptables(played: Rounds, shell: str) -> None:
    """Matches that no listing tells."""
    _check(played, "", shell)
