"""Settings: read from TOML and checked once, all problems in one report."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from . import schema
from .errors import ConfigError
from .shipped import SHIPPED
from .targets import Target

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_FILE = Path("/etc/lbhook/lbhook.toml")
DEFAULT_ENDPOINT = "http://169.254.169.254"
_SSH_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Imds:
    """How the metadata service is asked; all times in seconds."""

    endpoint: str = DEFAULT_ENDPOINT
    api_version: str = "2020-10-01"
    wait: float = 300.0
    wait_cached: float = 15.0
    absent_wait: float = 0.0
    absent: str = "keep"
    empty_answer: str = "confirm"
    stale_after: float = 7 * 86400.0
    instance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """Where things are on this machine."""

    state: PurePosixPath = PurePosixPath("/var/lib/lbhook")
    runtime: PurePosixPath = PurePosixPath("/run/lbhook")
    templates: tuple[PurePosixPath, ...] = (PurePosixPath("/etc/lbhook/templates"),)
    identity: PurePosixPath = PurePosixPath("/sys/class/dmi/id/product_uuid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the configuration says. `files` are those that were read, in order."""

    imds: Imds = Imds()
    paths: Paths = Paths()
    targets: tuple[Target, ...] = ()
    files: tuple[Path, ...] = ()
    endpoint_named: bool = False

    def active(self, only: Sequence[str] = ()) -> tuple[Target, ...]:
        """The targets that are on; with `only`, those of them."""
        return tuple(one for one in self.targets if one.enabled and (not only or one.name in only))


def load(file: Path | None = None) -> Settings:
    """Read FILE and `FILE.d/*.toml`; without one, /etc/lbhook/lbhook.toml, if there is any.

    Raises `ConfigError` with every problem, each with its file and key.
    """
    main = file or DEFAULT_FILE
    tables = _Tables()
    if file or main.exists():
        tables.read(main)
    drop_ins = main.with_name(f"{main.name}.d")
    if drop_ins.is_dir():
        for drop_in in sorted(drop_ins.glob("*.toml")):
            tables.read(drop_in)
    return tables.settings()


def parse(text: str, name: str = "lbhook.toml") -> Settings:
    """Settings from the text of one file."""
    tables = _Tables()
    tables.add(Path(name), text)
    return tables.settings()


_IMDS: Mapping[str, schema.Read[Any]] = {
    "endpoint": schema.endpoint,
    "api_version": schema.words(r"\d{4}-\d{2}-\d{2}(-preview)?", 'a date such as "2020-10-01"'),
    "wait": schema.duration,
    "wait_cached": schema.duration,
    "absent_wait": schema.duration,
    "absent": schema.choice("keep", "empty"),
    "empty_answer": schema.choice("confirm", "accept"),
    "stale_after": schema.duration,
    "instance": schema.boolean,
}
_PATHS: Mapping[str, schema.Read[Any]] = {
    "state": schema.path,
    "runtime": schema.path,
    "templates": schema.items(schema.path),
    "identity": schema.path,
}
_NAME = schema.words(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a name of letters, digits, - and _")
_TARGET: Mapping[str, schema.Read[Any]] = {
    "like": schema.text,
    "template": schema.words(r"[^/\0][^\0]*", "a file below one of paths.templates"),
    "path": schema.path,
    "mode": schema.mode,
    "owner": schema.words(r"[A-Za-z0-9_.$-]+", "the name of a user"),
    "group": schema.words(r"[A-Za-z0-9_.$-]+", "the name of a group"),
    "requires": schema.items(schema.words(r"[^\s\0]+", "the name of a program")),
    "check": schema.argv,
    "check_live": schema.argv,
    "reload_unit": schema.words(r"[\w:.@\\-]+\.[a-z]+", 'a unit such as "app.service"'),
    "reload": schema.argv,
    "verify": schema.argv,
    "observe": schema.argv,
    "remove": schema.argv,
    "timeout": schema.time_limit,
    "enabled": schema.boolean,
}


@dataclass(slots=True)
class _Tables:
    """The files merged, and which file each key came from."""

    merged: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Path] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def read(self, file: Path) -> None:
        self.files.append(file)
        try:
            self.add(file, file.read_text(encoding="utf-8"))
        except OSError as error:
            self.problems.append(f"{file}: {error.strerror}")
        except UnicodeDecodeError as error:
            self.problems.append(f"{file}: not UTF-8 at byte {error.start}")

    def add(self, file: Path, text: str) -> None:
        try:
            self._merge(self.merged, tomllib.loads(text), "", file)
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{file}: not TOML: {error}")

    def _merge(self, into: dict[str, Any], new: dict[str, Any], prefix: str, file: Path) -> None:
        for key, value in new.items():
            path = f"{prefix}.{key}"
            self.origins[path] = file
            if isinstance(value, dict):
                below = into[key] if isinstance(into.get(key), dict) else {}
                self._merge(below, value, path, file)
                into[key] = below
            else:
                into[key] = value

    def note(self, path: str, problem: str) -> None:
        """Keep a problem with the file that set the nearest key of `path`."""
        known = path
        while known and known not in self.origins:
            known = known[: max(known.rfind("."), known.rfind("["), 0)]
        file = self.origins.get(known, self.files[0] if self.files else DEFAULT_FILE)
        self.problems.append(f"{file}: {path.lstrip('.')}: {problem}")

    def section(self, path: str, value: object, fields: Mapping[str, schema.Read[Any]]) -> Any:
        return self.value(path, value, schema.table(fields)) or {}

    def value(self, path: str, value: object, read: Callable[[object], Any]) -> Any:
        try:
            return read(value)
        except schema.Misfit as misfit:
            for place, problem in misfit.problems:
                self.note(f"{path}{place}", problem)
            return None

    def settings(self) -> Settings:
        known = {"imds": dict, "paths": dict, "targets": dict}
        for key in self.merged:
            if key not in known:
                self.note(f".{key}", f"unknown key{schema.suggestion(key, known)}")
        paths = Paths(**self.section(".paths", self.merged.get("paths", {}), _PATHS))
        imds = self.section(".imds", self.merged.get("imds", {}), _IMDS)
        tables = self.merged.get("targets", {})
        if not isinstance(tables, dict):
            self.note(".targets", f"{schema.shown(tables)} is not a table")
            tables = {}
        # Shipped targets that nobody named are known, and off: `render` shows them all.
        unnamed = {name: {"enabled": name == "env"} for name in SHIPPED if name not in tables}
        named = {**unnamed, **tables}
        targets = [self._target(name, raw, paths) for name, raw in named.items()]
        found = tuple(target for target in targets if target)
        self._find_clashes(found)
        if self.problems:
            raise ConfigError(*self.problems, hint="nothing was changed; mend the configuration")
        return Settings(
            imds=Imds(**imds),
            paths=paths,
            targets=_with_ssh_ports(found),
            files=tuple(self.files),
            endpoint_named="endpoint" in imds,
        )

    def _target(self, name: str, raw: object, paths: Paths) -> Target | None:
        at = f".targets.{name}"
        before = len(self.problems)
        self.value(at, name, _NAME)
        if not isinstance(raw, dict):
            self.note(at, f"{schema.shown(raw)} is not a table")
            return None
        raw = dict(raw)
        variables = raw.pop("vars", {})
        given = self.section(at, raw, _TARGET)
        kind = given.pop("like", name if name in SHIPPED else "")
        if kind and kind not in SHIPPED:
            problem = f'"{kind}" is not a shipped target{schema.suggestion(kind, SHIPPED)}'
            self.note(f"{at}.like", problem)
            return None
        values = {**_defaults(kind, paths), **given}
        if given.get("reload") and given.get("reload_unit"):
            self.note(f"{at}.reload_unit", "reload is set too; one of them is enough")
        elif given.get("reload") or given.get("reload_unit"):
            # One of them replaces whichever of the two is shipped.
            values.pop("reload_unit" if given.get("reload") else "reload", None)
        missing = [key for key in ("template", "path") if key not in {**raw, **values}]
        if missing:
            near = schema.suggestion(name, SHIPPED)
            problem = f"a target of your own needs {' and '.join(missing)}"
            self.note(at, problem + (near if "did you mean" in near else ""))
        values["vars"] = self._vars(f"{at}.vars", variables, kind)
        return Target(name=name, kind=kind, **values) if len(self.problems) == before else None

    def _vars(self, at: str, raw: object, kind: str) -> Mapping[str, Any]:
        if not isinstance(raw, dict):
            self.note(at, f"{schema.shown(raw)} is not a table")
            return {}
        if not kind:
            return raw
        variables = SHIPPED[kind].variables
        given = self.section(at, raw, {name: read for name, (read, _) in variables.items()})
        values = {**{name: default for name, (_, default) in variables.items()}, **given}
        self.value(at, values, SHIPPED[kind].agree)
        return values

    def _find_clashes(self, targets: Sequence[Target]) -> None:
        owners: dict[PurePosixPath, str] = {}
        for target in targets:
            if target.enabled and owners.setdefault(target.path, target.name) != target.name:
                other = owners[target.path]
                self.note(f".targets.{target.name}.path", f"{target.path} is {other}'s too")


def _defaults(kind: str, paths: Paths) -> dict[str, Any]:
    if not kind:
        return {}
    values = dict(SHIPPED[kind].defaults)
    values["path"] = PurePosixPath(values["path"].replace("{runtime}", str(paths.runtime)))
    return values


def _with_ssh_ports(targets: Sequence[Target]) -> tuple[Target, ...]:
    """A NAT rule to SSH must not become a web server: except_ports defaults to SSH's ports."""
    firewall = next((one for one in targets if one.kind == "nftables" and one.enabled), None)
    ssh_ports = (firewall and firewall.vars["ssh_ports"]) or (_SSH_PORT,)
    return tuple(
        replace(target, vars={**target.vars, "except_ports": ssh_ports})
        if target.vars.get("except_ports", ()) is None
        else target
        for target in targets
    )
