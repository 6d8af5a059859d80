"""Where sshd lets operators in: at the ports and addresses where it listens, whatever they are.

A daemon is known by its process, a socket that systemd keeps for one by its unit. One that is about
to start has no socket yet: then its configuration counts, and where it was last. sshd_config(5)
has the words; dropbear has no such file.
"""

import contextlib
import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..config.network import port
from ..config.schema import Misfit
from ..config.targets import Target
from ..metadata.reader import Address
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
_DIRECTORY = Path("etc/ssh")
# In order of precedence; SUSE ships its own below /usr.
_FILES = ("etc/ssh/sshd_config", "usr/etc/ssh/sshd_config")
_DEFAULT_PORT = 22
# Any address: of both families, of IPv4, of IPv6.
_BOTH, _IPV4, _IPV6 = "", str(ipaddress.IPv4Address(0)), str(ipaddress.IPv6Address(0))
_FAMILIES = {"inet": _IPV4, "inet6": _IPV6}
# An Include of sshd goes no deeper.
_DEEPEST = 16


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

    What was known counts as long as sshd starts with the machine and does not listen: a restart
    or a boot at the wrong moment must not close it.
    """
    found = {*_held(machine, sockets), *_kept(machine, run, sockets)}
    listens = bool(found)
    starting = _starting(machine)
    if not listens and any(one.endswith(".socket") for one in starting):
        found.update(_sockets(run, lambda unit, _: unit in starting))
    if _SERVICES & starting:
        found.update(_configured(machine, default=not listens))
    if keep or (starting and not listens):
        found.update(filter(None, map(_read, known)))
    for one in sorted({number for _, number in found}):
        if {(_IPV4, one), (_IPV6, one)} <= found:
            found.add((_BOTH, one))
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


_Spot = tuple[str, int]


def _held(machine: Machine, sockets: Sequence[Socket]) -> Iterator[_Spot]:
    """Of daemons that run."""
    for pid in machine.running(_DAEMONS):
        if is_daemon(machine, pid):
            inodes = _inodes(machine, pid)
            yield from _spots((one for one in sockets if one.inode in inodes), sockets)


def _kept(machine: Machine, run: Run, sockets: Sequence[Socket]) -> Iterator[_Spot]:
    """Of sockets that systemd listens at for a daemon. It is asked only if it listens at all."""
    inodes = _inodes(machine, 1)
    if any(one.inode in inodes for one in sockets):
        yield from _sockets(run, lambda _, state: state == "active")


def _sockets(run: Run, counts: Callable[[str, str], bool]) -> Iterator[_Spot]:
    """Of the units of such sockets that count, by their names and states."""
    shown = run(("systemctl", "show", "*.socket", "--property=Id,ActiveState,Triggers,Listen"))
    for unit in shown.output.split("\n\n") if shown.ok else ():
        told = dict(re.findall(r"(?m)^(Id|ActiveState)=(.*)$", unit))
        if _UNITS.search(unit) and counts(told.get("Id", ""), told.get("ActiveState", "")):
            listens = re.findall(r"(?m)^Listen=(.+) \(Stream\)$", unit)
            spots = [spot for spot in map(_read, listens) if spot]
            yield from ((_BOTH if ip == _IPV6 else ip, number) for ip, number in spots)


def _inodes(machine: Machine, pid: int) -> frozenset[int]:
    with contextlib.suppress(OSError):  # gone, or not for everybody to see
        return machine.inodes(pid)
    return frozenset()


def _spots(own: Iterable[Socket], sockets: Sequence[Socket]) -> Iterator[_Spot]:
    """A socket for any address of IPv6 may take IPv4 as well, unless another one has that."""
    four = {one.port for one in sockets if one.ip == ipaddress.IPv4Address(0)}
    for one in own:
        if len(one.versions) > 1 and one.port not in four:
            yield _BOTH, one.port
        elif not one.ip.is_loopback:
            yield str(one.ip), one.port


def _starting(machine: Machine) -> set[str]:
    """The units of an sshd that start with the machine, those of one's own by their names."""
    wants = (machine.root / "etc/systemd/system").glob("*.wants/*")
    return {one.name for one in wants if _STARTS.fullmatch(one.name)}


def _configured(machine: Machine, *, default: bool) -> Iterator[_Spot]:
    """What the configuration of sshd names; with `default` what it is if nothing is named."""
    files = [machine.root / name for name in _FILES]
    there = [one for one in files if os.path.isfile(one)]  # noqa: PTH113  (it may not be seen)
    lines = [line for file in there[:1] for line in _lines(machine.root, file)]
    ports = [number for key, word in lines if key == "port" for number in _number(word)]
    families = [word for key, word in lines if key == "addressfamily"]
    anywhere = _FAMILIES.get(families[0] if families else "", _BOTH)
    addresses = [word for key, word in lines if key == "listenaddress"]
    if not (ports or addresses or default):
        return
    for word in addresses or [anywhere]:
        yield from _addressed(word, ports or [_DEFAULT_PORT])


def _addressed(word: str, ports: Sequence[int]) -> Iterator[_Spot]:
    """An address with the port behind it, or else with each port; a name may be any address."""
    found = re.fullmatch(r"(?:\[(.*)\]|([^:]*))(?::(\d+))?|(.*)", word)
    six, four, last, bare = found.groups("") if found else ("", "", "", "")
    ip = _address(six or four or bare)
    for number in _number(last) or ports:
        if not (ip and ip.is_loopback):
            yield (str(ip) if ip else ""), number


def _lines(root: Path, file: Path, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The keywords of a file with their first word, down to where they hold for some only."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        found = re.match(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)", line)
        key, words = (found[1].lower(), found[2].replace('"', "").split()) if found else ("", [])
        if key == "match":
            return
        if key == "include" and depth < _DEEPEST:
            for word in words:
                inside = str(_DIRECTORY / word).lstrip("/")
                for other in sorted(root.glob(inside)):
                    yield from _lines(root, other, depth + 1)
        elif words:
            yield key, words[0]


def _read(text: str) -> _Spot | None:
    """A place from its text, as `_place` and systemd write it."""
    found = re.fullmatch(r"(?:\[([^%\]]+)(?:%[^\]]+)?\]|([^:]+)):(\d+)", text)
    ip = _address(found[1] or found[2]) if found else None
    if not found or (not ip and found[2] != "*") or (ip and ip.is_loopback):
        return None
    return next(((str(ip) if ip else "", number) for number in _number(found[3])), None)


def _place(ip: str, number: int) -> Place:
    address = _address(ip)
    anywhere = address is None or address.is_unspecified
    shown = f"[{ip}]" if address and address.version == 6 else ip or "*"
    return {
        "text": f"{shown}:{number}",
        "ip": None if anywhere else address,
        "version": address.version if address else 0,
        "port": number,
    }


def _order(spot: _Spot) -> tuple[int, int, int]:
    address = _address(spot[0])
    return spot[1], address.version if address else 0, int(address) if address else 0


def _address(text: str) -> Address | None:
    """One without its interface, which is no part of what is sent to it."""
    try:
        found = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _number(text: str) -> list[int]:
    """A port, if it is one."""
    with contextlib.suppress(Misfit):
        return [port(int(text))] if text.isascii() and text.isdecimal() else []
    return []
