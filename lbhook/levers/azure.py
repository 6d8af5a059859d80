"""The levers that Azure moves: the VM's tag `lbhook`, and events that are scheduled for it.

What it does not say, or says in a form that nobody knows, moves nothing: neither begins nor ends
what it said before. Why it is so: docs/decisions/0020-levers-from-azure.md.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from ..context import Context
from ..errors import BusyError, LbhookError
from ..imds.answer import Fetched
from ..memory.drains import Drained
from ..memory.records import Standstill
from ..metadata import events
from ..metadata.events import Event
from .drain import Drain

# The longest notice that Microsoft promises; for ailing hardware it may be days.
NOTICE = 900.0
TAG, EVENT = "tag", "scheduled event"
_HELD, _DRAINED = "Azure's tag lbhook: hold", "Azure's tag lbhook: drain"
_UNCLEAR = (
    "the VM's tag lbhook can't be read, or is neither hold nor drain; what it said last stays in"
    " force"
)
_ENDED = {
    TAG: "the VM's tag lbhook no longer says drain: health probes are answered again",
    EVENT: "Azure's scheduled event is over: health probes are answered again",
}
_RESUMED = "the VM's tag lbhook no longer says hold: this machine follows Azure again"
_SWITCHED_OFF = "no longer asked for by the configuration: health probes are answered again"


class Word(NamedTuple):
    """What Azure says: `tag` is "hold", "drain" or empty; `events` are those that interrupt this
    VM. None: it does not tell."""

    tag: str | None = None
    events: tuple[Event, ...] | None = None


class AzuresLevers:
    """Azure's word, obeyed on one machine. `now` is seconds since 1970."""

    def __init__(self, context: Context, now: Callable[[], float] = time.time) -> None:
        self.context = context
        self.now = now
        self.draining = Drain(context, now)

    def heed(self, fetched: Fetched | None) -> LbhookError | None:
        """Hold and drain, or end that, as an answer has it; without one only what is not asked for
        any longer ends. An operator's command comes before or after, never in between. Returns what
        of a drain failed, which keeps a run from nothing and is tried again by the next one. Raises
        `LbhookError` if a hold could not be written down: nothing new is to be applied then."""
        host = self.context.host
        if not (host.live and host.root):
            return None
        word = self._word(fetched) if fetched and fetched.news else Word()
        try:
            with host.locked(self.context.settings.paths.runtime):
                return self._obey(word)
        except BusyError as error:
            self.context.reporter.log(f"Azure's word: {error}; the next run sees to it")
        return None

    def _obey(self, word: Word) -> LbhookError | None:
        self._hold(word.tag)
        try:
            self._drain(word)
        except LbhookError as error:
            return error
        return None

    def _word(self, fetched: Fetched) -> Word:
        return Word(self._tag(fetched.answer.instance), self._events(fetched))

    def _tag(self, body: bytes) -> str | None:
        if not (self.context.settings.imds.obey_tag and body):
            return None
        from ..metadata import instance

        said = None
        with contextlib.suppress(LbhookError):
            said = instance.lever(body)
        if said is None:
            self.context.reporter.warn(_UNCLEAR)
        return said

    def _events(self, fetched: Fetched) -> tuple[Event, ...] | None:
        """Those of this VM; whose an event is can't be told without the VM's name."""
        if not self.context.settings.drain.scheduled_events or fetched.events is None:
            return None
        from ..metadata import instance

        try:
            mine = instance.name(fetched.answer.instance) if fetched.answer.instance else ""
            listed, warnings = events.parse(fetched.events, mine)
        except LbhookError as error:
            problem = "; ".join(error.problems)
            self.context.reporter.warn(f"{events.PATH}: {problem}; nothing follows from it")
            return None
        for warning in warnings:
            self.context.reporter.warn(f"{events.PATH}: {warning}")
        interrupting = [one for one in listed if one.interrupts]
        if interrupting and not mine:
            self.context.reporter.warn(
                f"{events.PATH}: the VM's name is not known; nothing follows from it"
            )
            return None
        return tuple(one for one in interrupting if mine.lower() in one.names)

    def _hold(self, tag: str | None) -> None:
        if not self.context.settings.imds.obey_tag:
            tag = ""
        if tag is None:
            return
        state = self.context.host.state
        if (tag == "hold") == bool(state.standstill(state.tag_file)):
            return
        held = Standstill(kind="tag", since=self.now(), by=_HELD)
        state.keep_standstill(state.tag_file, held if tag == "hold" else None)
        if tag != "hold":
            self.context.reporter.warn(_RESUMED)

    def _drain(self, word: Word) -> None:
        known = self.draining.known()
        if known and not known.azures:
            return
        if known and not self._is_asked_for(known.source):
            self._release(known.source, _SWITCHED_OFF)
            known = None
        due = self._due(word.events or (), known)
        if word.tag == "drain":
            if not known or known.source != TAG:
                self._begin(_DRAINED, TAG, persist=True)
        elif known and known.source == TAG and word.tag is None:
            return
        elif due:
            if not known or known.source != EVENT or known.events != _ids(due):
                self._begin(_described(due), EVENT, ids=_ids(due))
        elif known and (known.source == TAG or word.events is not None):
            self._release(known.source, _ENDED[known.source])

    def _due(self, listed: tuple[Event, ...], known: Drained | None) -> tuple[Event, ...]:
        """Those that are so near that it is time, and are not waived. One that this VM is drained
        for stays due, whatever becomes of the clock."""
        records, before = self.draining.records, known.events if known else ()
        waived = records.waived()
        if waived and listed:
            records.waive([one.id for one in listed if one.id in waived])
        near = (one for one in listed if one.id in before or one.begins <= self.now() + NOTICE)
        return tuple(sorted(one for one in near if one.id not in waived))

    def _begin(
        self, by: str, source: str, ids: tuple[str, ...] = (), *, persist: bool = False
    ) -> None:
        drained = self.draining.begin(by, source=source, events=ids, persist=persist)
        self.context.reporter.warn(drained.text)

    def _release(self, source: str, said: str) -> None:
        if self.draining.release(source):
            self.context.reporter.warn(said)

    def _is_asked_for(self, source: str) -> bool:
        settings = self.context.settings
        return settings.imds.obey_tag if source == TAG else settings.drain.scheduled_events


def _ids(due: tuple[Event, ...]) -> tuple[str, ...]:
    return tuple(one.id for one in due)


def _described(due: tuple[Event, ...]) -> str:
    kinds: Iterator[str] = iter(dict.fromkeys(one.kind for one in due))
    return f"Azure's scheduled event {', '.join(kinds)}"
