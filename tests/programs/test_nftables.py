"""What a firewall would close on a machine, and where it would do harm."""

import ipaddress
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lbhook.config import settings as config
from lbhook.config.targets import Target
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts, Listener
from lbhook.programs import nftables, sshd
from lbhook.system.machine import Machine, Socket

from ..program import BODIES
from ..stand import GROUP, NO_ENV, USER, Stand, body

# Rules that lead to 80 and 443 of 10.0.0.4.
RULES = facts.derive(parse(body(80, 443)))
STATES = {"tcp": "0A", "udp": "07"}
SCTP = "ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS\n"


def target(text: str = "", name: str = "nftables") -> Target:
    """A shipped target, the firewall with these variables."""
    found = config.parse(f"[targets.nftables.vars]\n{text}\n").targets
    return next(one for one in found if one.name == name)


def machine(place: Path, *sockets: str) -> Machine:
    """A machine where these wait, each a `protocol,address,port`; docker0 has 172.17.0.0/16."""
    net = place / "proc/self/net"
    net.mkdir(parents=True)
    (net / "route").write_text("Iface\ndocker0 000011AC 00000000 0001 0 0 0 0000FFFF\n")
    for name in ("tcp", "tcp6", "udp", "udp6"):
        (net / name).write_text("sl\n")
    for protocol, text, port in (one.split(",") for one in sockets):
        ip = ipaddress.ip_address(text)
        words = [ip.packed[at : at + 4][::-1].hex().upper() for at in range(0, len(ip.packed), 4)]
        with (net / (protocol if ip.version == 4 else f"{protocol}6")).open("a") as file:
            file.write(f"0: {''.join(words)}:{int(port):04X} 0:0 {STATES[protocol]} 0 0 0 0 0 1\n")
    return Machine(place)


def closes(place: Path, text: str, lb: Facts, *sockets: str) -> list[str]:
    """Which of these sockets a firewall with these variables closes."""
    found = nftables.closed(target(text), lb, machine(place, *sockets))
    return sorted(f"{one.protocol},{one.ip},{one.port}" for one in found)


ALWAYS = ("tcp,0.0.0.0,9000", "tcp,10.0.0.4,9000", "udp,0.0.0.0,5353")


@pytest.mark.parametrize("policy", ["enforce", "prerouting"])
@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ("", "tcp,0.0.0.0,22"),
        ("ssh_ports = [2222]", "tcp,::,2222"),
        ('ssh_from = ["10.0.0.0/8"]', "tcp,::,22"),
        ("", "tcp,0.0.0.0,80"),
        ("", "tcp,10.0.0.4,443"),
        ("", "tcp,::,443"),
        ("", "tcp,::ffff:10.0.0.4,443"),
        ('allow = [{ protocol = "udp", port = 51820 }]', "udp,0.0.0.0,51820"),
        ('allow = [{ protocol = "tcp", port = "9001-9003" }]', "tcp,10.0.0.5,9003"),
        ("allow = [{ port = 53 }]", "udp,10.0.0.4,53"),
        ('allow = [{ protocol = "tcp", port = 1, from = "10.0.0.0/8" }]', "tcp,10.0.0.4,1"),
        ('allow = [{ protocol = "udp", from = "fd00::/8" }]', "udp,fd00::4,2"),
        ('trusted_interfaces = ["docker0"]', "udp,172.17.0.1,53"),
        ("", "tcp,127.0.0.1,631"),
        ("", "udp,::1,323"),
        ("", "tcp,::ffff:127.0.0.1,6010"),
        ("", "udp,0.0.0.0,68"),
        ("", "udp,fe80::1,546"),
    ],
)
def test_what_a_rule_or_a_setting_opens_stays(
    tmp_path: Path, policy: str, text: str, opened: str
) -> None:
    """And what is not for the outside is no matter; the others are closed."""
    found = closes(tmp_path, f'policy = "{policy}"\n{text}', RULES, opened, *ALWAYS)
    assert found == ["tcp,0.0.0.0,9000", "tcp,10.0.0.4,9000", "udp,0.0.0.0,5353"]


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("ssh_ports = []", "tcp,0.0.0.0,22"),
        ('ssh_from = ["10.0.0.0/8"]', "tcp,fd00::4,22"),
        ("", "udp,0.0.0.0,22"),
        ("", "tcp,10.0.0.5,80"),
        ("", "tcp,fd00::4,80"),
        ("", "udp,10.0.0.4,80"),
        ("", "tcp,0.0.0.0,68"),
        ('allow = [{ protocol = "udp", port = 9000 }]', "tcp,0.0.0.0,9000"),
        ('allow = [{ protocol = "tcp", port = "9001-9003" }]', "tcp,0.0.0.0,9004"),
        ('allow = [{ protocol = "esp" }]', "udp,0.0.0.0,4500"),
        ('allow = [{ protocol = "udp", from = "fd00::/8" }]', "udp,10.0.0.4,2"),
        ('trusted_interfaces = ["docker0"]', "tcp,0.0.0.0,9000"),
        ('trusted_interfaces = ["virbr0"]', "udp,172.17.0.1,53"),
    ],
)
def test_what_nothing_opens_is_closed(tmp_path: Path, text: str, closed: str) -> None:
    """Another protocol, port, address or family than what is open."""
    assert closes(tmp_path, text, RULES, closed) == [closed]


@pytest.mark.parametrize(
    ("text", "socket", "closed"),
    [
        ("", "tcp,::,80", ["tcp,10.0.0.5,80", "tcp,2001:db8::4,80"]),
        ("", "tcp,0.0.0.0,80", ["tcp,10.0.0.5,80"]),
        ("", "tcp,10.0.0.4,80", []),
        ("", "tcp,::,9000", ["tcp,::,9000"]),
        ('allow = [{ port = 80, from = "fd00::/8" }]', "tcp,::,80", ["tcp,10.0.0.5,80"]),
        ('ssh_from = ["10.0.0.0/8"]', "tcp,::,22", ["tcp,2001:db8::4,22"]),
        ("", "udp,0.0.0.0,68", []),
    ],
)
def test_of_a_socket_for_all_addresses_those_are_closed_that_no_rule_leads_to(
    tmp_path: Path, text: str, socket: str, closed: list[str]
) -> None:
    """A second address of this machine, or its IPv6: whoever came there is cut off."""
    here = ("10.0.0.4", "10.0.0.5", "2001:db8::4")
    near = {ipaddress.ip_address(one): "eth0" for one in here}
    found = nftables.closed(target(text), RULES, machine(tmp_path, socket), near=near)
    assert [f"{one.protocol},{one.ip},{one.port}" for one in found] == closed


@pytest.mark.parametrize(
    ("device", "trusted", "closed"),
    [
        ("docker0", ["docker0"], 0),
        ("docker0", ["virbr0"], 1),
        ("br-1f", ["docker0", "br-*"], 0),
        ("br", ["br-*"], 1),
        ("lo", [], 0),
        ("", ["docker0"], 1),
    ],
)
def test_a_socket_of_one_interface_is_open_if_that_is_trusted(
    tmp_path: Path, device: str, trusted: list[str], closed: int
) -> None:
    """As a DHCP server's for guests, whose address is any; nor is one of loopback for outside."""
    firewall = target(f"trusted_interfaces = {trusted}")
    socket = Socket(ipaddress.ip_address("0.0.0.0"), 67, 1, "udp", device=device)
    assert len(nftables.closed(firewall, RULES, machine(tmp_path), [socket])) == closed


def test_rules_are_looked_through_once(tmp_path: Path) -> None:
    """However many sockets there are: with a thousand of each it took seconds."""

    class Counted(tuple[Listener, ...]):
        looks = 0

        def __iter__(self) -> Iterator[Listener]:
            self.looks += 1
            return super().__iter__()

    lb = facts.derive(parse(body(80)))
    counted = Counted(lb.listeners)
    assert closes(tmp_path, "", replace(lb, listeners=counted), *ALWAYS) == sorted(ALWAYS)
    assert counted.looks == 1


def test_tunnels_and_ha_ports_are_open(tmp_path: Path) -> None:
    """HA ports open an address whole; a tunnel its UDP port."""
    lb = facts.derive(parse((BODIES / "gateway-ha-ports.json").read_bytes()))
    sockets = ("tcp,10.1.0.8,1", "udp,0.0.0.0,1", "tcp,10.1.0.4,1", "udp,10.1.0.8,2666")
    assert closes(tmp_path, "", lb, *sockets) == ["tcp,10.1.0.4,1"]
    tunnels = replace(lb, ha_ports=())
    assert closes(tmp_path / "b", "", tunnels, *sockets[2:]) == ["tcp,10.1.0.4,1"]


@pytest.mark.parametrize(
    ("text", "opened"),
    [
        ('allow = [{ protocol = "vrrp" }]', "vrrp"),
        ("allow = [{ protocol = 89 }]", "ospf"),
        ('allow = [{ from = "10.0.0.0/8" }]', "esp"),
        ("allow = [{ protocol = 132, port = 3868 }]", "sctp"),
    ],
)
def test_what_waits_for_other_protocols_is_closed_but_by_name(
    tmp_path: Path, text: str, opened: str
) -> None:
    """Raw sockets and SCTP, named as `allow` names them; a port alone is one of TCP and UDP."""
    here = machine(tmp_path)
    net = tmp_path / "proc/self/net"
    rows = "".join(f"0: 00000000:{one:04X} 0:0 07 0 0 0 0 0 1\n" for one in (112, 89, 50, 255, 1))
    (net / "raw").write_text(f"sl\n{rows}")
    (net / "sctp").mkdir()
    (net / "sctp/eps").write_text(f"{SCTP}f0 f1 2 10 5 3868 0 7 10.0.0.4 fd00::4\n")
    every = {"vrrp", "ospf", "esp", "sctp"}
    found = {
        one.protocol for one in nftables.closed(target("allow = [{ port = 3868 }]"), RULES, here)
    }
    assert found == every
    found = {one.protocol for one in nftables.closed(target(text), RULES, here)}
    assert opened not in found


def test_where_sshd_listens_is_open(tmp_path: Path) -> None:
    """At any address, of one family, or at one address alone."""
    firewall = target("ssh_ports = [22]")
    spots = sshd.recorded(("*:2222", "0.0.0.0:2223", "10.0.0.4:2224"))
    firewall = firewall._replace(vars={**firewall.vars, "sshd": spots})
    sockets = ("tcp,::,2222", "tcp,10.0.0.4,2223", "tcp,0.0.0.0,2224", "tcp,10.0.0.4,2224")
    others = ("tcp,fd00::4,2223", "tcp,10.0.0.5,2224", "udp,0.0.0.0,2222")
    found = nftables.closed(firewall, RULES, machine(tmp_path / "b", *sockets, *others))
    assert {f"{one.protocol},{one.ip},{one.port}" for one in found} == set(others)


FIREWALL = f'{NO_ENV}[targets.nftables]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
REFUSED = 'nftables: a kubelet is here, and policy "enforce" would cut off its node'


def node(place: Path, *, live: bool = True) -> Stand:
    """A node of Kubernetes."""
    (place / "machine/var/lib/kubelet").mkdir(parents=True)
    return Stand(place, live=live)


def test_a_kubernetes_node_is_not_cut_off(tmp_path: Path) -> None:
    """The message names the policy for it, and nothing is written."""
    stand = node(tmp_path)
    report = stand.apply(stand.settings(FIREWALL), body(80))
    assert (report.status, report.problems) == (78, (REFUSED,))
    assert report.hint == 'the firewall was not changed; set policy = "mark"'
    assert stand.text("/etc/nftables.d/lbhook.nft") is None


def test_a_plan_says_so_too(tmp_path: Path) -> None:
    """Before anything is tried."""
    stand = node(tmp_path)
    [failure] = stand.plan(stand.settings(FIREWALL), body(80)).failures
    assert (failure.status, failure.problems) == (78, (REFUSED,))


@pytest.mark.parametrize("policy", ["mark", "prerouting"])
def test_other_policies_are_the_operators_choice(tmp_path: Path, policy: str) -> None:
    """Only the default would be a trap."""
    stand = node(tmp_path)
    settings = stand.settings(f'{FIREWALL}vars = {{ policy = "{policy}" }}\n')
    assert stand.apply(settings, body(80)).status == 0


def test_an_image_for_a_node_is_nobodys_node(tmp_path: Path) -> None:
    """Below a root nothing is asked of this machine."""
    stand = node(tmp_path, live=False)
    assert stand.apply(stand.settings(FIREWALL), body(80)).status == 0


def test_a_firewall_that_became_wrong_can_be_taken_away(tmp_path: Path) -> None:
    """The kubelet came later: what is in force stays until the target is dropped."""
    stand = Stand(tmp_path)
    assert stand.apply(stand.settings(FIREWALL), body(80)).status == 0
    before = stand.text("/etc/nftables.d/lbhook.nft")
    node(tmp_path)
    assert stand.apply(stand.settings(FIREWALL), body(80, 81)).status == 78
    assert stand.text("/etc/nftables.d/lbhook.nft") == before
    assert stand.apply(stand.settings(NO_ENV), body(80)).status == 0
    assert "table inet lbhook {" not in str(stand.text("/etc/nftables.d/lbhook.nft"))


def test_a_plan_lists_what_the_first_firewall_closes(tmp_path: Path) -> None:
    """Once it is in force, a plan without a change to it lists nothing; nor below a root, nor
    where there is no answer and so no filter."""
    stand = Stand(tmp_path)
    machine(tmp_path / "machine", "tcp,0.0.0.0,80", *ALWAYS)
    settings = stand.settings(FIREWALL)
    found = [(one.protocol, one.port) for one in stand.plan(settings, body(80)).closes]
    assert found == [("tcp", 9000), ("tcp", 9000), ("udp", 5353)]
    stand.live = False
    assert stand.plan(settings, body(80)).closes == ()
    stand.live = True
    stand.apply(settings, body(80))
    assert stand.plan(settings, body(80)).closes == ()


def test_what_else_is_open() -> None:
    """SSH, probes, settings and policy, in three lines; none where the firewall drops nothing."""
    text = '[targets.nftables]\nvars = { policy = "%s", ssh_from = ["10.0.0.0/8"], allow = %s }\n'
    allow = '[{ protocol = "tcp", port = 9100, from = "10.1.0.0/16" }, { protocol = "vrrp" }]'
    on = config.parse(text % ("enforce", allow), "x.toml").active()
    assert nftables.also_open(on) == (
        "SSH: tcp 22, and where sshd listens, from 10.0.0.0/8",
        "health probes: tcp, any port, from 168.63.129.16, fe80::1234:5678:9abc",
        "by allow: tcp 9100 from 10.1.0.0/16, vrrp; by policy enforce: open connections,"
        " ICMP, DHCP",
    )
    assert nftables.also_open(config.parse(text % ("mark", "[]"), "x.toml").active()) == ()
    assert nftables.also_open(config.parse("", "x.toml").active()) == ()
