"""The configuration as JSON Schema, for editors: names of keys, types, words to choose from. What
lbhook itself checks besides, such as two keys against each other, is not in it."""

from collections.abc import Mapping
from typing import Any

from . import rules, schema
from .schema import Read
from .settings import SECTIONS
from .shipped import SHIPPED, Kind
from .target_tables import NAME, TARGET

# Taplo and VS Code's Even Better TOML read this draft.
_DRAFT = "http://json-schema.org/draft-07/schema#"


def document() -> Mapping[str, Any]:
    """The whole, of one file: what one leaves out another may hold, and so nothing is required."""
    tables = {name: schema.table_shape(keys) for name, keys in SECTIONS.items()}
    return {
        "$schema": _DRAFT,
        "title": "lbhook.toml",
        "type": "object",
        "properties": {
            **tables,
            "rules": _named(schema.table_shape(rules.KEYS)),
            "targets": _named(_target_by_like(), {name: _refer(name) for name in SHIPPED}),
        },
        "additionalProperties": False,
        "definitions": {"own": _target(""), **{name: _target(name) for name in SHIPPED}},
    }


def _named(each: Mapping[str, Any], known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A table of tables by names of the owner's own, some of which are known."""
    return {
        "type": "object",
        "properties": known or {},
        "additionalProperties": each,
        "propertyNames": schema.shape_of(NAME),
    }


def _target(kind: str) -> dict[str, Any]:
    """One target; its variables are those of its kind, or any."""
    of = SHIPPED.get(kind, Kind(defaults={}))
    shape = schema.table_shape({**TARGET, **_readers(of.beside)})
    variables = schema.table_shape(_readers(of.variables)) if kind else {"type": "object"}
    shape["properties"].update(like={"enum": [*SHIPPED]}, vars=variables)
    return shape


def _readers(keys: Mapping[str, tuple[Read[Any], Any]]) -> dict[str, Read[Any]]:
    return {name: read for name, (read, _) in keys.items()}


def _target_by_like() -> dict[str, Any]:
    """One with a name of the owner's own: `like` says of which kind it is."""
    given = {"required": ["like"]}
    kinds = [
        {"if": {**given, "properties": {"like": {"const": name}}}, "then": _refer(name)}
        for name in SHIPPED
    ]
    own = {"if": {"not": given}, "then": _refer("own")}
    return {"type": "object", "properties": {"like": {"enum": [*SHIPPED]}}, "allOf": [*kinds, own]}


def _refer(definition: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{definition}"}
