"""Which rules came and went, and when: what `lbhook history` lists.

The rules that were in force last are kept with it: so a run that was killed before it wrote them
down leaves its changes to the next one, and no run is forgotten.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from ..layout import count, utc
from ..metadata.described import described
from ..metadata.model import InboundRule
from ..programs.host import Host

VERSION = 1
# Changes that are kept, and rules that one of them names: a few hundred KiB at most.
_MOST_CHANGES, _MOST_RULES = 200, 100
# Rules that a run says on its own: a journal has other readers.
_MOST_LINES = 20
LAST_GONE = "the last inbound rule is gone"


class Changed(NamedTuple):
    """Rules that came and went in one run, as lines; what is not named is counted.

    `time` is in UTC, as `2026-11-28T23:51:31Z`; `source` and `outcome` are status.json's words.
    """

    time: str
    source: str
    outcome: str
    came: tuple[str, ...] = ()
    went: tuple[str, ...] = ()
    more: int = 0

    def lines(self, most: int) -> tuple[str, ...]:
        """A line for each rule, and how many more there are."""
        marked = [*(f"- {one}" for one in self.went), *(f"+ {one}" for one in self.came)]
        more = self.more + len(marked) - len(marked[:most])
        return (*marked[:most], *([f"... and {count(more, 'more rule')}"] if more else []))

    @classmethod
    def read(cls, raw: Mapping[str, Any]) -> "Changed":
        """One from its JSON."""
        lists = {name: tuple(raw.get(name, ())) for name in ("came", "went")}
        time, source, outcome = (str(raw.get(name, "")) for name in cls._fields[:3])
        return cls(time, source, outcome, lists["came"], lists["went"], int(raw.get("more", 0)))


class History:
    """The changes of one host."""

    def __init__(self, host: Host, now: Callable[[], float] = time.time) -> None:
        self.host = host
        self.now = now

    def changes(self) -> tuple[Changed, ...]:
        """All that are kept, the oldest first."""
        return tuple(map(Changed.read, self.host.state.history()["changes"]))

    def note(self, rules: Iterable[InboundRule], source: str, outcome: str) -> tuple[str, ...]:
        """Write down what is in force from now on; the lines that say what came and went. Raises
        `WriteError`."""
        record = self.host.state.history()
        before, now = record["rules"], tuple(dict.fromkeys(map(described, rules)))
        if now == before:
            return ()
        came, went = _without(now, before), _without(before, now)
        changed = Changed(utc(self.now()), source, outcome, came, went)
        kept = [*record["changes"], _bounded(changed)._asdict()][-_MOST_CHANGES:]
        self.host.state.keep_history(rules=now, changes=kept)
        return changed.lines(_MOST_LINES)


def to_text(changes: Iterable[Changed]) -> str:
    """Each change with its rules below."""
    lines: list[str] = []
    for one in changes:
        whence = {"imds": "from IMDS", "cache": "from the last good answer", "file": "from a file"}
        when = one.time.replace("T", " ").replace("Z", " UTC")
        lines += [f"{when}  {one.outcome}, {whence.get(one.source, one.source)}"]
        lines += [f"  {line}" for line in one.lines(_MOST_RULES)]
    return "".join(f"{line}\n" for line in lines) or "No rule has come or gone.\n"


def to_json(changes: Iterable[Changed]) -> dict[str, Any]:
    """The value of `history --json`."""
    return {"version": VERSION, "changes": [one._asdict() for one in changes]}


def _without(some: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    taken = set(others)
    return tuple(one for one in some if one not in taken)


def _bounded(changed: Changed) -> Changed:
    came, went = changed.came[:_MOST_RULES], changed.went[:_MOST_RULES]
    more = len(changed.came) + len(changed.went) - len(came) - len(went)
    return changed._replace(came=came, went=went, more=more)
