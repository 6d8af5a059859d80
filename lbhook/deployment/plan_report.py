"""A plan as text for people and as JSON for programs."""

import textwrap
from collections.abc import Sequence
from typing import Any

from ..layout import aligned
from ..metadata.described import described
from ..plan import Change, Closed, FileState, Outcome, Plan, Reload
from ..processes import filled
from ..programs.nftables import drops
from .report import VERSION, change_json, closed_json, counts, in_use, left_out

_SHUT_OUT = "over SSH: `lbhook apply --confirm 2m` puts all of it back unless you confirm in time"


def plan_json(plan: Plan) -> dict[str, Any]:
    """The value of `plan --json`; `planned` is there if something is."""
    return {
        "version": VERSION,
        "to_do": plan.to_do,
        "counts": counts(plan.lb),
        "targets": [
            {**change_json(one), "original": one.original, "diff": diff(one)}
            for one in plan.changes
        ],
        "closes": [*map(closed_json, plan.closes)],
        "warnings": list(plan.warnings),
        **({"planned": list(plan.planned)} if plan.planned else {}),
        **({"by_configuration": configured} if (configured := _configured(plan)) else {}),
    }


def _configured(plan: Plan) -> list[str]:
    """The rules of the configuration, a line each."""
    return [described(one) for one in plan.lb.inbound_rules if one.by_configuration]


def plan_text(plan: Plan) -> str:
    """What an apply would do: a diff for each file, then its reload."""
    parts = [_planned_text(plan.planned)] if plan.planned else []
    configured = _configured(plan)
    if configured:
        parts.append("".join(f"# {line}\n" for line in configured))
    for change in plan.changes:
        if change.touches_file:
            parts.append(diff(change))
        notes = _plan_notes(change)
        if notes:
            said = "\n".join(f"{change.target.name}: {note}" for note in notes)
            parts.append(textwrap.indent(f"{said}\n", "# "))
    if plan.closes:
        parts.append(_closes_text(plan.closes))
    if not plan.to_do and any(left_out(one) for one in plan.changes):
        parts.append("Nothing to do, but for what is left out.\n")
    elif not plan.to_do:
        parts.append("Nothing to do: this machine is up to date.\n")
    return "\n".join(parts)


def _planned_text(planned: Sequence[str]) -> str:
    return "".join(f"# {line}\n" for line in ("with what is planned in Azure:", *planned))


def _closes_text(closes: Sequence[Closed]) -> str:
    whole = [one for one in closes if not one.only_from]
    some = [one for one in closes if one.only_from]
    heads = {
        "the firewall will close these, because no rule or setting opens them:": whole,
        "the firewall will let in new connections to these from fewer sources (`restrict`):": some,
    }
    return "".join(_closed_text(head, found) for head, found in heads.items() if found)


def _closed_text(head: str, closes: Sequence[Closed]) -> str:
    rows = aligned([_closed_row(one) for one in closes])
    return "".join(f"# {line}\n" for line in (head, *(f"  {row}" for row in rows)))


def _closed_row(one: Closed) -> Sequence[str]:
    who = ", ".join(filter(None, (one.program, one.only_from)))
    return one.protocol, str(one.port or ""), one.ip, who, in_use(one)


def _plan_notes(change: Change) -> list[str]:
    notes = []
    if change.original:
        notes.append(f"{change.path} was there before lbhook; it will be kept and given back")
    if left_out(change):
        notes.append(f"{change.outcome.value}: {change.reason}")
    elif change.reload is Reload.DUE:
        command = " ".join(filled(change.reload_argv, {"path": change.path}))
        how = command or change.target.reload_unit
        notes.append(f"reload: {how}" + (f" ({change.reason})" if change.reason else ""))
        if change.outcome is Outcome.CREATED and drops(change.target):
            notes.append(_SHUT_OUT)
    return notes


def diff(change: Change) -> str:
    """The difference of a content as a unified diff, mode and owner as lines before it."""
    # Imported only where a difference is shown.
    import difflib

    lines = []
    if change.actual and change.expected:
        lines += _attribute("mode", oct(change.actual.mode)[2:], oct(change.expected.mode)[2:])
        if change.expected.uid >= 0:
            old = f"{change.actual.uid}:{change.actual.gid}"
            lines += _attribute("owner", old, f"{change.expected.uid}:{change.expected.gid}")
    old_name = str(change.path) if change.actual else "/dev/null"
    new_name = str(change.path) if change.expected else "/dev/null"
    unified = difflib.unified_diff(
        _lines(change.actual), _lines(change.expected), old_name, new_name, lineterm=""
    )
    return "".join(f"{line}\n" for line in [*lines, *unified])


def _attribute(what: str, old: str, new: str) -> list[str]:
    return [f"old {what} {old}", f"new {what} {new}"] if old != new else []


def _lines(state: FileState | None) -> list[str]:
    return state.content.decode("utf-8", "backslashreplace").splitlines() if state else []
