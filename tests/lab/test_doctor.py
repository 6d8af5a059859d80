"""`lbhook doctor`: each thing that can be wrong, made wrong on a real machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from .fabric import IMDS, PROBE4, VM4, VM6, body, rule
from .hosts import REPO, require, wait_for
from .knock import one as knock_once
from .lab import Lab
from .neighbours import build, choose
from .rules import ADMIN, ALL, FRONT4, FRONT6, PAIRS, WEB
from .vm import LISTEN, NFT, NGINX

CACHED = "--cached"
PYTHON = Path(sys.executable).name[:15]
INSIDE = "10.1.0.100"
ESTABLISHED = "accept established connections in the output chain"


@pytest.fixture
def well(lab: Lab) -> Lab:
    """A machine on which nothing is wrong, and all that waits is meant to be reached."""
    allow = "[targets.nftables.vars]\nallow = [{ port = 9000 }, { port = 5353 }]\n"
    lab.vm.write("/etc/lbhook/lbhook.toml", f"{allow}[targets.nginx]\n")
    lab.balance(ALL)
    lab.vm.apply()
    return lab


def doctor(lab: Lab, *words: str, env: Mapping[str, str] | None = None) -> dict[str, list[str]]:
    """The findings at each level, a line each: its place, its text and its remedy."""
    given = {"PYTHONPATH": str(REPO), "LBHOOK_ENDPOINT": f"http://{IMDS}", **(env or {})}
    argv = [sys.executable, "-m", "lbhook", "doctor", "--json", *words]
    done = lab.vm.run(argv, check=False, env={key: one for key, one in given.items() if one})
    said = json.loads(done.stdout)
    found: dict[str, list[str]] = {"wrong": [], "unsure": [], "note": []}
    for one in said["findings"]:
        found[one["level"]].append(f"{one['place']}: {one['text']} > {one['remedy']}")
    assert (done.returncode, said["wrong"]) == (bool(found["wrong"]), len(found["wrong"]))
    return found


def wrong(lab: Lab, *words: str) -> str:
    """The one thing that is wrong."""
    found = doctor(lab, *words)["wrong"]
    assert len(found) == 1, found
    return found[0]


def test_nothing_is_wrong(well: Lab) -> None:
    """A line for each place, and nothing else; with -v what no rule leads to, as well."""
    done = well.vm.lbhook("doctor")
    places = ("Azure", "Targets", "Units", "Traffic")
    healthy = "".join(f"{place:<9}ok\n" for place in places)
    assert done.stdout == f"{healthy}\nNothing is wrong.\n"
    noted = f"- no rule leads to: tcp 22 {PYTHON}, tcp 9000 {PYTHON}\n"
    assert well.vm.lbhook("doctor", "-v").stdout == f"{healthy}{noted}\nNothing is wrong.\n"
    assert well.vm.lbhook("doctor", "-q").stdout == ""


def test_nothing_is_changed(lab: Lab) -> None:
    """Neither a file nor a rule, of a machine on which all is still to be done."""
    lab.balance(ALL)
    before = lab.vm.read(LISTEN), lab.vm.workers()
    assert len(doctor(lab)["wrong"]) > 3
    assert (lab.vm.read(LISTEN), lab.vm.workers()) == before
    assert not any(lab.vm.path(place).exists() for place in (NFT, "/run/lbhook", "/var/lib/lbhook"))
    assert lab.vm.run(["nft", "list", "ruleset"]).stdout == ""


def test_the_page_shows_what_comes(well: Lab) -> None:
    """docs/troubleshooting.md has the whole output of a machine with two things wrong."""
    page = (REPO / "docs/troubleshooting.md").read_text(encoding="utf-8")
    shown = page.split("\n## A port does not answer\n")[1].split("\n```\n")[1]
    loopback = "server { listen 127.0.0.1:8081; }\n"
    allow = "[targets.nftables.vars]\nallow = [{ port = 9000 }, { port = 5353 }]\n"
    well.vm.write("/etc/lbhook/lbhook.toml", f"{allow}[targets.nginx.vars]\nports = [443]\n")
    well.balance(body(*WEB, *ADMIN[:1], **PAIRS))
    well.vm.apply()
    well.vm.write(
        "/etc/nginx/nginx.conf", NGINX.replace("    server {", f"    {loopback}server {{")
    )
    well.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: well.vm.listens("tcp", 8081, "127.0.0.1"), "nginx on loopback")
    policy = "iptables-nft -A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"
    well.vm.run(["sh", "-euc", f"{policy}; iptables-nft -A INPUT -p tcp --dport 8081 -j ACCEPT"])
    well.vm.run(["iptables-nft", "-P", "INPUT", "DROP"])
    done = well.vm.lbhook("doctor", check=False)
    assert (done.stdout, done.returncode) == (f"{shown}\n", 1)


# Azure


def test_imds_does_not_answer(well: Lab) -> None:
    """Said with a hint; the rest goes by the last good answer."""
    well.fabric.links(f"addr del {IMDS}/32 dev lo")
    found = wrong(well, "--wait", "0")
    assert found.startswith("azure: no usable answer from the metadata service: ")
    assert "primary address" in found


def test_there_is_no_route_to_imds(well: Lab) -> None:
    """The kernel refuses; so does the doctor's look at the route."""
    well.vm.links(f"route add unreachable {IMDS}/32")
    found = doctor(well, "--wait", "0")["wrong"]
    assert any(it.startswith(f"azure: there is no route to {IMDS} > ") for it in found)


def test_imds_is_locked(well: Lab) -> None:
    """By a prohibit route, as systemd-imdsd has it: named with what to do, and asked again."""
    well.vm.links(f"route add prohibit {IMDS}/32")
    found = doctor(well, "--wait", "1s")["wrong"]
    assert any("a route of this machine prohibits it" in it for it in found)
    assert any("systemd.imds.network=locked" in it for it in found)


def test_imds_is_asked_by_another_nic(well: Lab) -> None:
    """It answers the primary one only."""
    well.vm.cable("eth1", well.fabric, "vm1")
    well.vm.links(f"link set eth1 up\naddr add 10.1.1.4/24 dev eth1\nroute add {IMDS}/32 dev eth1")
    found = doctor(well, "--wait", "0")["wrong"]
    text = f"azure: requests to {IMDS} leave by eth1, but the default route is by eth0"
    assert any(it.startswith(text) and f"replace {IMDS}/32 dev eth0" in it for it in found)


def test_imds_is_asked_from_a_secondary_address(well: Lab) -> None:
    """It answers the primary one only."""
    route = f"route add {IMDS}/32 via 10.1.0.1 src 10.1.0.9"
    well.vm.links(f"addr add 10.1.0.9/24 dev eth0\n{route}")
    well.fabric.links(f"addr del {IMDS}/32 dev lo")
    found = doctor(well, "--wait", "0")["wrong"]
    assert any(
        it.startswith(f"azure: requests to {IMDS} have the source 10.1.0.9") and VM4 in it
        for it in found
    )


@pytest.mark.parametrize(
    ("rules", "text"),
    [
        (
            "chain out { type filter hook output priority 0;"
            ' oifname "eth0" ip daddr 169.254.0.0/16 meta skuid < 10 drop; }',
            f"packets to {IMDS} are dropped by chain inet own out (handle 2)",
        ),
        (
            "chain in { type filter hook input priority 0; policy drop; tcp dport 1-9999 accept; }",
            f"replies from {IMDS} are dropped by chain inet own in (policy drop)",
        ),
    ],
)
def test_a_firewall_is_in_between(well: Lab, rules: str, text: str) -> None:
    """On this machine: what is asked, or what is answered, does not get through."""
    well.vm.run(["nft", f"table inet own {{ {rules}; }}"])
    assert any(it.startswith(f"azure: {text}") for it in doctor(well, "--wait", "0")["wrong"])


def test_there_is_no_load_balancer(well: Lab) -> None:
    """Which explains any port that does not answer."""
    well.fabric.serve_metadata("absent")
    wait_for(well.fabric.serves_metadata, "metadata service")
    assert wrong(well).startswith("azure: no load balancer: this VM is not in a backend pool")


def test_azure_has_no_such_metadata(well: Lab) -> None:
    """As Azure Stack Hub, which answers 404 in words of its own for as long as it is asked."""
    step = '[[step]]\nfault = "status"\nstatus = 404\nbody = \'{"error": "Not found"}\'\n'
    well.fabric.write("/run/hub.toml", f'title = "no such metadata"\n{step}')
    well.fabric.serve_metadata("absent", playbook="/run/hub.toml")
    wait_for(well.fabric.serves_metadata, "metadata service")
    found = wrong(well, "--wait", "1s")
    assert "IMDS answered 404: Not found (perhaps being updated)" in found
    assert "as Azure Stack Hub has none: `[rules.NAME]` of the configuration stands" in found


def test_no_way_out_is_told_of(well: Lab) -> None:
    """It is noted, and no fault: a NAT gateway is in no metadata."""
    text = "azure: Azure tells of no outbound rule and no public address of this VM"
    assert not [it for it in doctor(well)["note"] if it.startswith(text)]
    well.balance(body(*WEB, *ADMIN))
    well.vm.apply()
    found = doctor(well)
    assert [it.startswith(text) for it in found["note"]].count(True) == 1
    assert found["wrong"] == []


def test_this_is_not_azure(well: Lab) -> None:
    """Without an endpoint of one's own nobody is asked."""
    (found,) = doctor(well, env={"LBHOOK_ENDPOINT": ""})["wrong"]
    assert found.startswith("azure: this machine is not an Azure VM: ")


def test_proxies_are_noted(well: Lab) -> None:
    """They are for others, and that is said to whoever looks closely."""
    env = {"http_proxy": "http://192.0.2.1:3128", "NO_PROXY": "x"}
    notes = doctor(well, env=env)["note"]
    assert "azure: NO_PROXY, http_proxy: set in the environment; lbhook ignores them > " in notes


# Targets


def test_a_program_is_not_installed(well: Lab) -> None:
    """The target is skipped by every apply."""
    own = '[targets.own]\ntemplate = "lb.env.j2"\npath = "/etc/own"\nrequires = ["no-such"]\n'
    well.vm.write("/etc/lbhook/lbhook.toml.d/own.toml", own)
    assert wrong(well).startswith("targets: own: no-such not installed > install it, or")


def test_nginx_does_not_include_the_file(well: Lab) -> None:
    """Also if there is nothing else to do, and it still listens."""
    line = "include /etc/nginx/lbhook/listen.conf;"
    well.vm.write("/etc/nginx/nginx.conf", NGINX.replace(line, "listen 127.0.0.1:88;"))
    assert wrong(well) == (
        f"targets: nginx: no nginx configuration includes it > put `{line}` into a server block"
    )


def test_nginx_refuses_its_configuration(well: Lab) -> None:
    """Somebody else's mistake keeps a new rule from nginx."""
    well.vm.write("/etc/nginx/nginx.conf", NGINX.replace("events {}", "events { wrong; }"))
    well.balance(body(*WEB, **PAIRS))
    found = doctor(well)["wrong"]
    text = "targets: nginx: nginx refuses its configuration without this change, too:"
    assert any(it.startswith(text) and 'unknown directive "wrong"' in it for it in found)


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (f"echo '# mine' >>{NFT}", f"targets: nftables: {NFT} is gone, or was edited"),
        (f"rm {LISTEN}", f"targets: nginx: {LISTEN} is gone, or was edited"),
        ("nft insert rule inet lbhook input tcp dport 1 accept", "targets: nftables: `nft "),
    ],
)
def test_something_differs(well: Lab, damage: str, text: str) -> None:
    """From what an apply left, on the disk or in the kernel."""
    well.vm.run(["sh", "-euc", damage])
    found = wrong(well)
    assert found.startswith(text)
    assert found.endswith(" > `lbhook plan` shows it, `sudo lbhook apply` fixes it")


def test_another_program_has_the_port(well: Lab) -> None:
    """nginx can't have it, and what else there is goes on."""
    well.balance(body(*WEB, *ADMIN, rule(FRONT4, 90, VM4, 9000), **PAIRS))
    assert well.vm.lbhook("apply").returncode == 0
    assert [one for one in doctor(well)["wrong"] if "9000" in one] == [
        f"targets: nginx: port 9000 is left out: {PYTHON} has [::]:9000 > stop that program,"
        " or set `except_ports = [9000]` to leave the port alone"
    ]


def test_a_directory_is_read_only(well: Lab) -> None:
    """The next apply would fail, and say so in a log."""
    place = "/etc/nftables.d"
    well.vm.run(["sh", "-euc", f"mount --bind {place} {place}; mount -o remount,bind,ro {place}"])
    assert wrong(well).startswith(f"targets: nftables: {place} is not writable")


@pytest.mark.parametrize(
    ("ending", "found"),
    [("", True), (f'include "{NFT}"\n', False), ('include "/etc/nftables.d/*.nft"\n', False)],
)
def test_nftables_conf_flushes_the_table(well: Lab, ending: str, found: bool) -> None:
    """Debian's does, and brings lbhook's back only if it is told to."""
    well.vm.write("/etc/nftables.conf", f"#!/usr/sbin/nft -f\nflush ruleset\n{ending}")
    said = doctor(well)["wrong"]
    text = "targets: nftables: /etc/nftables.conf flushes every table"
    line = 'end it with `include "/etc/nftables.d/*.nft"`'
    assert [it.startswith(text) and line in it for it in said] == [True] * found


def test_a_template_is_wrong(well: Lab) -> None:
    """Nothing can be planned, and the rest of the way is looked at all the same."""
    well.vm.write("/etc/lbhook/templates/lb.env.j2", "{{ nobody }}")
    well.balance(body(*WEB, rule(FRONT4, 91, VM4, 7777), **PAIRS))
    found = doctor(well)["wrong"]
    assert '"nobody" is not defined' in found[0]
    assert any(it.startswith(f"traffic: nobody listens on {VM4} tcp 7777") for it in found)


# Units


def install(lab: Lab) -> None:
    """lbhook's units on a machine with systemd, as an installation leaves them."""
    lab.vm.run(["mkdir", "-p", "/run/systemd/system", "/etc/systemd/system"])
    shipped = [one for one in (REPO / "systemd").iterdir() if one.suffix in (".service", ".timer")]
    for one in shipped:
        # systemd-analyze looks for the program.
        text = one.read_text(encoding="utf-8").replace("/usr/bin/lbhook", "/bin/true")
        lab.vm.write(f"/etc/systemd/system/{one.name}", text)
    enabled = [one.name for one in shipped if "[Install]" in one.read_text(encoding="utf-8")]
    lab.vm.run(["systemctl", "--root=/", "enable", *enabled])


def of_units(lab: Lab) -> list[str]:
    """What is wrong with the units."""
    return [one for one in doctor(lab)["wrong"] if one.startswith("units: ")]


@pytest.mark.needs("systemd-analyze")
def test_units_do_not_come_with_the_next_boot(well: Lab) -> None:
    """As seen by systemctl and systemd-analyze, from what is on the disk."""
    install(well)
    assert of_units(well) == []
    well.vm.run(["systemctl", "--root=/", "disable", "lbhook.service"])
    well.vm.run(["ln", "-sf", "/dev/null", "/etc/systemd/system/lbhook-refresh.timer"])
    well.vm.run(["rm", "/etc/systemd/system/lbhook-fetch.service"])
    assert [one.partition(":")[2].partition(": ")[0] for one in of_units(well)] == [
        " lbhook-fetch.service is not installed",
        " lbhook.service is not enabled",
        " lbhook-refresh.timer is masked",
    ]


@pytest.mark.needs("systemd-analyze")
def test_units_wait_for_each_other(well: Lab) -> None:
    """After an edit of somebody's: systemd starts one of them not at all."""
    install(well)
    edit = "/etc/systemd/system/lbhook.service.d/own.conf"
    well.vm.write(edit, "[Unit]\nBefore=lbhook-fetch.service\nAfter=lbhook-fetch.service\n")
    (found,) = of_units(well)
    assert found.startswith("units: the units have an ordering cycle: ")
    assert "lbhook.service" in found


# Traffic


def test_an_address_is_not_here(well: Lab) -> None:
    """A secondary one that was never brought up, or a frontend of Floating IP."""
    rules = (rule(FRONT4, 90, "10.1.0.5", 443), rule("50.0.0.2", 91, "50.0.0.2", 443))
    well.balance(body(*WEB, *rules, **PAIRS))
    well.vm.apply()
    text = "traffic: {}: not an address of this machine > {}"
    assert doctor(well)["wrong"] == [
        text.format(
            f"10.1.0.5 tcp 443 (frontend {FRONT4}:90)",
            "bring it up on its NIC, or take it out of the backend pool",
        ),
        text.format(
            "50.0.0.2 tcp 443 (frontend 50.0.0.2:91)",
            "turn on the target floating-ip, or take it out of the backend pool",
        ),
    ]


def test_answers_leave_by_another_nic(well: Lab) -> None:
    """Azure drops what comes from an address that is not the NIC's."""
    well.vm.cable("eth1", well.fabric, "vm1")
    well.vm.links("link set eth1 up\naddr add 10.1.1.4/24 dev eth1")
    well.balance(body(*WEB, rule(FRONT4, 90, "10.1.1.4", 443), **PAIRS))
    well.vm.apply()
    found = wrong(well)
    assert found.startswith("traffic: 10.1.1.4 is on eth1, but its replies leave by eth0")
    more = "rule add from 10.1.1.4 table 100\nroute add default dev eth1 table 100"
    well.vm.links(more)
    assert doctor(well)["wrong"] == []


def test_there_is_no_way_back(well: Lab) -> None:
    """Without a default route, in one family."""
    well.vm.run(["ip", "-6", "route", "del", "default"])
    found = wrong(well)
    assert found.startswith(f"traffic: {VM6} has no route back to clients > give eth0")


def test_nobody_listens(well: Lab) -> None:
    """At one place, with the rule that leads there; at many, as one finding."""
    well.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    well.balance(
        body(*WEB[1:], *(rule(FRONT4, port, VM4, port) for port in (6, 7, 8, 10)), **PAIRS)
    )
    well.vm.apply()
    remedy = "start the program that should"
    assert doctor(well)["wrong"] == [
        f"traffic: nobody listens on {VM4} tcp 6-8, 10 > {remedy}",
        f"traffic: nobody listens on {VM6} tcp 443 (frontend [2603:10e1:100:2::1:1]:80) > {remedy}",
    ]


def test_a_program_listens_on_loopback_only(well: Lab) -> None:
    """Which is named, with the address that it should listen on."""
    well.vm.serve("tcp,127.0.0.1,7777", "udp,127.0.0.1,7777")
    well.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    well.balance(body(rule(FRONT4, 91, VM4, 7777), **PAIRS))
    well.vm.apply()
    assert wrong(well) == (
        f"traffic: nobody listens on {VM4} tcp 7777 (frontend {FRONT4}:91) > {PYTHON} listens"
        f" there on 127.0.0.1 only: let it listen on {VM4}"
    )


@pytest.mark.parametrize(
    ("firewall", "place", "remedy"),
    [
        (
            "nft table inet own '{ chain in { type filter hook input priority 0; policy drop;"
            " ct state established accept; tcp dport != 8081 accept; udp dport 5353 accept;"
            " meta nfproto ipv6 accept; }; }'",
            "inet own in (policy drop)",
            "accept it there too: ",
        ),
        (
            "iptables-nft -A INPUT -p tcp --dport 8081 -j REJECT",
            "ip filter INPUT (handle 2)",
            "accept it there, or set policy",
        ),
        (
            "nft insert rule inet lbhook input ip daddr 10.1.0.4 tcp dport 8081 drop",
            "inet lbhook input (handle ",
            "`sudo lbhook apply` loads lbhook's table again",
        ),
    ],
)
def test_another_table_drops_it(well: Lab, firewall: str, place: str, remedy: str) -> None:
    """Whoever's it is; and so it is on the wire."""
    well.vm.run(["sh", "-euc", firewall])
    found = next(it for it in doctor(well)["wrong"] if it.startswith("traffic: "))
    assert found.startswith(
        f"traffic: {VM4} tcp 8081 (frontend {FRONT4}:81) is dropped by chain {place}"
    )
    assert f"> {remedy}" in found
    assert knock_once(well.client, "tcp", FRONT4, 81).state in ("filtered", "refused")


OWN_INPUT = """
table inet own {{
    chain i {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto {{ tcp, udp, icmp }} accept
        {}
    }}
}}
"""
NEIGHBOURS = "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept"


@pytest.mark.parametrize(("more", "state"), [("", "filtered"), (NEIGHBOURS, "open")])
def test_rules_that_drop_neighbour_discovery(well: Lab, more: str, state: str) -> None:
    """It is part of no connection, and IPv6 ends without it, whatever port is let in."""
    well.vm.run(["nft", "-f", "-"], stdin=OWN_INPUT.format(more))
    well.fabric.run(["ip", "-6", "neighbour", "flush", "dev", "vm0"])
    assert knock_once(well.client, "tcp", FRONT6, 80).state == state
    found = [it for it in doctor(well)["wrong"] if "neighbour discovery" in it]
    said = (
        "traffic: neighbour discovery (ICMPv6) is dropped by chain inet own i (policy drop): IPv6"
        f" of {VM6} ends within minutes > accept ICMPv6 there, as `ip6tables -I INPUT -p ipv6-icmp"
        " -j ACCEPT` does"
    )
    assert found == ([] if more else [said])


@pytest.mark.parametrize(
    ("rules", "state", "place"),
    [
        (f"ip saddr {PROBE4} tcp dport 443 drop", "filtered", "(handle 2)"),
        ("policy drop; ip saddr 198.51.100.0/24 accept", "filtered", "(policy drop)"),
        (f"policy drop; ip saddr {{ 198.51.100.0/24, {PROBE4} }} accept", "open", ""),
    ],
)
def test_rules_that_drop_health_probes(well: Lab, rules: str, state: str, place: str) -> None:
    """As where fail2ban has banned who probes, or a list of who may come lacks it: clients are let
    in, and Azure sends none."""
    chain = f"chain i {{ type filter hook input priority filter; {rules}; }}"
    well.vm.run(["nft", "-f", "-"], stdin=f"table inet own {{\n{chain}\n}}")
    assert knock_once(well.fabric, "tcp", VM4, 443, PROBE4).state == state
    found = [it for it in doctor(well)["wrong"] if "health probes" in it]
    assert len(found) == bool(place)
    for it in found:
        assert it.startswith(f"traffic: health probes from {PROBE4} to tcp 443")
        assert f", or replies to them, are dropped by chain inet own i {place}: Azure" in it


def test_what_is_redirected_is_closed_where_it_goes(well: Lab) -> None:
    """Loading the table again would help nobody: the port that it is redirected to is not open."""
    chain = "chain p { type nat hook prerouting priority dstnat; tcp dport 8081 redirect to :6; }"
    well.vm.run(["nft", "-f", "-"], stdin=f"table ip own {{\n{chain}\n}}")
    assert wrong(well) == (
        f"traffic: {VM4} tcp 8081 (frontend {FRONT4}:81) is redirected to {VM4}:6, and dropped by"
        f" chain inet lbhook input (policy drop) > let in {VM4}:6, where it is redirected to, by an"
        ' `allow` in the `vars` of nftables, or set policy = "prerouting" there, which judges'
        " before"
    )


def test_replies_that_a_rule_of_the_routing_prohibits(well: Lab) -> None:
    """By their port: of others there is a way."""
    require("ip")
    well.vm.run(["ip", "rule", "add", "ipproto", "tcp", "sport", "8081", "prohibit"])
    assert knock_once(well.client, "tcp", FRONT4, 81).state != "open"
    assert wrong(well) == (
        f"traffic: replies from {VM4} tcp 8081 have no route"
        " > `ip rule` shows which of its rules prohibits them"
    )


# Answers to what this machine asks get out, answers to what it is asked do not.
STATELESS = (
    "iptables-nft -P OUTPUT DROP; iptables-nft -A OUTPUT -o lo -j ACCEPT;"
    " iptables-nft -A OUTPUT -p tcp -m multiport --dports 53,80,443 -j ACCEPT"
)


def test_answers_are_dropped_on_the_way_out(well: Lab) -> None:
    """Nobody's first packet is dropped and every answer is, until established ones get out."""
    require("iptables-nft")
    well.vm.run(["sh", "-euc", STATELESS])
    assert knock_once(well.client, "tcp", FRONT4, 81).state == "filtered"
    by = "are dropped by chain ip filter OUTPUT (policy drop)"
    assert doctor(well)["wrong"] == [
        f"traffic: replies from {VM4} tcp 443, 8081 {by} > {ESTABLISHED}",
        f"traffic: replies from {VM4} udp 5353 (frontend {FRONT4}:53) {by} > {ESTABLISHED}",
    ]
    well.vm.run(
        ["sh", "-euc", "iptables-nft -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT"]
    )
    assert knock_once(well.client, "tcp", FRONT4, 81).state == "open"
    assert doctor(well)["wrong"] == []


def test_only_new_connections_are_let_in(well: Lab) -> None:
    """A connection stands, and nothing comes through, until established ones are accepted."""
    chain = "inet own in"
    well.vm.run(["nft", "table inet own { chain in { type filter hook input priority 0; }; }"])
    well.vm.run(["nft", f"add rule {chain} tcp dport 8081 ct state != new reject with tcp reset"])
    assert knock_once(well.client, "tcp", FRONT4, 81).state == "unreachable"
    wrong = doctor(well)["wrong"]
    assert all(f"clients send next is dropped by chain {chain}" in it for it in wrong)
    assert [it.partition(" > ")[2] for it in wrong] == ["accept established connections there"] * 2
    well.vm.run(["nft", f"insert rule {chain} ct state established accept"])
    assert knock_once(well.client, "tcp", FRONT4, 81).state == "open"
    assert doctor(well)["wrong"] == []


def test_a_rule_that_nobody_can_judge(well: Lab) -> None:
    """Is named, and neither called wrong nor well."""
    well.vm.run(["nft", "table inet own { chain in { type filter hook input priority 0; }; }"])
    well.vm.run(["nft", "add rule inet own in tcp dport 8081 meta cpu 0 drop"])
    found = doctor(well)
    assert found["wrong"] == []
    assert [it.partition(" > ")[2] for it in found["unsure"]] == [
        "`nft --handle list chain inet own in` shows it"
    ] * 2
    assert all(" is let in: it depends on chain inet own in" in it for it in found["unsure"])


def test_only_some_sources_are_let_in(well: Lab) -> None:
    """To a public frontend everybody comes; who comes to an internal one only its owner knows, but
    for Azure's probes."""
    chain = "chain in { type filter hook input priority 0; policy drop;"
    chain += " ct state established accept; ip saddr 10.0.0.0/8 accept; meta nfproto ipv6 accept; }"
    well.vm.run(["nft", f"table inet own {{ {chain}; }}"])
    well.balance(body(*WEB, rule(INSIDE, 81, VM4, 8081), **PAIRS))
    well.vm.apply()
    found = doctor(well)
    place = "inet own in (policy drop)"
    assert [it.partition(" > ")[0] for it in found["wrong"]] == [
        f"traffic: {VM4} tcp 443 (frontend {FRONT4}:80) is dropped by chain {place}",
        f"traffic: health probes from {PROBE4} to tcp 8081, 443, or replies to them, are dropped by"
        f" chain {place}: Azure sends no new connections here",
    ]
    assert found["unsure"] == [
        f"traffic: {VM4} tcp 8081 (frontend {INSIDE}:81) is dropped by chain {place},"
        " except from sources that a rule names > `nft --handle list chain inet own in` shows it"
    ]


def test_a_published_port_needs_no_listener(well: Lab) -> None:
    """What is redirected to a container is that one's affair, and noted."""
    well.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    well.vm.run(
        [
            "sh",
            "-euc",
            "echo 1 >/proc/sys/net/ipv4/ip_forward; iptables-nft -t nat -A PREROUTING"
            " -p tcp --dport 7777 -j DNAT --to-destination 172.17.0.2:80",
        ]
    )
    well.balance(body(rule(FRONT4, 91, VM4, 7777), **PAIRS))
    well.vm.apply()
    found = doctor(well)
    assert found["wrong"] == []
    assert any(f"{VM4} tcp 7777 (frontend {FRONT4}:91) is redirected" in it for it in found["note"])


def test_no_probe_has_come(well: Lab) -> None:
    """For a minute, which is a dozen of them; later it says to which port they come."""
    file = "/run/lbhook/loaded.json"
    loaded = json.loads(well.vm.read(file))
    well.vm.write(file, json.dumps({**loaded, "applied": 1.0}))
    (said,) = doctor(well)["unsure"]
    assert said.startswith("traffic: no health probe since the firewall was loaded")
    assert knock_once(well.fabric, "tcp", VM4, 9000, PROBE4).state == "open"
    found = doctor(well)
    assert found["unsure"] == []
    assert "traffic: health probes came to tcp 9000 > " in found["note"]


def test_connection_tracking_is_nearly_full(well: Lab) -> None:
    """What it has is real; that it can have no more than this is not the kernel's word."""
    well.vm.write("/run/most", "2\n")
    most = "/proc/sys/net/netfilter/nf_conntrack_max"
    well.vm.run(["mount", "--bind", "/run/most", most])
    for port in (80, 81):
        assert knock_once(well.client, "tcp", FRONT4, port).state == "open"
    found = wrong(well)
    assert found.startswith("traffic: connection tracking is nearly full, ")
    assert " of 2: new connections fail > raise net.netfilter.nf_conntrack_max" in found


@pytest.mark.needs("iptables-legacy")
def test_legacy_rules_are_not_judged(well: Lab) -> None:
    """nft does not list them, and that is said."""
    choose(well.vm, "mark")
    well.vm.run(["nft", "flush ruleset"])
    build(well.vm, "iptables-legacy")
    well.vm.apply()
    found = doctor(well)["unsure"]
    assert (
        "traffic: iptables-legacy has rules, which are not judged here > `iptables-legacy-save`"
        in found
    )


def test_a_backend_calls_its_own_frontend(well: Lab) -> None:
    """An internal load balancer drops that: the call hangs, and is seen to."""
    well.balance(body(*WEB, *ADMIN, rule(INSIDE, 80, VM4, 443), **PAIRS))
    well.vm.apply()
    well.vm.links(f"neigh add {INSIDE} lladdr 02:00:00:00:00:01 dev eth0")
    call = f"import socket; socket.create_connection(('{INSIDE}', 80), 60)"
    well.vm.spawn([sys.executable, "-c", call])
    hung = f"sport != 0 and dst {INSIDE}"
    wait_for(
        lambda: INSIDE in well.vm.run(["ss", "-Htn", "state", "syn-sent", hung]).stdout, "a call"
    )
    assert wrong(well) == (
        f"traffic: {PYTHON} on this machine calls {INSIDE}:80 and gets no reply: an internal load"
        f" balancer does not send a backend's own traffic back > let it call {VM4}:443"
    )
