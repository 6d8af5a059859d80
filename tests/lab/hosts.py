"""Hosts made of namespaces, the same way for root and for ordinary users.

The first host makes a user namespace, the others live in it. A host has its own network,
mounts and processes, and lives as long as its first process, which waits for the end of its
standard input: however the tests end, the kernel takes everything in the host down with it.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address
from pathlib import Path
from typing import TypeVar

import pytest

REPO = Path(__file__).resolve().parents[2]
# Ordinary users on Debian have no sbin on their path, and ip, nft and nginx are there.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
USER = ("--user", "--map-root-user")

# With SIGCHLD ignored the kernel reaps the orphans that the first process inherits.
# Reverse path filters and router advertisements of the real machine have no business here.
FIRST = """
trap '' CHLD
ip link set lo up
cd /proc/sys/net
for key in ipv4/conf/all/rp_filter ipv4/conf/default/rp_filter ipv4/ip_forward \\
    ipv6/conf/default/accept_dad ipv6/conf/default/accept_ra; do echo 0 > $key; done
cd /
{setup}
echo up
exec cat
"""


def require(*programs: str) -> None:
    """Skip the test without these programs; with CI=true that is a failure."""
    missing = [name for name in programs if not shutil.which(name, path=PATH)]
    if not missing:
        return
    reason = f"not installed: {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def _user_namespace() -> tuple[str, ...]:
    # A kernel or container that forbids user namespaces still lets root have the others.
    tried = {}
    for words in (USER, ()) if os.geteuid() == 0 else (USER,):
        argv = [*UNSHARE, *words, "true"]
        tried[words] = subprocess.run(argv, capture_output=True, text=True, check=False)
        if tried[words].returncode == 0:
            return words
    pytest.skip(f"namespaces are not permitted here: {tried[USER].stderr.strip()}")


def wait_for(condition: Callable[[], bool], what: str, timeout: float = 60) -> None:
    """Return as soon as `condition` holds; fail with `what` after `timeout` seconds."""
    asked = time.monotonic()
    deadline = asked + timeout
    while not condition():
        now = time.monotonic()
        assert now < deadline, f"not within {timeout} s: {what}"
        # What is waited for needs the processor more than who asks, most of all by a program.
        time.sleep(min(max(0.005, 5 * (now - asked)), 0.1))
        asked = time.monotonic()


Popen = subprocess.Popen[str]
H = TypeVar("H", bound="Host")


class Host:
    """One machine; `inside` is the host whose user namespace it shares.

    `private` directories are empty at first, except for `etc`, copied from the real /etc.
    """

    def __init__(
        self,
        name: str,
        inside: Host | None = None,
        private: Sequence[str] = ("/run",),
        etc: Sequence[str] = (),
    ) -> None:
        require("unshare", "nsenter", "setpriv", "ip", "mount", "cp")
        self.name = name
        self._user = _user_namespace()
        self._stack = ExitStack()
        words = self._user if inside is None else ()
        setup = _copy(etc) + "".join(map(_empty, private)) + "cd /\n"
        argv = [*UNSHARE, *words, "sh", "-euc", FIRST.format(setup=setup)]
        self._first = self._popen([*(inside._join() if inside else ()), *argv])
        self.pid = self._first.pid
        assert self._first.stdout
        assert self._first.stdout.readline() == "up\n", f"{name} did not start"

    def __enter__(self: H) -> H:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def _popen(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Popen:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
        )
        self._stack.enter_context(process)
        self._stack.callback(process.kill)
        return process

    def _join(self) -> list[str]:
        user = ("--user", "--preserve-credentials") if self._user else ()
        return ["nsenter", f"--target={self.pid}", *user]

    def _inside(self, argv: Sequence[str]) -> list[str]:
        # The one who stays in our process namespace is nsenter: what it started goes with it.
        enter = ("--net", "--mount", f"--pid=/proc/{self.pid}/ns/pid_for_children")
        return [*self._join(), *enter, "--", "setpriv", "--pdeathsig", "KILL", "--", *argv]

    def run(
        self,
        argv: Sequence[str],
        *,
        check: bool = True,
        timeout: float = 120,
        stdin: str = "",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with `check`, one that fails fails the test."""
        done = subprocess.run(
            self._inside(argv),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", **(env or {})},
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise AssertionError(f"{self.name}: {argv}: status {done.returncode}\n{stdin}{said}")
        return done

    def spawn(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Popen:
        """Start a command that runs until it ends or the host does."""
        return self._popen(self._inside(argv), env)

    def python(self, script: str) -> list[str]:
        """Return how to run a script of this directory: alone, so that it starts fast."""
        return [sys.executable, "-I", "-S", str(Path(__file__).with_name(script))]

    def path(self, path: str) -> Path:
        """Return where the host's file is to be found from outside, mounts and all."""
        # /proc/sys there would be the network of the one who looks: this machine's.
        assert not path.startswith("/proc"), f"{path} is to be read by a command of the host"
        return Path(f"/proc/{self.pid}/root{path}")

    def read(self, path: str) -> str:
        """Return the text of a file of the host."""
        return self.path(path).read_text()

    def write(self, path: str, text: str) -> None:
        """Write a file of the host, and the directories above it."""
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(text)

    def listens(self, protocol: str, port: int, ip: str = "") -> bool:
        """Say whether a socket of the host waits at a port, on any address or on this of IPv4."""
        state = {"tcp": "0A", "udp": "07"}[protocol]
        tables = (Path(f"/proc/{self.pid}/net/{protocol}{family}") for family in ("", "6"))
        rows = (row.split() for table in tables for row in table.read_text().splitlines())
        place = f"{IPv4Address(ip).packed[::-1].hex().upper() if ip else ''}:{port:04X}"
        return any(row[1].endswith(place) and row[3] == state for row in rows)

    def links(self, commands: str) -> None:
        """Configure interfaces, addresses and routes by lines for ip."""
        self.run(["ip", "-batch", "-"], stdin=commands)

    def cable(self, name: str, peer: Host, peer_name: str) -> None:
        """Connect an interface of this host with one of another."""
        # Only the network namespace is entered: `netns` wants a process id as seen from here.
        ends = ["name", name, "type", "veth", "peer", "name", peer_name, "netns", str(peer.pid)]
        subprocess.run([*self._join(), "--net", "--", "ip", "link", "add", *ends], check=True)


def _copy(names: Sequence[str]) -> str:
    if not names:
        return ""
    there = " ".join(name for name in names if Path("/etc", name).exists())
    # The descriptor keeps the real /etc in sight after it is covered.
    return f"exec 8</etc\n{_empty('/etc')}cd /proc/self/fd/8/\ncp -R {there} /etc/\n"


def _empty(directory: str) -> str:
    # A checkout or an interpreter that lives below the directory must stay in sight.
    needed = {REPO, Path(sys.prefix), Path(sys.base_prefix)}
    kept = [path for path in sorted(needed) if path.is_relative_to(directory)]
    lines = [f"exec {fd}<'{path}'" for fd, path in enumerate(kept, 5)]
    lines += [f"mount -t tmpfs -o mode=0755 lab {directory}"]
    for fd, path in enumerate(kept, 5):
        lines += [f"mkdir -p '{path}'", f"mount -c --bind /proc/self/fd/{fd} '{path}'"]
    return "\n".join(lines) + "\n"
