"""The real kernel, in a network namespace: what makes other rules, and what other sockets."""

import subprocess
import sys

import pytest

from lbhook.system.netlink import Kernel

from ..lab.hosts import PATH, require
from ..program import REPO

# Each line of standard input is Python; after each, whether rules or sockets are others by now.
SCRIPT = """
import socket, subprocess, sys
from lbhook.system.netlink import Kernel

def nft(text):
    subprocess.run(["nft", text], check=True, capture_output=True)

def seen():
    return kernel.generation(), kernel.listeners()

kernel = Kernel()
before = seen()
for line in sys.stdin.read().splitlines():
    exec(line)
    after = seen()
    print(*(str(all(pair) and pair[0] != pair[1]) for pair in zip(before, after)))
    before = after
"""


def changes(*steps: str) -> list[tuple[bool, bool]]:
    """After each step, whether the kernel tells of other rules and of other sockets."""
    require("unshare", "nft", "ip")
    inside = f"ip link set lo up; exec {sys.executable} -c '{SCRIPT}'"
    done = subprocess.run(
        ("unshare", "--map-root-user", "--net", "sh", "-euc", inside),
        input="\n".join(steps),
        env={"PATH": PATH, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=True,
    )
    words = (line.split() for line in done.stdout.splitlines())
    return [(rules == "True", sockets == "True") for rules, sockets in words]


def test_each_change_of_rules_is_noticed() -> None:
    """A table, a rule, an element, a flush; not a look, nor a change that is refused."""
    steps = [
        ("nft('add table inet one')", True),
        ("nft('list ruleset')", False),
        ("nft('add chain inet one input { type filter hook input priority 0; }')", True),
        ("nft('add rule inet one input tcp dport 22 counter accept')", True),
        ("nft('add set inet one ports { type inet_service; elements = { 22, 23 }; }')", True),
        ("nft('delete element inet one ports { 22 }')", True),
        ("subprocess.run(['nft', 'add rule inet two input accept'], stderr=-3)", False),
        ("nft('flush chain inet one input')", True),
        ("nft('flush ruleset')", True),
    ]
    assert changes(*(step for step, _ in steps)) == [(noticed, False) for _, noticed in steps]


def test_each_socket_that_opens_or_closes_is_noticed() -> None:
    """One that listens, one that is bound, of both families; not one that only calls."""
    steps = [
        ("one = socket.create_server(('127.0.0.1', 80))", True),
        ("six = socket.create_server(('::1', 80), family=socket.AF_INET6)", True),
        ("call = socket.create_connection(('127.0.0.1', 80))", False),
        ("here = one.accept()[0]", False),
        ("idle = socket.socket(); idle.bind(('127.0.0.1', 81))", False),
        ("bound = socket.socket(type=socket.SOCK_DGRAM); bound.bind(('127.0.0.1', 53))", True),
        ("bound.connect(('127.0.0.1', 54))", True),
        ("six.close()", True),
        ("other = one.dup(); one.close()", False),
        # The same place, and another's by now.
        ("other.close(); one = socket.create_server(('127.0.0.1', 82))", True),
        ("one.close(); one = socket.create_server(('127.0.0.1', 82))", True),
    ]
    assert changes(*(step for step, _ in steps)) == [(False, noticed) for _, noticed in steps]


def test_thousands_of_sockets_are_told_apart() -> None:
    """More than one message holds."""
    open_all = "many = [socket.create_server(('127.0.0.1', 2000 + at)) for at in range(900)]"
    told = changes(open_all, "many[450].close()", "pass")
    assert told == [(False, True), (False, True), (False, False)]


def test_another_namespace_has_other_words() -> None:
    """What is kept in one is not taken for what is so in another."""
    require("unshare")
    code = "from lbhook.system.netlink import Kernel; print(Kernel().listeners())"
    words = ("unshare", "--map-root-user", "--net", sys.executable, "-c", code)
    env = {"PATH": PATH, "PYTHONPATH": str(REPO)}
    there = subprocess.run(words, env=env, capture_output=True, text=True, check=True).stdout
    namespace, sockets = there.strip().split(":")
    assert sockets
    assert namespace != Kernel().listeners().partition(":")[0]


def test_a_kernel_that_refuses_tells_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one without the module, or a process without the right to ask: then programs are."""

    def refused(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("lbhook.system.netlink.socket.socket", refused)
    assert (Kernel().generation(), Kernel().listeners()) == ("", "")


def test_a_kernel_without_a_protocol_tells_nothing_of_its_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its list is empty and ends with an error, as of TCP where tcp_diag is missing: that is not
    to be taken for a machine where nothing listens."""
    nobodys = dict.fromkeys(("tcp", "udp"), (200, 1 << 10))
    monkeypatch.setattr("lbhook.system.netlink._LISTENING", nobodys)
    kernel = Kernel()
    assert (kernel.listening(), kernel.bound(), kernel.listeners()) == (None, None, "")


LISTENING = """
import socket
from lbhook.system.machine import Machine
from lbhook.system.netlink import Kernel

doors = [
    socket.create_server(("127.0.0.1", 0)),
    socket.create_server(("", 2222)),
    socket.create_server(("::1", 2223), family=socket.AF_INET6),
    socket.create_server(("::", 2224), family=socket.AF_INET6, dualstack_ipv6=True),
    socket.create_server(("::ffff:127.0.0.1", 2225), family=socket.AF_INET6, dualstack_ipv6=True),
]
call = socket.create_connection(doors[0].getsockname())
bound = [socket.socket(kind, socket.SOCK_DGRAM) for kind in (socket.AF_INET, socket.AF_INET6)]
bound.append(socket.socket(type=socket.SOCK_DGRAM))
for one, address in zip(bound, ("127.0.0.1", "::1", "127.0.0.1")):
    one.bind((address, 0))
bound[2].connect(bound[0].getsockname())
for told, listed in (
    (Kernel().listening(), Machine().listening()),
    (Kernel().bound(), Machine().bound()),
):
    print(len(told), {one._replace(ipv6_only=None, group=0) for one in told} == {*listed})
"""


def told(script: str) -> str:
    """What a script says in a network of its own, which has a loopback interface."""
    require("unshare", "ip")
    inside = f"ip link set lo up; exec {sys.executable} -c '{script}'"
    done = subprocess.run(
        ("unshare", "--map-root-user", "--net", "sh", "-euc", inside),
        env={"PATH": PATH, "PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_sockets_that_listen_are_those_of_proc() -> None:
    """Addresses, ports and inodes, of TCP and UDP and of both families; a connection is none of
    them."""
    assert told(LISTENING) == "5 True\n2 True\n"


SINGLE = """
import socket
from lbhook.system.netlink import Kernel

kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM]
doors = {}
for kind in kinds:
    for only in (0, 1):
        for address in ("::", "::1", "::ffff:127.0.0.1"):
            door = socket.socket(socket.AF_INET6, kind)
            door.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            try:
                door.bind((address, 0))
            except OSError:  # IPv6 alone has no address of IPv4
                continue
            if kind == socket.SOCK_STREAM:
                door.listen()
            # Bound to an address of IPv6, it takes that alone whatever was asked.
            says = bool(door.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))
            doors[kind, door.getsockname()[1]] = says, door
    four = socket.socket(socket.AF_INET, kind)
    four.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        four.listen()
    doors[kind, four.getsockname()[1]] = None, four
for kind, told in zip(kinds, (Kernel().listening(), Kernel().bound())):
    print(len(told), {one.port: one.ipv6_only for one in told} ==
        {port: only for (each, port), (only, _) in doors.items() if each == kind})
"""


def test_a_socket_for_ipv6_says_whether_it_takes_ipv4() -> None:
    """Each that listens and each that is bound, by the kernel of this machine; of IPv4 there is
    nothing to say."""
    assert told(SINGLE) == "6 True\n6 True\n"


DEVICE = """
import socket
from lbhook.system.netlink import Kernel

doors = [socket.socket(one, socket.SOCK_DGRAM) for one in [socket.AF_INET, socket.AF_INET6] * 2]
for door in doors[2:]:
    door.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")
for port, door in enumerate(doors, 2000):
    door.bind(("", port))
print(*sorted((one.port, one.device) for one in Kernel().bound()))
"""


def test_a_socket_of_one_interface_says_so() -> None:
    """As that of a DHCP server for guests of a bridge."""
    assert told(DEVICE) == "(2000, '') (2001, '') (2002, 'lo') (2003, 'lo')\n"
