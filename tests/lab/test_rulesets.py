"""Rulesets as people and programs write them: what is said of each door, and what packets meet."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .fabric import CLIENT4
from .hosts import REPO
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
    "brackets in a name": 'iifname "e[th]h0*" drop; tcp dport 443 accept',
    "another name, as a pattern": 'iifname != "eth*" drop; tcp dport 443 accept',
    "an address before translation": "ct original ip daddr 10.1.0.4 tcp dport 443 accept",
    "a port before translation": "meta l4proto tcp ct original proto-dst 443 accept",
    "of three flags one": "tcp flags & (syn|rst|urg) == rst drop; tcp dport 443 accept",
    "flags of a set": "tcp flags { syn, ack } tcp dport 443 accept",
    "a limit by a name, beyond": "limit name beyond drop; accept",
    "a quota beyond": "quota over 1000 mbytes drop; tcp dport 443 accept",
    "a reverse path": "fib saddr . iif oif missing drop; tcp dport 443 accept",
    "somebody's set, with a time": "add @seen { ip saddr timeout 5s }; ip saddr @seen accept",
    "a packet of its size": "meta length > 1500 drop; udp length < 8 drop; accept",
    "a set that the packet fills": "add @seen { ip saddr }; ip saddr @seen tcp dport 443 accept",
}
# As programs write them, by hand and in small; names and order are theirs.
PROGRAMS = {
    "kube-proxy, nftables": """
        table ip kube-proxy {
            map service-ips { type ipv4_addr . inet_proto . inet_service : verdict;
                elements = { 10.1.0.4 . tcp . 443 : goto service-a,
                    10.1.0.4 . tcp . 80 : goto none }; }
            chain masq { meta mark set meta mark or 0x4000; }
            chain end-a { ip saddr 10.244.0.5 jump masq; meta l4proto tcp dnat to 10.244.0.5:8080; }
            chain end-b { ip saddr 10.244.1.5 jump masq; meta l4proto tcp dnat to 10.244.1.5:8080; }
            chain service-a { ip daddr 10.1.0.4 tcp dport 443 ip saddr != 10.244.0.0/16 jump masq;
                numgen random mod 2 vmap { 0 : goto end-a, 1 : goto end-b }; }
            chain none { reject; }
            chain nat { type nat hook prerouting priority dstnat;
                tcp dport 443 tcp dport vmap { 443 : goto service-a }; }
            chain filter { type filter hook input priority -110; ct state new tcp dport 80
                ip daddr . meta l4proto . th dport vmap { 10.1.0.4 . tcp . 80 : goto none }; }
        }
    """,
    "netavark": """
        table inet netavark {
            chain INPUT { type filter hook input priority filter; policy accept;
                ip saddr 10.88.0.0/16 udp dport 53 accept; }
            chain FORWARD { type filter hook forward priority filter; policy accept;
                ct state invalid drop; }
            chain POSTROUTING { type nat hook postrouting priority srcnat; policy accept; }
            chain NETAVARK-HOSTPORT-DNAT { tcp dport 8080 goto nv_1_dnat; }
            chain nv_1_dnat { ip saddr 10.88.0.0/16 meta mark set mark or 0x2000;
                ip daddr 10.1.0.4 tcp dport 8080 dnat ip to 10.88.0.2:80; }
            chain PREROUTING { type nat hook prerouting priority dstnat; policy accept;
                fib daddr type local jump NETAVARK-HOSTPORT-DNAT; }
        }
    """,
    "a docker of nftables": """
        table ip docker-bridges {
            map filter-forward-in-jumps { type ifname : verdict; elements = { "docker0" : drop }; }
            chain filter-FORWARD { type filter hook forward priority filter; policy accept;
                oifname vmap @filter-forward-in-jumps; }
            chain nat-prerouting-and-output { tcp dport 8080 dnat to 172.17.0.2:80; }
            chain nat-PREROUTING { type nat hook prerouting priority dstnat; policy accept;
                fib daddr type local counter jump nat-prerouting-and-output; }
            chain raw-PREROUTING { type filter hook prerouting priority raw; policy accept;
                ip daddr 172.17.0.2 iifname != "docker0" drop; }
        }
    """,
    "a docker of nftables, two networks": """
        table ip docker-bridges {
            map in-jumps { type ifname : verdict;
                elements = { "docker0" : jump in-docker0, "br-web" : jump in-web }; }
            map out-jumps { type ifname : verdict;
                elements = { "docker0" : jump out-docker0, "br-web" : jump out-web }; }
            chain forward { type filter hook forward priority filter; policy accept;
                oifname vmap @in-jumps; iifname vmap @out-jumps; }
            chain in-docker0 { ct state established,related counter accept;
                iifname "docker0" counter accept; counter drop; }
            chain out-docker0 { ct state established,related counter accept; counter accept; }
            chain in-web { ct state established,related counter accept;
                iifname "br-web" counter accept;
                ip daddr 172.18.0.2 tcp dport 80 counter accept; counter drop; }
            chain out-web { counter accept; }
            chain published { iifname != "br-web" tcp dport 8080 counter dnat to 172.18.0.2:80; }
            chain prerouting { type nat hook prerouting priority dstnat; policy accept;
                fib daddr type local counter jump published; }
            chain output { type nat hook output priority -100; policy accept;
                ip daddr != 127.0.0.0/8 fib daddr type local counter jump published; }
            chain postrouting { type nat hook postrouting priority srcnat; policy accept;
                oifname != "br-web" ip saddr 172.18.0.0/16 counter masquerade; }
            chain raw { type filter hook prerouting priority raw; policy accept;
                ip daddr 172.18.0.2 iifname != "br-web" counter drop; }
        }
        table inet host {
            chain input { type filter hook input priority filter; policy drop;
                ct state vmap { established : accept, related : accept, invalid : drop };
                meta l4proto { icmp, ipv6-icmp } accept; tcp dport { 22, 443 } accept; }
        }
    """,
    "a router of VyOS": """
        table ip vyos_filter {
            set RECENT_20 { type ipv4_addr; size 65535; flags dynamic; }
            set N_office { type ipv4_addr; flags interval; auto-merge;
                elements = { 192.0.2.0/24, 198.51.100.0-198.51.100.15 }; }
            set P_web { type inet_service; flags interval; auto-merge; elements = { 80, 443-450 }; }
            chain VYOS_FRAG_MARK { type filter hook prerouting priority -450; policy accept;
                ip frag-off & 16383 != 0 meta mark set 0x000ffff1 return; }
            chain VYOS_FORWARD_filter { type filter hook forward priority filter; policy accept;
                counter jump VYOS_STATE_POLICY; }
            chain VYOS_INPUT_filter { type filter hook input priority filter; policy accept;
                jump VYOS_STATE_POLICY;
                iifname "eth0" counter jump NAME_WAN; counter drop; }
            chain VYOS_OUTPUT_filter { type filter hook output priority filter; policy accept;
                jump VYOS_STATE_POLICY; }
            chain VYOS_STATE_POLICY { ct state established counter accept;
                ct state invalid counter drop; ct state related counter accept; return; }
            chain NAME_WAN { meta mark 0x000ffff1 counter drop;
                tcp dport 22 add @RECENT_20 { ip saddr limit rate over 400/minute } counter drop;
                ip saddr @N_office tcp dport { 22, 9001 } counter return;
                ct state new tcp dport @P_web counter accept; udp dport 53 counter accept;
                ip saddr != @N_office counter drop; counter return; }
        }
        table ip6 vyos_filter {
            chain VYOS_IPV6_INPUT_filter { type filter hook input priority filter; policy accept;
                ct state established accept; ct state invalid drop;
                meta l4proto ipv6-icmp accept; tcp dport 443 counter accept; counter drop; }
        }
        table raw { chain VYOS_TIMEOUT { type filter hook prerouting priority -300;
            policy accept; counter return; }
            chain VYOS_CT_IGNORE { type filter hook prerouting priority -300; policy accept;
                udp dport 443 notrack; }
        }
    """,
    "firewalld": """
        table inet firewalld {
            chain filter_PREROUTING { type filter hook prerouting priority filter + 10;
                icmpv6 type { nd-router-advert, nd-neighbor-solicit } accept;
                meta nfproto ipv6 fib saddr . mark . iif oif missing drop; }
            chain filter_INPUT { type filter hook input priority filter + 10; policy accept;
                ct state { established, related } accept; ct status dnat accept;
                iifname "lo" accept;
                ct state invalid drop; jump filter_INPUT_ZONES;
                reject with icmpx admin-prohibited; }
            chain filter_INPUT_ZONES { ip saddr 192.0.2.0/24 goto filter_IN_trusted;
                iifname "eth0" goto filter_IN_public; goto filter_IN_public; }
            chain filter_IN_trusted { accept; }
            chain filter_IN_public { jump filter_IN_public_deny; jump filter_IN_public_allow;
                meta l4proto { icmp, ipv6-icmp } accept; reject with icmpx admin-prohibited; }
            chain filter_IN_public_deny { ip saddr 203.0.113.0/24 drop; }
            chain filter_IN_public_allow { tcp dport 22 accept; tcp dport 443 accept; }
        }
    """,
    "fail2ban and crowdsec": """
        table inet f2b-table {
            set addr-set-sshd { type ipv4_addr; elements = { 203.0.113.9, 198.51.100.7 }; }
            chain f2b-chain { type filter hook input priority filter - 1; policy accept;
                tcp dport 22 ip saddr @addr-set-sshd reject with icmp port-unreachable; }
        }
        table ip crowdsec {
            set crowdsec-blacklists { type ipv4_addr; flags timeout;
                elements = { 203.0.113.10 timeout 4h, 192.0.2.77 timeout 4h }; }
            chain crowdsec-chain-input { type filter hook input priority filter - 10;
                ip saddr @crowdsec-blacklists drop; }
        }
    """,
    "fw4": """
        table inet fw4 {
            chain input { type filter hook input priority filter; policy drop;
                iif "lo" accept; ct state vmap { established : accept, related : accept };
                tcp flags & (fin | syn | rst | ack) == syn jump syn_flood;
                iifname "eth0" jump input_wan; jump handle_reject; }
            chain syn_flood { limit rate 25000/second burst 5000 packets return; drop; }
            chain input_wan { meta nfproto ipv4 udp dport 68 accept; tcp dport { 80, 443 } accept;
                meta l4proto ipv6-icmp accept; jump reject_from_wan; }
            chain reject_from_wan { iifname "eth0" jump handle_reject; }
            chain handle_reject { meta l4proto tcp reject with tcp reset; reject; }
        }
    """,
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
    "what is known is not let in": """
        table inet t {
            chain input { type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;
                ct state new accept; }
        }
    """,
    "what is known is reset": """
        table inet t {
            chain input { type filter hook input priority 0;
                ct state established tcp dport 443 reject with tcp reset; }
        }
    """,
    "only a first packet's option": """
        table inet t {
            chain input { type filter hook input priority 0;
                tcp dport 443 tcp option sack-perm missing drop; }
        }
    """,
    "one set of two limits": """
        table inet t {
            set seen { type ipv4_addr; flags dynamic; timeout 1m; }
            chain early { type filter hook prerouting priority mangle;
                update @seen { ip saddr limit rate over 9999/second burst 9999 packets } drop; }
            chain input { type filter hook input priority 0;
                tcp dport 443 update @seen { ip saddr limit rate 9999/second } drop;
                tcp dport 80 ip saddr @seen drop; }
        }
    """,
    "a set that says its limit": """
        table inet t {
            set seen { type ipv4_addr; flags dynamic; timeout 1m;
                limit rate over 9999/second burst 9999 packets; counter; }
            set few { type ipv4_addr; flags dynamic; quota 999 mbytes; }
            chain input { type filter hook input priority 0;
                add @seen { ip saddr } drop; tcp dport 80 ip saddr @seen drop;
                add @few { ip saddr } tcp dport 443 drop; }
        }
    """,
    "a list with a part of everything": """
        table inet t {
            set listed { type ipv4_addr; flags interval; elements = { 81.18.0.0/15, 45.18.0.0/15,
                203.18.0.0/15, 91.18.0.0/15, 109.18.0.0/15, 24.18.0.0/15, 62.18.0.0/15,
                185.18.0.0/15, 151.18.0.0/15, 99.18.0.0/15 }; }
            set listed6 { type ipv6_addr; flags interval; elements = { 2a02:26f0::/31,
                2600:1f18::/34, 2a00:1450::/33, 2001:4860::/33, 2403:300::/33,
                2804:14d:8000::/33 }; }
            chain input { type filter hook input priority 0;
                ip saddr @listed drop; ip6 saddr @listed6 drop; }
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
    "in a zone of its own": """
        table inet t {
            chain raw { type filter hook prerouting priority raw;
                tcp dport 443 ct zone set 7; tcp sport 443 ct zone set 7; }
            chain out { type filter hook output priority raw; tcp sport 443 ct zone set 7; }
            chain input { type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;
                ct zone 7 accept; }
        }
    """,
    "tracked from the second packet on": """
        table inet t {
            chain raw { type filter hook prerouting priority raw;
                tcp dport 443 tcp flags & (syn|ack) == syn notrack; }
            chain nat { type nat hook prerouting priority dstnat; tcp dport 443 redirect to :8080; }
            chain input { type filter hook input priority 0; }
        }
    """,
    "a helper": """
        table inet t {
            ct helper ftp { type "ftp" protocol tcp; }
            chain early { type filter hook prerouting priority filter;
                tcp dport 443 ct helper set "ftp"; }
            chain input { type filter hook input priority 0; policy drop;
                icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept;
                ct helper "ftp" accept; ct state new tcp dport 80 accept; }
        }
    """,
    "on several devices": """
        table netdev t {
            chain in { type filter hook ingress devices = { eth0, lo } priority 0;
                tcp dport 443 drop; ip protocol udp udp dport 53 drop; }
        }
        table inet t {
            chain in { type filter hook ingress device eth0 priority 5; tcp dport 80 drop; }
        }
    """,
    "a device that is not there": """
        table netdev t {
            chain in { type filter hook ingress device lo priority 0; drop; }
        }
        table inet t {
            chain input { type filter hook input priority 0; iifname "eth1*" drop;
                iifname { "eth*" } tcp dport 443 drop; }
        }
    """,
    "on the way out": """
        table inet t {
            chain post { type filter hook postrouting priority 0; tcp sport 443 drop;
                oifname "eth0" udp sport 53 drop; }
        }
    """,
    "answers that are marked": """
        table inet t {
            chain out { type route hook output priority mangle; tcp sport 443 meta mark set 7; }
            chain post { type filter hook postrouting priority 0; meta mark 7 drop; }
        }
    """,
    "answers by the mark of a connection": """
        table inet t {
            chain out { type filter hook output priority 0; ct direction reply ct mark 5 drop; }
            chain input { type filter hook input priority 0; tcp dport 80 ct mark set 5; }
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
_IN_TABLE = """
    nft 'table inet t { set many { type %s; flags interval; %s }
        chain input { type filter hook input priority 0; %s; }; }'
    for net in 60 61 62 63; do
        seq 0 2499 | awk -v net=$net '
            BEGIN { printf "add element inet t many { " }
            { printf "%%s%%d.%%d.%%d.0/25%s", comma, net, $1 / 250, $1 %% 250; comma = ", " }
            END { print " }" }' | nft -f -
    done
    nft 'add element inet t many { %s }'
"""
LARGE = {
    "a block list": ("ipv4_addr", "auto-merge;", "ip saddr @many drop", "", f"{CLIENT4}/32"),
    "an allow list": (
        *("ipv4_addr", "", "ip saddr != @many tcp dport 443 drop", "", "198.51.100.0-198.51.100.9"),
    ),
    "who may where": (
        *("ipv4_addr . inet_service", "", "ip saddr . tcp dport @many drop"),
        *(" . 1-1023", "198.51.100.0/24 . 400-500, 198.51.100.0/28 . 80"),
    ),
    "ours": (
        *("ipv4_addr . inet_service", "", "ip daddr . tcp dport != @many ip daddr 10.1.0.4 drop"),
        *(" . 1-1023", "10.1.0.4 . 440-450"),
    ),
}
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
    "a connection's mark, in a chain": f"""
        {_IPV4} iptables-nft -P INPUT DROP
        iptables-nft -N MARKED
        iptables-nft -A MARKED -j CONNMARK --set-mark 0x20/0xf0
        iptables-nft -A MARKED -m connmark --mark 0x20/0x20 -p tcp --dport 443 -j ACCEPT
        iptables-nft -A INPUT -p tcp -m multiport --dports 80,443 -j MARKED
    """,
    "not these": f"""
        {_IPV4} iptables-nft -A INPUT -p tcp -m multiport ! --dports 80,443 -j DROP
        iptables-nft -A INPUT -p udp -m multiport ! --ports 53 -j DROP
        iptables-nft -A INPUT -m pkttype ! --pkt-type unicast -j DROP
        iptables-nft -A INPUT -p tcp --tcp-flags SYN,RST,ACK SYN --dport 80 -j REJECT
    """,
    "sets of addresses": f"""
        {_IPV4} iptables-nft -A INPUT -m iprange --src-range 198.51.100.1-198.51.100.9 -j DROP
        iptables-nft -A INPUT -m iprange ! --src-range 192.0.2.1-192.0.2.9 -p tcp --dport 80 -j DROP
        iptables-nft -A INPUT -m addrtype ! --dst-type LOCAL -j DROP
    """,
    "for us": f"{_IPV4} iptables-nft -A INPUT -m pkttype --pkt-type host -p tcp --dport 80 -j DROP",
}


@pytest.fixture(scope="module")
def played() -> Iterator[Rounds]:
    """One machine for all."""
    with rounds() as made:
        yield made


def _check(played: Rounds, rules: str, shell: str = "") -> None:
    outcomes = played.play(rules, shell, whole=True)
    assert outcomes, played.refusal
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
            limit beyond {{ rate over 1000/second burst 1000 packets; }}
            quota much {{ 1000 mbytes; }}
            chain input {{ type filter hook input priority 0; policy drop;
                {rules}; ct state established accept; }}
        }}""",
    )


@pytest.mark.parametrize("rules", PROGRAMS.values(), ids=PROGRAMS)
def test_what_programs_write(played: Rounds, rules: str) -> None:
    """Kubernetes, containers, firewalls and those who ban."""
    _check(played, rules)


@pytest.mark.parametrize("rules", FILES.values(), ids=FILES)
def test_a_file(played: Rounds, rules: str) -> None:
    """More tables and hooks than one."""
    _check(played, rules)


def test_a_rule_about_who_answers(played: Rounds) -> None:
    """Whose program listens the copy does not know: that is said, and the rule is named."""
    outcomes = played.play(
        "table inet t { chain o { type filter hook output priority 0; policy drop;"
        " meta skuid 99 tcp sport 80 drop; meta l4proto ipv6-icmp accept; tcp sport 80 accept; }; }"
    )
    assert {one.verdict.action for one in outcomes if one.door.port == 80} == {"unknown"}
    assert all("meta skuid" in one.verdict.rule for one in outcomes if one.unknown)
    assert {one.verdict.action for one in outcomes if one.door.port != 80} == {"drop"}
    assert [one for one in outcomes if one.wrong] == []


def test_a_rule_about_who_is_sent_to(played: Rounds) -> None:
    """A first packet is nobody's yet, and so no such rule is about it; the next one of TCP is
    whoever's listens, which the copy does not know."""
    outcomes = played.play(
        "table inet t { chain i { type filter hook input priority 0; meta skuid 0 drop; }; }"
    )
    said = {(one.door.protocol, one.verdict.action, one.open) for one in outcomes}
    assert said == {("tcp", "unknown", False), ("udp", "accept", True)}


# As tests/fetch-nft leaves it: Debian's next release has nft 1.1.7.
_NEWEST = REPO / ".cache/nft/testing/nft"
_BY_PATTERN = """table netdev n {
    chain c { type filter hook ingress device "%s" priority 0; policy accept; tcp dport 443 drop; }
}"""


@pytest.mark.skipif(not _NEWEST.exists(), reason="no nft of Debian testing: tests/fetch-nft")
@pytest.mark.parametrize("pattern", ["eth*", "et*", "nic*"])
def test_a_hook_on_devices_by_a_pattern(pattern: str) -> None:
    """Before any table of IP sees the packet; a pattern that no device has drops nothing."""
    with rounds(str(_NEWEST)) as played:
        _check(played, _BY_PATTERN % pattern)


@pytest.mark.needs("awk")
@pytest.mark.parametrize("words", LARGE.values(), ids=LARGE)
def test_a_large_set(played: Rounds, words: tuple[str, ...]) -> None:
    """Of ten thousand networks those count that a packet may be looked up by."""
    kind, flags, rule, port, named = words
    _check(played, "", _IN_TABLE % (kind, flags, rule, port, named))


@pytest.mark.needs("iptables-nft")
@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_rules_of_iptables(played: Rounds, shell: str) -> None:
    """Matches that no listing tells."""
    _check(played, "", shell)
