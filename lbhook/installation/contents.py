"""What an installation puts into place beside the Python package: one list for packages, for pip
and for the single file."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath

from ..config import json_schema
from ..config.toml_files import DEFAULT_FILE
from . import completion

CONFIGURATION = PurePosixPath(DEFAULT_FILE)
# Where more of it goes, templates, and the firewall's snippets: made empty.
DIRECTORIES = (
    CONFIGURATION.with_name(f"{CONFIGURATION.name}.d"),
    CONFIGURATION.with_name("templates"),
    CONFIGURATION.with_name("nftables.d"),
)
_AT_SHUTDOWN = "lbhook-drain.service"
# What the units start as they are shipped: a package's program.
_PACKAGED = "/usr/bin/lbhook"
# What the configuration tells editors, and where a package has it.
_SHARE, _SCHEMA = PurePosixPath("/usr/share"), PurePosixPath("lbhook/lbhook.schema.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where units, users and shell completion go, and which program the units start; `zsh` is the
    directory of zsh's below `share`."""

    units: PurePosixPath
    users: PurePosixPath
    share: PurePosixPath
    program: PurePosixPath = PurePosixPath(_PACKAGED)
    zsh: PurePosixPath = PurePosixPath("zsh/site-functions")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of an installation; `name` is what a report calls it."""

    name: str
    path: PurePosixPath
    content: bytes
    mode: int = 0o644

    @property
    def unit(self) -> str:
        """The name of the unit that it is; empty if it is none, or a drop-in of one."""
        return self.path.name if self.name == "unit" and self.path.suffix != ".conf" else ""

    @property
    def starts_at_boot(self) -> bool:
        """Whether it is a unit to enable. Not a path: it would apply a half-finished edit; nor what
        lets a shutdown wait."""
        wanted = self.path.suffix != ".path" and self.path.name != _AT_SHUTDOWN
        return bool(self.unit) and b"[Install]" in self.content and wanted


def pieces(places: Places) -> Iterator[Piece]:
    """Each file."""
    for name, content in _shipped("systemd"):
        text = content.replace(_PACKAGED.encode(), str(places.program).encode())
        if name == "lbhook.sysusers":
            yield Piece(name="user", path=places.users / "lbhook.conf", content=text)
        else:
            yield Piece(name="unit", path=places.units / name, content=text)
    for shell in completion.SHELLS:
        directory, name = completion.SHELLS[shell].rsplit("/", 1)
        path = places.share / (places.zsh if shell == "zsh" else directory) / name
        yield Piece(name="completion", path=path, content=completion.script(shell).encode())
    schema = places.share / _SCHEMA
    document = json.dumps(json_schema.document(), indent=1)
    yield Piece(name="schema", path=schema, content=f"{document}\n".encode())
    configuration = (files("lbhook") / CONFIGURATION.name).read_text(encoding="utf-8")
    named = configuration.replace(str(_SHARE / _SCHEMA), str(schema))
    yield Piece(name="configuration", path=CONFIGURATION, content=named.encode())


def _shipped(name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a directory that ships with lbhook and of those right below it, by name; in
    a checkout it is beside the package."""
    inside = files("lbhook") / name
    place = inside if inside.is_dir() else Path(__file__).parents[2] / name
    for entry in sorted(place.iterdir(), key=lambda one: one.name):
        if entry.is_file():
            yield entry.name, entry.read_bytes()
        else:
            for below in entry.iterdir():
                yield f"{entry.name}/{below.name}", below.read_bytes()
