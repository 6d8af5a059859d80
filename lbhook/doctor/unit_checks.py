"""The doctor's checks of lbhook's own units: there, started, in order, and free enough."""

import re
from collections.abc import Iterator, Mapping

from ..programs import unit_limits
from ..system import unit_properties
from .findings import Check, Evidence, Finding, note

# What each unit is for, told where it is missing.
_MISSES = {
    "lbhook-restore.service": "a boot has no firewall until Azure has answered",
    "lbhook-fetch.service": "lbhook does not ask Azure",
    "lbhook.service": "nothing is applied at boot",
    "lbhook-refresh.service": "a rule added later in Azure is not seen",
    "lbhook-refresh.timer": "a rule added later in Azure is not seen",
}


def installed(evidence: Evidence) -> Iterator[Finding]:
    """Whether the units are there, and start with the next boot."""
    for name, missed in _units(evidence).items():
        state = evidence.host.run(("systemctl", "--root=/", "is-enabled", name)).output.strip()
        if state in ("enabled", "static"):
            continue
        if state == "masked":
            problem, remedy = "is masked", f"`systemctl unmask {name}`"
        elif state == "not-found" or state.endswith("No such file or directory"):
            problem, remedy = "is not installed", "`sudo lbhook install`, or lbhook's package"
        else:
            problem, remedy = "is not enabled", f"`systemctl enable --now {name}`"
        yield Finding(text=f"{name} {problem}: {missed}", remedy=remedy)


def running(evidence: Evidence) -> Iterator[Finding]:
    """Whether the units did what they are for in this boot."""
    units = _units(evidence)
    if not units:
        return
    wanted = "--property=Id,ActiveState,StateChangeTimestampMonotonic"
    shown = evidence.host.run(("systemctl", "show", *units, wanted)).output
    for unit in unit_properties.read(shown):
        name, state = unit.get("Id", ""), unit.get("ActiveState", "")
        if state == "failed" and _is_healed(evidence, unit.get("StateChangeTimestampMonotonic")):
            yield note(f"{name} failed; a later run has put Azure's answer in force")
        elif state == "failed":
            yield Finding(text=f"{name} has failed", remedy=f"`journalctl -u {name}` says why")
        elif name.endswith(".timer") and state == "inactive":
            remedy = f"`systemctl start {name}`"
            yield Finding(text=f"{name} does not run: {units[name]}", remedy=remedy)


def _is_healed(evidence: Evidence, changed: str | None) -> bool:
    """Whether an answer was put in force after a unit failed, at so many microseconds of
    CLOCK_MONOTONIC (`systemctl show`)."""
    failed_for = evidence.host.clock() - int(changed or 0) / 1e6
    return bool(changed) and 0.0 < evidence.since_applied < failed_for


def ordered(evidence: Evidence) -> Iterator[Finding]:
    """Whether systemd finds an order for the units. It breaks a cycle by leaving a job out, and
    says so in the journal alone."""
    if not _units(evidence):
        return
    result = evidence.host.run(("systemd-analyze", "verify", "--man=no", "default.target"))
    lines = re.findall(r"^.*ordering cycle.*$", result.output, re.MULTILINE)
    cycles = [line for line in lines if "lbhook" in line]
    if cycles:
        remedy = "`systemd-analyze verify default.target` shows it; remove one After= or Before="
        yield Finding(text=f"the units have an ordering cycle: {cycles[0]}", remedy=remedy)


def limits(evidence: Evidence) -> Iterator[Finding]:
    """Whether the units may do what the configuration asks for, which works by hand."""
    for lack in unit_limits.lacking(evidence.host, evidence.settings, thorough=True):
        yield Finding(text=lack.text, remedy=lack.remedy)


CHECKS: tuple[Check, ...] = (installed, running, ordered, limits)


def _units(evidence: Evidence) -> Mapping[str, str]:
    """What each unit is for; none where systemd does not run."""
    return _MISSES if evidence.host.machine.has_systemd() else {}
