"""Where sshd listens, or will: by its processes, its socket units and its configuration."""

import ipaddress
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lbhook.config import settings as config
from lbhook.programs import sshd
from lbhook.system.machine import Machine, Socket

from ..stand import Runner

REPOSITORY = Path(__file__).parents[2]
TITLE = "sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups"


def socket(place: Path, text: str, inode: int) -> None:
    """A TCP socket that listens at an `address port`."""
    net = place / "proc/self/net"
    if not net.exists():
        net.mkdir(parents=True)
        (net / "tcp").write_text("sl\n")
        (net / "tcp6").write_text("sl\n")
    name, port = text.split()
    ip = ipaddress.ip_address(name)
    words = [ip.packed[at : at + 4][::-1].hex().upper() for at in range(0, len(ip.packed), 4)]
    with (net / ("tcp" if ip.version == 4 else "tcp6")).open("a") as file:
        file.write(f"0: {''.join(words)}:{int(port):04X} 0:0 0A 0 0 0 0 0 {inode}\n")


def process(
    place: Path,
    pid: int,
    name: str,
    *inodes: int,
    title: str = TITLE,
    parent: int = 1,
    user: int = 0,
) -> None:
    """A process that holds these sockets."""
    home = place / f"proc/{pid}"
    (home / "fd").mkdir(parents=True)
    (home / "comm").write_text(f"{name}\n")
    (home / "cmdline").write_text(f"{title}\0")
    (home / "status").write_text(f"Name:\t{name}\nPPid:\t{parent}\nUid:\t9\t{user}\t0\t0\n")
    for inode in inodes:
        (home / f"fd/{inode}").symlink_to(f"socket:[{inode}]")


def found(place: Path, *known: str, shown: str = "") -> list[str]:
    """The places, where systemd shows this of its sockets."""
    runner, machine = Runner(lambda _: (0, shown)), Machine(place)
    return [one["text"] for one in sshd.places(machine, runner, machine.listening(), known)]


def configure(place: Path, text: str, name: str = "sshd_config", *, enabled: bool = True) -> None:
    """A file of sshd's configuration on a machine where sshd starts at boot, or not."""
    file = place / "etc/ssh" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    wants = place / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    if enabled:
        (wants / "ssh.service").unlink(missing_ok=True)
        (wants / "ssh.service").symlink_to("/lib/systemd/system/ssh.service")


def test_a_daemon_is_found_by_its_process(tmp_path: Path) -> None:
    """At each of its ports and addresses; not on loopback."""
    for inode, text in enumerate(
        ("0.0.0.0 22", ":: 22", "10.0.0.4 2222", "fd00::4 2222", "127.0.0.1 2223", ":: 2224"), 1
    ):
        socket(tmp_path, text, inode)
    process(tmp_path, 50, "sshd", 1, 2, 3, 4, 5, 6)
    assert found(tmp_path) == ["*:22", "10.0.0.4:2222", "[fd00::4]:2222", "*:2224"]


def test_one_family_alone(tmp_path: Path) -> None:
    """Of IPv6 that shares its port with a program for IPv4, only IPv6."""
    for inode, text in enumerate(("0.0.0.0 22", "0.0.0.0 2222", ":: 2222"), 1):
        socket(tmp_path, text, inode)
    process(tmp_path, 50, "sshd", 1, 3)
    process(tmp_path, 51, "game", 2)
    assert found(tmp_path) == ["0.0.0.0:22", "[::]:2222"]


@pytest.mark.parametrize("device", ["eth0", "eth0.5", "br-lan"])
def test_an_address_of_one_interface(tmp_path: Path, device: str) -> None:
    """It has no place in a rule, which nft would refuse with all others; nor in a record."""
    configure(tmp_path, f"ListenAddress [fe80::1%{device}]:2222\n")
    (place,) = sshd.places(Machine(tmp_path), Runner(), ())
    assert (str(place["ip"]), place["text"]) == ("fe80::1", "[fe80::1]:2222")
    assert sshd.recorded([f"[fe80::1%{device}]:2222"]) == (place,)


def test_a_record_that_names_no_place() -> None:
    """It is damaged, or of another version: what it has that is one counts."""
    texts = ["*:2222", "sshd", "[fd00::4]:2223", "*:99999"]
    assert [one["text"] for one in sshd.recorded(texts)] == ["*:2222", "[fd00::4]:2223"]


def test_ipv6_alone_by_the_kernels_word(tmp_path: Path) -> None:
    """As with `AddressFamily inet6`: nothing is opened for IPv4."""
    process(tmp_path, 50, "sshd", 1, 2)
    anywhere = ipaddress.ip_address("::")
    sockets = [Socket(anywhere, 22, 1, ipv6_only=True), Socket(anywhere, 2222, 2, ipv6_only=False)]
    places = sshd.places(Machine(tmp_path), Runner(), sockets)
    assert [one["text"] for one in places] == ["[::]:22", "*:2222"]


@pytest.mark.parametrize(
    ("name", "keys", "is_gate"),
    [
        ("sshd", {}, True),
        ("sshd", {"title": "/usr/sbin/sshd"}, True),
        ("dropbear", {"title": "/usr/sbin/dropbear"}, True),
        ("sshd", {"title": "sshd: root@pts/0"}, False),
        ("sshd", {"title": "sshd: anna [priv]"}, False),
        ("sshd", {"parent": 40}, False),
        ("sshd", {"user": 1000}, False),
        ("sshd", {"user": -1}, False),
        ("dropbear", {"title": "dropbear\0-i"}, False),
        ("nginx", {"title": "nginx"}, False),
    ],
)
def test_only_a_daemon_of_root_is_a_gate(
    tmp_path: Path, name: str, keys: dict[str, Any], is_gate: bool
) -> None:
    """Not what a session forwards, nor what a user calls sshd."""
    socket(tmp_path, "0.0.0.0 8080", 7)
    process(tmp_path, 40, "sshd")
    process(tmp_path, 50, name, 7, **keys)
    assert (found(tmp_path) == ["0.0.0.0:8080"]) is is_gate


UNITS = """Triggers={triggers}
Id={id}
Listen=[::]:2222 (Stream)
Listen=10.0.0.4:2223 (Stream)
Listen=/run/x.sock (Stream)
Listen=vsock::22 (Stream)
ActiveState={state}

Triggers=web.service
Id=web.socket
Listen=0.0.0.0:80 (Stream)
ActiveState=active
"""


@pytest.mark.parametrize(
    ("name", "triggers", "state", "places"),
    [
        ("ssh.socket", "", "active", ["*:2222", "10.0.0.4:2223"]),
        ("gate.socket", "ssh.service", "active", ["*:2222", "10.0.0.4:2223"]),
        (
            "sshd.socket",
            "sshd@0-10.0.0.4:22-10.0.0.9:5.service",
            "active",
            ["*:2222", "10.0.0.4:2223"],
        ),
        ("ssh.socket", "", "inactive", []),
        ("ssh-tunnel.socket", "ssh-tunnel.service", "active", []),
    ],
)
def test_a_socket_that_systemd_keeps(
    tmp_path: Path, name: str, triggers: str, state: str, places: list[str]
) -> None:
    """By the name of the unit, or of what it starts."""
    socket(tmp_path, ":: 2222", 7)
    process(tmp_path, 1, "systemd", 7)
    assert found(tmp_path, shown=UNITS.format(id=name, triggers=triggers, state=state)) == places


@pytest.mark.parametrize(
    ("unit", "listens", "places"),
    [
        ("sockets.target.wants/ssh.socket", False, ["*:2222", "10.0.0.4:2223"]),
        ("sockets.target.wants/ssh.socket", True, ["0.0.0.0:2200"]),
        ("sockets.target.wants/web.socket", False, []),
    ],
)
def test_a_socket_that_systemd_will_keep(
    tmp_path: Path, unit: str, listens: bool, places: list[str]
) -> None:
    """At a boot the firewall may come before the socket, whose unit is there from the start; not
    where an sshd listens already."""
    link = tmp_path / "etc/systemd/system" / unit
    link.parent.mkdir(parents=True)
    link.symlink_to("/lib/systemd/system/any")
    socket(tmp_path, "0.0.0.0 2200", 7)
    process(tmp_path, 50, "sshd" if listens else "web", 7)
    shown = UNITS.format(id="ssh.socket", triggers="ssh.service", state="inactive")
    assert found(tmp_path, shown=shown) == places


def test_a_process_is_looked_at_once(tmp_path: Path) -> None:
    """However many sockets listen: nginx has thousands of them."""

    class Looked(Machine):
        pids: tuple[int, ...] = ()

        def inodes(self, pid: int) -> frozenset[int]:
            self.pids += (pid,)
            return super().inodes(pid)

    process(tmp_path, 1, "systemd", 90)
    process(tmp_path, 70, "sshd", 71)
    for one in range(71, 90):
        socket(tmp_path, f"10.0.0.4 {one}", one)
    machine = Looked(tmp_path)
    places = sshd.places(machine, Runner(), machine.listening())
    assert [one["text"] for one in places] == ["10.0.0.4:71"]
    assert sorted(machine.pids) == [1, 70]


def test_systemd_is_not_asked_where_it_listens_nowhere(tmp_path: Path) -> None:
    """An unchanged run is to be quick."""
    socket(tmp_path, "0.0.0.0 80", 7)
    runner, machine = Runner(), Machine(tmp_path)
    assert sshd.places(machine, runner, machine.listening()) == ()
    assert runner.calls == []


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("", ["*:22"]),
        ("Port 2222\nport=2223\n", ["*:2222", "*:2223"]),
        ("# Port 1\n  Port\t2222 # one\nMatch User x\nPort 9\n", ["*:2222"]),
        ("Match User x\nPort 9\nMatch all\nPort 2222\n", ["*:2222"]),
        ('Port \'2222\'\n"Port" "2223"\nPort \'2224\n', ["*:2222", "*:2223"]),
        ("AddressFamily inet\nPort 2222\n", ["0.0.0.0:2222"]),
        ("AddressFamily inet6\n", ["[::]:22"]),
        ("ListenAddress 10.0.0.4\nPort 2222\nPort 22\n", ["10.0.0.4:22", "10.0.0.4:2222"]),
        ("Port 2222\nListenAddress 10.0.0.4:2223\n", ["10.0.0.4:2223"]),
        (
            "ListenAddress [fd00::4]:2222\nListenAddress fd00::5\n",
            ["[fd00::5]:22", "[fd00::4]:2222"],
        ),
        ('ListenAddress "0.0.0.0"\nListenAddress ::\n', ["*:22"]),
        ("ListenAddress gate.example:2222\nListenAddress 127.0.0.1\n", ["*:2222"]),
        ("Port 99999\nListenAddress\nPort x\n", ["*:22"]),
    ],
)
def test_before_it_listens_its_configuration_counts(
    tmp_path: Path, text: str, places: list[str]
) -> None:
    """At boot the firewall comes first."""
    configure(tmp_path, text)
    assert found(tmp_path) == places


def test_drop_ins_count_up_to_what_holds_for_some_only(tmp_path: Path) -> None:
    """A Match in one ends with its file; one that includes itself ends somewhere. A star stands for
    no file that is hidden, as an editor's."""
    configure(tmp_path, "Port 9\n", "sshd_config.d/.#b.conf")
    configure(tmp_path, "Port 2222\nMatch User x\nPort 9\n", "sshd_config.d/a b.conf")
    configure(tmp_path, "Port 2223\nInclude sshd_config.d/*.conf\n", "sshd_config.d/b.conf")
    drop_ins = "Include '/etc/ssh/sshd_config.d/a b.conf' sshd_config.d/b*\n"
    configure(tmp_path, f"{drop_ins}Port 2224\nMatch User x\nMatch all\n{drop_ins}")
    assert found(tmp_path) == ["*:2222", "*:2223", "*:2224"]


def test_a_file_that_the_distribution_ships(tmp_path: Path) -> None:
    """SUSE has it below /usr, with the owner's drop-ins; one of the owner's comes before it."""
    configure(tmp_path, "Port 2222\n", "sshd_config.d/port.conf")
    shipped = tmp_path / "usr/etc/ssh/sshd_config"
    shipped.parent.mkdir(parents=True)
    shipped.write_text("Include /etc/ssh/sshd_config.d/*.conf\nPort 22\n")
    assert found(tmp_path) == ["*:22", "*:2222"]
    configure(tmp_path, "Port 2223\n")
    assert found(tmp_path) == ["*:2223"]


@pytest.mark.needs("setpriv")
def test_a_file_that_is_not_for_everybody(tmp_path: Path) -> None:
    """Who may not look for it can plan all the same, as if there was none."""
    configure(tmp_path, "Port 2222\n")
    code = (
        "import pathlib; from tests.programs.test_sshd import found;"
        f"print(*found(pathlib.Path({str(tmp_path)!r})))"
    )
    # Root can look anywhere, unless that is taken from it.
    root = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    argv = [*(root if os.geteuid() == 0 else ()), sys.executable, "-c", code]
    place = tmp_path / "etc/ssh"
    place.chmod(0)
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    place.chmod(0o755)
    assert (done.stdout, done.stderr) == ("*:22\n", "")


def test_where_it_listened_last_counts_until_it_listens(tmp_path: Path) -> None:
    """A port may come from its command line, which no file of its own has."""
    configure(tmp_path, "")
    assert found(tmp_path, "10.0.0.4:2222", "nonsense") == ["*:22", "10.0.0.4:2222"]
    socket(tmp_path, "0.0.0.0 2223", 7)
    process(tmp_path, 50, "sshd", 7)
    assert found(tmp_path, "10.0.0.4:2222") == ["0.0.0.0:2223"]


@pytest.mark.parametrize("unit", ["sshd-sftp.service", "ssh.socket", "sshd.service"])
def test_a_second_sshd_keeps_its_places_while_it_does_not_listen(tmp_path: Path, unit: str) -> None:
    """Its restart, or a run between the starts of both, must not close it. Another name of the
    first is no second one."""
    configure(tmp_path, "")
    link = tmp_path / "etc/systemd/system/multi-user.target.wants" / unit
    link.symlink_to("/etc/systemd/system/any")
    socket(tmp_path, "0.0.0.0 22", 7)
    process(tmp_path, 50, "sshd", 7)
    second = ["*:2022"] if "sftp" in unit else []
    assert found(tmp_path, "0.0.0.0:22", "*:2022") == ["0.0.0.0:22", *second]
    socket(tmp_path, "10.0.0.4 22", 8)
    process(tmp_path, 51, "sshd", 8)
    assert found(tmp_path, "*:2022") == ["0.0.0.0:22", "10.0.0.4:22"]


def test_a_second_sshd_beside_one_that_a_socket_starts(tmp_path: Path) -> None:
    """As on Ubuntu 24.04, where systemd and the first sshd have the same two sockets."""
    configure(tmp_path, "")
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    (wants / "sshd-sftp.service").symlink_to("/etc/systemd/system/any")
    for inode, text in enumerate(("0.0.0.0 22", ":: 22"), 7):
        socket(tmp_path, text, inode)
    process(tmp_path, 1, "systemd", 7, 8)
    process(tmp_path, 50, "sshd", 7, 8)
    listens = "Listen=0.0.0.0:22 (Stream)\nListen=[::]:22 (Stream)"
    shown = f"Triggers=ssh.service\nId=ssh.socket\n{listens}\nActiveState=active\n"
    assert found(tmp_path, "*:2022", shown=shown) == ["*:22", "*:2022"]


@pytest.mark.parametrize(
    ("command", "kept"), [("/usr/bin/ssh -N hub", False), ("/usr/local/sbin/gate", True)]
)
def test_a_unit_of_a_client_is_no_second_sshd(tmp_path: Path, command: str, *, kept: bool) -> None:
    """What sshd has moved away from does not stay open for a tunnel to elsewhere."""
    configure(tmp_path, "Port 2222\n")
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants"
    (wants / "ssh-tunnel.service").write_text(f"[Service]\nExecStart={command}\n")
    socket(tmp_path, "0.0.0.0 2222", 7)
    process(tmp_path, 50, "sshd", 7)
    assert ("*:22" in found(tmp_path, "*:22")) is kept


@pytest.mark.parametrize(
    ("unit", "counts"),
    [
        ("sockets.target.wants/ssh.socket", True),
        ("multi-user.target.wants/sshd-alt.service", True),
        ("multi-user.target.wants/dropbear.service", True),
        ("multi-user.target.wants/sshguard.service", False),
        ("ssh.service.wants/sshd-keygen.service", False),
    ],
)
def test_an_sshd_that_another_unit_starts_keeps_its_places(
    tmp_path: Path, unit: str, counts: bool
) -> None:
    """Its configuration may be elsewhere; where it was last counts until it listens."""
    configure(tmp_path, "Port 2224\n", enabled=False)
    link = tmp_path / "etc/systemd/system" / unit
    link.parent.mkdir(exist_ok=True)
    link.symlink_to("/lib/systemd/system/any")
    assert found(tmp_path, "*:2223") == ["*:2223"] * counts


def test_a_port_is_open_before_sshd_is_told_to_take_it(tmp_path: Path) -> None:
    """An edited configuration counts before the restart that would lock out."""
    configure(tmp_path, "Port 2222\n")
    socket(tmp_path, "0.0.0.0 22", 7)
    process(tmp_path, 50, "sshd", 7)
    assert found(tmp_path) == ["0.0.0.0:22", "*:2222"]


@pytest.mark.parametrize("generated", [True, False])
def test_a_port_is_open_before_its_socket_is_told_to_take_it(
    tmp_path: Path, *, generated: bool
) -> None:
    """Where systemd takes the ports of the socket from sshd's own file, as on Ubuntu 24.04; where
    they are the unit's alone, that file opens nothing."""
    configure(tmp_path, "Port 2224", enabled=False)
    link = tmp_path / "etc/systemd/system/ssh.service.requires/ssh.socket"
    for unit in (link, tmp_path / "etc/systemd/system/sockets.target.wants/ssh.socket"):
        unit.parent.mkdir(parents=True)
        unit.symlink_to("/usr/lib/systemd/system/ssh.socket")
    if generated:
        generator = tmp_path / "usr/lib/systemd/system-generators/sshd-socket-generator"
        generator.parent.mkdir(parents=True)
        generator.touch()
    socket(tmp_path, ":: 2222", 7)
    process(tmp_path, 1, "systemd", 7)
    shown = UNITS.format(id="ssh.socket", triggers="ssh.service", state="active")
    more = ["*:2224"] if generated else []
    assert found(tmp_path, shown=shown) == ["*:2222", "10.0.0.4:2223", *more]


def test_an_sshd_that_does_not_start_opens_nothing(tmp_path: Path) -> None:
    """It is installed and disabled: neither its configuration nor where it was last counts."""
    configure(tmp_path, "Port 2222\n", enabled=False)
    assert found(tmp_path, "*:2223") == []


@pytest.mark.parametrize(
    ("text", "follows"),
    [
        ("", True),
        ("ssh_ports = [2222]", True),
        ("ssh_ports = []", False),
        ("ssh_ports = []\nfollow_sshd = true", True),
        ("follow_sshd = false", False),
        ('policy = "prerouting"', True),
        ('policy = "mark"', False),
        ('policy = "mark"\nssh_from = ["10.0.0.0/8"]', True),
    ],
)
def test_when_the_firewall_follows_sshd(text: str, follows: bool) -> None:
    """Unless the configuration says otherwise, or leaves SSH to another firewall."""
    targets = config.parse(f"[targets.nftables.vars]\n{text}\n").targets
    firewall = next(one for one in targets if one.name == "nftables")
    assert sshd.follows(firewall) is follows
