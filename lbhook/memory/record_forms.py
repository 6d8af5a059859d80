"""The form of each file in which lbhook remembers something."""

import base64
import ipaddress
from collections.abc import Mapping
from typing import Any

from ..config import schema
from ..storage import forms, rows, scalars
from ..storage.forms import Form, Part, each, sole, some
from ..storage.rows import row, table
from ..storage.scalars import text
from .records import REMEDIES, SOURCES, Installed, Loaded, Port, Refused


def _skipped(value: object, note: forms.Note) -> Mapping[str, bool]:
    """Whether each target was skipped; until November 2026 a list of those that were."""
    if isinstance(value, list):
        value = {one: True for one in value if isinstance(one, str)}
    return dict(each(schema.boolean).read(value, note))


def _judgement(value: object) -> Mapping[str, Any]:
    """How listeners were judged; nothing if another run is to judge them anew."""
    return {} if value == {} else dict(_JUDGED(value))


def _address(value: object) -> str:
    """An address that lbhook gave the loopback interface."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise schema.unfit(value, "an address") from None


def _listed(value: object) -> list[object]:
    """A list as it is: the hook gets it back byte for byte, and it is compared with a new one."""
    if not isinstance(value, list):
        raise schema.unfit(value, "a list")
    return value


def _port(value: object) -> int:
    port = schema.whole(value)
    if not 0 <= port <= _LAST_PORT:
        raise schema.unfit(value, "a port")
    return port


def _encoded(value: object) -> bytes:
    """A body, which is kept byte for byte."""
    try:
        return base64.b64decode(text(value), validate=True)
    except ValueError:
        raise schema.unfit(value, "in base64") from None


_LAST_PORT = 65535
_LINES = schema.items(text)
_COMMANDS = dict.fromkeys(("reload", "verify", "observe", "remove"), schema.argv)
_INSTALLED = row(
    Installed, path=scalars.place, mode=scalars.bits, timeout=scalars.span, **_COMMANDS
)
_JUDGED = table({"of": text, "looked": _LINES, "notes": _LINES, "mark": text})
_TOLD = table(
    {
        "model": rows.optional(table({"inbound_rules": _listed, "listeners": _listed})),
        "files": forms.mapping(table({"name": text, "digest": text})),
    }
)
_WORDS = {"time": text, "source": text, "outcome": text}
_CHANGED = table(_WORDS, {"came": _LINES, "went": _LINES, "more": schema.whole})

INSTALLED: Form = {"files": each(_INSTALLED)}
LOADED: Form = {
    "boot": sole(text, ""),
    "files": each(row(Loaded)),
    "foreign": each(_INSTALLED),
    "before": each(row(Loaded)),
    "addresses": each(schema.items(_address)),
    "applied": sole(scalars.span, 0.0),
    "made": each(text),
    "proofs": each(text),
    "skipped": Part(_skipped, {}),
    "judged": each(_judgement),
    "rested": some(text),
    "closed": some(text),
}
PORTS: Form = {"ports": some(row(Port, port=_port))}
REFUSED: Form = {"groups": each(row(Refused))}
TOLD: Form = {"told": sole(rows.optional(_TOLD), None), "owed": sole(rows.optional(_TOLD), None)}
HISTORY: Form = {"rules": some(text), "changes": some(_CHANGED)}
DRAIN: Form = {
    **dict.fromkeys(("since", "until"), sole(scalars.moment, None, needed=True)),
    **dict.fromkeys(("ends", "lasts"), sole(scalars.span, None, needed=True)),
    **dict.fromkeys(("by", "reason", "boot", "uuid", "machine_id"), sole(text, None, needed=True)),
    "persist": sole(schema.boolean, None, needed=True),
    # Older records lack them: all drains were an operator's.
    "source": sole(schema.choice(*SOURCES), SOURCES[0]),
    "events": some(text),
}
WAIVED: Form = {"events": some(text)}
STANDSTILL: Form = {
    "kind": sole(schema.choice(*REMEDIES), None, needed=True),
    **dict.fromkeys(("since", "until"), sole(scalars.moment, 0.0)),
    **dict.fromkeys(("by", "reason", "boot"), sole(text, "")),
    "due": sole(scalars.span, 0.0),
}
ANSWER: Form = {
    "fetched": sole(scalars.number, None, needed=True),
    "uuid": sole(text, None, needed=True),
    "machine_id": sole(text, None, needed=True),
    "body": sole(_encoded, None, needed=True),
    "instance": sole(_encoded, b""),
}
# What counts as a whole or not at all.
WHOLE = (ANSWER, DRAIN)
