"""Settings: read from TOML and checked once, all problems in one report."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import ConfigError
from . import network, rules, schema
from .rules import ConfiguredRule
from .shipped import SHIPPED
from .targets import Argv, Target
from .toml_files import DEFAULT_FILE, Tables

DEFAULT_ENDPOINT = "http://169.254.169.254"
_SSH_PORT = 22
# What lbhook keeps in the runtime directory; the state directory is its own altogether.
_RECORDS = ("lock", "status.json", "loaded.json", "refused.json")


class Imds(NamedTuple):
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
    obey_tag: bool = False


class Paths(NamedTuple):
    """Where things are on this machine."""

    state: PurePosixPath = PurePosixPath("/var/lib/lbhook")
    runtime: PurePosixPath = PurePosixPath("/run/lbhook")
    templates: tuple[PurePosixPath, ...] = (PurePosixPath("/etc/lbhook/templates"),)
    identity: PurePosixPath = PurePosixPath("/sys/class/dmi/id/product_uuid")
    snippets: PurePosixPath = PurePosixPath("/etc/lbhook/nftables.d")

    @property
    def handover(self) -> PurePosixPath:
        """Where the process that asks leaves an answer, in a directory of its own."""
        return self.runtime.with_name(f"{self.runtime.name}-fetch") / "answer.json"


class Hooks(NamedTuple):
    """Commands that tell neighbours what changed."""

    changed: Argv = ()
    timeout: float = 30.0


class Metrics(NamedTuple):
    """What is left for a monitoring system after each run."""

    textfile: PurePosixPath | None = None


class Draining(NamedTuple):
    """When this VM is drained without anybody's command."""

    scheduled_events: bool = False


class Settings(NamedTuple):
    """Everything the configuration says. `files` are those that were read, in order."""

    imds: Imds = Imds()
    paths: Paths = Paths()
    hooks: Hooks = Hooks()
    metrics: Metrics = Metrics()
    drain: Draining = Draining()
    targets: tuple[Target, ...] = ()
    files: tuple[Path, ...] = ()
    endpoint_named: bool = False
    rules: tuple[ConfiguredRule, ...] = ()

    def active(self, only: Sequence[str] = ()) -> tuple[Target, ...]:
        """The targets that are on; with `only`, those of them."""
        return tuple(one for one in self.targets if one.enabled and (not only or one.name in only))


def load(file: Path | None = None) -> Settings:
    """Read FILE and `FILE.d/*.toml`; without one, /etc/lbhook/lbhook.toml, if there is any.

    Raises `ConfigError` with every problem, each with its file and key.
    """
    main = file or DEFAULT_FILE
    tables = Tables()
    if file or main.exists():
        tables.read(main)
    drop_ins = main.with_name(f"{main.name}.d")
    if drop_ins.is_dir():
        for drop_in in sorted(drop_ins.glob("*.toml")):
            tables.read(drop_in)
    return _settled(tables)


def parse(text: str, name: str = "lbhook.toml") -> Settings:
    """Settings from the text of one file."""
    tables = Tables()
    tables.add(Path(name), text)
    return _settled(tables)


_IMDS: Mapping[str, schema.Read[Any]] = {
    "endpoint": network.endpoint,
    "api_version": schema.words(r"\d{4}-\d{2}-\d{2}(-preview)?", 'a date such as "2020-10-01"'),
    "wait": schema.duration,
    "wait_cached": schema.duration,
    "absent_wait": schema.duration,
    "absent": schema.choice("keep", "empty"),
    "empty_answer": schema.choice("confirm", "accept"),
    "stale_after": schema.duration,
    "instance": schema.boolean,
    "obey_tag": schema.boolean,
}
_PATHS: Mapping[str, schema.Read[Any]] = {
    "state": schema.path,
    "runtime": schema.path,
    "templates": schema.items(schema.path),
    "identity": schema.path,
    "snippets": schema.path,
}


@schema.shaped(type="string", pattern=r"^/.*\.prom$")
def _textfile(value: object) -> PurePosixPath:
    """Where node_exporter finds it."""
    file = schema.replaced_path(value)
    schema.replaced_path(str(file.with_name(f"{file.stem}-fetch{file.suffix}")))
    if file.suffix != ".prom":
        problem = f"{file} does not end in .prom, and node_exporter would not read it"
        raise schema.Misfit(("", problem))
    return file


_HOOKS: Mapping[str, schema.Read[Any]] = {"changed": schema.argv, "timeout": schema.time_limit}
_METRICS: Mapping[str, schema.Read[Any]] = {"textfile": _textfile}
_DRAIN: Mapping[str, schema.Read[Any]] = {"scheduled_events": schema.boolean}
# Tables of keys alone; rules and targets are tables of tables.
SECTIONS: Mapping[str, Mapping[str, schema.Read[Any]]] = {
    "imds": _IMDS,
    "paths": _PATHS,
    "hooks": _HOOKS,
    "metrics": _METRICS,
    "drain": _DRAIN,
}
NAME = schema.words(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a name of letters, digits, - and _")
TARGET: Mapping[str, schema.Read[Any]] = {
    "like": schema.text,
    "template": schema.words(r"[^/\0][^\0]*", "a file below one of paths.templates"),
    "path": schema.replaced_path,
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


def _settled(tables: Tables) -> Settings:
    known = (*SECTIONS, "rules", "targets")
    for key in tables.merged:
        if key not in known:
            tables.note(f".{key}", f"unknown key{schema.suggestion(key, known)}")
    found = {
        name: tables.section(f".{name}", tables.merged.get(name, {}), keys)
        for name, keys in SECTIONS.items()
    }
    imds, paths, metrics = found["imds"], Paths(**found["paths"]), Metrics(**found["metrics"])
    if imds.get("obey_tag") and not imds.get("instance"):
        tables.note(".imds.obey_tag", "tags are in /metadata/instance: set imds.instance = true")
    taken = {metrics.textfile: "metrics.textfile"} if metrics.textfile else {}
    targets = _Targets(tables, paths, taken).read(tables.merged.get("targets", {}))
    own_rules = rules.read(tables, tables.merged.get("rules", {}), NAME)
    if tables.problems:
        raise ConfigError(*tables.problems, hint="nothing was changed; fix the configuration")
    return Settings(
        imds=Imds(**imds),
        paths=paths,
        hooks=Hooks(**found["hooks"]),
        metrics=metrics,
        drain=Draining(**found["drain"]),
        targets=_with_stand_ins(targets),
        files=tuple(tables.files),
        endpoint_named="endpoint" in imds,
        rules=own_rules,
    )


class _Targets:
    """Reads the targets; `owners` has the name of the one that each path belongs to, `singles`
    that of each kind of which there can be one."""

    def __init__(self, tables: Tables, paths: Paths, owners: dict[PurePosixPath, str]) -> None:
        self.tables = tables
        self.paths = paths
        self.owners = owners
        self.singles: dict[str, str] = {}

    def read(self, raw: object) -> tuple[Target, ...]:
        if not isinstance(raw, dict):
            self.tables.note(".targets", f"{schema.shown(raw)} is not a table")
            raw = {}
        # Shipped targets that nobody named are known, and off: `render` shows them all.
        unnamed = {name: {"enabled": name == "env"} for name in SHIPPED if name not in raw}
        found = [self._target(name, one) for name, one in {**unnamed, **raw}.items()]
        return tuple(target for target in found if target)

    def _target(self, name: str, raw: object) -> Target | None:
        at, before = f".targets.{name}", len(self.tables.problems)
        with self.tables.noting(at):
            NAME(name)
        if not isinstance(raw, dict):
            self.tables.note(at, f"{schema.shown(raw)} is not a table")
            return None
        keys = {key: value for key, value in raw.items() if key != "vars"}
        beside = _beside(raw.get("like", name))
        readers = {key: read for key, (read, _) in beside.items()}
        given = self.tables.section(at, keys, {**TARGET, **readers})
        kind = given.pop("like", name if name in SHIPPED else "")
        if kind and kind not in SHIPPED:
            problem = f'"{kind}" is not a shipped target{schema.suggestion(kind, SHIPPED)}'
            self.tables.note(f"{at}.like", problem)
            return None
        more = {key: given.pop(key, default) for key, (_, default) in beside.items()}
        values = {**_defaults(kind, self.paths), **given}
        self._settle_reload(at, keys, values)
        self._demand_own(at, name, {**keys, **values})
        values["vars"] = self._vars(at, raw.get("vars", {}), kind, more)
        if values.get("enabled", True) and "path" in values:
            self._claim(name, kind, values["path"])
        if kind and not str(values["path"]).endswith(SHIPPED[kind].suffix):
            problem = f"{values['path']} does not end in {SHIPPED[kind].suffix}"
            reader = SHIPPED[kind].daemon
            self.tables.note(f"{at}.path", f"{problem}, and {reader} would not read it")
        sound = len(self.tables.problems) == before
        return Target(name=name, kind=kind, **values) if sound else None

    def _settle_reload(self, at: str, keys: Mapping[str, Any], values: dict[str, Any]) -> None:
        """One of the two ways replaces whichever of them is shipped."""
        if keys.get("reload") and keys.get("reload_unit"):
            self.tables.note(f"{at}.reload_unit", "reload is set too; one of them is enough")
        elif keys.get("reload") or keys.get("reload_unit"):
            values.pop("reload_unit" if keys.get("reload") else "reload", None)

    def _demand_own(self, at: str, name: str, values: Mapping[str, Any]) -> None:
        missing = [key for key in ("template", "path") if key not in values]
        if missing:
            problem = f"a target of your own needs {' and '.join(missing)}"
            self.tables.note(at, problem + schema.nearest(name, SHIPPED))

    def _vars(
        self, at: str, raw: object, kind: str, beside: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The variables that a template sees, those `beside` them among it."""
        if not isinstance(raw, dict):
            self.tables.note(f"{at}.vars", f"{schema.shown(raw)} is not a table")
            return {}
        if not kind:
            return raw
        variables = SHIPPED[kind].variables
        readers = {name: read for name, (read, _) in variables.items()}
        elsewhere = {name: _misplaced(f"[[{at.lstrip('.')}.{name}]]") for name in beside}
        given = self.tables.section(f"{at}.vars", raw, {**readers, **elsewhere})
        values = {**{name: default for name, (_, default) in variables.items()}, **given, **beside}
        with self.tables.noting(at):
            SHIPPED[kind].agree(values)
        return values

    def _claim(self, name: str, kind: str, path: PurePosixPath) -> None:
        """A path is one target's, and none of lbhook's own; a firewall's table is one target's."""
        at = f".targets.{name}.path"
        if kind and SHIPPED[kind].single and self.singles.setdefault(kind, name) != name:
            problem = f"{self.singles[kind]} is of this kind too; only one is allowed"
            self.tables.note(f".targets.{name}", problem)
        if self.owners.setdefault(path, name) != name:
            self.tables.note(at, f"{path} is also the path of {self.owners[path]}")
        if is_record(path, self.paths):
            self.tables.note(at, f"{path} belongs to lbhook; choose another path")


def is_record(path: PurePosixPath, paths: Paths) -> bool:
    """Whether a path is that of lbhook's memory, or of one of the directories it is in."""
    if path.parent == paths.runtime:
        return path.name in _RECORDS
    return paths.state in path.parents or path in (paths.state, paths.runtime)


def _beside(kind: object) -> Mapping[str, tuple[schema.Read[Any], Any]]:
    """The keys that targets of this kind have, and no other."""
    return SHIPPED[kind].beside if isinstance(kind, str) and kind in SHIPPED else {}


def _misplaced(heading: str) -> schema.Read[Any]:
    """Takes nothing, and says where it belongs."""

    def read(_: object) -> Any:
        raise schema.Misfit(("", f"is no variable; write it as {heading}"))

    return read


def _defaults(kind: str, paths: Paths) -> dict[str, Any]:
    if not kind:
        return {}
    values = dict(SHIPPED[kind].defaults)
    values["path"] = PurePosixPath(values["path"].replace("{runtime}", str(paths.runtime)))
    return values


def _with_stand_ins(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Variables that stand for something else unless they are given: a NAT rule to SSH must not
    become a web server, and no two frontends of haproxy may have one name."""
    firewall = next((one for one in targets if one.kind == "nftables" and one.enabled), None)
    ssh_ports = (firewall and firewall.vars["ssh_ports"]) or (_SSH_PORT,)
    return tuple(
        target._replace(vars={**target.vars, **_stand_ins(target, ssh_ports)}) for target in targets
    )


def _stand_ins(target: Target, ssh_ports: Sequence[int]) -> Mapping[str, object]:
    found: dict[str, object] = {}
    if target.vars.get("frontend", "") is None:
        found["frontend"] = "lbhook" if target.name == target.kind else f"lbhook-{target.name}"
    if "except_ports" in target.vars:
        # Named by hand it is meant; that other ports are left out says nothing about SSH's.
        meant = target.vars["except_ports"] or ()
        ours = (one for one in ssh_ports if one not in target.vars["ports"])
        found["except_ports"] = tuple(dict.fromkeys((*meant, *ours)))
    return found
