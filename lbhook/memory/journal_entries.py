"""What a journal says of each file, as it is written and read again."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from ..config import schema
from ..errors import WriteError
from ..plan import FileState
from ..storage import forms, rows, scalars
from ..storage.files import Tree

_LIST = "journal.json"


class Entry(NamedTuple):
    """One file: what it was before (None: there was none), and the digest of what it becomes
    (empty: removed, or not known yet). `target` is empty for lbhook's own records. `rest` is what
    is put where nothing was, because another program fails without the file."""

    path: PurePosixPath
    before: FileState | None
    after: str
    target: str = ""
    rest: str = ""


class Read(NamedTuple):
    """The entries of a journal that can be read, each with the name of its backup; what is wrong
    with others; and what kept the disk from giving the rest, which a later run may get."""

    entries: tuple[tuple[str, Entry], ...] = ()
    wrong: tuple[str, ...] = ()
    unread: tuple[WriteError, ...] = ()


def write(tree: Tree, journal: PurePosixPath, entries: Sequence[Entry]) -> None:
    """Write entries into a journal, with what each file is. Raises `LbhookError`."""
    for index, entry in enumerate(entries):
        if entry.before is not None:
            backup = FileState(content=entry.before.content, mode=0o600)
            tree.stage(journal / str(index), backup)
            tree.replace(journal / str(index))
    listed = forms.written({"entries": [_as_json(entry) for entry in entries]})
    tree.write(journal / _LIST, listed, mode=0o600)


def read(tree: Tree, journal: PurePosixPath) -> Read:
    """A journal as far as it can be read."""
    if not tree.names(journal):
        return Read()
    try:
        content = tree.read(journal / _LIST)
    except WriteError as error:
        return Read(wrong=error.problems) if error.in_the_way else Read(unread=(error,))
    listed, wrong = _listed(forms.decoded(content or b""))
    problems = [wrong] if wrong else []
    entries, unread = [], []
    for at, raw in enumerate(listed):
        try:
            entries.append((str(at), _entry(tree, journal / str(at), raw)))
        except schema.Misfit as misfit:
            problems += [
                f"damaged: entries[{at}]{where}: {what}" for where, what in misfit.problems
            ]
        except WriteError as error:
            if error.in_the_way:
                problems += error.problems
            else:
                unread.append(error)
    return Read(tuple(entries), tuple(problems), tuple(unread))


def _entry(tree: Tree, backup: PurePosixPath, raw: object) -> Entry:
    read = _ENTRY(raw)
    before = None
    if read.before is not None:
        attributes = dict(read.before)
        digest = attributes.pop("digest", "")
        if not tree.privileged:
            attributes.update(uid=-1, gid=-1)
        content = tree.read(backup)
        before = None if content is None else FileState(content, **attributes)
        if before is None or digest not in ("", before.digest):
            # An empty file in its place would be worse than none.
            raise schema.Misfit(("", f"{backup.name} is missing or cut"))
    return Entry(read.path, before, read.after, read.target, read.rest)


class _Listed(NamedTuple):
    path: PurePosixPath
    before: Mapping[str, Any] | None
    after: str
    target: str
    rest: str = ""


def _owner(value: object) -> int:
    number = schema.whole(value)
    if not -1 <= number < 2**32 - 1:
        raise schema.unfit(value, "the number of a user or group")
    return number


_ATTRIBUTES = {"mode": scalars.bits, "uid": _owner, "gid": _owner}
_ENTRY = rows.row(_Listed, before=rows.optional(rows.only(_ATTRIBUTES, {"digest": scalars.text})))


def _listed(raw: object) -> tuple[Sequence[object], str]:
    """The entries as they are written, and what is wrong with the whole. Until November 2026 a
    journal was their list."""
    if isinstance(raw, list):
        return raw, ""
    entries = raw.get("entries") if isinstance(raw, dict) else None
    if not (isinstance(raw, dict) and isinstance(entries, list)):
        return (), "damaged: no list of files, or cut"
    return entries, forms.version_problem(raw.get("version"))


def _as_json(entry: Entry) -> dict[str, object]:
    before = None
    if entry.before is not None:
        before = {**entry.before._asdict(), "digest": entry.before.digest}
        del before["content"]
    return {**entry._asdict(), "before": before}
