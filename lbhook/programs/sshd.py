"""Where sshd lets operators in: at the ports and addresses where it listens, whatever they are.

A daemon is known by its process, a socket that systemd keeps for one by its unit. One that is about
to start has no socket yet: then its configuration counts, and where it was last.
Dropbear has no such file.
"""

import contextlib
import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..config.targets import Target
from ..listening import sshd_config
from ..listening.files import Files
from ..listening.sshd_config import BOTH, IPV4, IPV6, Spot
from ..processes import Run
from ..system.machine import Machine, Socket

# One place of it, as a template sees it: `ip` (None: any), `version` of IP (0: both) and `port`;
# `text` is how it is shown and recorded.
Place = Mapping[str, Any]
_DAEMONS = ("sshd", "dropbear")
_UNITS = re.compile(r"(?m)^(?:Id|Triggers)=(?:.* )?(?:ssh|sshd|dropbear)(?:@\S*)?\.s\w+")
_STARTS = re.compile(r"(?:ssh|sshd|dropbear)(?:[-@](?!keygen).*)?\.(?:service|socket)")
# Those whose configuration is in the usual place.
_SERVICES = {"ssh.service", "sshd.service"}
# Ubuntu's, from 24.04 on: it makes ssh.socket listen where sshd_config says.
_GENERATOR = "/usr/lib/systemd/system-generators", "sshd-socket-generator"
# A unit with such a name may be that of a client: a tunnel, an agent.
_CLIENT = re.compile(r"(?m)^ExecStart=\S*/(?:autossh|ssh|ssh-agent)\s")


def follows(target: Target) -> bool:
    """Whether a target is a firewall that keeps sshd open where it listens. Closing SSH, by an
    empty `ssh_ports`, closes it everywhere; policy `mark` leaves it to the other firewall."""
    if target.kind != "nftables" or not target.template:
        return False
    told = target.vars["follow_sshd"]
    wanted = bool(target.vars["ssh_ports"]) if told is None else told
    return bool(wanted and (target.vars["policy"] != "mark" or target.vars["ssh_from"]))


def places(
    machine: Machine,
    run: Run,
    sockets: Sequence[Socket],
    known: Sequence[str] = (),
    *,
    keep: bool = False,
) -> tuple[Place, ...]:
    """Where an sshd of this machine, where these `sockets` listen, does so, or will; `known` is
    where it was last, by text, to `keep` in any case.

    What was known counts as long as an sshd starts with the machine that does not listen, of two
    the second as well: a restart or a boot at the wrong moment must not close it.
    """
    there, kept = ({*some} for some in (_held(machine, sockets), _kept(machine, run, sockets)))
    found = {spot for gate in (*there, *kept) for spot in gate}
    # A daemon that a socket has started has the ports of that.
    there |= {gate for gate in kept if _ports(gate) not in map(_ports, there)}
    listens = bool(found)
    starting = _starting(machine)
    if not listens and any(one.endswith(".socket") for one in starting):
        found.update(*_sockets(run, lambda unit, _: unit in starting))
    if _SERVICES & starting or ("ssh.socket" in starting and _is_generated(machine)):
        files = Files(machine.text, machine.names)
        found.update(sshd_config.configured(files, default=not listens))
    if keep or len({_daemon(unit) for unit in starting}) > len(there - {frozenset()}):
        found.update(filter(None, map(_read, known)))
    for one in sorted({number for _, number in found}):
        if {(IPV4, one), (IPV6, one)} <= found:
            found.add((BOTH, one))
    every = {number for ip, number in found if not ip}
    rest = {(ip, number) for ip, number in found if not (ip and number in every)}
    return tuple(_place(ip, number) for ip, number in sorted(rest, key=_order))


def recorded(texts: Iterable[str]) -> tuple[Place, ...]:
    """Places by their texts; what is none, as in a damaged record, is left out."""
    return tuple(_place(*spot) for text in texts if (spot := _read(text)))


def is_daemon(machine: Machine, pid: int) -> bool:
    """Whether a process is an sshd that waits for operators. One of another user is nobody's
    gate, and what a session forwards is the session's."""
    name, words = machine.program(pid), machine.arguments(pid)
    title = words[0] if words else ""
    session = title.startswith(f"{name}: ") and "[listener]" not in title
    child = machine.program(machine.parent(pid)) == name
    return machine.user(pid) == 0 and not (session or child or "-i" in words)


# Where one daemon listens.
_Gate = frozenset[Spot]


def _ports(gate: _Gate) -> set[int]:
    return {number for _, number in gate}


def _held(machine: Machine, sockets: Sequence[Socket]) -> Iterator[_Gate]:
    """Of daemons that run."""
    for pid in machine.running(_DAEMONS):
        if is_daemon(machine, pid):
            inodes = _inodes(machine, pid)
            yield frozenset(_spots((one for one in sockets if one.inode in inodes), sockets))


def _kept(machine: Machine, run: Run, sockets: Sequence[Socket]) -> Iterator[_Gate]:
    """Of sockets that systemd listens at for a daemon. It is asked only if it listens at all."""
    inodes = _inodes(machine, 1)
    if any(one.inode in inodes for one in sockets):
        yield from _sockets(run, lambda _, state: state == "active")


def _sockets(run: Run, counts: Callable[[str, str], bool]) -> Iterator[_Gate]:
    """Of the units of such sockets that count, by their names and states."""
    shown = run(("systemctl", "show", "*.socket", "--property=Id,ActiveState,Triggers,Listen"))
    for unit in shown.output.split("\n\n") if shown.ok else ():
        told = dict(re.findall(r"(?m)^(Id|ActiveState)=(.*)$", unit))
        if _UNITS.search(unit) and counts(told.get("Id", ""), told.get("ActiveState", "")):
            listens = re.findall(r"(?m)^Listen=(.+) \(Stream\)$", unit)
            spots = [spot for spot in map(_read, listens) if spot]
            yield frozenset((BOTH if ip == IPV6 else ip, number) for ip, number in spots)


def _inodes(machine: Machine, pid: int) -> frozenset[int]:
    with contextlib.suppress(OSError):  # gone, or not for everybody to see
        return machine.inodes(pid)
    return frozenset()


def _spots(own: Iterable[Socket], sockets: Sequence[Socket]) -> Iterator[Spot]:
    """A socket for any address of IPv6 may take IPv4 as well, unless another one has that."""
    four = {one.port for one in sockets if one.ip == ipaddress.IPv4Address(0)}
    for one in own:
        if len(one.versions) > 1 and one.port not in four:
            yield BOTH, one.port
        elif not one.ip.is_loopback:
            yield str(one.ip), one.port


def _starting(machine: Machine) -> set[str]:
    """The units of an sshd that start with the machine, those of one's own by their names."""
    wants = (machine.root / "etc/systemd/system").glob("*.wants/*")
    named = [one.relative_to(machine.root) for one in wants if _STARTS.fullmatch(one.name)]
    return {one.name for one in named if not _CLIENT.search(machine.text(str(one)) or "")}


def _is_generated(machine: Machine) -> bool:
    directory, name = _GENERATOR
    return name in machine.names(directory)


def _daemon(unit: str) -> str:
    """Which one a unit starts: that of Debian has two names, and a socket of its own."""
    name = unit.rpartition(".")[0]
    return "ssh" if name == "sshd" else name


def _read(text: str) -> Spot | None:
    """A place from its text, as `_place` and systemd write it."""
    found = re.fullmatch(r"(?:\[([^%\]]+)(?:%[^\]]+)?\]|([^:]+)):(\d+)", text)
    ip = sshd_config.address(found[1] or found[2]) if found else None
    if not found or (not ip and found[2] != "*") or (ip and ip.is_loopback):
        return None
    return next(((str(ip) if ip else "", number) for number in sshd_config.numbers(found[3])), None)


def _place(ip: str, number: int) -> Place:
    address = sshd_config.address(ip)
    anywhere = address is None or address.is_unspecified
    shown = f"[{ip}]" if address and address.version == 6 else ip or "*"
    return {
        "text": f"{shown}:{number}",
        "ip": None if anywhere else address,
        "version": address.version if address else 0,
        "port": number,
    }


def _order(spot: Spot) -> tuple[int, int, int]:
    address = sshd_config.address(spot[0])
    return spot[1], address.version if address else 0, int(address) if address else 0
