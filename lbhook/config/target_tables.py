"""The targets of a configuration: their tables read, checked, and completed by what ships."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..layout import nearest, suggestion
from ..paths import Paths
from . import schema
from .shipped import SHIPPED
from .targets import Target
from .toml_files import Tables

_SSH_PORT = 22

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


class TargetTables:
    """Reads the targets; `owners` has the name of the one that each path belongs to, `singles`
    that of each kind of which there can be one."""

    def __init__(self, tables: Tables, paths: Paths, owners: dict[PurePosixPath, str]) -> None:
        self.tables = tables
        self.paths = paths
        self.owners = owners
        self.singles: dict[str, str] = {}

    def read(self, raw: object) -> tuple[Target, ...]:
        """Those that are sound; what is wrong with others is noted."""
        if not isinstance(raw, dict):
            self.tables.note(".targets", f"{schema.shown(raw)} is not a table")
            raw = {}
        # Shipped targets that nobody named are known, and off: `render` shows them all.
        unnamed = {name: {"enabled": name == "env"} for name in SHIPPED if name not in raw}
        found = [self._target(name, one) for name, one in {**unnamed, **raw}.items()]
        return _with_stand_ins([target for target in found if target])

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
        given = self.tables.section(
            at, keys, {**_strays(raw.get("like", name)), **TARGET, **readers}
        )
        kind = given.pop("like", name if name in SHIPPED else "")
        if kind and kind not in SHIPPED:
            problem = f'"{kind}" is not a shipped target{suggestion(kind, SHIPPED)}'
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
            self.tables.note(at, problem + nearest(name, SHIPPED))

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
        place = f"is no variable; write it as [[{at.lstrip('.')}."
        elsewhere = {name: _misplaced(f"{place}{name}]]") for name in beside}
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
        if self.paths.are_at(path):
            self.tables.note(at, f"{path} belongs to lbhook; choose another path")


def _beside(kind: object) -> Mapping[str, tuple[schema.Read[Any], Any]]:
    """The keys that targets of this kind have, and no other."""
    return SHIPPED[kind].beside if isinstance(kind, str) and kind in SHIPPED else {}


def _strays(kind: object) -> Mapping[str, schema.Read[Any]]:
    """The variables of targets of this kind, where none belongs."""
    variables = SHIPPED[kind].variables if isinstance(kind, str) and kind in SHIPPED else {}
    place = "is a variable; write it as vars = {"
    return {name: _misplaced(f"{place} {name} = ... }}") for name in variables}


def _misplaced(problem: str) -> schema.Read[Any]:
    """Takes nothing, and says where it belongs."""

    def read(_: object) -> Any:
        raise schema.Misfit(("", problem))

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
