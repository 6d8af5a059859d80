"""What shows that a program has what its file says, and that it is to load it again if not."""

from collections.abc import Mapping

from ..config.shipped import kind_of
from ..config.targets import Target
from ..errors import ReloadError
from ..memory.records import Loaded
from ..plan import Change, FileState, Reload
from ..processes import Result, filled
from ..programs import floating_ip
from ..programs.host import Host, unit_of
from ..rendering import fingerprint
from . import validation
from .scope import Scope

_MOMENT = 1.0
HELD = "put back; its program may still run with the new file"


def due(host: Host, scope: Scope, change: Change, loaded: Loaded | None, *, again: bool) -> Change:
    """A change with a reload that is due although the file is as it should be; `again`: whatever
    its program has."""
    expected = change.expected
    if change.touches_file or not change.reloads or not expected:
        return change
    if loaded is None:
        return change.due("first load since this machine booted")
    if loaded.held:
        # Nothing but an answer makes a program load what it did not run.
        held = change.due(HELD)
        return held if scope is Scope.WHOLE else held._replace(reload=Reload.OWED)
    if loaded.digest != expected.digest:
        return change.due("still due from an earlier run")
    if not host.root:
        return change
    if again:
        return change.due("--reload was given")
    if loaded.queued:
        return _with_queued(host, change, expected)
    problem = verify_again(host, change.target, expected, loaded)
    return validation.skip_unread(host, change.due(problem)) if problem else change


def _with_queued(host: Host, change: Change, expected: FileState) -> Change:
    """What has become of a job that an earlier run queued."""
    try:
        unit = host.services.unit(change.target.reload_unit)
    except ReloadError as error:
        return change._replace(reload=Reload.QUEUED, reason="; ".join(error.problems))
    if unit.job:
        return change._replace(reload=Reload.QUEUED, reason="its job has not run yet")
    if unit.active == "failed":
        problem = f"{unit.name} was started and failed; `systemctl status` says why"
        return change._replace(reload=Reload.FAILED, reason=problem)
    problem = "" if unit.reloaded else f"the reload of {unit.name} failed"
    problem = problem or verify(host, change.target, expected)
    return change.due(problem) if problem else change._replace(reload=Reload.DONE)


def verify_again(host: Host, target: Target, expected: FileState, loaded: Loaded) -> str:
    """As `verify`, of what an earlier run has loaded, whether or not its program still reads it;
    not asked twice in a moment, nor if the kernel says that nothing has changed since it was
    verified last."""
    asked, now, path = (target.path, expected, loaded), host.clock(), str(target.path)
    if now - host.verified.get(asked, -_MOMENT) < _MOMENT:
        return ""
    # Rendered before anything is asked: what changes meanwhile is not in it.
    proof = _proof(host, target, loaded)
    known = proof and proof == host.state.proofs().get(path)
    problem = "" if known else _found(host, target, expected, loaded)
    if not problem:
        host.verified[asked] = now
        host.proofs[path] = proof
    return problem


def still_loaded(host: Host, target: Target, loaded: Loaded) -> bool:
    """Whether the kernel has what was loaded, unchanged: by its own word, or as it lists it."""
    path, proof = str(target.path), _proof(host, target, loaded)
    known = (host.proofs.get(path), host.state.proofs().get(path)) if proof else ()
    return proof in known or observe(host, target) == loaded.observed


def verify(host: Host, target: Target, expected: FileState, loaded: Loaded | None = None) -> str:
    """What shows that a program does not have what its file says; empty if it has, or does not
    read it: then there is nothing to verify."""
    problem = _found(host, target, expected, loaded)
    daemon = kind_of(target).daemon
    return "" if problem and daemon and host.daemon_of(target).unread(target) else problem


def _found(host: Host, target: Target, expected: FileState, loaded: Loaded | None) -> str:
    if target.verify:
        result = host.command(target, target.verify, places(host, target))
        # Of what was stopped by hand nothing is to be expected.
        if not result.ok and not _is_stopped(host, target):
            return f"its verification failed: {result.report()}"
    if target.observe and loaded and observe(host, target) != loaded.observed:
        command = " ".join(filled(target.observe, places(host, target)))
        return gone(host, target) or f"`{command}` differs from what was loaded"
    if kind_of(target).addresses:
        return floating_ip.problem(host, target, expected.content)
    pid = main_pid(host, target)
    return host.daemon_of(target).verify(target, expected.content, pid) if pid else ""


def gone(host: Host, target: Target) -> str:
    """What it means that a firewall's table, which was loaded in this boot, is not there any more;
    empty if it is there, or can't be looked at."""
    loaded = host.state.loaded().get(str(target.path))
    if target.kind != "nftables" or not (loaded and host.live and host.root):
        return ""
    listed = host.command(target, target.observe, places(host, target))
    # A file at rest has no table.
    if listed.ok or "No such file" not in listed.output or _told(listed) == loaded.observed:
        return ""
    marks = target.vars.get("policy") == "mark"
    what = "nothing is marked" if marks else "this machine is open"
    return f"the table is gone (`nft flush ruleset` removes it): {what}"


def _proof(host: Host, target: Target, loaded: Loaded) -> str:
    """What is the same only as long as `verify` would come to the same: all that it looks at are
    nftables' rules, the sockets of this machine and who holds them. Empty if that can't be told.
    """
    kind = kind_of(target)
    rules = target.observe[:1] == ("nft",)
    if not host.kernel or target.verify or kind.addresses or (target.observe and not rules):
        return ""
    told = [host.kernel.generation()] if rules else []
    told += [host.kernel.listeners()] if kind.daemon else []
    if not all(told):
        return ""
    written = host.services.written_pid(unit_of(target)) if kind.daemon else 0
    pid = written or main_pid(host, target)
    return fingerprint.digest(target, loaded, told, pid, host.machine.children(pid))


def observe(host: Host, target: Target) -> str:
    """What the target's `observe` prints now, and how it ended, in short."""
    if not target.observe:
        return ""
    return _told(host.command(target, target.observe, places(host, target)))


def _told(result: Result) -> str:
    text = f"{result.status}\n{result.output}"
    return FileState(content=text.encode(), mode=0).digest


def main_pid(host: Host, target: Target) -> int:
    """The running program that has a target's file in its configuration; 0 if there is none: what
    starts it reads the file."""
    name = kind_of(target).daemon
    program, pid = host.services.running(unit_of(target)) if name else ("", 0)
    return pid if program == name else 0


def places(host: Host, target: Target) -> Mapping[str, object]:
    """What stands for `{path}` and `{stem}` in the commands of an installed file."""
    return {"path": host.tree.outside(target.path), "stem": target.path.stem}


def _is_stopped(host: Host, target: Target) -> bool:
    unit = target.reload_unit
    host.units.look_again()
    return bool(unit) and host.services.unit(unit).active == "inactive"
