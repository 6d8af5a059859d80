"""lbhook as a program of its own, started as a user would start it."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import lazily

REPO = Path(__file__).resolve().parents[1]
BODIES = REPO / "tests" / "bodies"
NOBODY_THERE = "http://127.0.0.1:9"
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYTHONPATH": os.pathsep.join(filter(None, [str(REPO), os.environ.get("PYTHONPATH")])),
    "LBHOOK_ENDPOINT": NOBODY_THERE,
    "LC_ALL": "C.UTF-8",
    "HOME": "/",
}
# Nothing here may hang, and a busy machine is slow.
TIMEOUT = 120


@dataclass(frozen=True)
class Ended:
    """How a run ended, and what it printed."""

    status: int
    out: str
    err: str


def argv(*args: str | Path) -> list[str]:
    """The command line that starts lbhook with this interpreter."""
    return [sys.executable, *lazily.WORDS, "-m", "lbhook", *map(str, args)]


def run_lbhook(
    *args: str | Path, env: Mapping[str, str] = ENVIRONMENT, stdin: bytes = b""
) -> Ended:
    """Run lbhook to its end; without `env`, IMDS is a closed port of loopback."""
    done = subprocess.run(
        argv(*args),
        input=stdin,
        capture_output=True,
        timeout=TIMEOUT,
        env={**ENVIRONMENT, **env},
        check=False,
    )
    return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())


@dataclass
class Desk:
    """A directory to work in: a configuration, a body, templates, and a root to write below."""

    place: Path
    body: str | bytes = "documented"
    endpoint: str = NOBODY_THERE
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.root.mkdir()
        self.templates.mkdir()
        self.configure()

    @property
    def root(self) -> Path:
        """What stands for the machine's `/`."""
        return self.place / "root"

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.place / "lbhook.toml"

    @property
    def templates(self) -> Path:
        """Where its own templates are."""
        return self.place / "templates"

    def configure(self, text: str = "") -> None:
        """Write the configuration; the templates' directory is always in it."""
        paths = f'[paths]\ntemplates = ["{self.templates}"]\n'
        self.config.write_text(text if "[paths]" in text else paths + text)

    def own_target(self, template: str, more: str = "") -> None:
        """A target `motd` with a template of its own."""
        (self.templates / "motd.j2").write_text(template)
        self.configure(f'[targets.motd]\ntemplate = "motd.j2"\npath = "/etc/motd"\n{more}')

    def run(self, command: str, *args: str | Path) -> Ended:
        """Run a command of lbhook below the root, with the body, if there is one."""
        body: list[str | Path] = []
        if isinstance(self.body, bytes):
            file = self.place / "body.json"
            file.write_bytes(self.body)
            body = ["--metadata", file]
        elif self.body:
            body = ["--metadata", BODIES / f"{self.body}.json"]
        env = {**self.env, "LBHOOK_ENDPOINT": self.endpoint}
        ended = run_lbhook("-c", self.config, command, "--root", self.root, *body, *args, env=env)
        # Messages name the directory, which is another one in each test.
        return Ended(
            ended.status,
            ended.out.replace(str(self.place), "TMP"),
            ended.err.replace(str(self.place), "TMP"),
        )

    def apply(self, *args: str | Path) -> Ended:
        """Run `lbhook apply` below the root."""
        return self.run("apply", *args)

    def files(self) -> dict[str, str]:
        """The files below the root and what is in them, but for records of the run."""
        found = {
            str(Path(folder, name).relative_to(self.root)): Path(folder, name)
            for folder, _, names in os.walk(self.root)
            for name in names
        }
        return {
            name: file.read_text()
            for name, file in found.items()
            if file.parent != self.root / "run/lbhook" or file.suffix == ".env"
        }
