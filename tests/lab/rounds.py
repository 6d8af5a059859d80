"""Ruleset after ruleset on one machine: what is said of the kernel's rules, and what packets meet.

`play` loads rules on a machine, lets lbhook judge every door, and lets a client knock at all of
them, from two addresses: one that rules may name, and one of the internet that none does. Both
sides stay between rounds, so that a round is a few tenths of a second.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .fabric import CLIENT4, CLIENT6, VM4, VM6

if TYPE_CHECKING:
    from lbhook.firewall.verdict import Verdict

    from .hosts import Host, Popen

NOBODY4, NOBODY6 = "24.0.0.0/8", "2804:14d::/64"
TCP_PORTS, UDP_PORTS = (22, 80, 443, 8080, 9001), (53, 443)
# The handshake is between kernels on one machine: what takes longer is not coming. A verdict that
# differs is looked at again, by a client with more patience.
_PATIENCE, _MORE = 0.08, 1.0
_TRIES = 12
_FREE_BIND6 = 78
_PROTOCOLS = {"tcp": 6, "udp": 17}
# Neighbours are known: that a ruleset drops ICMPv6 is another matter.
_MACS = ("02:00:00:00:00:04", "02:00:00:00:00:01")
_VM = f"""
link set eth0 address {_MACS[0]}
link set eth0 up
addr add {VM4}/24 dev eth0
addr add {VM6}/64 dev eth0 nodad
route add default via 10.1.0.1
route add default via fe80::1 dev eth0
neigh add 10.1.0.1 lladdr {_MACS[1]} dev eth0
neigh add fe80::1 lladdr {_MACS[1]} dev eth0
"""
_CLIENT = f"""
link set vm0 address {_MACS[1]}
link set vm0 up
addr add 10.1.0.1/24 dev vm0
addr add fe80::1/64 dev vm0 nodad
addr add {CLIENT4}/32 dev lo
addr add {CLIENT6}/128 dev lo
route add local {NOBODY4} dev lo
route add local {NOBODY6} dev lo
route add {VM6} dev vm0
neigh add {VM4} lladdr {_MACS[0]} dev vm0
neigh add {VM6} lladdr {_MACS[0]} dev vm0
"""


class Door(NamedTuple):
    """Where is knocked, and from where; `named` if rules may name the source."""

    protocol: str
    ip: str
    port: int
    named: bool

    @property
    def source(self) -> str:
        """The client's address; of nobody's each is another, for rules remember who came."""
        number = _PROTOCOLS[self.protocol] << 16 | self.port
        both = (CLIENT4, CLIENT6)
        if not self.named:
            both = (
                str(ipaddress.IPv4Address(24 << 24 | number)),
                f"2804:14d::{self.port:x}:{number >> 16}",
            )
        return both[":" in self.ip]


DOORS = tuple(
    Door(protocol, ip, port, named)
    for protocol, ports in (("tcp", TCP_PORTS), ("udp", UDP_PORTS))
    for port in ports
    for ip in (VM4, VM6)
    for named in (False, True)
)


class Outcome(NamedTuple):
    """What was said of a door, and whether it is open."""

    door: Door
    verdict: Verdict
    open: bool

    @property
    def wrong(self) -> bool:
        """Whether it is not so. What is handed on may be answered by somebody, or not."""
        return self.verdict.action == ("drop" if self.open else "accept")

    @property
    def unknown(self) -> bool:
        """Whether nothing is known."""
        return self.verdict.action == "unknown"


class Rounds:
    """A machine whose every door is served, and a client next to it; `nft` is the program that
    loads rules."""

    def __init__(self, client: Host, vm: Host, nft: str = "nft") -> None:
        from .hosts import REPO

        client.cable("vm0", vm, "eth0")
        client.links(_CLIENT)
        vm.links(_VM)
        specs = [f"tcp,::,{port}" for port in TCP_PORTS] + [f"udp,::,{port}" for port in UDP_PORTS]
        vm.spawn([*vm.python("standin.py"), *specs])
        argv = [sys.executable, "-m", "tests.lab.rounds"]
        path = {"PYTHONPATH": str(REPO)}
        self.nft, self.refusal = nft, ""
        self.judge = vm.spawn([*argv, "judge"], path)
        self.client = client.spawn([*argv, "knock"], path)
        while not all(vm.listens("tcp", port) for port in TCP_PORTS):
            time.sleep(0.01)

    def play(self, rules: str, shell: str = "", *, whole: bool = False) -> list[Outcome]:
        """One round; an empty list if these rules are none to nft, or to a shell. Without `whole`
        a rule that nft refuses is left out."""
        from lbhook.firewall.verdict import Verdict

        order = {"rules": rules, "shell": shell, "whole": whole, "doors": DOORS, "nft": self.nft}
        said = _asked(self.judge, order)
        self.refusal = said if isinstance(said, str) else ""
        if self.refusal:
            return []
        verdicts = [Verdict(**one) for one in said]
        states = _asked(self.client, {"doors": DOORS, "patience": _PATIENCE})
        found = [Outcome(*one) for one in zip(DOORS, verdicts, states, strict=True)]
        if any(one.wrong for one in found):
            states = _asked(self.client, {"doors": DOORS, "patience": _MORE})
            found = [Outcome(*one) for one in zip(DOORS, verdicts, states, strict=True)]
        return found


@contextlib.contextmanager
def rounds(nft: str = "nft") -> Iterator[Rounds]:
    """Both hosts, wired and serving; `nft` loads the rules."""
    from .hosts import Host

    with Host("client") as client, Host("vm", client) as vm:
        yield Rounds(client, vm, nft)


def _asked(process: Popen, order: dict[str, Any]) -> Any:
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(order) + "\n")
    process.stdin.flush()
    line = process.stdout.readline()
    assert line, f"it has ended: {order}"
    return json.loads(line)


def _judge(order: dict[str, Any]) -> Any:
    from lbhook.firewall.kernel import Firewall, FirewallError
    from lbhook.firewall.verdict import PROTOCOLS, Verdict
    from lbhook.firewall.verdict import Door as Asked

    if refusal := _refused(**{name: order[name] for name in ("nft", "shell", "rules", "whole")}):
        return refusal
    doors = [Door(*one) for one in order["doors"]]
    asked = [
        Asked(
            destination=ipaddress.ip_address(one.ip),
            protocol=PROTOCOLS[one.protocol],
            port=one.port,
            device="eth0",
            source=ipaddress.ip_address(one.source) if one.named else None,
        )
        for one in doors
    ]
    try:
        verdicts = Firewall().judge(asked, {})
    except FirewallError as error:
        verdicts = [Verdict(action="unknown", rule=str(error))] * len(asked)
    return [one._asdict() for one in verdicts]


def _refused(nft: str, shell: str, rules: str, *, whole: bool) -> str:
    """Load rules; without `whole`, but for those that nft refuses. Why, if it refuses more."""
    lines = rules.splitlines()
    for _ in range(_TRIES):
        done = subprocess.run(
            ["sh", "-euc", f"{nft} flush ruleset\n{shell}\n{nft} -f -"],
            input="\n".join(lines),
            text=True,
            capture_output=True,
            check=False,
        )
        if not done.returncode:
            return ""
        wrong = {int(one) for one in re.findall(r"^/dev/stdin:(\d+):", done.stderr, re.M)}
        kept = [one for at, one in enumerate(lines, 1) if at not in wrong or one[:4] != "    "]
        if whole or len(kept) == len(lines):
            break
        lines = kept
    return done.stderr or "refused"


def _knock(order: dict[str, Any]) -> list[bool]:
    """Whether each door says back what it is told: of TCP after a handshake."""
    doors = [Door(*one) for one in order["doors"]]
    waiting = {sock.fileno(): (sock, at) for at, sock in enumerate(map(_knocking, doors))}
    answered = [False] * len(doors)
    poll, end = select.poll(), time.monotonic() + order["patience"]
    for file, (_, at) in waiting.items():
        poll.register(file, select.POLLIN if doors[at].protocol == "udp" else select.POLLOUT)
    while waiting and (left := end - time.monotonic()) > 0:
        for file, event in poll.poll(1000 * left):
            sock, at = waiting[file]
            if event == select.POLLOUT and _told(sock):
                poll.modify(file, select.POLLIN)
                continue
            answered[at] = _is_answered(sock)
            del waiting[file]
            poll.unregister(file)
            sock.close()
            end = max(end, time.monotonic() + order["patience"] / 2)
    for sock, _ in waiting.values():
        sock.close()
    return answered


def _knocking(door: Door) -> socket.socket:
    family = socket.AF_INET6 if ":" in door.ip else socket.AF_INET
    kind = socket.SOCK_STREAM if door.protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _FREE_BIND6, 1)
    sock.bind((door.source, 0))
    sock.connect_ex((door.ip, door.port))
    if door.protocol == "udp":
        _told(sock)
    return sock


def _told(sock: socket.socket) -> bool:
    try:
        return sock.send(b"hello") > 0
    except OSError:
        return False


def _is_answered(sock: socket.socket) -> bool:
    try:
        return sock.recv(100) == b"hello"
    except OSError:
        return False


def wrong(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Those that are not as was said."""
    return [one for one in outcomes if one.wrong]


if __name__ == "__main__":
    work = {"judge": _judge, "knock": _knock}[sys.argv[1]]
    for said in sys.stdin:
        print(json.dumps(work(json.loads(said))), flush=True)
