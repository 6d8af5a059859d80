"""What the metadata service says to a request: soundly, throttled, or as a step spoils it."""

import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Callable
from pathlib import Path

from ..resources import shipped
from . import http
from .faults import Step
from .http import Asked
from .playbook import Playbook
from .replies import (
    EVENTS,
    LOADBALANCER,
    PROVISION,
    Answer,
    Source,
    describe,
    error,
    handed_on,
    provision,
    read,
    scheduled,
)
from .script import Script


class Service:
    """Asked by several threads. `body`, of /metadata/loadbalancer, and `instance` may be replaced
    meanwhile. At most `limit` requests a second are answered, None for any number."""

    body: Source = None
    instance: bytes | Path | None = None

    def __init__(self, playbook: Playbook, limit: int | None, clock: Callable[[], float]) -> None:
        self._playbook = playbook
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._recent: deque[float] = deque()
        self._since: dict[int, float] = {}

    def begin(self) -> None:
        """The playbook's time runs from here."""
        self._script = Script(self._playbook, self._clock)
        self._since.clear()

    def current(self) -> tuple[int, Step]:
        """Number and step that are in force now."""
        with self._lock:
            return self._script.current()

    def answer(self, asked: Asked, user: Callable[[], str]) -> tuple[int, Step, Answer]:
        """Count a request; number and step that it falls under, and what it is answered. Who asks
        is looked at only where a step is about some users."""
        with self._lock:
            if self._playbook.guarded and asked.path == PROVISION:
                return -1, Step(), provision(finished=self._script.current()[1].by_agent)
            if self._throttled():
                return -1, Step(), error("throttled")
            index, step = self._script.take(asked.path)
        if step.users and not step.concerns_user(user()):
            step = Step()
        answer = step.spoil(self._sound(asked, step, index))
        if self._playbook.guarded and step.by_agent:
            answer = handed_on(answer)
        return index, step, answer

    def _throttled(self) -> bool:
        now = self._clock()
        while self._recent and now - self._recent[0] >= 1.0:
            self._recent.popleft()
        if self._limit is not None and len(self._recent) >= self._limit:
            return True
        self._recent.append(now)
        return False

    def _sound(self, asked: Asked, step: Step, index: int) -> Answer:
        path = asked.path.rstrip("/")
        wrong = http.refusal(asked, path)
        if wrong:
            return wrong
        if path == "/metadata/versions":
            return Answer(note="versions", body=shipped("versions.json"))
        if path == EVENTS:
            since = self._since.setdefault(index, time.time())
            return scheduled(step.events, index + 1, since, self.instance)
        if path == LOADBALANCER:
            return read(step.answer or self.body, step.wording)
        query = dict(urllib.parse.parse_qsl(asked.query))
        return describe(self.instance, path, query, step.tag)
