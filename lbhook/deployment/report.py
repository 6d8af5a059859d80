"""Plans and outcomes as text for people and as JSON for programs."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import NoAnswerError
from ..layout import aligned, count, wrapped
from ..metadata.facts import Facts
from ..metadata.model import ABSENT
from ..metadata.planned import described
from ..plan import Change, Closed, Outcome, Plan, Reload
from ..processes import filled
from ..programs.nftables import drops
from ..storage.drains import Drained
from ..storage.records import Standstill

VERSION = 1

_SILENT = "kept: no usable answer; the last good answer stays in force"
_LATER = "kept: a later answer is in force"


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
            **({"closes": [*map(_closed_json, self.closes)]} if self.closes else {}),
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
        touched = any(one.touches_file for one in self.changes)
        return "changed" if touched or not self.changes else "no file changed, reloaded"

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
    return {**value, "reason": change.reason} if _left_out(change) else value


def plan_json(plan: Plan) -> dict[str, Any]:
    """The value of `plan --json`; `planned` is there if something is."""
    return {
        "version": VERSION,
        "to_do": plan.to_do,
        "counts": counts(plan.lb),
        "targets": [
            {**change_json(one), "original": one.original, "diff": one.diff()}
            for one in plan.changes
        ],
        "closes": [*map(_closed_json, plan.closes)],
        "warnings": list(plan.warnings),
        **({"planned": list(plan.planned)} if plan.planned else {}),
        **({"by_configuration": configured} if (configured := _configured(plan)) else {}),
    }


def _configured(plan: Plan) -> list[str]:
    """The rules of the configuration, a line each."""
    return [described(one) for one in plan.lb.inbound_rules if one.by_configuration]


def plan_text(plan: Plan) -> str:
    """What an apply would do: a diff for each file, then its reload."""
    # Imported only where a plan is printed.
    import textwrap

    parts = [_planned_text(plan.planned)] if plan.planned else []
    configured = _configured(plan)
    if configured:
        parts.append("".join(f"# {line}\n" for line in configured))
    for change in plan.changes:
        if change.touches_file:
            parts.append(change.diff())
        notes = _plan_notes(change)
        if notes:
            said = "\n".join(f"{change.target.name}: {note}" for note in notes)
            parts.append(textwrap.indent(f"{said}\n", "# "))
    if plan.closes:
        parts.append(_closes_text(plan.closes))
    if not plan.to_do and any(_left_out(one) for one in plan.changes):
        parts.append("Nothing to do, but for what is left out.\n")
    elif not plan.to_do:
        parts.append("Nothing to do: this machine is up to date.\n")
    return "\n".join(parts)


def _closed_json(closed: Closed) -> dict[str, Any]:
    """What a firewall closes; `connections` is there if there are any."""
    value = closed._asdict()
    return value if closed.connections else {key: value[key] for key in list(value)[:-1]}


def _planned_text(planned: Sequence[str]) -> str:
    return "".join(f"# {line}\n" for line in ("with what is planned in Azure:", *planned))


def _closes_text(closes: Sequence[Closed]) -> str:
    rows = [(one.protocol, str(one.port or ""), one.ip, one.program, in_use(one)) for one in closes]
    head = "the firewall will close these, because no rule or setting opens them:"
    return "".join(f"# {line}\n" for line in (head, *(f"  {row}" for row in aligned(rows))))


def in_use(closed: Closed) -> str:
    """How many are connected to what a firewall closes; empty if nobody is."""
    number = closed.connections
    return f"IN USE: {count(number, 'connection')} from outside" if number else ""


def closed_warnings(name: str, closed: Sequence[Closed]) -> tuple[str, ...]:
    """What a firewall has closed, and loudly what of it is in use."""
    used = "; ".join(f"{one}: {in_use(one)}" for one in closed if one.connections)
    listed = ", ".join(map(str, closed))
    loud = (f"{name}: {used}: these stay open, new ones are dropped",) if used else ()
    what = "closed to the outside, because no rule or setting opens it"
    return (*loud, f"{name}: {what}: {listed}") if listed else ()


_SHUT_OUT = "over SSH: `lbhook apply --confirm 2m` puts all of it back unless you confirm in time"


def _plan_notes(change: Change) -> list[str]:
    notes = []
    if change.original:
        notes.append(f"{change.path} was there before lbhook; it will be kept and given back")
    if _left_out(change):
        notes.append(f"{change.outcome.value}: {change.reason}")
    elif change.reload is Reload.DUE:
        command = " ".join(filled(change.reload_argv, {"path": change.path}))
        how = command or change.target.reload_unit
        notes.append(f"reload: {how}" + (f" ({change.reason})" if change.reason else ""))
        if change.outcome is Outcome.CREATED and drops(change.target):
            notes.append(_SHUT_OUT)
    return notes


def _left_out(change: Change) -> bool:
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
