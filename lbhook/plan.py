"""Expected, actual, difference: what an apply would do, as a value."""

import enum
import functools
import hashlib
from pathlib import PurePosixPath
from typing import NamedTuple

from .config.shipped import kind_of
from .config.targets import Argv, Target
from .errors import LbhookError
from .metadata.facts import Facts


# A run asks four times for that of each file.
@functools.lru_cache(maxsize=16)
def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FileState(NamedTuple):
    """A file as it is or as it should be. An owner of -1 is not looked at."""

    content: bytes
    mode: int
    uid: int = -1
    gid: int = -1

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex."""
        return _digest(self.content)


class Outcome(enum.Enum):
    """What becomes of a target's file; the words of `apply --json`."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"
    REMOVED = "removed"
    RESTORED = "restored"
    SKIPPED = "skipped"
    BLOCKED = "blocked"


class Reload(enum.Enum):
    """What becomes of a target's reload. A plan says `DUE`, and of an earlier run's job that it
    is still `QUEUED` or by now `DONE`; the other words are an outcome's."""

    NONE = "none"
    DUE = "due"
    DONE = "done"
    QUEUED = "queued"
    OWED = "owed"
    FAILED = "failed"


class Change(NamedTuple):
    """One target: the file as it should be and as it is (None: no file), and its reload.

    `reason` says why it is skipped, blocked or reloaded; `original` that the file was there
    before lbhook and will be kept; `resting` is what has to stay in the file when the target is
    dropped. `rendered` is false when `expected` is only what happens to be there; `made_of` is the
    digest of that and of what it was rendered from, empty if it is not known. `failure` is why it
    can't be planned: nothing is to be done about it then.
    """

    target: Target
    expected: FileState | None
    actual: FileState | None
    outcome: Outcome
    reload: Reload = Reload.NONE
    reason: str = ""
    original: bool = False
    resting: str = ""
    rendered: bool = True
    made_of: str = ""
    failure: LbhookError | None = None

    @property
    def path(self) -> PurePosixPath:
        """Where the file is."""
        return self.target.path

    @property
    def touches_file(self) -> bool:
        """Whether the file on the disk will be replaced or removed."""
        return self.outcome not in (Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.BLOCKED)

    @property
    def has_work(self) -> bool:
        """Whether an apply does anything about it: with the file, or by a reload alone."""
        return self.touches_file or self.reload is Reload.DUE

    @property
    def dropped(self) -> bool:
        """Whether the target is in no configuration any more, and undone."""
        return not self.target.template

    @property
    def reload_argv(self) -> Argv:
        """The command that makes the program take the file, or give up what it had of one that
        is gone; empty if `reload_unit` does it, or nothing."""
        target = self.target
        if self.expected:
            return target.reload
        # Without a `remove`, a reload may show the program that its file is gone.
        needs_file = any("{path}" in word for word in target.reload)
        return target.remove or (() if needs_file else target.reload)

    @property
    def reloads(self) -> bool:
        """Whether there is anything to reload, or to verify."""
        target = self.target
        loads = self.reload_argv or target.reload_unit or kind_of(target).addresses
        return bool(loads or (self.expected and target.verify))

    @property
    def left(self) -> bool:
        """Whether the target goes and its file stays, because somebody edited it."""
        return bool(self.actual) and not self.expected and self.outcome is Outcome.UNCHANGED

    @property
    def gives_up(self) -> bool:
        """Whether its program can be told to give up what it has of a file, whatever is in it."""
        return bool(self.target.remove or kind_of(self.target).addresses)

    def due(self, reason: str) -> "Change":
        """The change with a reload that is due for a reason."""
        return self._replace(reload=Reload.DUE, reason=reason)

    def failed(self, error: LbhookError) -> "Change":
        """The change left undone, because of an error."""
        return self._replace(outcome=Outcome.UNCHANGED, reload=Reload.NONE, failure=error)


class Closed(NamedTuple):
    """What a firewall closes to everybody outside: a socket, or a tunnel. Of a protocol without
    ports `port` is 0. `program` holds it, as far as that can be read; `connections` are those from
    outside that it has now, and that stay. What is restricted, and no more open to all of these,
    says so: `only_from`."""

    protocol: str
    port: int
    ip: str
    program: str = ""
    connections: int = 0
    only_from: str = ""

    def __str__(self) -> str:
        what = f"{self.protocol} {self.port}" if self.port else self.protocol
        who = f" ({self.program})" if self.program else ""
        limit = f", {self.only_from}" if self.only_from else ""
        return f"{what} on {self.ip}{who}{limit}"


class Plan(NamedTuple):
    """What an apply would do to every target, in the order it would do it; `problems` are
    what no apply fixes by itself; `left_out` are those of the `warnings` that are about listeners
    which a program can't have; `planned` are rules that Azure does not have yet, or still has."""

    changes: tuple[Change, ...] = ()
    closes: tuple[Closed, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    planned: tuple[str, ...] = ()
    lb: Facts = Facts()

    @property
    def to_do(self) -> bool:
        """Whether an apply would change a file or reload something."""
        return any(one.has_work for one in self.changes)

    @property
    def failures(self) -> tuple[LbhookError, ...]:
        """What can't be planned."""
        return tuple(one.failure for one in self.changes if one.failure)


def compare(
    target: Target,
    expected: FileState | None,
    actual: FileState | None,
    *,
    written: str | None,
    live: bool,
    reload_due: str = "",
) -> Change:
    """What is to be done about one file.

    `written` is the digest of what lbhook last put there, None if it never did; `live` says
    that this is the running machine, whose programs are to take the file; `reload_due` is a
    reason to reload that does not depend on the file.
    """
    outcome = _outcome(expected, actual, written)
    change = Change(target=target, expected=expected, actual=actual, outcome=outcome)
    touched = change.touches_file
    due = live and change.reloads and (touched or bool(reload_due))
    return change._replace(
        reload=Reload.DUE if due else Reload.NONE,
        reason=reload_due if due and not touched else "",
        original=written is None and actual is not None and expected is not None,
    )


def _outcome(expected: FileState | None, actual: FileState | None, written: str | None) -> Outcome:
    if expected is None:
        return Outcome.REMOVED if actual else Outcome.UNCHANGED
    if actual is None:
        return Outcome.CREATED if written is None else Outcome.RESTORED
    if same(expected, actual):
        return Outcome.UNCHANGED
    # What lbhook wrote is what it should be: somebody else has touched it since.
    return Outcome.RESTORED if written == expected.digest else Outcome.CHANGED


def same(expected: FileState, actual: FileState) -> bool:
    """Whether a file is as it should be, its mode and owner among it."""
    owner = (actual.uid, actual.gid)
    return (
        expected.content == actual.content
        and expected.mode == actual.mode
        and (expected.uid < 0 or owner == (expected.uid, expected.gid))
    )
