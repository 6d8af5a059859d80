"""Candidates checked by the real programs: by themselves, then on this machine."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from ..config.shipped import kind_of
from ..errors import ConfigError
from ..metadata.reader import Address
from ..plan import Change, Outcome, Plan, Reload
from ..processes import NOT_FOUND, Result, filled
from ..programs import floating_ip
from ..programs.host import Host, unit_of
from ..storage import scratch
from . import refusal

if TYPE_CHECKING:
    from ..programs.daemon import Daemon

_NO_KERNEL = "Operation not permitted"
# In a user namespace nft can't have more room for what it sends than net.core.wmem_max.
_NO_ROOM = "Message too long"
Staged = Mapping[PurePosixPath, Path]


class Examined(NamedTuple):
    """What the checks say of changes: those to go on with (skipped and blocked ones marked),
    and warnings. A refusal is a `ConfigError`."""

    changes: tuple[Change, ...]
    warnings: tuple[str, ...] = ()


def laid(plan: Plan, directory: Path) -> Staged:
    """Candidates of a plan in a scratch directory: to be checked, not to be installed."""
    staged = {}
    for index, change in enumerate(plan.changes):
        if change.touches_file and change.expected:
            candidate = directory / str(index) / f".{change.path.name}.lbhook"
            candidate.parent.mkdir()
            candidate.write_bytes(change.expected.content)
            candidate.chmod(change.expected.mode)
            staged[change.path] = candidate
    return staged


def skip_missing(host: Host, change: Change) -> Change:
    """A target is skipped if a program that it requires is not installed here; a shipped one
    always requires those that it is for."""
    idle = not change.has_work
    if not host.live or idle:
        return change
    own = kind_of(change.target).defaults.get("requires", ())
    wanted = dict.fromkeys((*own, *change.target.requires))
    missing = [program for program in wanted if not host.find(program)]
    return _skipped(change, f"{', '.join(missing)} not installed") if missing else change


def skip_unread(host: Host, change: Change) -> Change:
    """A target is skipped if its program does not read its file. To ask takes as long as a check,
    so it is asked where it matters: where the file is not there yet, was skipped before or is
    refused, where two want one listener, or where nothing of the file is to be seen."""
    wanted = change.has_work
    due = host.live and host.root and wanted and not change.dropped
    asks = due and kind_of(change.target).daemon
    unread = host.daemon_of(change.target).unread(change.target) if asks else ""
    return _skipped(change, unread) if unread else change


def examine(host: Host, changes: Sequence[Change], staged: Staged) -> Examined:
    """Check each candidate by itself.

    Raises `RefusedError` with the command, its output and the lines it names.
    """
    refusals: list[tuple[Change, str]] = []
    warnings, skipped = [], {}
    for change in changes:
        if change.path not in staged or change.dropped:
            continue
        try:
            result = _check(host, change, staged[change.path])
        except ConfigError as error:
            refusals += [(change, one) for one in error.problems]
            continue
        if result and _unable(host, result):
            warnings.append(f"{change.target.name}: not checked: {refusal.first_line(result)}")
        elif result and not result.ok:
            skipped[change.path] = skip_unread(host, change)
            if skipped[change.path].touches_file:
                refusals.append((change, refusal.text(change, result, staged[change.path])))
    if refusals:
        raise refusal.whole(refusals)
    going = tuple(skipped.get(one.path, one) for one in changes)
    return Examined(changes=going, warnings=tuple(warnings))


def _check(host: Host, change: Change, candidate: Path) -> Result | None:
    target = change.target
    if target.check:
        places = {"staged": candidate, "path": change.path}
        if target.check[0] == "nft" and not host.root:
            # nft asks the kernel, which answers root only: an own namespace makes one root.
            argv = ("unshare", "--map-root-user", "--net", *filled(target.check, places))
            return host.run(argv, timeout=target.timeout)
        return host.command(target, target.check, places)
    if kind_of(target).addresses and change.expected:
        floating_ip.listed(target, change.expected.content)
    return host.daemon_of(target).check(target, candidate) if kind_of(target).daemon else None


def _unable(host: Host, result: Result) -> bool:
    """Whether a check says nothing about the file: no such program or right here. On a live
    machine as root that is no excuse."""
    if host.live and host.root:
        return False
    said = any(one in result.output for one in (_NO_KERNEL, _NO_ROOM))
    no_right = said and result.argv[0] in ("nft", "unshare")
    no_namespace = result.argv[0] == "unshare" and result.output.startswith("unshare:")
    return result.status == NOT_FOUND or (not result.ok and (no_right or no_namespace))


def examine_live(
    host: Host, examined: Examined, staged: Staged, coming: Collection[Address] = ()
) -> Examined:
    """Check each candidate in place of the old file, on a live machine as root.

    `coming` are addresses that the machine will have by then. Raises `RefusedError`.
    """
    if not (host.live and host.root):
        return examined
    decided, warnings = {}, list(examined.warnings)
    for (name, unit), changes in _by_daemon(host, examined.changes, staged).items():
        found = _examine_daemon(host, name, unit, changes, staged, coming, warnings)
        decided.update({one.path: one for one in found})
    refusals: list[tuple[Change, str]] = []
    for change in examined.changes:
        if change.path in staged and change.target.check_live:
            try:
                decided[change.path] = _examine_command(host, change, staged[change.path])
            except ConfigError as error:
                refusals += [(change, one) for one in error.problems]
    if refusals:
        raise refusal.whole(refusals)
    going = tuple(decided.get(one.path, one) for one in examined.changes)
    return Examined(changes=going, warnings=tuple(warnings))


def _by_daemon(
    host: Host, changes: Sequence[Change], staged: Staged
) -> Mapping[tuple[str, str], Sequence[Change]]:
    """The changes that are files of a program that has one configuration, by it and its unit."""
    found: dict[tuple[str, str], list[Change]] = {}
    for change in changes:
        name = kind_of(change.target).daemon
        # A target is undone even if its program was removed first.
        gone = change.dropped and name and host.find(name) is None
        there = change.path in staged and change.touches_file
        if name and there and not change.target.check_live and not gone:
            found.setdefault((name, unit_of(change.target)), []).append(change)
    return found


def _examine_daemon(
    host: Host,
    name: str,
    unit: str,
    changes: Sequence[Change],
    staged: Staged,
    coming: Collection[Address],
    warnings: list[str],
) -> Sequence[Change]:
    daemon = host.daemon(name, unit)
    timeout = max(one.target.timeout for one in changes)
    candidates = {str(one.path): staged[one.path] for one in changes}
    tested, included = daemon.check_live(candidates, timeout)
    if tested.ok:
        warnings += _warnings(tested, changes, staged)
        known = {*included, *(str(one.path) for one in changes if one.dropped)}
        return [one if str(one.path) in known else _unread(daemon, one) for one in changes]
    if daemon.lacks_only(tested, coming):
        # It stops there; whether it reads the files is all that is left to ask.
        return [_unread(daemon, one) if daemon.unread(one.target) else one for one in changes]
    present = _present(daemon, changes, timeout)
    if present.ok:
        raise refusal.whole([(one, refusal.text(one, tested, staged[one.path])) for one in changes])
    reason = f"{name} refuses its configuration without this change, too:\n{present.report()}"
    return [blocked(one, reason) for one in changes]


def _warnings(tested: Result, changes: Sequence[Change], staged: Staged) -> Iterator[str]:
    """Said where a file changes, and so once."""
    from ..programs import check_warnings

    for change in changes:
        content = change.expected.content.decode() if change.expected else ""
        said = tested.output.replace(str(staged[change.path]), str(change.path))
        for warning in check_warnings.about(said, str(change.path), content):
            yield f"{change.target.name}: its check warns: {warning}"


def _present(daemon: "Daemon", changes: Sequence[Change], timeout: float) -> Result:
    """The program with the files as they stand; where it misses one, with its resting form."""
    missing = [one for one in changes if not one.actual and one.resting]
    present = daemon.check_present(timeout)
    if present.ok or not missing:
        return present
    with scratch.directory() as place:
        candidates = {}
        for index, change in enumerate(missing):
            candidates[str(change.path)] = place / str(index)
            candidates[str(change.path)].write_text(change.resting, encoding="utf-8")
            candidates[str(change.path)].chmod(change.target.mode)
        return daemon.check_live(candidates, timeout)[0]


def _examine_command(host: Host, change: Change, candidate: Path) -> Change:
    target = change.target
    places = {"staged": candidate, "path": change.path}
    tested = host.command(target, target.check_live, places)
    if tested.ok:
        return change
    if change.actual:
        places["staged"] = host.tree.outside(change.path)
        present = host.command(target, target.check_live, places)
        if not present.ok:
            reason = f"its check fails with the file as it stands, too:\n{present.report()}"
            return blocked(change, reason)
    raise refusal.whole([(change, refusal.text(change, tested, candidate))])


def _skipped(change: Change, reason: str) -> Change:
    return change._replace(outcome=Outcome.SKIPPED, reload=Reload.NONE, reason=reason)


def blocked(change: Change, reason: str) -> Change:
    """The change left undone, for a reason that is not its own."""
    return change._replace(outcome=Outcome.BLOCKED, reload=Reload.NONE, reason=reason)


def _unread(daemon: "Daemon", change: Change) -> Change:
    return _skipped(change, daemon.unread(change.target) or "its program does not read it")
