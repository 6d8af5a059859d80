"""What a machine is and has, from a /proc that is made up and from the real one."""

import ipaddress
import os
import socket
from pathlib import Path

import pytest

from lbhook.system.machine import AZURE_ASSET_TAG, Machine, Socket

FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.4
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
     |-- 127.0.0.1
        /32 host LOCAL
Local:
        |-- 10.0.0.4
           /32 host LOCAL
"""
IF_INET6 = """fe800000000000000000000000000001 02 40 20 80     eth0
fd000000000000000000000000000004 02 40 00 80     eth0
fd000000000000000000000000000005 02 40 00 c0     eth0
00000000000000000000000000000001 01 80 10 80       lo
"""
ROUTES = """Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
"""
HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
LINE = (
    "   0: {}:{:04X} 00000000:0000 {} 00000000:00000000 00:00000000 00000000     0        0 {} 1\n"
)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine of files."""
    files = {
        "sys/class/dmi/id/chassis_asset_tag": f"{AZURE_ASSET_TAG}\n",
        "proc/sys/kernel/random/boot_id": "11d45dc0-6eb5-4b15-8c8b-3a1f2b1f2a11\n",
        "proc/self/net/fib_trie": FIB_TRIE,
        "proc/self/net/if_inet6": IF_INET6,
        "proc/self/net/tcp": HEAD
        + LINE.format("0400000A", 443, "0A", 11)
        + LINE.format("0400000A", 444, "01", 12),
        "proc/self/net/tcp6": HEAD + LINE.format("0" * 32, 80, "0A", 13),
        "proc/self/net/udp": HEAD
        + LINE.format("0400000A", 53, "07", 21)
        + LINE.format("0400000A", 54, "01", 22),
        "proc/self/net/udp6": HEAD + LINE.format("0000000000000000FFFF00000400000A", 55, "07", 23),
        "proc/self/net/route": ROUTES,
        "proc/77/comm": "nginx\n",
        "proc/77/cgroup": "1:name=systemd:/system.slice/nginx.service/sub\n0::/\n",
        "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "proc/77/fd").mkdir()
    for number, target in enumerate(("socket:[11]", "/dev/null", "pipe:[12]", "socket:[13]")):
        (tmp_path / f"proc/77/fd/{number}").symlink_to(target)
    return Machine(tmp_path)


def test_what_a_machine_is(machine: Machine) -> None:
    """Azure's chassis, this boot, this installation, and a process."""
    assert machine.is_azure()
    assert machine.boot_id() == "11d45dc0-6eb5-4b15-8c8b-3a1f2b1f2a11"
    assert machine.machine_id() == "0123456789abcdef0123456789abcdef"
    assert machine.program(77) == "nginx"
    assert not machine.has_systemd()


def test_addresses_that_can_be_bound(machine: Machine) -> None:
    """Of both families, each once; not broadcast, and not while another may have it."""
    found = sorted(map(str, machine.addresses()))
    assert found == ["10.0.0.4", "127.0.0.1", "::1", "fd00::4", "fe80::1"]


def test_sockets_that_listen_and_whose_they_are(machine: Machine) -> None:
    """Not connections; the inodes of a process are its sockets'."""
    assert machine.listening() == (
        Socket(ip=ipaddress.ip_address("10.0.0.4"), port=443, inode=11),
        Socket(ip=ipaddress.ip_address("::"), port=80, inode=13),
    )
    assert machine.inodes(77) == {11, 13}


def test_sockets_that_are_bound_and_not_connected(machine: Machine) -> None:
    """Of UDP; a socket for IPv6 that has an IPv4 address is one for IPv4."""
    assert machine.bound() == (
        Socket(protocol="udp", ip=ipaddress.ip_address("10.0.0.4"), port=53, inode=21),
        Socket(protocol="udp", ip=ipaddress.ip_address("10.0.0.4"), port=55, inode=23),
    )


def test_networks_of_interfaces(machine: Machine) -> None:
    """Of IPv4 what is reached without a gateway, of IPv6 the addresses themselves."""
    assert [str(one) for one in machine.networks(["eth0"])] == [
        "10.0.0.0/24",
        *("fe80::1/128", "fd00::4/128"),
    ]
    assert [str(one) for one in machine.networks(["docker0", "lo"])] == ["172.17.0.0/16", "::1/128"]
    assert machine.networks(["docker*", "l*"]) == machine.networks(["docker0", "lo"])
    assert machine.networks([]) == ()


@pytest.mark.parametrize(
    "place",
    [
        *("usr/bin/kubelet", "opt/bin/kubelet", "var/lib/kubelet/config"),
        *("var/lib/k0s/kubelet", "var/lib/rancher/k3s/agent", "var/lib/rancher/rke2/server"),
        "var/snap/microk8s/common/var/lib/kubelet",
    ],
)
def test_a_node_of_kubernetes(machine: Machine, tmp_path: Path, place: str) -> None:
    """The program where distributions and images put it, or the directory that it keeps."""
    assert not machine.has_kubelet()
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert machine.has_kubelet()


@pytest.mark.parametrize(
    ("program", "network", "is_node"),
    [
        *(("kubelet", "net:[1]", True), ("kubelite", "net:[1]", True)),
        *(("k3s-agent", "net:[1]", True), ("k0s", "net:[1]", True)),
        *(("kubelet", "net:[2]", False), ("kubectl", "net:[1]", False)),
        ("kubelet", "", True),
    ],
)
def test_a_running_kubelet_is_a_node_wherever_it_keeps_its_files(
    machine: Machine, tmp_path: Path, program: str, network: str, is_node: bool
) -> None:
    """In the network of this machine, or where that can't be read; a container's is its own."""
    for pid, name, net in (("self", "lbhook", "net:[1]"), ("70", program, network)):
        (tmp_path / f"proc/{pid}/ns").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/comm").write_text(f"{name}\n")
        if net:
            (tmp_path / f"proc/{pid}/ns/net").symlink_to(net)
    assert machine.has_kubelet() is is_node


@pytest.mark.parametrize(
    ("ip", "wanted", "expected"),
    [
        ("10.0.0.4", "10.0.0.4", True),
        ("10.0.0.4", "10.0.0.5", False),
        ("0.0.0.0", "10.0.0.4", True),
        ("0.0.0.0", "fd00::4", False),
        ("::", "fd00::4", True),
        ("::", "10.0.0.4", True),
    ],
)
def test_what_a_socket_covers(ip: str, wanted: str, expected: bool) -> None:
    """Its own address, or any: a socket for IPv6 may take IPv4 as well."""
    found = Socket(ip=ipaddress.ip_address(ip), port=80, inode=1)
    assert found.covers(ipaddress.ip_address(wanted), 80) is expected
    assert not found.covers(ipaddress.ip_address(wanted), 81)


@pytest.mark.parametrize(
    ("ip", "device", "reached"),
    [
        ("0.0.0.0", "", ["10.0.0.4", "172.17.0.1"]),
        ("0.0.0.0", "docker0", ["172.17.0.1"]),
        ("0.0.0.0", "blue", ["10.0.0.4", "172.17.0.1"]),
        ("::", "eth0", ["10.0.0.4", "2001:db8::4"]),
        ("10.0.0.4", "", ["10.0.0.4"]),
        ("10.0.0.5", "", []),
    ],
)
def test_by_which_addresses_a_socket_is_reached(ip: str, device: str, reached: list[str]) -> None:
    """One that is bound to an interface by that alone; a VRF has no address of its own."""
    here = {"10.0.0.4": "eth0", "2001:db8::4": "eth0", "172.17.0.1": "docker0"}
    near = {ipaddress.ip_address(one): name for one, name in here.items()}
    found = Socket(ipaddress.ip_address(ip), 80, 1, device=device).reached(near)
    assert sorted(str(one) for one, _ in found) == reached


@pytest.mark.parametrize(("ipv6_only", "versions"), [(None, (4, 6)), (False, (4, 6)), (True, (6,))])
def test_a_socket_for_ipv6_alone(ipv6_only: bool | None, versions: tuple[int, ...]) -> None:
    """It takes no IPv4; one of which nobody knows may."""
    found = Socket(ipaddress.ip_address("::"), 80, 1, ipv6_only=ipv6_only)
    assert found.versions == versions
    assert found.covers(ipaddress.ip_address("10.0.0.4"), 80) is (4 in versions)
    assert found.covers(ipaddress.ip_address("fd00::4"), 80)


def test_a_machine_without_any_of_it(tmp_path: Path) -> None:
    """No DMI, no /proc: nothing is known, and that is no error."""
    machine = Machine(tmp_path)
    assert not machine.is_azure()
    assert (machine.boot_id(), machine.machine_id(), machine.program(1)) == ("", "", "")
    assert (machine.addresses(), machine.listening()) == (frozenset(), ())
    assert (machine.bound(), machine.networks(["lo"]), machine.holders({1})) == ((), (), {})


def test_an_installation_without_a_name_yet(tmp_path: Path) -> None:
    """systemd writes "uninitialized" into an image."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/machine-id").write_text("uninitialized\n")
    assert Machine(tmp_path).machine_id() == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_the_real_machine_shows_a_socket_of_this_process(address: str) -> None:
    """Found by address, port and process."""
    machine, ip = Machine(), ipaddress.ip_address(address)
    if ip not in machine.addresses():
        pytest.skip(f"{address} is not an address of this machine")
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        found = [one for one in machine.listening() if one.covers(ip, port)]
        assert [one.inode in machine.inodes(os.getpid()) for one in found] == [True]
    with socket.socket(family, socket.SOCK_DGRAM) as server:
        server.bind((address, 0))
        port = server.getsockname()[1]
        found = [one for one in machine.bound() if one.covers(ip, port)]
        assert [one.inode in machine.inodes(os.getpid()) for one in found] == [True]
    assert machine.boot_id()
