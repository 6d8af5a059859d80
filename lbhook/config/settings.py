"""Settings: read from TOML and checked once, all problems in one report."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import ConfigError
from ..layout import suggestion
from ..paths import Paths
from . import network, rules, schema
from .rules import ConfiguredRule
from .target_tables import NAME, TargetTables
from .targets import Argv, Target
from .toml_files import DEFAULT_FILE, Tables

DEFAULT_ENDPOINT = "http://169.254.169.254"


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
    tables.read(main, needed=file is not None)
    for drop_in in tables.drop_ins(main.with_name(f"{main.name}.d")):
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


def _settled(tables: Tables) -> Settings:
    known = (*SECTIONS, "rules", "targets")
    for key in tables.merged:
        if key not in known:
            tables.note(f".{key}", f"unknown key{suggestion(key, known)}")
    found = {
        name: tables.section(f".{name}", tables.merged.get(name, {}), keys)
        for name, keys in SECTIONS.items()
    }
    imds, paths, metrics = found["imds"], Paths(**found["paths"]), Metrics(**found["metrics"])
    if imds.get("obey_tag") and not imds.get("instance"):
        tables.note(".imds.obey_tag", "tags are in /metadata/instance: set imds.instance = true")
    taken = {metrics.textfile: "metrics.textfile"} if metrics.textfile else {}
    targets = TargetTables(tables, paths, taken).read(tables.merged.get("targets", {}))
    own_rules = rules.read(tables, tables.merged.get("rules", {}), NAME)
    if tables.problems:
        raise ConfigError(*tables.problems, hint="nothing was changed; fix the configuration")
    return Settings(
        imds=Imds(**imds),
        paths=paths,
        hooks=Hooks(**found["hooks"]),
        metrics=metrics,
        drain=Draining(**found["drain"]),
        targets=targets,
        files=tuple(tables.files),
        endpoint_named="endpoint" in imds,
        rules=own_rules,
    )
