"""What is peculiar to nginx: how its files are checked, and what tells that a reload worked.

Measured on nginx 1.22: `-t` binds every address it finds; a reload reports success when the
main process then can't bind; a file that no configuration includes is never read.
"""

import hashlib
import os
import re
import resource
import shlex
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config.shipped import kind_of
from ..config.targets import Target
from ..listening import nginx_config, nginx_wrapper
from ..listening.files import Files
from ..listening.haproxy_config import Bind
from ..listening.nginx_config import Configuration
from ..listening.nginx_printed import Printed
from ..metadata.reader import Address
from ..processes import NOT_FOUND, Result
from ..storage import scratch
from ..system import rights
from .daemon import Listening, ask_freely, listed
from .systemd import Services

# Shows each candidate at the place of its live file, for nginx alone. Where there is no file yet,
# its directory (or the nearest above it) is first covered with one that has the same in it: what
# is there is mounted, not copied, since it may be large, or keys.
# Arguments: scratch directory, then pairs of candidate and live file.
_IN_PRIVATE = """
set -e
umask 022
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
exec """
# Words for `listen` that some nginx of today does not know (nginx.org: ngx_http_core_module).
_SINCE = {"quic": " (HTTP/3 needs nginx 1.25 or later, built with it)"}
_NO_STREAM = "nginx has no stream module here; Debian and Ubuntu have it in libnginx-mod-stream"


class Nginx(Listening):
    """nginx on this machine, as its unit runs it or another one."""

    usual = "nginx.service"

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a file is good in its context, on any machine and for any user.

        nginx says "syntax is ok" before it binds: what follows is about addresses and rights
        of this machine, which is not asked here.
        """
        context = kind_of(target).context
        module = self._stream_module() if context == "a stream block" else ""
        if module is None:
            return Result(argv=("nginx", "-t"), status=NOT_FOUND, output=_NO_STREAM)
        with scratch.directory() as place:
            wrapper = place / "nginx.conf"
            text = nginx_wrapper.around(target, candidate, module, str(place), self._built())
            wrapper.write_text(text)
            result = self.run(
                ("nginx", "-t", "-p", str(place), "-c", str(wrapper)), timeout=target.timeout
            )
        printed = Printed(result.output)
        if printed.is_sound:
            return result._replace(status=0)
        said = printed.faults + self._unknown(printed.unknown_parameter)
        return result._replace(status=result.status or 1, output=said)

    def _unknown(self, word: str) -> str:
        """What to do about a word behind an address that this nginx does not know."""
        if not word:
            return ""
        version = re.search(r"version: \S+/(\S+)", self._built())
        here = version[1] if version else "here"
        since = _SINCE.get(word, "")
        return f"\nnginx {here} has no parameter {word} for listen{since}; change vars.parameters"

    def _stream_module(self) -> str | None:
        """The line that loads it, empty if it is built in; None if there is none."""
        built = self._built()
        if "--with-stream=dynamic" not in built:
            return "" if re.search(r"--with-stream(\s|$)", built) else None
        place = re.search(r"--modules-path=(\S+)", built)
        module = Path(place[1] if place else "/usr/lib/nginx/modules", "ngx_stream_module.so")
        return f"load_module {module};" if module.exists() else None

    def _built(self) -> str:
        """Its version, and how it was built."""
        return self.run(("nginx", "-V")).output

    def unread(self, target: Target) -> str:
        """What is to be installed, or which line is to be put where."""
        context = kind_of(target).context
        if context == "a stream block" and self._stream_module() is None:
            return _NO_STREAM
        if self.includes(str(target.path)) is not False:
            return ""
        return f"no nginx configuration includes it; put `include {target.path};` into {context}"

    def includes(self, path: str) -> bool | None:
        """Whether the configuration includes a file, or would if it were there; None if nginx
        can't tell, because the configuration is broken elsewhere."""
        result = self._ask(self._itself("-T"))
        printed = Printed(result.output)
        if result.ok:
            return printed.shows(path) or printed.would_read(path)
        return True if printed.lacks(path) else None

    def check_live(
        self, candidates: Mapping[str, Path], timeout: float
    ) -> tuple[Result, frozenset[str]]:
        """The whole real configuration with candidates in place of live files, which stay
        where they are: the test runs in a mount namespace of its own.

        Also which of the live files the configuration includes.
        """
        with scratch.directory() as place:
            pairs = [word for live, staged in candidates.items() for word in (str(staged), live)]
            script = _IN_PRIVATE + shlex.join(self._itself("-T"))
            private = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
            result = self._ask((*private, "nginx -t", str(place), *pairs), timeout)
        printed = Printed(result.output)
        included = frozenset(filter(printed.shows, candidates))
        argv = ("nginx", "-t", *self._options())
        return result._replace(argv=argv, output=printed.messages), included

    def _ask(self, argv: tuple[str, ...], timeout: float = 30.0) -> Result:
        """As nginx itself would find it: a test opens every socket, and so may nginx."""
        soft, hard = self._open_files()
        limited = (*_limited(soft, hard), *argv)
        result = ask_freely(self.run, self.machine, limited, timeout)._replace(argv=argv)
        if soft and "(24: Too many open files)" in result.output:
            more = (
                f"nginx may have {soft} files open; raise LimitNOFILE of {self.unit} and restart it"
            )
            return result._replace(output=f"{result.output.rstrip()}\n{more}\n")
        return result

    def _open_files(self) -> tuple[str, str]:
        """The limits of the nginx that runs or, if none does, of one that systemd would start;
        empty if nobody can tell."""
        soft, hard = self.machine.open_files(self._services.main_pid(self.unit, "nginx"))
        if soft or not self.machine.has_systemd():
            return soft, hard
        values = self.units.properties(self.unit)
        return values.get("LimitNOFILESoft", ""), values.get("LimitNOFILE", "")

    def lacks_only(self, tested: Result, addresses: Collection[Address]) -> bool:
        """Likewise; or at a directory that its unit makes when it starts it (RuntimeDirectory=)."""
        printed = Printed(tested.output)
        if printed.awaits_directory:
            return not self._services.main_pid(self.unit, "nginx")
        return printed.is_sound and printed.unbound in addresses

    def check_present(self, timeout: float) -> Result:
        """The real configuration as it stands."""
        result = self._ask(self._itself("-t"), timeout)
        argv = ("nginx", "-t", *self._options())
        return result._replace(argv=argv, output=Printed(result.output).messages)

    def prepare(self, content: bytes, main_pid: int) -> None:
        """Nothing: it tries again by itself where it can't bind at once."""

    def others(self, own: Collection[str]) -> str:
        """What stands for all files of its configuration but those in `own`; empty if they can't
        be told."""
        # `nginx -T` comes second: a hardened unit, which may not read all, has PID 1 run it.
        texts = self._readable(own) or self._printed(own)
        told = [(path, text.rstrip()) for path, text in texts.items()]
        return hashlib.sha256(repr(told).encode()).hexdigest() if told else ""

    def _readable(self, own: Collection[str]) -> Mapping[str, str]:
        """Its texts by path; none if there is one that this process may not read."""
        found = self._configuration(own)
        return dict(found.texts) if all(map(self.machine.may_read, found.unread)) else {}

    def _printed(self, own: Collection[str]) -> Mapping[str, str]:
        result = self._ask(self._itself("-T"))
        texts = Printed(result.output).texts if result.ok else {}
        found = {str(PurePosixPath(path)): text for path, text in texts.items()}
        return {path: text for path, text in found.items() if path not in own}

    def binds(self, own: Collection[str]) -> Sequence[Bind]:
        """Where its `listen` lines do, but for those in `own`, as it runs or would start."""
        found = self._configuration(own).listens
        return [
            Bind(ip, one.port, one.port, one.line)
            for one in found
            if one.protocol == "tcp"
            for ip in ((one.ip, nginx_config.ANY4) if one.dual else (one.ip,))
        ]

    def _configuration(self, own: Collection[str]) -> Configuration:
        """Without the files in `own`."""
        files = Files(self.machine.text, self.machine.names)
        return nginx_config.read(files, own, nginx_config.main(self._options(), self._built, files))

    def _itself(self, test: str) -> tuple[str, ...]:
        """The command that tests its configuration with its own rights: root's would give its
        directories and logs to another user."""
        pid = self._services.main_pid(self.unit, "nginx")
        shown = self.units.properties(self.unit) if not pid and self.machine.has_systemd() else {}
        own = rights.of_process(self.machine.status(pid)) if pid else rights.of_unit(shown)
        argv = ("nginx", test, *self._options())
        return own.command(argv) if os.geteuid() == 0 else argv

    def _options(self) -> Sequence[str]:
        """Those that say where it begins, as it runs or would start."""
        return nginx_config.options(self._services.command(self.unit, "nginx"))

    @property
    def _services(self) -> Services:
        return Services(self.run, self.machine, units=self.units)

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that nginx does not have the listeners of a file; empty if it has."""
        missing = self.missing(content, main_pid)
        return f"nginx does not listen on {listed(missing)}" if missing else ""


def _limited(soft: str, hard: str) -> tuple[str, ...]:
    """What makes a command have these limits. To raise the hard one is for root alone."""
    if not soft.isdecimal():
        return ()
    enough = int(soft) <= resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return ("prlimit", f"--nofile={soft}:{'' if enough else hard}")
