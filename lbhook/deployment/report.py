"""Plans and outcomes as text for people and as JSON for programs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import LbhookError, NoAnswerError
from ..layout import count, wrapped
from ..memory.drains import Drained
from ..memory.records import Standstill
from ..metadata.facts import Facts
from ..metadata.model import ABSENT
from ..plan import Change, Closed, Outcome, Reload

VERSION = 1

_SILENT = "kept: no usable answer; the last good answer stays in force"
_LATER = "kept: a later answer is in force"
# Of a port that is closed at more, the others are counted.
_MOST_ADDRESSES = 4


class Report(NamedTuple):
    """What an apply came to; the words are those of the contract's JSON. `age` is that of the
    answer in force, in seconds; None if none is known, or it is not Azure's. `guarded` is whether
    metadata is guarded on this VM; None if IMDS did not tell. `rules` are lines for those that came
    and went; `drained` is a drain that is in force. `busy` says that another run was on, which the
    status of no answer does not. `standstill` is why nothing new was applied, or what waits for its
    confirmation."""

    outcome: str
    status: int = 0
    source: str = "imds"
    attempts: int = 0
    waited: float = 0.0
    age: float | None = None
    guarded: bool | None = None
    lb: Facts = Facts()
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    hint: str = ""
    removed: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    closes: tuple[Closed, ...] = ()
    busy: bool = False
    drained: Drained | None = None
    standstill: Standstill | None = None

    def failing(self, error: LbhookError) -> "Report":
        """The same with a failure besides, which undoes nothing of it."""
        problems = tuple(dict.fromkeys((*self.problems, *error.problems)))
        status, hint = self.status or error.status, self.hint or error.hint
        return self._replace(status=status, problems=problems, hint=hint)

    def to_json(self) -> dict[str, Any]:
        """The value of `apply --json` and of status.json; `closes` is there if the firewall has
        closed something."""
        return {
            "version": VERSION,
            "outcome": self.outcome,
            "status": self.status,
            "source": self.source,
            "attempts": self.attempts,
            "waited_seconds": round(self.waited, 1),
            **guarded_json(self.guarded),
            "counts": counts(self.lb),
            "targets": [change_json(one) for one in self.changes],
            "rules": list(self.rules),
            "problems": list(self.problems),
            **({"closes": [*map(closed_json, self.closes)]} if self.closes else {}),
            **drained_json(self.drained),
            **({"standstill": self.standstill.to_json()} if self.standstill else {}),
        }

    def to_text(self) -> str:
        """A line for each target, and one that sums up."""
        lines, _ = _change_lines([*map(self._unsaid, self.changes)])
        return "".join(f"{line}\n" for line in [*self.rules, *lines, self.summary()])

    def _unsaid(self, change: Change) -> Change:
        """A change without its reason, if that is a problem, which is said by itself."""
        is_said = any(change.reason in problem for problem in self.problems)
        return change._replace(reason="") if is_said else change

    @property
    def _verb(self) -> str:
        """What was done; the first run after a boot may only have loaded what was there."""
        if any(one.touches_file for one in self.changes) or not self.changes:
            return "changed"
        failed = any(one.reload is Reload.FAILED for one in self.changes)
        return "no file changed, not all reloaded" if failed else "no file changed, reloaded"

    def summary(self) -> str:
        """The last line of the text, and the unit's status line."""
        numbers = counts(self.lb)
        has = f"{count(numbers['inbound_rules'], 'inbound rule')}, "
        has += f"{count(numbers['listeners'], 'listener')} here"
        asked = (
            "" if self.attempts < 2 else f" after {self.attempts} requests in {self.waited:.0f} s"
        )
        whom = "the last good answer" if self.source == "cache" else "Azure"
        said = {
            "changed": f"{self._verb}: {has}{asked}",
            "unchanged": f"up to date with {whom}: {has}{asked}",
            "kept": _SILENT if self.status else _LATER,
            "absent": f"absent: {ABSENT}; existing files stay",
            "held": self.standstill.text if self.standstill else "held",
            "failed": f"failed: {self._failure}",
        }[self.outcome]
        return f"{said}; {self.drained.text}" if self.drained else said

    @property
    def _failure(self) -> str:
        if self.busy:
            return "another run has not ended"
        no_answer = self.status == NoAnswerError.status
        return "no usable answer, and no last good answer" if no_answer else "no change was applied"


def fetched_text(report: Report, *, handed_over: bool = False) -> str:
    """What `fetch` heard, in a line."""
    numbers = counts(report.lb)
    rules = count(numbers["inbound_rules"], "inbound rule")
    kept = "handed over" if handed_over else "kept as the last good answer"
    return {
        "changed": f"fetched: {rules}; {kept}\n",
        "unchanged": f"fetched: {rules}; the same as the last good answer\n",
        "absent": f"absent: {ABSENT}\n",
    }[report.outcome]


_LAST = "the last good answer"


def restored_text(report: Report) -> str:
    """A line for each target that was missing, and what it came to."""
    lines, _ = _change_lines(report.changes)
    rules = count(counts(report.lb)["inbound_rules"], "inbound rule")
    sources = {
        "the configuration" if one.by_configuration else _LAST for one in report.lb.inbound_rules
    }
    whose = " and ".join(sorted(sources, reverse=True)) or _LAST
    last = {
        "changed": f"restored: {rules} of {whose}",
        "unchanged": f"nothing was missing: {rules} of {whose}",
        "absent": "at rest: there is no last good answer of this VM",
        "failed": "failed: not everything is restored",
    }[report.outcome]
    last = f"{last}; {report.drained.text}" if report.drained else last
    return "".join(f"{line}\n" for line in [*lines, last])


def undone_text(report: Report) -> str:
    """What `rollback` or `clean` put back and removed."""
    lines, size = _change_lines(report.changes)
    lines += [f"{'state':<{size}} removed    {path}" for path in report.removed]
    if not lines and not report.problems:
        lines = ["nothing to put back"]
    return "".join(f"{line}\n" for line in lines)


def guarded_json(guarded: bool | None) -> dict[str, bool]:
    """Whether metadata is guarded; nothing if IMDS did not tell."""
    return {} if guarded is None else {"guarded": guarded}


def drained_json(drained: Drained | None) -> dict[str, object]:
    """A drain that is in force; nothing if there is none."""
    return {"drained": drained.to_json()} if drained else {}


def counts(lb: Facts) -> dict[str, int]:
    """How much there is of each."""
    return {
        "public_ips": len(lb.public_ips),
        "inbound_rules": len(lb.inbound_rules),
        "outbound_rules": len(lb.outbound_rules),
        "listeners": len(lb.listeners),
    }


def change_json(change: Change) -> dict[str, Any]:
    """One target of `apply --json` or `plan --json`, with the reason if it was left out."""
    value: dict[str, Any] = {
        "name": change.target.name,
        "path": str(change.path),
        "outcome": change.outcome.value,
        "reload": change.reload.value,
    }
    return {**value, "reason": change.reason} if left_out(change) else value


def closed_json(closed: Closed) -> dict[str, Any]:
    """What a firewall closes; `connections` is there if there are any, and `only_from` if it is
    open to some."""
    optional = ("connections", "only_from")
    value = closed._asdict()
    return {key: one for key, one in value.items() if one or key not in optional}


def in_use(closed: Closed) -> str:
    """How many are connected to what a firewall closes to them; empty if nobody is."""
    number, whence = closed.connections, "elsewhere" if closed.only_from else "outside"
    return f"IN USE: {count(number, 'connection')} from {whence}" if number else ""


def closed_warnings(name: str, closed: Sequence[Closed]) -> tuple[str, ...]:
    """What a firewall has closed, and loudly what of it is in use."""
    used = "; ".join(f"{one}: {in_use(one)}" for one in closed if one.connections)
    listed = named([one for one in closed if not one.only_from])
    loud = (f"{name}: {used}: these stay open, new ones are dropped",) if used else ()
    what = "closed to the outside, because no rule or setting opens it"
    return (*loud, f"{name}: {what}: {listed}") if listed else loud


def named(closed: Sequence[Closed]) -> str:
    """What is closed, in a line; of a port that is so at many addresses, the first of them."""
    found: dict[tuple[str, int, str], list[Closed]] = {}
    for one in closed:
        found.setdefault((one.protocol, one.port, one.program), []).append(one)
    words: list[str] = []
    for some in found.values():
        if len(some) > _MOST_ADDRESSES:
            words.append(f"{some[0]} and {len(some) - 1} more addresses")
        else:
            words += map(str, some)
    return ", ".join(words)


def left_out(change: Change) -> bool:
    """Whether it is not carried out, for a reason."""
    return change.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)


def _change_lines(changes: Sequence[Change]) -> tuple[list[str], int]:
    """A line for each target, and the width of their names."""
    size = max([16, *(len(one.target.name) for one in changes)])
    return [_change_line(one, size) for one in changes], size


def _change_line(change: Change, size: int) -> str:
    rests = change.outcome is Outcome.REMOVED and change.expected is not None
    outcome = "at rest" if rests else change.outcome.value
    line = f"{change.target.name:<{size}} {outcome:<10} {change.path}"
    if change.reload is not Reload.NONE:
        line += f"  (reload {change.reload.value})"
    return line + (f"\n{wrapped(change.reason)}" if change.reason else "")
