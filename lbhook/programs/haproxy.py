"""What is peculiar to haproxy: which files it reads, how they are checked, and what tells that a
reload worked.

Measured on haproxy 2.6: files are those of its command line, and a reload takes none that was not
there at its start; `-c` binds nothing; after a reload that can't bind the old worker goes on, and
nobody is told.
"""

import hashlib
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ..config.targets import Target
from ..errors import ReloadError
from ..listening import haproxy_config
from ..listening.files import Files
from ..listening.haproxy_config import Bind
from ..listening.haproxy_start import Start
from ..metadata.reader import Address
from ..processes import Result
from ..storage import scratch
from ..system import unit_properties
from .daemon import Listening, ask_freely, listed, places
from .systemd import Services

_USUAL = ("haproxy", "-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/conf.d")
_STUB = """
defaults {defaults}
    mode {mode}
    timeout connect 5s
    timeout client 5s
    timeout server 5s

backend {backend}
"""
# Alerts that are about files of this machine, and those that only count others.
_NO_VERDICT = re.compile(r"unable to (stat|open|load)|can('t|not) open|rrors?(\(s\))? found in ")
_QUOTES = "\"'"
# How its main process came to be, which is no business of a check.
_OF_ITS_MASTER = ("HAPROXY_", "NOTIFY_SOCKET")


class Haproxy(Listening):
    """haproxy on this machine, as its unit runs it or another one."""

    usual = "haproxy.service"

    def check(self, target: Target, candidate: Path) -> Result:
        """Whether a file is good beside a backend, on any machine and for any user: certificates
        that it names may be elsewhere, or not for this user's eyes."""
        mode, backend = target.vars.get("mode") or "tcp", target.vars.get("backend", "servers")
        defaults = target.vars.get("defaults") or ""
        with scratch.directory() as place:
            stub = place / "haproxy.cfg"
            stub.write_text(
                _STUB.format(mode=mode, backend=backend, defaults=defaults), encoding="utf-8"
            )
            argv = ("haproxy", "-c", "-f", str(stub), "-f", str(candidate))
            result = _said(ask_freely(self.run, self.machine, argv, target.timeout))
        alerts = [line for line in result.output.splitlines() if line.startswith("[ALERT]")]
        good = bool(alerts) and all(map(_NO_VERDICT.search, alerts))
        return result._replace(status=0) if good else result

    def unread(self, target: Target) -> str:
        """Which option is to be put where, or that haproxy has to be restarted for it."""
        path = str(target.path)
        running, configured = self._running(), self._configured()
        known = running or configured
        if target.reload_unit != self.unit or known is None or known.reads(path):
            return ""
        name = self.unit.removesuffix(".service")
        if configured and configured.reads(path):
            return f"haproxy was started before its command line named this file; restart {name}"
        return f"haproxy does not read it; {(configured or known).advice(target.path, name)}"

    def check_live(
        self, candidates: Mapping[str, Path], timeout: float
    ) -> tuple[Result, frozenset[str]]:
        """The whole real configuration with candidates in place of live files, as haproxy was
        started; also which of the live files it reads."""
        start = self._running() or self._configured()
        if start is None:
            return Result(argv=("haproxy", "-c"), status=0), frozenset(candidates)
        argv = start.check(candidates)
        result = _said(ask_freely(self.run, self.machine, argv, timeout, start.env))
        return result, frozenset(filter(start.reads, candidates))

    def check_present(self, timeout: float) -> Result:
        """The real configuration as it stands."""
        return self.check_live({}, timeout)[0]

    def lacks_only(self, tested: Result, addresses: Collection[Address]) -> bool:
        """Its check binds nothing."""
        return False

    def prepare(self, content: bytes, main_pid: int) -> None:
        """Wait until nginx has given up what is haproxy's from now on: a new worker that can't
        bind at once pauses the old one, and listeners that it takes over from it stay closed.
        Raises `ReloadError` if another program keeps it, or if haproxy may not open as many: for
        two seconds of each try all listeners of haproxy would refuse connections."""
        self._demand_room(len(places(content)), main_pid)
        taken = self._sockets.taken(content, lambda: self._holders(main_pid))
        self.units.look_again()
        if taken:
            hint = "stop that program, or leave the port out: `except_ports`"
            raise ReloadError(f"haproxy can't listen: {', '.join(taken)}", hint=hint)

    def others(self, own: Collection[str]) -> str:
        """What stands for the files of its command line but those in `own`."""
        start = self._running() or self._configured()
        files = [name for name in start.names() if name not in own] if start else []
        try:
            read = [(name, (self.machine.root / name.lstrip("/")).read_bytes()) for name in files]
        except OSError:
            return ""
        return hashlib.sha256(repr(read).encode()).hexdigest() if start else ""

    def binds(self, own: Collection[str]) -> Sequence[Bind]:
        """What the files of its command line bind but those in `own`; where nobody knows that, the
        usual ones."""
        usual = Start(self._files, _USUAL if self.unit == self.usual else (), {})
        start = self._running() or self._configured() or usual
        found: list[Bind] = []
        for name in start.names():
            v6only = self.machine.binds_v6only()
            read = name not in own
            found += haproxy_config.binds(name, start.files, start.env, v6only) if read else ()
        return found

    def verify(self, target: Target, content: bytes, main_pid: int) -> str:
        """What shows that haproxy does not have the listeners of a file; empty if it has."""
        missing = self.missing(content, main_pid)
        if missing and not self.machine.children(main_pid):
            return "haproxy was started without a master, and can't reload; start it with -W or -Ws"
        return f"haproxy does not listen on {listed(missing)}" if missing else ""

    def _demand_room(self, listeners: int, main_pid: int) -> None:
        """It raises its soft limit by itself, and binds before it could raise the other."""
        most = self.machine.open_files(main_pid)[1]
        if most.isdecimal() and listeners > int(most):
            problem = f"haproxy can't listen: {listeners} listeners, and it may open {most} files"
            hint = f"set LimitNOFILE={listeners * 2} in its unit and restart it once"
            raise ReloadError(problem, hint=hint)

    def _holders(self, main_pid: int) -> tuple[int, ...]:
        """The sockets are the workers'; without -W there is only the main process."""
        there = super()._holders(main_pid)
        return (*there, *self.machine.children(main_pid)) if there else ()

    def _running(self) -> Start | None:
        services = Services(self.run, self.machine, units=self.units)
        pid = services.main_pid(self.unit, "haproxy")
        words = self.machine.arguments(pid)
        if not pid or not words:  # none: it is about to be gone
            return None
        env = self.machine.environment(pid)
        kept = {key: env[key] for key in env if not key.startswith(_OF_ITS_MASTER)}
        return Start(self._files, words, kept)

    @property
    def _files(self) -> Files:
        return Files(self.machine.text, self.machine.names, self._is_directory)

    def _is_directory(self, path: str) -> bool:
        return os.path.isdir(self.machine.root / path.lstrip("/"))  # noqa: PTH112  (may be unseen)

    def _configured(self) -> Start | None:
        """As systemd would start it; None if that is a container or a script."""
        if not self.machine.has_systemd():
            return None
        names = "ExecStart,Environment,EnvironmentFiles"
        shown = self.run(("systemctl", "show", self.unit, f"--property={names}")).output
        command = re.search(r"^ExecStart=.*?argv\[\]=(.*?) ;", shown, re.MULTILINE)
        if not command or PurePosixPath(command[1].split()[0]).name != "haproxy":
            return None
        settings = unit_properties.words(" ".join(re.findall(r"(?m)^Environment=(.*)$", shown)))
        for file in re.findall(r"(?m)^EnvironmentFiles=(/\S+)", shown):
            settings += self._settings(file)
        env = dict(one.split("=", 1) for one in settings if "=" in one)
        variables = re.findall(r"\$\{?(\w+)", command[1])
        return Start(self._files, tuple(_expanded(command[1], env)), env, variables)

    def _settings(self, file: str) -> Iterator[str]:
        """The lines of an EnvironmentFile, without the quotes around their values."""
        try:
            text = (self.machine.root / file.lstrip("/")).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return
        for line in text.splitlines():
            name, _, value = line.strip().partition("=")
            if name and not name.startswith(("#", ";")):
                yield f"{name}={value.strip().strip(_QUOTES)}"


def _expanded(command: str, env: Mapping[str, str]) -> Iterator[str]:
    """As systemd does it: a variable that is a word of its own is split at blanks, and is no word
    at all if it is not set."""
    for word in command.split():
        if re.fullmatch(r"\$\w+", word):
            yield from env.get(word[1:], "").split()
        else:
            yield re.sub(r"\$\{(\w+)\}", lambda name: env.get(name[1], ""), word)


def _said(result: Result) -> Result:
    """Without the notices and process ids."""
    lines = [line for line in result.output.splitlines() if not line.startswith("[NOTICE]")]
    lines = [re.sub(r"^(\[\w+\]) +\(\d+\) : (config : )?", r"\1 ", line) for line in lines]
    return result._replace(output="\n".join(lines))
