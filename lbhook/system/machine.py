"""What this machine is and has, by its files and the kernel's own word."""

import ipaddress
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.network import Network, is_named
from ..metadata.reader import Address
from ..processes import PATH
from . import sockets
from .process_table import ProcessTable
from .sockets import Socket

if TYPE_CHECKING:
    from .netlink import Kernel

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


class Machine(ProcessTable):
    """The machine whose /proc and /sys are below `root`. With a `kernel` that one is asked first,
    where /proc takes a hundred times as long."""

    def __init__(self, root: Path = Path("/"), kernel: "Kernel | None" = None) -> None:
        super().__init__(root)
        self.kernel = kernel

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
            if is_named(words[0], interfaces) and words[2] == "00000000"
        ]
        six = [ip for name, ip in self._ipv6() if is_named(name, interfaces)]
        return (*four, *map(ipaddress.ip_network, six))

    def binds_anywhere(self, version: int) -> bool:
        """Whether programs may listen at addresses of an IP version that this machine lacks, as
        where an address moves between machines: ip_nonlocal_bind of ip(7)."""
        return self._text(f"proc/sys/net/ipv{version}/ip_nonlocal_bind") == "1"

    def binds_v6only(self) -> bool:
        """Whether a socket for every IPv6 address takes no IPv4 unless its program says so:
        bindv6only of ipv6(7)."""
        return self._text("proc/sys/net/ipv6/bindv6only") == "1"

    def first_port(self) -> int:
        """The first port that every program may open: ip_unprivileged_port_start of ip(7)."""
        return int(self._text("proc/sys/net/ipv4/ip_unprivileged_port_start") or 1024)

    def listening(self) -> tuple[Socket, ...]:
        """The TCP sockets that listen in this network namespace."""
        told = self.kernel.listening() if self.kernel else None
        return tuple(self._sockets("tcp", sockets.LISTEN)) if told is None else told

    def bound(self) -> tuple[Socket, ...]:
        """The UDP sockets of this network namespace that are bound and not connected."""
        told = self.kernel.bound() if self.kernel else None
        return tuple(self._sockets("udp", sockets.UNCONNECTED)) if told is None else told

    def _made(self) -> Mapping[int, int]:
        return {one.inode: one.group for one in (*self.listening(), *self.bound()) if one.group}

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

    def has_kubelet(self) -> bool:
        """Whether this is a node of Kubernetes: the program is here or runs, or what it keeps is
        here. A node that runs in a container with a network of its own is not this machine."""
        if any((self.root / place).exists() for place in _KUBELET):
            return True
        return any(map(self._is_in_this_network, self.running(_KUBELET_PROGRAMS)))

    def is_confined(self) -> bool:
        """Whether this process was told never to gain rights, as by a unit that is hardened."""
        return bool(re.search(r"(?m)^NoNewPrivs:\s1$", self._text("proc/self/status")))

    def has_ipv6(self) -> bool:
        """Whether the kernel has IPv6 at all, be it without an address."""
        return (self.root / "proc/self/net/if_inet6").exists()

    def text(self, path: str) -> str | None:
        """What is in a file of a program's configuration; None if it can't be read."""
        try:
            file = self.root / path.lstrip("/")
            return file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def may_read(self, path: str) -> bool:
        """Whether a file or directory can be read, or is not there."""
        place = self.root / path.lstrip("/")
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError:
            return False
        return os.access(place, os.R_OK)

    def names(self, directory: str) -> Collection[str]:
        """The names in a directory; none if it can't be read."""
        try:
            return [one.name for one in (self.root / directory.lstrip("/")).iterdir()]
        except OSError:
            return ()

    def has_systemd(self) -> bool:
        """Whether systemd is PID 1 here, as sd_booted(3) asks it."""
        return (self.root / "run/systemd/system").is_dir()

    def has_bus(self) -> bool:
        """Whether the system's D-Bus can be asked, which `systemd-run --wait` needs: its socket is
        there once sysinit.target is reached, and so after lbhook-restore.service in some boots."""
        return (self.root / "run/dbus/system_bus_socket").exists()

    def _is_in_this_network(self, pid: int) -> bool:
        """Whether a process has the network of this one; so it is taken, if that can't be read."""
        try:
            own, other = (
                (self.root / f"proc/{one}/ns/net").readlink() for one in ("self", str(pid))
            )
        except OSError:
            return True
        return own == other

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
