"""The doctor's checks of the targets: their programs, their files, what an apply would do."""

import fnmatch
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..config.shipped import kind_of
from ..config.targets import Target
from ..levers import standstill
from ..plan import Outcome, Reload
from ..programs.daemon import places
from .findings import Check, Evidence, Finding, Level, note, unsure

_APPLY = "`lbhook plan` shows it, `sudo lbhook apply` fixes it"
# Debian's, and that of Red Hat.
_MAIN_FILES = ("etc/nftables.conf", "etc/sysconfig/nftables.conf")
_UNIT = "nftables.service"
_UNIT_PLACES = ("etc", "run", "usr/local/lib", "usr/lib", "lib")


def refusal(evidence: Evidence) -> Iterator[Finding]:
    """Why nothing could be planned."""
    if evidence.refusal:
        yield Finding(text="; ".join(evidence.refusal.problems), remedy=evidence.refusal.hint)


def held(evidence: Evidence) -> Iterator[Finding]:
    """Whether nothing new is applied: by somebody's word, or since nobody gave his."""
    found = standstill.in_force(evidence.host.state)
    if found:
        meant = Level.NOTE if found.kind == "hold" else Level.WRONG
        yield Finding(text=found.text, remedy=found.remedy, level=meant)


def programs(evidence: Evidence) -> Iterator[Finding]:
    """Whether each target's program is there, and reads its file."""
    for target in _targets(evidence):
        missing = [name for name in target.requires if not evidence.host.find(name)]
        daemon = kind_of(target).daemon
        if missing:
            remedy = "install it, or take the target out of the configuration"
            yield Finding(text=f"{target.name}: {', '.join(missing)} not installed", remedy=remedy)
        elif daemon and evidence.host.root:
            unread = evidence.host.daemon_of(target).unread(target)
            why, _, remedy = unread.partition("; ")
            if unread:
                yield Finding(text=f"{target.name}: {why}", remedy=remedy)


def drift(evidence: Evidence) -> Iterator[Finding]:
    """What an apply would change or load, and what has failed."""
    for problem in evidence.plan.problems:
        yield Finding(
            text=problem,
            remedy="fix the cause; until then `sudo lbhook apply` starts nginx without lbhook's"
            " listeners",
        )
    for change in evidence.plan.changes:
        name = change.target.name
        if change.outcome is Outcome.BLOCKED:
            # What is somebody else's may be a whole report of a program.
            why, _, remedy = change.reason.rpartition("; ")
            one = why and "\n" not in change.reason
            text, remedy = (why, remedy) if one else (change.reason, "fix what it names")
            yield Finding(text=f"{name}: {text}", remedy=remedy)
        elif change.touches_file:
            how = _DIFFERENCES.get(change.outcome, "is not what the answer asks for")
            yield Finding(text=f"{name}: {change.path} {how}", remedy=_APPLY)
        elif change.reload in (Reload.DUE, Reload.FAILED):
            yield Finding(text=f"{name}: {change.reason}", remedy=_APPLY)


def taken(evidence: Evidence) -> Iterator[Finding]:
    """Whether other programs listen where a target's program is to: it could not bind."""
    if not evidence.host.live:
        return
    machine = evidence.host.machine
    sockets = (*machine.listening(), *machine.bound())
    programs = machine.holders({one.inode for one in sockets})
    for change in evidence.plan.changes:
        daemon = kind_of(change.target).daemon
        wanted = places(change.expected.content) if daemon and change.expected else ()
        for place in wanted:
            there = [one for one in sockets if one.protocol == place.protocol]
            there = [one for one in there if one.covers(place.ip, place.port)]
            names = {programs.get(one.inode, daemon) for one in there}
            if names and daemon not in names:
                text = f"{change.target.name}: {', '.join(sorted(names))} already has {place}"
                yield Finding(text=text, remedy="stop that, or leave the port out: `except_ports`")


def directories(evidence: Evidence) -> Iterator[Finding]:
    """Whether a target's file can be written."""
    if not evidence.host.root:
        return
    for target in _targets(evidence):
        place = evidence.host.tree.outside(target.path).parent
        while not place.exists() and place != place.parent:
            place = place.parent
        if not os.access(place, os.W_OK):
            remedy = "`mount -o remount,rw` its file system, or give the target another path"
            yield Finding(text=f"{target.name}: {place} is not writable", remedy=remedy)


def label(evidence: Evidence) -> Iterator[Finding]:
    """Whether a file has the label that SELinux has for its place."""
    if not evidence.host.live or not evidence.host.find("restorecon"):
        return
    if not (evidence.host.machine.root / "sys/fs/selinux/enforce").exists():
        return
    for target in _targets(evidence):
        result = evidence.host.run(("restorecon", "-n", "-v", str(target.path)))
        relabelled = re.search(r"Would relabel \S+ from (\S+) to (\S+)", result.output)
        if relabelled:
            old, new = relabelled.groups()
            text = (
                f"{target.name}: {target.path} has the SELinux label {old}, but should have {new}"
            )
            yield Finding(text=text, remedy=f"`restorecon -v {target.path}`")


def flushed(evidence: Evidence) -> Iterator[Finding]:
    """Whether a reload of nftables.service takes lbhook's table away for good, or somebody who
    loads its file by hand."""
    firewall = next((one for one in _targets(evidence) if one.kind == "nftables"), None)
    if not firewall or not evidence.host.live or not _is_used(evidence):
        return
    for name in _MAIN_FILES:
        text = _text(evidence.host.machine.root / name)
        flushes = re.search(r"^\s*flush ruleset", text, re.MULTILINE)
        if flushes and not _includes(text, str(firewall.path)):
            yield _flushing(firewall, name, helped=_is_helped(evidence.host.machine.root))


def _flushing(firewall: Target, name: str, *, helped: bool) -> Finding:
    marks = firewall.vars["policy"] == "mark"
    what = "leaves nothing marked" if marks else "opens this machine"
    text = f"{firewall.name}: /{name} flushes every table and does not bring lbhook's back: "
    remedy = f'end it with `include "{firewall.path.parent}/*{firewall.path.suffix}"`'
    if helped:
        return unsure(f"{text}loading it by hand {what} until the next run", remedy)
    return Finding(text=f"{text}a reload of nftables.service {what}", remedy=remedy)


def warnings(evidence: Evidence) -> Iterator[Finding]:
    """What a plan would say beside what it does."""
    for warning in evidence.plan.warnings:
        why, _, remedy = warning.rpartition("; ")
        left_out = warning in evidence.plan.left_out
        yield Finding(text=why or remedy, remedy=remedy) if left_out else note(warning)


CHECKS: tuple[Check, ...] = (
    held,
    *(refusal, programs, drift, taken, directories, label, flushed, warnings),
)
_DIFFERENCES = {
    Outcome.CREATED: "is not there yet",
    Outcome.RESTORED: "is gone, or was edited",
    Outcome.REMOVED: "belongs to a target that is no longer configured",
}


def _targets(evidence: Evidence) -> tuple[Target, ...]:
    named = tuple(change.target for change in evidence.plan.changes if not change.dropped)
    return named or tuple(evidence.settings.active())


def _is_used(evidence: Evidence) -> bool:
    """Whether anybody has nftables.service do its work."""
    if not evidence.host.machine.has_systemd():
        return True
    shown = evidence.host.run(("systemctl", "show", _UNIT, "--property=ActiveState,UnitFileState"))
    return "=active" in shown.output or "=enabled" in shown.output


def _is_helped(root: Path) -> bool:
    """Whether a drop-in of nftables.service loads lbhook's table again."""
    places = (root / place / f"systemd/system/{_UNIT}.d" for place in _UNIT_PLACES)
    return any("lbhook" in _text(file) for place in places for file in place.glob("*.conf"))


def _includes(text: str, path: str) -> bool:
    patterns = re.findall(r'^\s*include\s+"([^"]+)"', text, re.MULTILINE)
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
