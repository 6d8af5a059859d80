"""A step of a playbook, and what its fault makes of an answer."""

from __future__ import annotations

import contextlib
import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .replies import JSON, LOADBALANCER, Answer, Event, Source, bare, error, read

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step; times in seconds, sizes in bytes. playbook's docstring says what each key is."""

    seconds: float | None = None
    requests: int | None = None
    answer: Source = None  # None: the emulator's own body
    wording: str = "older"
    status: int | None = None
    retry_after: str = ""
    path: str = ""
    fault: str = ""
    after: int | None = None
    rate: float = 1.0
    body: str | None = None
    content_type: str = ""
    location: str = "http://127.0.0.1:9/"
    size: int = 5 * MIB
    transfer: str = "plain"
    missing: tuple[str, ...] = ("inboundRules",)
    users: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    tag: str = ""

    def __str__(self) -> str:
        sound = ", ".join(f"{one.kind} {one.status}" for one in self.events) or "sound"
        what = self.fault or (read(self.answer).note if self.answer else sound)
        if self.seconds is not None:
            return f"{self.seconds:g} s: {what}"
        return what if self.requests is None else f"{self.requests} x {what}"

    def concerns(self, path: str) -> bool:
        """Whether a request for this path belongs to the step; only faults reach every path."""
        prefix = self.path or (LOADBALANCER if self.answer and not self.fault else "")
        return not prefix or path == prefix or path.startswith(prefix + "/")

    @property
    def by_agent(self) -> bool:
        """Whether what is answered has passed the agent of guarded metadata."""
        return self.fault != "unsigned"

    def concerns_user(self, user: str) -> bool:
        """Whether the fault is for this user; one that nobody is named for is for all."""
        return not self.users or user in self.users

    def spoil(self, sound: Answer) -> Answer:
        """Return the answer with the step's status, headers and damage in it."""
        spoilt = _SPOILERS.get(self.fault, _as_it_is)(self, sound)
        if self.status is not None:
            spoilt = replace(spoilt, status=self.status)
        if self.retry_after:
            spoilt = _with_header(spoilt, "Retry-After", self.retry_after)
        return replace(spoilt, note=self.fault) if self.fault else spoilt


def _with_header(answer: Answer, name: str, value: str) -> Answer:
    return replace(answer, headers=(*answer.headers, (name, value)))


def _as_it_is(_: Step, sound: Answer) -> Answer:
    return sound


def _throttled(step: Step, _: Answer) -> Answer:
    return error("throttled", step.wording)


def _updating(step: Step, _: Answer) -> Answer:
    return error("updating", step.wording)


def _unsigned(step: Step, _: Answer) -> Answer:
    return error("unauthorized", step.wording)


def _forgotten(_: Step, __: Answer) -> Answer:
    return bare(421)


def _denied(_: Step, __: Answer) -> Answer:
    return bare(403)


def _redirect(step: Step, _: Answer) -> Answer:
    return Answer(note="", status=302, body=b"", headers=(("Location", step.location),))


def _page(step: Step, _: Answer) -> Answer:
    page = "<html><body>Please log in</body></html>" if step.body is None else step.body
    return Answer(note="", body=page.encode(), content_type=step.content_type or JSON)


def _relabel(step: Step, sound: Answer) -> Answer:
    return replace(sound, content_type=step.content_type or "text/html")


def _blow_up(step: Step, sound: Answer) -> Answer:
    body = sound.body.ljust(step.size)
    if step.transfer == "gzip":
        packed = replace(sound, body=gzip.compress(body))
        return _with_header(packed, "Content-Encoding", "gzip")
    if step.transfer == "chunked":
        chunks = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
        return _with_header(replace(sound, body=framed), "Transfer-Encoding", "chunked")
    return replace(sound, body=body)


def _cut_out(step: Step, sound: Answer) -> Answer:
    try:
        data = json.loads(sound.body)
    except ValueError:
        return sound
    if not isinstance(data, dict) or "loadbalancer" not in data:
        return sound
    for path in step.missing:
        inner = data["loadbalancer"]
        *parents, last = (int(word) if word.isdigit() else word for word in path.split("."))
        with contextlib.suppress(LookupError, TypeError):  # what never was there is left out too
            for key in parents:
                inner = inner[key]
            del inner[last]
    return replace(sound, body=json.dumps(data).encode())


_SPOILERS: Mapping[str, Callable[[Step, Answer], Answer]] = {
    "status": _page,
    "redirect": _redirect,
    "huge": _blow_up,
    "wrong-type": _relabel,
    "not-json": _page,
    "partial": _cut_out,
    "throttle": _throttled,
    "updating": _updating,
    "unsigned": _unsigned,
    "forgotten": _forgotten,
    "denied": _denied,
}
