"""Asking the Azure Instance Metadata Service until there is an answer to believe."""

import time
import uuid
from collections.abc import Callable
from typing import NamedTuple

from ..errors import LbhookError, MetadataError, NoAnswerError, ProtocolError, UnreadableBodyError
from ..metadata import events
from ..metadata.body import parse
from ..metadata.model import Metadata
from ..metadata.reader import decode
from . import guard
from .classification import AGAIN, IN_BETWEEN, Kind, Meaning, classify, one_line
from .timetable import LAST_QUESTION, ONLY_ATTEMPT, PACE, Timetable
from .transport import NoResponseError, Response, get

# What is asked besides, and not needed.
_BRIEF = 2.0
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


class Service(NamedTuple):
    """One metadata service, and how long it is asked.

    `wait`, `absent_wait` and `only_attempt` are those of the `Timetable`, in seconds on a monotonic
    clock. `get` asks once, as `transport.get` does. `find_agent` finds the agent of guarded
    metadata, which is waited for where IMDS wants a signature.
    """

    endpoint: str
    api_version: str
    wait: float
    absent_wait: float = 0.0
    watch: Callable[[Waiting], None] = lambda _: None
    log: Callable[[str], None] = lambda _: None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    get: Callable[[str, dict[str, str], str, float, Callable[[], float]], Response] = get
    path: str = "/metadata/loadbalancer"
    parse: Callable[[bytes], Metadata] = parse
    find_agent: Callable[[], guard.Agent | None] = lambda: None
    only_attempt: float = ONLY_ATTEMPT

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
        return self._replace(path="/metadata/instance", parse=_decoded)._fetch(begin).body

    def events(self, after: Reading) -> bytes:
        """The body of `/metadata/scheduledevents` after a reading: one question, which is not
        waited for, since the first of a VM's life may take two minutes (Microsoft, "Scheduled
        Events for Linux VMs"). Any JSON will do. Raises what `fetch` does."""
        self._make_room(after)
        other = self._replace(path=events.PATH, api_version=events.VERSION, parse=_decoded)
        brief = other._replace(wait=0.0, absent_wait=0.0, only_attempt=_BRIEF)
        reading = brief._fetch(self.clock())
        if reading.metadata is None:
            raise NoAnswerError(f"{self.endpoint}{events.PATH}: not there")
        return reading.body

    def _make_room(self, after: Reading, *, third: bool = False) -> None:
        """No third question in one second: the last two may be half a second apart, or less."""
        if third and after.attempts == 1:
            self.sleep(PACE)
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
        self.timetable = Timetable(
            begin,
            wait=service.wait,
            absent_wait=service.absent_wait,
            only_attempt=service.only_attempt,
        )
        self.attempts = 0
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
                self.last = NoAnswerError(meaning.reason, hint=meaning.hint)
            if meaning.unsigned:
                self._wait_for_agent()
            following = self.timetable.following(meaning, started, self.service.clock())
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
        deadline = self.timetable.deadline(started)
        service.log(f"GET {url} (request {request_id})")
        try:
            response = service.get(url, parameters, request_id, deadline, service.clock)
        except NoResponseError as error:
            self.timetable.note(Kind.TRANSIENT, hung=error.hung)
            service.log(f"{error} (request {request_id})")
            reason = f"{service.endpoint}: {error}"
            return Meaning(kind=Kind.TRANSIENT, reason=reason, hint=_hint(error)), b""
        size = len(response.body)
        service.log(f"status {response.status}, {size} bytes (request {request_id})")
        if guard.guards(*response):
            self.guarded = True
        elif response.status in (200, 404):
            self.guarded = False
        meaning = classify(*response)
        self.timetable.note(meaning.kind, hung=False)
        return meaning, response.body

    def _wait_for_agent(self) -> None:
        """Once in a fetch, and not to the last moment: what it says may be wrong."""
        left = self.timetable.end() - self.service.clock() - LAST_QUESTION
        if self.agent_was_asked or not self.service.wait or left <= 0:
            return
        self.agent_was_asked = True
        agent = self.service.find_agent()
        if agent:
            self._watch(f"metadata is guarded: waiting for {guard.PROGRAM}", self.timetable.end())
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

    def _sleep_until(self, following: float, kind: Kind) -> None:
        self._watch("; ".join(self.last.problems[:1]), self.timetable.end(kind))
        self.service.sleep(max(0.0, following - self.service.clock()))

    def _watch(self, reason: str, end: float) -> None:
        waited, left = self._waited(), end - self.service.clock()
        self.service.watch(Waiting(reason, self.attempts, waited, left))

    def _waited(self) -> float:
        return self.service.clock() - self.timetable.begin

    def _reading(self, body: bytes, metadata: Metadata | None) -> Reading:
        return Reading(body, metadata, self.attempts, self._waited(), bool(self.guarded))

    def _given_up(self) -> LbhookError:
        if isinstance(self.last, MetadataError):
            return self.last
        tried = "once" if self.attempts == 1 else f"{self.attempts} times"
        return NoAnswerError(
            f"no usable answer from the metadata service: asked {tried} in {self._waited():.0f} s",
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
