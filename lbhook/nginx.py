"""What is peculiar to nginx: how its files are checked, and what tells that a reload worked.

Measured on nginx 1.22: `-t` binds every address it finds; a reload reports success when the
main process then can't bind; a file that no configuration includes is never read.
"""

import fnmatch
import ipaddress
import re
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from .commands import Result, Run
from .machine import Machine
from .reader import Address
from .shipped import kind_of
from .targets import Target

_LISTEN = re.compile(rb"^\s*listen\s+(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):(\d+)", re.MULTILINE)
_UNBOUND = re.compile(r"bind\(\) to (?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):\d+ failed \(99:")
_INCLUDE = re.compile(r"(?:^|[;{}])\s*include\s+([^;]+?)\s*;", re.MULTILINE)
_SETTLE = 5.0
# Shows each candidate at the place of its live file, for nginx alone. Where there is no file yet,
# its directory (or the nearest above it) is first covered with one that has the same in it: what
# is there is mounted, not copied, since it may be large, or keys.
# Arguments: scratch directory, then pairs of candidate and live file.
_IN_PRIVATE = """
set -e
scratch=$1
shift
while [ $# -gt 1 ]; do
  if [ ! -e "$2" ]; then
    directory=${2%/*}
    while [ ! -d "$directory" ]; do directory=${directory%/*}; done
    [ -n "$directory" ] || { echo "no directory above $2" >&2; exit 1; }
    cover=$(mktemp -d "$scratch/XXXXXX")
    chmod --reference="$directory" "$cover"
    for entry in "$directory"/* "$directory"/.[!.]*; do
      if [ -L "$entry" ]; then cp -P "$entry" "$cover/"; continue; fi
      [ -e "$entry" ] || continue
      if [ -d "$entry" ]; then mkdir "$cover/${entry##*/}"; else : >"$cover/${entry##*/}"; fi
      mount --rbind "$entry" "$cover/${entry##*/}"
    done
    mount --rbind "$cover" "$directory"
    mkdir -p "${2%/*}"
    : >"$2"
  fi
  mount --bind "$1" "$2"
  shift 2
done
exec nginx -T
"""
_WRAPPER = """
pid {scratch}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    server {{ include {candidate}; }}
}}
"""


@dataclass(frozen=True, slots=True)
class Nginx:
    """nginx on this machine."""

    run: Run
    machine: Machine = Machine()
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a file is good inside a `server {}`, on any machine and for any user.

        nginx says "syntax is ok" before it binds: what follows is about addresses and rights
        of this machine, which is not asked here.
        """
        with tempfile.TemporaryDirectory(prefix="lbhook-") as scratch:
            wrapper = Path(scratch, "nginx.conf")
            wrapper.write_text(_WRAPPER.format(scratch=scratch, candidate=candidate))
            result = self.run(
                ("nginx", "-t", "-p", scratch, "-c", str(wrapper)), timeout=target.timeout
            )
        if "syntax is ok" in result.output:
            return replace(result, status=0)
        return replace(result, status=result.status or 1, output=_without_alerts(result.output))

    def unread(self, target: Target) -> str:
        """Which line is to be put where."""
        if self.includes(str(target.path)) is not False:
            return ""
        context = kind_of(target).context
        return f"no nginx configuration includes it; put `include {target.path};` into {context}"

    def includes(self, path: str) -> bool | None:
        """Whether the configuration includes a file, or would if it were there; None if nginx
        can't tell, because the configuration is broken elsewhere."""
        result = self.run(("nginx", "-T"))
        if result.ok:
            return _dumped(path) in result.output or path in _Includes(result.output)
        if re.search(rf'open\(\) "{re.escape(path)}" failed', result.output):
            return True
        return None

    def check_live(
        self, candidates: Mapping[str, Path], timeout: float
    ) -> tuple[Result, frozenset[str]]:
        """The whole real configuration with candidates in place of live files, which stay
        where they are: the test runs in a mount namespace of its own.

        Also which of the live files the configuration includes.
        """
        with tempfile.TemporaryDirectory(prefix="lbhook-") as scratch:
            pairs = [word for live, staged in candidates.items() for word in (str(staged), live)]
            argv = ("unshare", "--mount", "--propagation", "private", "sh", "-c", _IN_PRIVATE)
            result = self.run((*argv, "nginx -t", scratch, *pairs), timeout=timeout)
        included = frozenset(live for live in candidates if _dumped(live) in result.output)
        said = replace(result, argv=("nginx", "-t"), output=_messages(result.output))
        return said, included

    def lacks_only(self, tested: Result, addresses: Collection[Address]) -> bool:
        """Whether a test of a sound configuration stopped at an address that is none of this
        machine's yet, and is one of `addresses`."""
        found = _UNBOUND.search(tested.output)
        if not found or "syntax is ok" not in tested.output:
            return False
        return ipaddress.ip_address(found[1] or found[2]) in addresses

    def check_present(self, timeout: float) -> Result:
        """The real configuration as it stands."""
        return self.run(("nginx", "-t"), timeout=timeout)

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that nginx does not have the listeners of a file; empty if it has."""
        missing = self.missing(content, main_pid)
        return f"nginx does not listen on {', '.join(missing)}" if missing else ""

    def missing(self, content: bytes, main_pid: int) -> tuple[str, ...]:
        """The listeners of a file that nginx does not have, after some time to open them."""
        end = self.clock() + _SETTLE
        wanted = listeners(content)
        while True:
            missing = self._closed(wanted, main_pid)
            if not missing or self.clock() >= end:
                return missing
            self.sleep(0.02)

    def _closed(self, wanted: tuple[tuple[Address, int], ...], pid: int) -> tuple[str, ...]:
        try:
            inodes = self.machine.inodes(pid)
        except OSError:
            return ()  # nginx has gone since; what starts it again reads the new files
        own = [socket for socket in self.machine.listening() if socket.inode in inodes]
        return tuple(
            f"{ip} port {port}"
            for ip, port in wanted
            # nginx opens [::] for IPv6 alone.
            if not any(one.covers(ip, port) for one in own if one.ip.version == ip.version)
        )


def listeners(content: bytes) -> tuple[tuple[Address, int], ...]:
    """Address and port of each `listen` line."""
    return tuple(
        (ipaddress.ip_address((ipv6 or ipv4).decode()), int(port))
        for ipv6, ipv4, port in _LISTEN.findall(content)
    )


class _Includes:
    """The files that the `include` lines of a printed configuration stand for."""

    def __init__(self, printed: str) -> None:
        place = re.search(r"^# configuration file (/.*)/[^/]+:$", printed, re.MULTILINE)
        self._place = PurePosixPath(place[1] if place else "/")
        self._patterns = _INCLUDE.findall(re.sub(r"(?m)(^|\s)#.*$", "", printed))

    def __contains__(self, path: str) -> bool:
        return any(self._matches(path, pattern.strip("\"'")) for pattern in self._patterns)

    def _matches(self, path: str, pattern: str) -> bool:
        """As glob(3): a star does not go beyond a slash, nor match a leading dot."""
        wanted, parts = PurePosixPath(path).parts, (self._place / pattern).parts
        return len(wanted) == len(parts) and all(
            fnmatch.fnmatchcase(name, part) and not (name[0] == "." and part[0] in "*?[")
            for name, part in zip(wanted, parts, strict=True)
        )


def _dumped(path: str) -> str:
    return f"# configuration file {path}:\n"


def _messages(output: str) -> str:
    """What nginx says, without the configuration that -T prints, and without the clock that it
    puts before what happens after it has read `error_log`."""
    said = re.sub(r"(?m)^\d{4}/\S+ \S+ (\[\w+\]) \d+#\d+: ", r"nginx: \1 ", output)
    return said.partition("# configuration file ")[0].strip()


def _without_alerts(output: str) -> str:
    """An ordinary user may not open the default log; that is no verdict on the file."""
    return "\n".join(line for line in output.splitlines() if "could not open error log" not in line)
