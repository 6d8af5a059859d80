"""Asking the Azure Instance Metadata Service until there is an answer to believe.

What is retried, for how long and why: docs/decisions/0003-believing-an-answer.md.
"""

import copy
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from ..errors import LbhookError, MetadataError, NoAnswerError, ProtocolError, UnreadableBodyError
from ..metadata import events
from ..metadata.model import Metadata, parse
from ..metadata.reader import decode
from . import guard
from .classification import AGAIN, IN_BETWEEN, Kind, Meaning, classify, one_line
from .transport import NoResponseError, Response, get

# The whole VM may ask five times a second; lbhook asks once, and a question that nobody takes
# within a second is asked again: half a second after the service is there, on average, that is
# noticed (bench/pace.py).
_PACE = 1.0
_SLOWEST = 8.0
# A service that hangs is asked again soon, but every third time it gets longer to answer.
_PATIENCE = (2.0, 2.0, 5.0)
ONLY_ATTEMPT = 5.0
# What is asked besides, and not needed.
_BRIEF = 2.0
LAST_QUESTION = 0.5
# Less than that is no time to answer in.
_SHORTEST = 0.25
_PRIMARY = "it answers the primary NIC and its primary address only"


class Reading(NamedTuple):
    """An answer that was read whole: its body and what it says; None if IMDS says that there
    is no load balancer. `waited` in seconds; `guarded` says that it came by the agent of guarded
    metadata."""

    body: bytes
    metadata: Metadata | None
    attempts: int
    waited: float
    guarded: bool = False


class Waiting(NamedTuple):
    """Where a fetch stands before it sleeps: why, how often it asked, seconds gone and left."""

    reason: str
    attempts: int
    waited: float
    left: float


class Service:
    """One metadata service, and how long it is asked.

    `wait` and `absent_wait` are seconds in all, on a monotonic clock; with a `wait` of 0 there
    is one attempt, of at most 5 s. `absent_wait` counts while IMDS says that there is no load
    balancer, whatever `wait` is. `get` asks once, as `transport.get` does. `find_agent` finds the
    agent of guarded metadata, which is waited for where IMDS wants a signature.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        api_version: str,
        wait: float,
        absent_wait: float = 0.0,
        watch: Callable[[Waiting], None] = lambda _: None,
        log: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        get: Callable[[str, dict[str, str], str, float, Callable[[], float]], Response] = get,
        path: str = "/metadata/loadbalancer",
        parse: Callable[[bytes], Metadata] = parse,
        find_agent: Callable[[], guard.Agent | None] = lambda: None,
    ) -> None:
        self.endpoint = endpoint
        self.api_version = api_version
        self.wait = wait
        self.only_attempt = ONLY_ATTEMPT
        self.absent_wait = absent_wait
        self.watch = watch
        self.log = log
        self.clock = clock
        self.sleep = sleep
        self.get = get
        self.path = path
        self.parse = parse
        self.find_agent = find_agent

    def fetch(self) -> Reading:
        """Ask until there is an answer to believe, or the time is up.

        Raises `NoAnswerError` if there was none, `MetadataError` if it must not be acted on,
        `ProtocolError` if waiting will not help.
        """
        return self._fetch(self.clock())

    def instance(self, after: Reading, *, third: bool = False) -> bytes:
        """The body of `/metadata/instance`, waited for in what is left of the time after a
        reading; any JSON will do. It is the `third` question if events were asked for. Raises
        what `fetch` does."""
        begin = self.clock() - after.waited
        self._make_room(after, third=third)
        other = copy.copy(self)
        other.path, other.parse = "/metadata/instance", _decoded
        return other._fetch(begin).body

    def events(self, after: Reading) -> bytes:
        """The body of `/metadata/scheduledevents` after a reading: one question, which is not
        waited for, since the first of a VM's life may take two minutes (Microsoft, "Scheduled
        Events for Linux VMs"). Any JSON will do. Raises what `fetch` does."""
        self._make_room(after)
        other = copy.copy(self)
        other.path, other.api_version, other.parse = events.PATH, events.VERSION, _decoded
        other.wait, other.absent_wait, other.only_attempt = 0.0, 0.0, _BRIEF
        reading = other._fetch(self.clock())
        if reading.metadata is None:
            raise NoAnswerError(f"{self.endpoint}{events.PATH}: not there")
        return reading.body

    def _make_room(self, after: Reading, *, third: bool = False) -> None:
        """No third question in one second: the last two may be half a second apart, or less."""
        if third and after.attempts == 1:
            self.sleep(_PACE)
        elif after.attempts > 1:
            self.sleep(LAST_QUESTION)

    def _fetch(self, begin: float) -> Reading:
        fetch = _Fetch(self, begin)
        try:
            return fetch.run()
        except LbhookError as error:
            error.attempts, error.waited = fetch.attempts, self.clock() - begin
            error.guarded = fetch.guarded
            raise


class _Fetch:
    def __init__(self, service: Service, begin: float) -> None:
        self.service = service
        self.begin = begin
        self.attempts = 0
        self.hung = 0
        self.pace = _PACE
        self.absent = False
        self.guarded: bool | None = None
        self.agent_was_asked = False
        self.agent_says = ""
        self.last: LbhookError = NoAnswerError()

    def run(self) -> Reading:
        while True:
            started = self.service.clock()
            self.attempts += 1
            meaning, body = self._ask(started)
            if meaning.kind is Kind.GOOD:
                metadata = self._parse(body)
                if metadata:
                    return self._reading(body, metadata)
            elif meaning.kind in (Kind.OURS, Kind.REFUSED):
                hint = "waiting will not help; nothing was changed"
                raise ProtocolError(meaning.reason, hint=meaning.hint or hint)
            else:
                self.absent = self.absent or meaning.kind is Kind.ABSENT
                self.last = NoAnswerError(meaning.reason, hint=meaning.hint)
            if meaning.unsigned:
                self._wait_for_agent()
            following = self._following(meaning, started)
            if following is not None:
                self._sleep_until(following, meaning.kind)
            elif meaning.kind is Kind.ABSENT:
                return self._reading(body, None)
            else:
                raise self._given_up()

    def _ask(self, started: float) -> tuple[Meaning, bytes]:
        service, request_id = self.service, str(uuid.uuid4())
        url = f"{service.endpoint}{service.path}"
        parameters = {"api-version": service.api_version}
        patience = _PATIENCE[self.hung % len(_PATIENCE)] if service.wait else service.only_attempt
        deadline = min(started + patience, self._end())
        service.log(f"GET {url} (request {request_id})")
        try:
            response = service.get(url, parameters, request_id, deadline, service.clock)
        except NoResponseError as error:
            self.hung = self.hung + 1 if error.hung else 0
            service.log(f"{error} (request {request_id})")
            reason = f"{service.endpoint}: {error}"
            return Meaning(kind=Kind.TRANSIENT, reason=reason, hint=_hint(error)), b""
        self.hung = 0
        size = len(response.body)
        service.log(f"status {response.status}, {size} bytes (request {request_id})")
        if guard.guards(*response):
            self.guarded = True
        elif response.status in (200, 404):
            self.guarded = False
        return classify(*response), response.body

    def _wait_for_agent(self) -> None:
        """Once in a fetch, and not to the last moment: what it says may be wrong."""
        left = self._end() - self.service.clock() - LAST_QUESTION
        if self.agent_was_asked or not self.service.wait or left <= 0:
            return
        self.agent_was_asked = True
        agent = self.service.find_agent()
        if agent:
            self._watch(f"metadata is guarded: waiting for {guard.PROGRAM}", self._end())
            self.agent_says = one_line(agent.wait(left), 200)
            self.service.log(self.agent_says or f"{guard.PROGRAM} is ready")

    def _parse(self, body: bytes) -> Metadata | None:
        """What a body says; None if it is worth asking again."""
        try:
            return self.service.parse(body)
        except UnreadableBodyError as error:
            self.last = NoAnswerError(*error.problems, hint=IN_BETWEEN)
        except MetadataError as error:
            if not error.partial:
                raise
            self.last = error
        return None

    def _end(self, kind: Kind | None = None) -> float:
        """When the time is up for another question, after an answer of this kind."""
        whole = self.service.wait or self.service.only_attempt
        if kind is Kind.ABSENT:
            whole = self.service.absent_wait
        elif self.absent:
            whole = max(whole, self.service.absent_wait)
        return self.begin + whole

    def _following(self, meaning: Meaning, started: float) -> float | None:
        """When to ask again; None if there is no time left for it."""
        self.pace = min(self.pace * 2, _SLOWEST) if meaning.slow_down else _PACE
        if not self.service.wait and not self.absent:
            return None
        now, end = self.service.clock(), self._end(meaning.kind)
        following = max(started + self.pace, now + meaning.retry_after)
        if following < end:
            return following
        # The last moments of the time are worth one more question, whatever the pace.
        following = max(end - LAST_QUESTION, started + LAST_QUESTION, now)
        return following if end - following >= _SHORTEST else None

    def _sleep_until(self, following: float, kind: Kind) -> None:
        self._watch("; ".join(self.last.problems[:1]), self._end(kind))
        self.service.sleep(max(0.0, following - self.service.clock()))

    def _watch(self, reason: str, end: float) -> None:
        now = self.service.clock()
        waited, left = now - self.begin, end - now
        self.service.watch(Waiting(reason=reason, attempts=self.attempts, waited=waited, left=left))

    def _reading(self, body: bytes, metadata: Metadata | None) -> Reading:
        waited = self.service.clock() - self.begin
        return Reading(
            body=body,
            metadata=metadata,
            attempts=self.attempts,
            waited=waited,
            guarded=bool(self.guarded),
        )

    def _given_up(self) -> LbhookError:
        if isinstance(self.last, MetadataError):
            return self.last
        waited = self.service.clock() - self.begin
        tried = "once" if self.attempts == 1 else f"{self.attempts} times"
        return NoAnswerError(
            f"no usable answer from the metadata service: asked {tried} in {waited:.0f} s",
            *(f"the last reason: {problem}" for problem in self.last.problems),
            *filter(None, (self.agent_says,)),
            hint=self.last.hint,
        )


def _decoded(body: bytes) -> Metadata:
    """Any JSON."""
    decode(body)
    return Metadata()


def _hint(error: NoResponseError) -> str:
    """What to do about an answer that did not come, or was none: who answers is the right one,
    unless nothing came at all."""
    if error.locked:
        return guard.HINT.locked
    if error.cut or (error.heard and error.hung):
        return AGAIN
    return IN_BETWEEN if error.heard else _PRIMARY
