"""What lbhook remembers, and the form of each of its files."""

import base64
import ipaddress
from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from .. import layout
from ..config import schema
from ..config.targets import Target
from ..plan import Change
from . import forms, scalars
from .forms import Form, Part, each, row, sole, some, table
from .scalars import text

# What of a target it takes to undo it.
_KEPT = ("kind", "requires", "reload_unit", "reload", "verify", "observe", "remove", "timeout")


class Installed(NamedTuple):
    """A target as it was last installed: enough to undo it when it is in no configuration.

    `resting` is what has to stay in the file, because a program includes it by name;
    `original` says that the file which was there before is kept; `undone` that the file is
    settled, and only the reload owed; `sshd` are the places where sshd listened then; `made_of`
    is the digest of what it was rendered from.
    """

    name: str
    path: str
    digest: str
    mode: int
    kind: str = ""
    requires: tuple[str, ...] = ()
    reload_unit: str = ""
    reload: tuple[str, ...] = ()
    verify: tuple[str, ...] = ()
    observe: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    timeout: float = 30.0
    resting: str = ""
    original: bool = False
    undone: bool = False
    sshd: tuple[str, ...] = ()
    made_of: str = ""

    @classmethod
    def of(cls, change: Change, known: "Installed | None") -> "Installed":
        """What a change has installed; `known` is the record of the file until then."""
        target = change.target
        return cls(
            name=target.name,
            path=str(target.path),
            digest=change.expected.digest if change.expected else "",
            mode=target.mode,
            resting=change.resting,
            original=change.original or bool(known and known.original),
            sshd=tuple(one["text"] for one in target.vars.get("sshd", ())),
            made_of=change.made_of,
            **{key: getattr(target, key) for key in _KEPT},
        )

    @classmethod
    def foreign(cls, change: Change) -> "Installed":
        """How the program of a file is reloaded that is not lbhook's, should it be put back."""
        digest = change.actual.digest if change.actual else ""
        return cls.of(change, None)._replace(digest=digest, resting="", made_of="")

    def target(self) -> Target:
        """The target again, without a template: to be undone, or reloaded."""
        kept = {key: getattr(self, key) for key in _KEPT}
        return Target(name=self.name, template="", path=PurePosixPath(self.path), **kept)


class Loaded(NamedTuple):
    """What a target's program has taken in this boot: the digest of the file, and what
    `observe` printed then. `queued` while the job that reloads it has not run. `others` stands
    for the other files of its program as they were then, empty if that could not be told. With
    `held` it may have a file that was put back since, and a reload would load more than that."""

    digest: str
    observed: str = ""
    queued: bool = False
    others: str = ""
    held: bool = False


class Port(NamedTuple):
    """A port that another program has: which one, and its unit; `both` says that a socket for
    IPv6 may take IPv4 as well."""

    port: int
    protocol: str
    ip: str
    program: str = ""
    unit: str = ""
    both: bool = False


class Applied(NamedTuple):
    """What an apply has left: when its answer was read, in seconds of this boot; and by path, what
    each file was made of, what tells that it is still loaded, whether it was skipped, how its
    listeners were judged, and what was put to rest since its program had failed."""

    read: float
    made: Mapping[str, str] = MappingProxyType({})
    proofs: Mapping[str, str] = MappingProxyType({})
    skipped: Mapping[str, bool] = MappingProxyType({})
    judged: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    rested: tuple[str, ...] = ()


class Standstill(NamedTuple):
    """Why nothing new is applied, by whom and for which reason: `kind` is "hold", or "tag" for one
    by a tag of the VM, "unconfirmed" for an apply that waits for `lbhook confirm`, or "reverted"
    for one that was put back. `since`
    and `until` are seconds since 1970, 0 for no end. An unconfirmed one is `due` at so many
    seconds of the boot `boot`, whatever becomes of the clock."""

    kind: str
    since: float
    by: str
    until: float = 0.0
    reason: str = ""
    boot: str = ""
    due: float = 0.0

    @property
    def text(self) -> str:
        """In a line."""
        since, until = layout.minute(self.since), layout.minute(self.until)
        why = f": {self.reason}" if self.reason else ""
        if self.kind == "unconfirmed":
            return f"unconfirmed: the apply of {self.by}, {since}, is put back at {until}"
        if self.kind == "reverted":
            return f"put back: nobody confirmed the apply of {self.by}, {since}"
        return f"held since {since} by {self.by}" + (f" until {until}" if self.until else "") + why

    @property
    def azures(self) -> bool:
        """Whether it ends by Azure's word alone."""
        return self.kind == "tag"

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _REMEDIES[self.kind]

    def to_json(self) -> dict[str, object]:
        """The value in the JSON of commands and in status.json."""
        until = layout.utc(self.until) if self.until else None
        value = {"kind": self.kind, "since": layout.utc(self.since), "until": until}
        return {**value, "by": self.by, "reason": self.reason}


_REMEDIES = {
    "hold": "`lbhook resume` ends the hold; `lbhook apply --despite-hold` applies once",
    "unconfirmed": "`lbhook confirm` keeps it; `lbhook rollback` puts it back now",
    "reverted": "apply again by hand, or let the timer go on: `lbhook resume`",
    "tag": "take the tag from the VM in Azure; `lbhook apply --despite-hold` applies once",
}


class Refused(NamedTuple):
    """Why a group of targets was put back; `at` is seconds of a clock that goes only forward."""

    problems: tuple[str, ...]
    at: float = 0.0


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
# Who has drained a VM.
SOURCES = ("operator", "tag", "scheduled event")
_LINES = schema.items(text)
_COMMANDS = dict.fromkeys(("reload", "verify", "observe", "remove"), schema.argv)
_INSTALLED = row(
    Installed, path=scalars.place, mode=scalars.bits, timeout=scalars.span, **_COMMANDS
)
_JUDGED = table({"of": text, "looked": _LINES, "notes": _LINES, "mark": text})
_TOLD = table(
    {
        "model": forms.optional(table({"inbound_rules": _listed, "listeners": _listed})),
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
TOLD: Form = {"told": sole(forms.optional(_TOLD), None), "owed": sole(forms.optional(_TOLD), None)}
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
    "kind": sole(schema.choice(*_REMEDIES), None, needed=True),
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
