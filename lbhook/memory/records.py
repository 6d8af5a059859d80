"""What lbhook remembers."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any, NamedTuple

from .. import layout
from ..config.targets import Target
from ..plan import Change

# Who has drained a VM.
SOURCES = ("operator", "tag", "scheduled event")
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
        return REMEDIES[self.kind]

    def to_json(self) -> dict[str, object]:
        """The value in the JSON of commands and in status.json."""
        until = layout.utc(self.until) if self.until else None
        value = {"kind": self.kind, "since": layout.utc(self.since), "until": until}
        return {**value, "by": self.by, "reason": self.reason}


REMEDIES = {
    "hold": "`lbhook resume` ends the hold; `lbhook apply --despite-hold` applies once",
    "unconfirmed": "`lbhook confirm` keeps it; `lbhook rollback` puts it back now",
    "reverted": "apply again by hand, or let the timer go on: `lbhook resume`",
    "tag": "take the tag from the VM in Azure; `lbhook apply --despite-hold` applies once",
}


class Refused(NamedTuple):
    """Why a group of targets was put back; `at` is seconds of a clock that goes only forward."""

    problems: tuple[str, ...]
    at: float = 0.0
