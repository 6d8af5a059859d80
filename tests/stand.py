"""A machine to stand in for the real one: its disk is a directory, its programs are noted, not
run. Everything is handed in as parameters; nothing is patched."""

import copy
import grp
import json
import os
import pwd
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from lbhook.config import settings as config
from lbhook.config.settings import Settings
from lbhook.context import Context, Options, Reporter
from lbhook.deployment.report import Report
from lbhook.memory.journal import Journal
from lbhook.memory.state import State
from lbhook.plan import Plan
from lbhook.processes import Result
from lbhook.programs.host import Host
from lbhook.runs.update import Update
from lbhook.storage.files import Tree
from lbhook.system.machine import Machine
from lbhook.system.netlink import Kernel

USER = pwd.getpwuid(os.geteuid()).pw_name
GROUP = grp.getgrgid(os.getegid()).gr_name
Answers = Callable[[tuple[str, ...]], tuple[int, str] | None]
T = TypeVar("T")


@dataclass
class Runner:
    """Runs nothing: notes each command, and answers status 0 unless `answers` says otherwise. What
    PID 1 would run tells its status, too."""

    answers: Answers = lambda _: None
    calls: list[tuple[str, ...]] = field(default_factory=list)
    read: list[bytes] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        """Note a command."""
        self.calls.append(tuple(argv))
        self.read.append(stdin)
        status, output = self.answers(tuple(argv)) or (0, "")
        if argv[0] == "systemd-run":
            output += f"\0{status}\0"
        return Result(argv=tuple(argv), status=status, output=output, seconds=timeout)

    def taken(self) -> list[str]:
        """The commands since the last time, each as one line."""
        lines = [" ".join(argv) for argv in self.calls]
        self.calls.clear()
        return lines


def altered(one: T, **attributes: Any) -> T:
    """An object like another, with some attributes of its own."""
    other = copy.copy(one)
    vars(other).update(attributes)
    return other


def rule(port: int, ip: str = "10.0.0.4", protocol: str = "Tcp") -> dict[str, object]:
    """One inbound rule of a body."""
    return {
        "frontendIpAddress": "50.0.0.1",
        "protocol": protocol,
        "frontendPort": port,
        "backendPort": port,
        "privateIpAddress": ip,
    }


def body(*ports: int) -> bytes:
    """A body with a rule for each port."""
    tables: dict[str, object] = {"publicIpAddresses": [], "outboundRules": []}
    content = {"loadbalancer": {**tables, "inboundRules": [rule(port) for port in ports]}}
    return json.dumps(content).encode()


PORTS = "{% for one in lb.listeners %}{{ one.port }}\n{% else %}none\n{% endfor %}"


@dataclass
class Stand:
    """One such machine below `place`."""

    place: Path
    runner: Runner = field(default_factory=Runner)
    boot_id: str = "boot-1"
    live: bool = True
    find: Callable[[str], str | None] = lambda name: f"/usr/bin/{name}"
    step: Callable[[str, PurePosixPath], None] = lambda _name, _path: None
    signals: list[tuple[int, int]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    time: float = 1000.0
    fetched: bytes = b""
    kernel: Kernel | None = None

    def __post_init__(self) -> None:
        for directory in ("disk", "templates", "machine"):
            (self.place / directory).mkdir(exist_ok=True)

    @property
    def disk(self) -> Path:
        """Where the files of the machine are."""
        return self.place / "disk"

    @property
    def tree(self) -> Tree:
        """The machine's disk; its owners are who runs the test."""
        return Tree(root=self.disk, step=self.step)

    def template(self, name: str, text: str = PORTS) -> None:
        """Put a template in place."""
        (self.place / "templates" / name).write_text(text, encoding="utf-8")

    def settings(self, text: str) -> Settings:
        """Settings whose templates and identity are this machine's."""
        identity = self.place / "uuid"
        if not identity.exists():
            identity.write_text("11111111-2222-3333-4444-555555555555\n", encoding="ascii")
        paths = f'[paths]\ntemplates = ["{self.place}/templates"]\nidentity = "{identity}"\n'
        # Nobody answers there, and says so at once.
        return config.parse(f'{paths}[imds]\nendpoint = "http://127.0.0.1:9"\n{text}')

    def host(self, settings: Settings) -> Host:
        """The machine as a host."""
        return Host(
            tree=self.tree,
            live=self.live,
            state=State(self.tree, settings.paths, self.boot_id),
            journal=Journal(self.tree, settings.paths.state),
            run=self.runner,
            find=self.find,
            machine=Machine(self.place / "machine"),
            kill=lambda pid, number: self.signals.append((pid, number)),
            sleep=self.sleep,
            clock=lambda: self.time,
            kernel=self.kernel,
        )

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.time += seconds

    def update(
        self, settings: Settings, answer: bytes | None, options: Options | None = None
    ) -> Update:
        """An update from an answer on standard input; None is a metadata service that is mute."""
        asked = options or Options()
        asked = asked._replace(metadata="-") if answer is not None else asked._replace(wait=0.0)
        return Update(
            self.context(settings)._replace(options=asked, read_stdin=lambda: answer or b"")
        )

    def context(self, settings: Settings) -> Context:
        """What a run on the stand is given."""
        return Context(
            host=self.host(settings),
            settings=settings,
            reporter=Reporter(warn=self.warnings.append),
            clock=lambda: self.time,
            sleep=self.sleep,
            boottime=lambda: self.time,
        )

    def asking(
        self, settings: Settings, read: Callable[[], bytes], options: Options = Options()
    ) -> Update:
        """An update whose answer is read by a function of the test's."""
        context = self.context(settings)
        return Update(context._replace(options=options._replace(metadata="-"), read_stdin=read))

    def apply(
        self, settings: Settings, answer: bytes | None, options: Options | None = None
    ) -> Report:
        """One apply."""
        self.warnings.clear()
        self.time += 1.0
        return self.update(settings, answer, options).apply()

    def plan(
        self, settings: Settings, answer: bytes | None, options: Options | None = None
    ) -> Plan:
        """One plan."""
        return self.update(settings, answer, options).plan()

    def put(self, path: str, content: str, mode: int = 0o644) -> None:
        """Somebody else writes a file."""
        file = self.disk / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
        file.chmod(mode)

    def text(self, path: str) -> str | None:
        """What a file holds; None if there is none."""
        file = self.disk / path.lstrip("/")
        return file.read_text(encoding="utf-8") if file.exists() else None


def target(name: str, **keys: object) -> str:
    """A target of the configuration, with its own template, file and owner."""
    values = {
        "template": "ports.j2",
        "path": f"/etc/{name}",
        "owner": USER,
        "group": GROUP,
        "reload": ["load", name],
        **keys,
    }
    lines = [f"{key} = {json.dumps(value)}" for key, value in values.items() if value is not None]
    return "\n".join([f"[targets.{name}]", *lines, ""])


NO_ENV = "[targets.env]\nenabled = false\n"


def everything(top: Path, without: Sequence[str] = ()) -> Mapping[str, tuple[object, ...]]:
    """Each file below a directory: mode, owner, inode, time of its last change, content."""
    found = {}
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top))
        if any(name == one or name.startswith(f"{one}/") for one in without):
            continue
        seen = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(seen.st_mode) else b""
        found[name] = (seen.st_mode, seen.st_uid, seen.st_ino, seen.st_mtime_ns, content)
    return found


def contents(top: Path, without: Sequence[str] = ()) -> Mapping[str, tuple[object, ...]]:
    """Each file below a directory: mode, owner and content."""
    return {name: (*seen[:2], seen[4]) for name, seen in everything(top, without).items()}


def outcomes(report: Report) -> dict[str, tuple[str, str]]:
    """Of each target its outcome and its reload."""
    return {one.target.name: (one.outcome.value, one.reload.value) for one in report.changes}
