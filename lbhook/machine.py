"""What this machine is and has, read from /proc and /sys; nothing is asked of anybody."""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .reader import Address

# The tag that Microsoft documents for detecting Azure (and cloud-init looks for).
AZURE_ASSET_TAG = "7783-7084-3265-9085-8269-3286-77"
# States of proc(5): a TCP socket that listens, a UDP socket that is connected to nobody.
_LISTEN = "0A"
_UNCONNECTED = "07"
_TENTATIVE = 0x40


@dataclass(frozen=True, slots=True, kw_only=True)
class Socket:
    """A TCP socket that listens, or a UDP socket that takes what anybody sends."""

    ip: Address
    port: int
    inode: int

    def covers(self, ip: Address, port: int) -> bool:
        """Whether it takes what is sent to this address: its own, or any."""
        if self.port != port:
            return False
        mapped = self.ip.ipv4_mapped if isinstance(self.ip, ipaddress.IPv6Address) else None
        anywhere = self.ip.is_unspecified and self.ip.version >= ip.version
        return anywhere or ip in (self.ip, mapped)


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine whose /proc and /sys are below `root`."""

    root: Path = Path("/")

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
        return frozenset([*self._ipv4(), *self._ipv6()])

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

    def listening(self) -> tuple[Socket, ...]:
        """The TCP sockets that listen in this network namespace."""
        return (*self._sockets("tcp", _LISTEN), *self._sockets("tcp6", _LISTEN))

    def udp(self) -> tuple[Socket, ...]:
        """The UDP sockets of this network namespace that are bound and connected to nobody."""
        return (*self._sockets("udp", _UNCONNECTED), *self._sockets("udp6", _UNCONNECTED))

    def inodes(self, pid: int) -> frozenset[int]:
        """The sockets that a process holds."""
        found = set()
        for entry in (self.root / f"proc/{pid}/fd").iterdir():
            try:
                target = entry.readlink()
            except OSError:
                continue  # closed since the directory was read
            match = re.fullmatch(r"socket:\[(\d+)\]", str(target))
            if match:
                found.add(int(match[1]))
        return frozenset(found)

    def program(self, pid: int) -> str:
        """The name of a process; empty if there is none."""
        return self._text(f"proc/{pid}/comm")

    def arguments(self, pid: int) -> tuple[str, ...]:
        """The command line of a process; empty if there is none."""
        text = self._text(f"proc/{pid}/cmdline")
        return tuple(text.split("\0")) if text else ()

    def environment(self, pid: int) -> dict[str, str]:
        """What a process was started with, as far as this process may know."""
        settings = self._text(f"proc/{pid}/environ").split("\0")
        return dict(one.split("=", 1) for one in settings if "=" in one)

    def children(self, pid: int) -> tuple[int, ...]:
        """The processes that a process has started and that have not ended."""
        return tuple(map(int, self._text(f"proc/{pid}/task/{pid}/children").split()))

    def has_systemd(self) -> bool:
        """Whether systemd is PID 1 here, as sd_booted(3) asks it."""
        return (self.root / "run/systemd/system").is_dir()

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

    def _ipv6(self) -> Iterator[Address]:
        """proc(5): address, interface, prefix, scope, flags and name of the interface."""
        for line in self._text("proc/self/net/if_inet6").splitlines():
            digits, _, _, _, flags, _ = line.split()
            if not int(flags, 16) & _TENTATIVE:
                yield ipaddress.IPv6Address(int(digits, 16))

    def _sockets(self, table: str, state: str) -> Iterator[Socket]:
        for line in self._text(f"proc/self/net/{table}").splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                digits, port = words[1].split(":")
                yield Socket(ip=_kernel_address(digits), port=int(port, 16), inode=int(words[9]))


def _kernel_address(digits: str) -> Address:
    """/proc/net/tcp prints each 32-bit word of an address in the byte order of the machine."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    packed = b"".join(words)
    return ipaddress.ip_address(packed)
