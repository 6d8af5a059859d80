"""Installed files that are no target's any more: undone from what was recorded of them."""

import re
from collections.abc import Callable

from ..config.shipped import kind_of
from ..config.targets import Target
from ..memory.records import Installed, Loaded
from ..plan import Change, FileState, Outcome, Reload, compare
from ..programs.host import Host
from .verification import HELD

_REASON = "no longer in the configuration"
_MISSED = "and it opens no port any more: put `listen` lines of your own there, then reload nginx"
# Not a template: it only says that the target is not to be undone yet.
_INSTALLED = "installed"
_OURS = b"# Written by lbhook"
# Where a file rests, or did in earlier versions: at ports 9 and 10.
_RESTING = re.compile(rb"\b127\.\d+\.\d+\.127:(?:9|10|10009|10010)\b")


def undo(host: Host, record: Installed, warn: Callable[[str], None]) -> Change:
    """Original, resting form, or no file; a file that somebody edited since stays."""
    target = record.target()
    if not all(map(host.find, target.requires)):
        target = target.alone()
    actual = host.tree.state(target.path)
    if not record.undone and actual and actual.digest != record.digest:
        return leave(host, target, actual, warn)
    original = host.state.original(target.path) if record.original else None
    expected = actual if record.undone else original or resting(record)
    change = compare(target, expected, actual, written=record.digest, live=host.live)
    outcome = Outcome.RESTORED if original else Outcome.REMOVED
    due = host.live and change.reloads
    if due and change.touches_file and expected and _is_missed(host, target, expected):
        warn(f"{target.name}: {_REASON}, but nginx includes {target.path}, {_MISSED}")
    return change._replace(
        outcome=outcome if change.touches_file else Outcome.UNCHANGED,
        reload=Reload.DUE if due else Reload.NONE,
        reason=_REASON,
    )


def _is_missed(host: Host, target: Target, rest: FileState) -> bool:
    """Whether server blocks of nginx's include a file that is to have no listener."""
    if kind_of(target).daemon != "nginx" or not host.find("nginx"):
        return False
    from ..programs.daemon import places

    if any(not one.ip.is_loopback for one in places(rest.content)):
        return False
    return not host.daemon_of(target).unread(target)


def owed(host: Host, record: Installed, known: Loaded | None) -> Change | None:
    """What an earlier run still owes a program, of a target that it undid or, killed before it
    came to its end, did not; None if nothing."""
    if record.undone:
        return undo(host, record, lambda _: None)
    target = record.target()._replace(template=_INSTALLED)
    actual = host.tree.state(target.path)
    if actual is None or actual.digest != record.digest:
        return None
    change = Change(
        target=target,
        expected=actual,
        actual=actual,
        outcome=Outcome.UNCHANGED,
        rendered=False,
    )
    if known and known.held:
        return change._replace(reload=Reload.OWED, reason=HELD)
    is_loaded = known is not None and known.digest == actual.digest
    return None if is_loaded or not change.reloads else change.due("still due from an earlier run")


def resting(record: Installed) -> FileState | None:
    """What has to stay in a file that another program names; None if it may be missing."""
    if not record.resting:
        return None
    return FileState(content=record.resting.encode(), mode=record.mode)


def rests(content: bytes, form: bytes) -> bool:
    """Whether a file of lbhook's says no more than its resting form, be that another version's:
    there were other comments, and ports."""
    return content == form or (_OURS in content and said(content) == said(form))


def said(content: bytes) -> frozenset[bytes]:
    """What a file says, without comments, and wherever and by whatever name it rests."""
    lines = (line.strip() for line in _RESTING.sub(b"", content).splitlines())
    return frozenset(one for one in lines if one and not one.startswith((b"#", b"frontend ")))


def leave(host: Host, target: Target, actual: FileState, warn: Callable[[str], None]) -> Change:
    """A file that somebody edited since, for good; only what its program has loaded goes."""
    where = host.tree.outside(target.path)
    kept = host.state.original_file(target.path)
    original = ""
    if host.tree.state(kept):
        aside = host.tree.outside(host.state.aside_file(target.path))
        original = f"; what was there before lbhook is in {aside}"
    warn(f"{target.name}: {where} was edited since and stays{original}")
    change = Change(target=target, expected=None, actual=actual, outcome=Outcome.UNCHANGED)
    due = host.live and change.gives_up
    return change._replace(reload=Reload.DUE if due else Reload.NONE, reason=_REASON)
