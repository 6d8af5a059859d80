"""What programs that take files have in common: places to listen, and whose sockets are there."""

import ipaddress
import itertools
import os
import socket
from pathlib import Path

import pytest

from lbhook.programs.daemon import Place, Sockets, places
from lbhook.system.machine import Machine
from lbhook.system.netlink import Kernel

CONTENT = b"""
# listen 1.2.3.4:1;
listen 10.0.0.4:443 ssl;  # from udp quic
  listen [fd00::4]:53 udp reuseport;
listen 10.0.0.4:443 quic;
listen 9;
    bind 10.0.0.4:80 accept-proxy   # from 5.6.7.8:80
bind :90
"""


# More than the kernel numbers.
NOBODY = 2**22 + 1


def place(protocol: str, ip: str, port: int) -> Place:
    """A place to listen."""
    return Place(protocol, ipaddress.ip_address(ip), port)


def test_places_are_read_back() -> None:
    """Of nginx and of haproxy, both families; a port alone is that of every address."""
    assert places(CONTENT) == (
        place("tcp", "10.0.0.4", 443),
        place("udp", "fd00::4", 53),
        place("udp", "10.0.0.4", 443),
        place("tcp", "0.0.0.0", 9),
        place("tcp", "10.0.0.4", 80),
    )


def test_a_place_in_a_message() -> None:
    """TCP is what everybody thinks of."""
    assert str(place("tcp", "10.0.0.4", 443)) == "10.0.0.4 port 443"
    assert str(place("udp", "fd00::4", 53)) == "fd00::4 UDP port 53"


def sockets(machine: Machine = Machine()) -> Sockets:
    """The sockets of a machine whose clock goes a second at each look."""
    return Sockets(machine, lambda _: None, itertools.count().__next__)


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_sockets_must_be_there_and_the_programs(protocol: str) -> None:
    """Of the kind that is asked for, in one of the program's processes."""
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[protocol]
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            server.listen()
        port = server.getsockname()[1]
        word = b"udp" if protocol == "udp" else b""
        content = b"listen 127.0.0.1:%d %s;\n" % (port, word)
        own = os.getpid()
        assert sockets().missing(content, lambda: (NOBODY, own)) == ()
        said = (str(place(protocol, "127.0.0.1", port)),)
        assert sockets().missing(content, lambda: (NOBODY,)) == said
    assert sockets().missing(content, lambda: (own,)) == said


def test_a_place_may_be_part_of_any_address() -> None:
    """nginx opens a wildcard alone where there is one; of IPv6 it does not take IPv4 with it."""
    with socket.socket(socket.AF_INET6) as server:
        server.bind(("::", 0))
        server.listen()
        port, own = server.getsockname()[1], (os.getpid(),)
        assert sockets().missing(b"listen [fd00::4]:%d;\n" % port, lambda: own) == ()
        assert sockets().missing(b"listen 10.0.0.4:%d;\n" % port, lambda: own) != ()


@pytest.mark.parametrize("only", [0, 1])
def test_a_place_of_ipv4_may_be_part_of_any_address_of_ipv6(only: int) -> None:
    """By the kernel's word, which /proc does not have: haproxy waits for nobody else."""
    asked = Sockets(Machine(kernel=Kernel()), lambda _: None, itertools.count().__next__)
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
        server.bind(("::", 0))
        server.listen()
        port = server.getsockname()[1]
        taken = asked.taken(b"bind 10.0.0.4:%d\n" % port, lambda: (NOBODY,))
        assert bool(taken) is not bool(only)


def test_waiting_until_places_are_free() -> None:
    """Not for what the program has itself; for others only as long as it takes."""
    begun = itertools.count()
    with socket.create_server(("127.0.0.1", 0)) as server:
        content = b"bind 127.0.0.1:%d\n" % server.getsockname()[1]
        own = os.getpid()
        waited: list[float] = []
        busy = Sockets(Machine(), waited.append, lambda: next(begun) / 4)
        busy.taken(content, lambda: (own,))
        assert waited == []
        busy.taken(content, lambda: (NOBODY,))
        assert len(waited) == 3
    busy.taken(content, lambda: (NOBODY,))
    assert len(waited) == 3


class Secretive(Machine):
    """A machine on which this process may not see what others have open."""

    def inodes(self, pid: int) -> frozenset[int]:
        """Not for it to know."""
        raise PermissionError


def test_whose_a_socket_is_may_be_hidden() -> None:
    """Then one that is there will do, and nobody is waited for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        content = b"bind 127.0.0.1:%d\n" % server.getsockname()[1]
        assert sockets(Secretive()).missing(content, lambda: (NOBODY,)) == ()
        sockets(Secretive()).taken(content, lambda: (NOBODY,))
    assert sockets(Secretive()).missing(content, lambda: (NOBODY,)) != ()


def test_a_program_that_has_gone_misses_nothing(tmp_path: Path) -> None:
    """What starts it again reads the new file."""
    assert sockets(Machine(tmp_path)).missing(CONTENT, lambda: ()) == ()


def test_a_process_that_ended_meanwhile_holds_nothing(tmp_path: Path) -> None:
    """An old worker may go while its sockets are looked at."""
    found = sockets(Machine(tmp_path)).missing(b"bind 10.0.0.4:80\n", lambda: (77,))
    assert found == ("10.0.0.4 port 80",)
