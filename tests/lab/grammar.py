"""Rulesets at random, of nft's language and of iptables-nft's, as strategies of hypothesis.

What nft refuses is none, so that a sentence may be wrong in details. Limits are far beyond what a
round sends: how many packets came before is not what is asked here.
"""

from __future__ import annotations

from hypothesis import strategies as st

from .fabric import CLIENT4, CLIENT6, VM4, VM6

_one = st.sampled_from
_PORTS = ("22", "80", "443", "8080", "9001", "53", "1234")
_ports = st.one_of(
    _one(_PORTS),
    _one(("1-100", "400-500", "1024-65535", "0-65535", "8000-9000")),
    st.lists(_one((*_PORTS, "70-90", "8000-8100")), min_size=1, max_size=3, unique=True).map(
        lambda ports: f"{{ {', '.join(ports)} }}"
    ),
    _one(("@ports", "{ 80, * }", "{ 443 }")),
)
_SOURCES4 = (
    *("203.0.113.0/24", "203.0.113.7", "192.0.2.0/24", "10.0.0.0/8", "0.0.0.0/0", "0.0.0.0/1"),
    *(CLIENT4, "198.51.100.0/24", "{ 0.0.0.0/1, 128.0.0.0/1 }", "{ 192.0.2.1, 203.0.113.0/25 }"),
    *("@sources", "172.16.0.1-172.31.255.255", "{ 198.51.100.0/25, 192.0.2.0/24 }"),
)
_SOURCES6 = ("2001:db8::/32", CLIENT6, "::/0", "fd00::/8", "{ 2001:db8:7::/48 }", "fe80::/10")
_states = _one(
    ("new", "established", "invalid", "related", "untracked", "established,related", "new,invalid")
)
_op = _one(("", "", "", "!= "))
_number = st.integers(0, 255).map(str)
_marks = _one(("0", "1", "7", "0x10/0x10"))


def _joined(*parts: st.SearchStrategy[str] | str) -> st.SearchStrategy[str]:
    made = [st.just(one) if isinstance(one, str) else one for one in parts]
    return st.tuples(*made).map("".join)


_match = st.one_of(
    _joined(_one(("tcp ", "tcp ", "tcp ", "th ", "udp ")), "dport ", _op, _ports),
    _joined("tcp dport ", _one(("< ", "> ", "<= ", ">= ")), _one(_PORTS)),
    _joined(_one(("tcp ", "udp ", "th ")), "sport ", _op, _one(("1024-65535", "80", "1-1023"))),
    _joined("ip saddr ", _op, _one(_SOURCES4)),
    _joined("ip6 saddr ", _op, _one(_SOURCES6)),
    _joined("ip daddr ", _op, _one((VM4, "10.1.0.0/24", "10.1.0.5", "127.0.0.0/8"))),
    _joined("ip6 daddr ", _op, _one((VM6, "ace:cab::/32", "::1"))),
    _joined("ct state ", _op, _states),
    _joined("ct state ! ", _states),
    _joined("ct status & dnat ", _one(("== 0", "!= 0"))),
    _joined("ct direction ", _one(("original", "reply"))),
    _joined("ct mark ", _op, _marks),
    _joined("meta mark ", _op, _marks),
    _joined("meta mark & ", _one(("0x1", "0xff")), _one((" == 0", " != 0", " == 1"))),
    _joined("meta l4proto ", _op, _one(("tcp", "udp", "{ tcp, udp }", "icmp"))),
    _joined("meta nfproto ", _op, _one(("ipv4", "ipv6"))),
    _joined("meta protocol ", _op, _one(("ip", "ip6", "arp"))),
    _joined("ip protocol ", _op, _one(("tcp", "udp", "icmp"))),
    _joined("ip6 nexthdr ", _op, _one(("tcp", "udp", "ipv6-icmp"))),
    _joined("ether type ", _op, _one(("ip", "ip6"))),
    _joined("iifname ", _op, _one(('"eth0"', '"lo"', '"eth*"', '{ "lo", "eth1" }', '"et"'))),
    _joined("iif ", _op, _one(("lo", "eth0"))),
    _joined("meta pkttype ", _op, _one(("host", "broadcast", "multicast"))),
    _joined("fib daddr type ", _op, _one(("local", "broadcast", "{ local, multicast }"))),
    _joined("fib saddr type ", _op, _one(("local", "unicast", "{ broadcast, multicast }"))),
    _one(("fib saddr . iif oif missing", 'fib saddr oifname "eth0"', "fib saddr . iif oif exists")),
    _joined(
        "tcp flags ",
        _one(
            (
                *("syn", "& (syn|ack) == syn", "& (fin|syn|rst|ack) != syn", "& syn == 0", "! rst"),
                *("& (fin|syn|rst|psh|ack|urg) == 0x0", "& (fin|syn) == (fin|syn)", "syn,ack"),
            )
        ),
    ),
    _one(
        ("tcp option maxseg exists", "tcp option sack-perm missing", "tcp option maxseg size 1-500")
    ),
    _joined("ip ttl ", _one(("< 5", "> 5", "!= 1"))),
    _joined("ip frag-off & 0x1fff ", _one(("!= 0", "== 0"))),
    _joined("ip version ", _op, _one(("4", "6"))),
    _one(("ip dscp 0", "ip dscp != 0", "ip6 hoplimit > 5", "ip length < 30", "meta length > 2000")),
    _one(
        (
            "limit rate 100000/second burst 10000 packets",
            "limit rate over 100000/second burst 10000 packets",
            "ct count 10000",
            "ct count over 10000",
            "quota 1000 mbytes",
            "quota over 1000 mbytes",
            "limit name fast",
            "limit name beyond",
        )
    ),
    _joined(
        "ip saddr . tcp dport ",
        _op,
        _one(("@pairs", f"{{ {CLIENT4} . 443 }}", "{ 0.0.0.0/0 . 80 }")),
    ),
    _joined(
        "ip daddr . meta l4proto . th dport ",
        _op,
        _one((f"{{ {VM4} . tcp . 443, {VM4} . udp . 53 }}",)),
    ),
    _joined("jhash ip saddr mod 1 ", _one(("0", "!= 0"))),
    _one(("meta cpu 9", "socket transparent 1", "meta skuid 0", "rt classid 0", "meta cgroup 1")),
    _one(("counter", "counter", "log", 'comment_""')).filter(lambda one: "_" not in one),
)
_set = st.one_of(
    _joined("meta mark set ", _one(("1", "7", "meta mark or 0x10", "ct mark", "meta mark << 2"))),
    _joined("meta mark set ", _one(("tcp dport map { 443 : 7, 80 : 1 }", "jhash ip saddr mod 1"))),
    _joined("ct mark set ", _one(("7", "1", "meta mark"))),
    _one(
        (
            "add @seen { ip saddr }",
            "update @seen { ip saddr limit rate over 100000/second burst 10000 packets }",
            "update @seen { ip saddr limit rate 100000/second burst 10000 packets }",
            "add @seen { ip saddr ct count over 10000 }",
        )
    ),
)
_end = st.one_of(
    _one(("accept", "accept", "accept", "drop", "drop", "reject", "return", "continue")),
    _one(("jump one", "goto one", "jump two", "goto two")),
    _one(("reject with tcp reset",)).map(lambda one: f"meta l4proto tcp {one}"),
)
_vmap = st.one_of(
    _joined(
        "tcp dport vmap { 443 : ",
        *(_one(("accept", "drop", "jump two", "continue")), ", 80 : ", _one(("accept", "drop"))),
        *(_one(("", ", * : drop", ", * : accept")), " }"),
    ),
    _one(
        (
            "tcp dport vmap @which",
            "ct state vmap { established : accept, invalid : drop, new : jump two }",
            "ip saddr vmap { 203.0.113.0/24 : continue, * : drop }",
            f"ip saddr vmap {{ {CLIENT4} : accept, 192.0.2.0/24 : drop }}",
            "meta l4proto vmap { tcp : jump two, udp : accept }",
            "fib daddr type vmap { local : continue, broadcast : drop }",
            "numgen random mod 1 vmap { 0 : jump two }",
        )
    ),
)
_rule = st.one_of(
    *[_joined(st.lists(_match, max_size=3).map(" ".join), " ", end) for end in (_end, _end, _set)],
    _joined(st.lists(_match, max_size=1).map(" ".join), " ", _vmap),
    _joined(st.lists(_match, max_size=1).map(" ".join), " ", _set, " ", _end),
)
_rules = st.lists(_rule, min_size=1, max_size=6)
# Without jumps: another hook, or the chains that are jumped to.
_flat = st.lists(_rule.filter(lambda one: not {"jump", "goto"} & set(one.split())), max_size=3)
_policy = _one(("accept", "drop"))
_raw = st.lists(
    st.one_of(
        _joined(_match, " ", _one(("notrack", "drop", "accept", "return"))),
        _joined("tcp dport ", _ports, " ", _one(("notrack", "meta mark set 7"))),
    ),
    max_size=2,
)
_nat = st.lists(
    _one(
        (
            *("tcp dport 443 redirect to :8080", "tcp dport 9001 redirect to :1234"),
            *("dnat ip to tcp dport map { 9999 : 10.9.9.9 }", "tcp dport 80 dnat ip to 10.9.9.9"),
            *("meta mark 7 redirect to :22", "redirect to :tcp dport map { 8080 : 80 }"),
        )
    ),
    max_size=1,
)
_SETS = """
set ports { type inet_service; flags interval; elements = { 80, 440-450 }; }
set sources { type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.0/25 }; }
set pairs { type ipv4_addr . inet_service; flags interval;
    elements = { 198.51.100.0/24 . 443, 10.0.0.0/8 . 1-1024, 192.0.2.1 . 80 }; }
set seen { type ipv4_addr; flags dynamic; timeout 1m; }
map which { type inet_service : verdict; elements = { 9001 : jump two, 8080 : drop }; }
limit fast { rate 100000/second burst 10000 packets; }
limit beyond { rate over 100000/second burst 10000 packets; }
"""
_ALWAYS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept"


def _chain(name: str, hook: str, rules: list[str], policy: str = "") -> str:
    based = f"type {hook}; {f'policy {policy};' if policy else ''}" if hook else ""
    lines = "".join(f"    {rule}\n" for rule in rules)
    return f"chain {name} {{\n{based}\n{lines}}}\n"


@st.composite
def rulesets(draw: st.DrawFn) -> str:
    """A file for nft: one table or two, several hooks."""
    parts = [_SETS, _chain("two", "", draw(_flat)), _chain("one", "", draw(_flat))]
    rules = draw(_rules)
    if draw(st.booleans()):
        rules.insert(draw(st.integers(0, len(rules))), "ct state established,related accept")
    parts.append(_chain("input", "filter hook input priority 0", [_ALWAYS, *rules], draw(_policy)))
    for name, hook, some in (
        ("raw", "filter hook prerouting priority raw", _raw),
        ("early", "filter hook prerouting priority mangle", _flat),
        ("nat", "nat hook prerouting priority dstnat", _nat),
        ("output", "filter hook output priority 0", _flat),
        ("forward", "filter hook forward priority 0", _flat),
    ):
        chosen = draw(some) if draw(st.integers(0, 3)) == 0 else []
        if chosen:
            parts.append(_chain(name, hook, chosen))
    text = f"table inet t {{\n{''.join(parts)}}}\n"
    if draw(st.integers(0, 4)) == 0:
        other = _chain("in", "filter hook ingress device eth0 priority 0", draw(_flat))
        text += f"table netdev n {{\n{other}}}\n"
    if draw(st.integers(0, 4)) == 0:
        simple = [one for one in draw(_flat) if "@" not in one and "limit name" not in one]
        text += f"table ip u {{\n{_chain('in', 'filter hook input priority -5', simple)}}}\n"
    return text


_XT = st.one_of(
    _joined("-p tcp --dport ", _one(("22", "80", "443", "8080", "400:9000"))),
    _joined(
        "-p tcp -m multiport ",
        _one(("", "! ")),
        _one(("--dports ", "--ports ", "--sports ")),
        _one(("80,443", "22,400:500", "9001")),
    ),
    _joined("-p udp --dport ", _one(("53", "443"))),
    _joined(
        _one(("", "! ")),
        "-s ",
        _one(("203.0.113.0/24", CLIENT4, "192.0.2.1", "0.0.0.0/0", "198.51.100.0/25")),
    ),
    _joined(_one(("", "! ")), "-d ", _one((VM4, "10.1.0.0/16", "10.1.0.9"))),
    _joined(_one(("", "! ")), "-i ", _one(("eth0", "lo", "eth+"))),
    _joined(
        "-m conntrack ",
        _one(("", "! ")),
        "--ctstate ",
        _one(("NEW", "ESTABLISHED,RELATED", "INVALID", "UNTRACKED", "DNAT")),
    ),
    _joined("-m state --state ", _one(("NEW", "ESTABLISHED"))),
    _joined(
        "-p tcp ",
        _one(
            (
                "--syn",
                "! --syn",
                "--tcp-flags ALL NONE",
                "--tcp-flags SYN,FIN SYN,FIN",
                "--tcp-flags SYN,ACK SYN",
                "--tcp-option 2",
            )
        ),
    ),
    _joined("-m mark ", _one(("", "! ")), "--mark ", _one(("0x1", "0x10/0x10", "0"))),
    _joined("-m connmark --mark ", _one(("0", "5"))),
    _joined(
        "-m addrtype ",
        _one(("", "! ")),
        _one(("--dst-type LOCAL", "--src-type LOCAL", "--dst-type BROADCAST")),
    ),
    _joined("-m pkttype ", _one(("", "! ")), "--pkt-type ", _one(("unicast", "broadcast"))),
    _one(
        (
            "-m iprange --src-range 198.51.100.1-198.51.100.9",
            "-m iprange ! --src-range 192.0.2.1-192.0.2.9",
        )
    ),
    _one(
        (
            "-m limit --limit 9000/s --limit-burst 9000",
            "-m comment --comment some",
            "-m ttl --ttl-gt 5",
            "-m length --length 0:30",
        )
    ),
    _one(
        (
            "-m recent --name a --rcheck",
            "-m recent --name a --set",
            "-m recent --name a --update --seconds 9 --hitcount 20",
        )
    ),
    _one(
        (
            "-m statistic --mode random --probability 1",
            "-m u32 --u32 6&0xFF=6",
            "-m cpu --cpu 9",
            "-m socket",
            "-m dscp --dscp 0",
        )
    ),
    _one(
        (
            "-p tcp -m hashlimit --hashlimit-above 9000/s --hashlimit-burst 9000"
            " --hashlimit-mode srcip --hashlimit-name h",
        )
    ),
    _one(("-p tcp -m connlimit --connlimit-above 900", "-p tcp -m connlimit --connlimit-upto 900")),
)
_JUMP = _one(
    ("ACCEPT", "ACCEPT", "DROP", "REJECT", "RETURN", "OTHER", "LOG", "MARK --set-mark 0x10")
)
_XT_RULE = _joined(st.lists(_XT, max_size=3).map(" ".join), " -j ", _JUMP)


@st.composite
def shells(draw: st.DrawFn) -> str:
    """Commands of iptables-nft; one that it refuses is left out."""
    lines = ["iptables-nft -N OTHER"]
    lines += [
        f"iptables-nft -A OTHER {one}"
        for one in draw(st.lists(_XT_RULE.filter(lambda one: "OTHER" not in one), max_size=3))
    ]
    lines += [
        f"iptables-nft -A INPUT {one}" for one in draw(st.lists(_XT_RULE, min_size=1, max_size=5))
    ]
    if draw(st.booleans()):
        lines.insert(1, "iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT")
    if draw(st.integers(0, 2)) == 0:
        match, target = (
            draw(_XT),
            draw(_one(("MARK --set-mark 0x10", "CONNMARK --set-mark 5", "DROP"))),
        )
        lines.append(f"iptables-nft -t mangle -A PREROUTING {match} -j {target}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"iptables-nft -t raw -A PREROUTING {draw(_XT)} -j CT --notrack")
    if draw(st.integers(0, 3)) == 0:
        target = draw(_one(("REDIRECT --to-ports 8080", "DNAT --to-destination 10.9.9.9")))
        lines.append(f"iptables-nft -t nat -A PREROUTING -p tcp --dport 443 -j {target}")
    if draw(st.integers(0, 3)) == 0:
        lines.append(f"iptables-nft -A OUTPUT {draw(_XT_RULE)}")
    lines.append(f"iptables-nft -P INPUT {draw(_one(('ACCEPT', 'DROP')))}")
    return "".join(f"{line} 2>/dev/null || true\n" for line in lines)
