"""Rendered files that their checks have refused, kept for whoever looks into it: one for each
target, until a run of that target is good."""

import contextlib
from collections.abc import Sequence

from ..errors import LbhookError, RefusedError
from ..plan import Change, Outcome
from ..programs.host import Host

_MOST = 4 << 20
_ROOTS = 0o600


def keep(host: Host, changes: Sequence[Change], error: RefusedError) -> None:
    """Keep those that were refused, in place of earlier ones, and let the error's hint name them.
    One that is too long is cut at the end of a line; one that can't be written is not missed."""
    place, kept = host.state.refused_candidates, []
    for change in changes:
        if change.path in error.paths and change.expected:
            file = place / change.target.name
            with contextlib.suppress(LbhookError):
                host.tree.write(file, _cut(change.expected.content), _ROOTS)
                kept.append(str(host.tree.outside(file)))
    if kept:
        error.hint = f"{error.hint}; what was refused is in {' and '.join(kept)}"


def drop(host: Host, changes: Sequence[Change], failed: Sequence[Sequence[Change]]) -> None:
    """Take away those of targets whose run was good."""
    place = host.state.refused_candidates
    bad = {change.target.name for group in failed for change in group}
    with contextlib.suppress(LbhookError):
        for name in {*host.tree.names(place)} - bad:
            if any(one.target.name == name and _is_good(one) for one in changes):
                host.tree.remove(place / name)


def _is_good(change: Change) -> bool:
    idle = change.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)
    return change.rendered and not (idle or change.failure)


def _cut(content: bytes) -> bytes:
    return content if len(content) <= _MOST else content[: content.rfind(b"\n", 0, _MOST) + 1]
