"""What this machine is and has, read from /proc and /sys; nothing is asked of anybody."""

import contextlib
import ipaddress
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ..config.network import Network
from ..metadata.reader import Address
from ..processes import PATH
from . import sockets
from .sockets import Socket

__all__ = ["Machine", "Socket"]

# The tag that Microsoft documents for detecting Azure (and cloud-init looks for).
AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"
# What a node of Kubernetes keeps, also in the distributions that have places of their own.
_KUBELET = (
    *("var/lib/kubelet", "var/lib/k0s", "var/lib/rancher/k3s", "var/lib/rancher/rke2"),
    "var/snap/microk8s/common",
    *(f"{place[1:]}/kubelet" for place in f"{PATH}:/opt/bin".split(":")),
)
# k3s, microk8s and others have the kubelet in a program of another name.
_KUBELET_PROGRAMS = ("kubelet", "kubelite", "k3s-server", "k3s-agent", "k0s", "rke2")
_TENTATIVE = 0x40
# The first addresses and ports of an entry are those of who began.
_TRACKED = r"(?m)^ipv[46] .*? tcp .*?src=(\S+) dst=\S+ sport=\d+ dport=(\d+)"


class Machine:
    """The machine whose /proc and /sys are below `root`."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root

    def is_azure(self) -> bool:
        """Whether the chassis asset tag is Azure's."""
        return self._text("sys/class/dmi/id/chassis_asset_tag") == AZURE_ASSET_TAG

    def boot_id(self) -> str:
        """What the kernel calls this boot."""
        return self._text("proc/sys/kernel/random/boot_id")

    def machine_id(self) -> str:
        """What systemd calls this installation; empty if it has no name yet."""
        text = self._text("etc/machine-id")
        return text if re.fullmatch(r"[0-9a-f]{32}", text) else ""

    def addresses(self) -> frozenset[Address]:
        """The addresses that a program here can bind."""
        return frozenset([*self._ipv4(), *(ip for _, ip in self._ipv6())])

    def interfaces(self) -> dict[str, str]:
        """Names of network interfaces by MAC address, twelve digits in lower case.

        With accelerated networking the virtual function has the MAC address of the synthetic
        device, which is the one that carries the addresses (Microsoft: "How Accelerated
        Networking works"); the function is its slave.
        """
        found: dict[str, str] = {}
        try:
            devices = sorted((self.root / "sys/class/net").iterdir())
        except OSError:
            devices = []
        for device in devices:
            mac = self._text(f"sys/class/net/{device.name}/address").replace(":", "").lower()
            slave = (device / "master").exists()
            if re.fullmatch(r"[0-9a-f]{12}", mac) and (mac not in found or not slave):
                found[mac] = device.name
        return found

    def networks(self, interfaces: Collection[str]) -> tuple[Network, ...]:
        """The networks that these interfaces are on, of IPv6 only their own addresses."""
        routes = [line.split() for line in self._text("proc/self/net/route").splitlines()[1:]]
        four = [
            ipaddress.ip_network(
                f"{sockets.kernel_address(words[1])}/{sockets.kernel_address(words[7])}"
            )
            for words in routes
            if words[0] in interfaces and words[2] == "00000000"
        ]
        six = [ip for name, ip in self._ipv6() if name in interfaces]
        return (*four, *map(ipaddress.ip_network, six))

    def binds_anywhere(self, version: int) -> bool:
        """Whether programs may listen at addresses of an IP version that this machine lacks, as
        where an address moves between machines: ip_nonlocal_bind of ip(7)."""
        return self._text(f"proc/sys/net/ipv{version}/ip_nonlocal_bind") == "1"

    def listening(self) -> tuple[Socket, ...]:
        """The TCP sockets that listen in this network namespace."""
        return tuple(self._sockets("tcp", sockets.LISTEN))

    def bound(self) -> tuple[Socket, ...]:
        """The UDP sockets of this network namespace that are bound and not connected."""
        return tuple(self._sockets("udp", sockets.UNCONNECTED))

    def others(self) -> tuple[Socket, ...]:
        """What waits for other protocols in this network namespace: SCTP and UDP-Lite, and raw
        sockets, which have no port."""
        return (
            *sockets.sctp(self._text("proc/self/net/sctp/eps")),
            *self._sockets("udplite", sockets.UNCONNECTED),
            *(one for listing in self._listed("raw") for one in sockets.raw(listing)),
        )

    def connected(self) -> tuple[tuple[Socket, Address], ...]:
        """The TCP connections of this network namespace: the socket here, and who is there."""
        state = sockets.ESTABLISHED
        found = (one for listing in self._listed("tcp") for one in sockets.rows(listing, state))
        return tuple((sockets.here("tcp", one), sockets.there("tcp", one).ip) for one in found)

    def serving(self) -> tuple[tuple[Socket, Socket], ...]:
        """The TCP connections of this network namespace in which there may be more to say, each by
        its end here and the other one."""
        listed = (one for each in self._listed("tcp") for one in sockets.rows(each, ""))
        found = (one for one in listed if one[3] in sockets.OPEN)
        return tuple((sockets.here("tcp", one), sockets.there("tcp", one)) for one in found)

    def calling(self) -> tuple[Socket, ...]:
        """Whom TCP sockets of this network namespace call and have no answer from yet."""
        state = sockets.CALLING
        found = (one for listing in self._listed("tcp") for one in sockets.rows(listing, state))
        return tuple(sockets.there("tcp", one) for one in found)

    def tracked(self) -> tuple[int, int]:
        """How many connections the kernel tracks, and how many it can; 0 where it tracks none."""
        names = (f"proc/sys/net/netfilter/nf_conntrack_{name}" for name in ("count", "max"))
        count, most = (int(self._text(name) or 0) for name in names)
        return count, most

    def callers(self, sources: Collection[Address]) -> tuple[int, ...]:
        """The TCP ports here that these addresses have lately connected to, as far as the kernel
        shows what it tracks."""
        wanted = {one.exploded for one in sources}
        found = re.findall(_TRACKED, self._text("proc/self/net/nf_conntrack"))
        return tuple(sorted({int(port) for source, port in found if source in wanted}))

    def legacy_tables(self) -> tuple[str, ...]:
        """The tables of iptables-legacy, as far as this process may know."""
        files = (f"proc/self/net/{name}_tables_names" for name in ("ip", "ip6"))
        return tuple(dict.fromkeys(word for file in files for word in self._text(file).split()))

    def holders(self, inodes: Collection[int]) -> dict[int, str]:
        """The name of a program that holds each of these sockets, as far as it can be read."""
        return {inode: self.program(pid) for inode, pid in self.holding(inodes).items()}

    def holding(self, inodes: Collection[int]) -> dict[int, int]:
        """A process that holds each of these sockets, as far as it can be read: the oldest,
        but systemd only where it keeps a socket for a program that does not run yet."""
        found: dict[int, int] = {}
        for pid in (*(one for one in self._pids() if one != 1), 1):
            with contextlib.suppress(OSError):  # gone, or another user's
                for inode in self.inodes(pid).intersection(inodes):
                    found.setdefault(inode, pid)
        return found

    def inodes(self, pid: int) -> frozenset[int]:
        """The sockets that a process holds."""
        # By descriptors: nginx has one for each listener, and a path for each takes twice as long.
        place = os.open(self.root / f"proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
        found = set()
        try:
            for name in os.listdir(place):  # noqa: PTH208
                try:
                    target = os.readlink(name, dir_fd=place)
                except OSError:
                    continue  # closed since the directory was read
                if target.startswith("socket:["):
                    found.add(int(target[8:-1]))
        finally:
            os.close(place)
        return frozenset(found)

    def program(self, pid: int) -> str:
        """The name of a process; empty if there is none."""
        return self._text(f"proc/{pid}/comm")

    def unit(self, pid: int) -> str:
        """The unit of systemd that a process belongs to; empty if it belongs to none."""
        names = re.split(r"[/\n]", self._text(f"proc/{pid}/cgroup"))
        units = [name for name in names if name.endswith((".service", ".scope"))]
        return units[-1] if units else ""

    def arguments(self, pid: int) -> tuple[str, ...]:
        """The command line of a process; empty if there is none."""
        text = self._text(f"proc/{pid}/cmdline")
        return tuple(text.split("\0")) if text else ()

    def environment(self, pid: int) -> dict[str, str]:
        """What a process was started with, as far as this process may know."""
        settings = self._text(f"proc/{pid}/environ").split("\0")
        return dict(one.split("=", 1) for one in settings if "=" in one)

    def open_files(self, pid: int) -> tuple[str, str]:
        """How many files a process may have open, its soft limit and its hard one; empty if there
        is no such process, or none that this one may ask about."""
        said = self._text(f"proc/{pid}/limits")
        found = re.search(r"^Max open files +(\S+) +(\S+)", said, re.MULTILINE)
        return (found[1], found[2]) if found else ("", "")

    def most_files(self, pid: int) -> int:
        """How many files a process may have open; 0 if that can't be read."""
        found = re.search(r"(?m)^Max open files\s+(\d+)", self._text(f"proc/{pid}/limits"))
        return int(found[1]) if found else 0

    def children(self, pid: int) -> tuple[int, ...]:
        """The processes that a process has started and that have not ended."""
        return tuple(map(int, self._text(f"proc/{pid}/task/{pid}/children").split()))

    def has_kubelet(self) -> bool:
        """Whether this is a node of Kubernetes: the program is here or runs, or what it keeps is
        here. A node that runs in a container with a network of its own is not this machine."""
        if any((self.root / place).exists() for place in _KUBELET):
            return True
        return any(map(self._is_in_this_network, self.running(_KUBELET_PROGRAMS)))

    def running(self, names: Collection[str]) -> tuple[int, ...]:
        """The processes of programs with these names."""
        # Each run asks for all there are: a path for each takes five times as long.
        wanted, base = {one.encode() for one in names}, os.fspath(self.root / "proc")
        found = []
        for pid in self._pids():
            with contextlib.suppress(OSError):  # gone
                place = os.open(f"{base}/{pid}/comm", os.O_RDONLY)
                try:
                    found += [pid] if os.read(place, 64).strip() in wanted else []
                finally:
                    os.close(place)
        return tuple(found)

    def parent(self, pid: int) -> int:
        """The process that has started one; 0 if that is not known."""
        return self._status(pid, "PPid", 0)

    def user(self, pid: int) -> int:
        """The number of the user that a process has the rights of; -1 if that is not known."""
        return self._status(pid, r"Uid:\t\d+", -1)

    def is_confined(self) -> bool:
        """Whether this process was told never to gain rights, as by a unit that is hardened."""
        return (
            re.search(r"^NoNewPrivs:\s1$", self._text("proc/self/status"), re.MULTILINE) is not None
        )

    def has_ipv6(self) -> bool:
        """Whether the kernel has IPv6 at all, be it without an address."""
        return (self.root / "proc/self/net/if_inet6").exists()

    def has_systemd(self) -> bool:
        """Whether systemd is PID 1 here, as sd_booted(3) asks it."""
        return (self.root / "run/systemd/system").is_dir()

    def has_bus(self) -> bool:
        """Whether the system's D-Bus can be asked, which `systemd-run --wait` needs: its socket is
        there once sysinit.target is reached, and so after lbhook-restore.service in some boots."""
        return (self.root / "run/dbus/system_bus_socket").exists()

    def _pids(self) -> list[int]:
        try:
            names = os.listdir(self.root / "proc")  # noqa: PTH208 (a path for each takes longer)
        except OSError:
            return []
        return sorted(int(name) for name in names if name.isdecimal())

    def _status(self, pid: int, name: str, unknown: int) -> int:
        found = re.search(rf"(?m)^{name}:?\s(\d+)", self._text(f"proc/{pid}/status"))
        return int(found[1]) if found else unknown

    def _is_in_this_network(self, pid: int) -> bool:
        """Whether a process has the network of this one; so it is taken, if that can't be read."""
        try:
            own, other = (
                (self.root / f"proc/{one}/ns/net").readlink() for one in ("self", str(pid))
            )
        except OSError:
            return True
        return own == other

    def _text(self, path: str) -> str:
        try:
            return (self.root / path).read_text(encoding="utf-8", errors="replace").strip("\0\n ")
        except OSError:
            return ""

    def _ipv4(self) -> Iterator[Address]:
        """Local addresses of the kernel's routing trie: a line with the address, then its use."""
        address = ""
        for line in self._text("proc/self/net/fib_trie").splitlines():
            found = re.search(r"\|-- ([0-9.]+)", line)
            if found:
                address = found[1]
            elif "/32 host LOCAL" in line:
                yield ipaddress.IPv4Address(address)

    def _ipv6(self) -> Iterator[tuple[str, Address]]:
        """Interface and address of each; proc(5) has the columns of the file."""
        for line in self._text("proc/self/net/if_inet6").splitlines():
            digits, _, _, _, flags, name = line.split()
            if not int(flags, 16) & _TENTATIVE:
                yield name, ipaddress.IPv6Address(int(digits, 16))

    def _listed(self, protocol: str) -> Iterator[str]:
        return (self._text(f"proc/self/net/{one}") for one in (protocol, f"{protocol}6"))

    def _sockets(self, protocol: str, state: str) -> Iterator[Socket]:
        """The sockets in a state, with their own end."""
        for listing in self._listed(protocol):
            yield from (sockets.here(protocol, one) for one in sockets.rows(listing, state))
