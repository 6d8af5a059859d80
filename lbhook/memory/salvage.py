"""What is installed, where its record can't be read: from what the last run has left."""

from collections.abc import Mapping

from .journal import Journal
from .journal_entries import Entry
from .records import Installed
from .state import State


def installed(state: State, journal: Journal) -> Mapping[str, Installed]:
    """By path, the record as it was before the last transaction, and what that has put there."""
    entries = journal.last()
    known: dict[str, Installed] = {}
    for backup, entry in entries:
        if entry.path == state.installed_file:
            known = state.installed(backup)
    for _, entry in entries:
        path = str(entry.path)
        if entry.target and entry.after:
            known[path] = known.get(path, _made(state, entry))._replace(digest=entry.after)
        elif entry.target:
            known.pop(path, None)
    return known


def _made(state: State, entry: Entry) -> Installed:
    """What a journal tells of a target. The next apply that has it in its plan knows the rest."""
    mode = entry.before.mode if entry.before else 0o644
    kept = state.original_file(entry.path)
    return Installed(
        name=entry.target,
        path=str(entry.path),
        digest=entry.after,
        mode=mode,
        resting=entry.rest,
        original=kept.name in state.tree.names(kept.parent),
    )
