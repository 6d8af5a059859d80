"""A scripted life of the metadata service: what it answers, and what goes wrong, step by step.

A playbook is TOML: `title`, `start` ("launch", the default, or "first-request": when time begins
to run), `guarded` (true: the agent of the Metadata Security Protocol hands each answer on, and says
at /provision whether it is ready) and `[[step]]` tables. A step lasts `for` a duration ("20s") or
for a number of `requests`; the last may lack both and goes on for ever. After the last one the
service is sound. The keys:

answer        what /metadata/loadbalancer says: a name, or a file beside the playbook;
              without it, the body that the emulator was given
wording       of an error: "older" (the default, as on the wire) or "newer" (as documented)
status        in place of the answer's own
retry_after   header: seconds, or a date as HTTP writes it
events        what is scheduled while the step lasts, on /metadata/scheduledevents: tables of
              `type` (as Azure names it), `status` ("Scheduled" or "Started"), `notice` ("15m",
              which counts from the step's beginning), `id` and `names` (VMs; without it, this one)
tag           the value of the VM's tag `lbhook` while the step lasts
path          only requests for this path, and below, are concerned, counted and spoilt
fault         what spoils the exchange, on every path:
  refuse        nobody listens; needs `for`
  hang          the request is read and never answered
  reset         connection reset; `after` so many bytes of the body (default: before the head)
  stall, cut    silence, or a closed connection, `after` so many bytes (default: half the body)
  drip          the body arrives at `rate` bytes a second (default 1); drip-headers: the head too
  status        `status`, with `body` and `content_type`
  redirect      to `location`, with `status` (default 302)
  huge          a true body blown up with blanks to `size` bytes (default 5 MiB), by `transfer`:
                "plain", "chunked", "gzip" (small on the wire)
  wrong-type    a true body labelled `content_type` (default text/html)
  not-json      status 200 and a page, or `body`
  partial       `missing` keys ("inboundRules", "inboundRules.0.backendPort") are left out
  throttle      429; updating: 410
  unsigned      401, of IMDS itself: the agent is not there, and /provision is not finished
  forgotten     421, of the agent: it has lost its note of the connection
  denied        403, of the agent, for `users` (default: everybody); others are served. Who asks is
                known by the owner of the socket, on this machine alone
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..config import schema, toml_files
from ..errors import ConfigError, UsageError
from ..layout import suggestion
from ..metadata.events import INTERRUPTING
from ..resources import PLAYBOOKS
from .faults import Step
from .replies import Event, Source, locate


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A title and its steps; `start` says from when their time is counted, `guarded` that the
    agent of guarded metadata is in between."""

    title: str = ""
    start: str = "launch"
    guarded: bool = False
    steps: tuple[Step, ...] = ()


def load(word: str | Path) -> Playbook:
    """Return a playbook that ships, by name, or one from a file.

    UsageError if there is none; ConfigError with every problem, each with file and key.
    """
    if word in PLAYBOOKS:
        text = (files("lbhook") / "playbooks" / f"{word}.toml").read_text(encoding="utf-8")
        return parse(text, name=str(word))
    path = Path(word)
    if not path.is_file():
        near = suggestion(str(word), PLAYBOOKS)
        raise UsageError(f'"{word}" is neither a file nor a shipped playbook{near}')
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"{path}: {problem}") from problem
    return parse(text, name=str(path), beside=path.parent)


def parse(text: str, *, name: str = "playbook", beside: Path = Path()) -> Playbook:
    """Return the playbook that a TOML text describes; files it names are beside `beside`."""
    try:
        data = toml_files.decoded(text)
    except schema.Misfit as problem:
        raise ConfigError(f"{name}: {problem}") from problem
    keys: Mapping[str, schema.Read[Any]] = {
        "title": schema.text,
        "start": schema.choice("launch", "first-request"),
        "guarded": schema.boolean,
        "step": schema.items(functools.partial(_step, beside=beside)),
    }
    problems = list(_of_order(data))
    try:
        values = schema.table(keys)(data)
    except schema.Misfit as misfit:
        problems += misfit.problems
    if problems:
        raise ConfigError(*(f"{name}: {place.lstrip('.')}: {text}" for place, text in problems))
    return Playbook(steps=values.pop("step"), **values)


def _of_order(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    steps = data.get("step", [])
    if steps == []:
        yield "step", "there must be at least one [[step]]"
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        return
    for at, step in enumerate(steps[:-1]):
        if "for" not in step and "requests" not in step:
            yield f"step[{at}]", "only the last step may lack both `for` and `requests`"
    if data.get("start") == "first-request" and steps and steps[0].get("fault") == "refuse":
        yield "start", "the first request never comes while step[0] refuses connections"


def _step(value: object, *, beside: Path) -> Step:
    problems: list[tuple[str, str]] = []
    try:
        values = schema.table({**_KEYS, "answer": functools.partial(_answer, beside=beside)})(value)
    except schema.Misfit as misfit:
        problems += misfit.problems
    if isinstance(value, dict):
        problems += _contradictions(value)
    if problems:
        raise schema.Misfit(*problems)
    if "for" in values:
        values["seconds"] = values.pop("for")
    return Step(**values)


def _answer(value: object, *, beside: Path) -> Source:
    try:
        return locate(schema.text(value), beside)
    except UsageError as problem:
        raise schema.Misfit(("", str(problem))) from None


def _contradictions(step: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    fault = step.get("fault", "")
    with_fault = f'with fault "{fault}"' if fault else "without a fault"
    means = _FAULTS.get(fault) if isinstance(fault, str) else None
    for key in step:
        if means is not None and key in {*_KEYS, "answer"} - _ALWAYS - means:
            yield f".{key}", f"means nothing {with_fault}"
    if "for" in step and "requests" in step:
        yield ".requests", "a step has `for` or `requests`, not both"
    if fault == "refuse" and "requests" in step:
        yield ".requests", "requests that are refused can't be counted: give `for`"
    if fault == "status" and "status" not in step:
        yield ".status", "missing"


def _number(low: int, high: int) -> schema.Read[int]:
    def read(value: object) -> int:
        if not low <= schema.whole(value) <= high:
            raise schema.Misfit(("", f"{schema.shown(value)} is not from {low} to {high}"))
        return schema.whole(value)

    return read


def _rate(value: object) -> float:
    number = value if isinstance(value, float) else schema.whole(value)
    if not 0 < number < 1e9:
        raise schema.Misfit(("", f"{schema.shown(value)} is not a rate in bytes a second"))
    return float(number)


def _event(value: object) -> Event:
    values = schema.table(_EVENT)(value)
    return Event(**{{"type": "kind"}.get(key, key): one for key, one in values.items()})


def _retry_after(value: object) -> str:
    return _line(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)


_line = schema.words(r"[ -~]+", "one line of ASCII")
_EVENT: Mapping[str, schema.Read[Any]] = {
    "type": schema.choice(*INTERRUPTING, "Freeze"),
    "status": schema.choice("Scheduled", "Started"),
    "notice": schema.duration,
    "id": _line,
    "names": schema.items(_line),
}
_SOURCE = frozenset({"answer", "wording", "retry_after"})
# What means something with each fault, besides _ALWAYS; "" is a step without one.
_FAULTS: Mapping[str, frozenset[str]] = {
    "": _SOURCE | {"status"},
    "refuse": frozenset(),
    "hang": frozenset(),
    "reset": _SOURCE | {"after"},
    "stall": _SOURCE | {"after"},
    "cut": _SOURCE | {"after"},
    "drip": _SOURCE | {"rate"},
    "drip-headers": _SOURCE | {"rate"},
    "status": frozenset({"status", "body", "content_type", "retry_after"}),
    "redirect": frozenset({"status", "location"}),
    "huge": _SOURCE | {"size", "transfer"},
    "wrong-type": _SOURCE | {"content_type"},
    "not-json": frozenset({"body", "content_type"}),
    "partial": _SOURCE | {"missing"},
    "throttle": frozenset({"wording", "retry_after"}),
    "updating": frozenset({"wording", "retry_after"}),
    "unsigned": frozenset({"wording", "retry_after"}),
    "forgotten": frozenset({"retry_after"}),
    "denied": frozenset({"users"}),
}
_ALWAYS = frozenset({"for", "requests", "path", "fault", "events", "tag"})
_KEYS: Mapping[str, schema.Read[Any]] = {
    "for": schema.duration,
    "requests": _number(1, 10**9),
    "wording": schema.choice("older", "newer"),
    "status": _number(200, 599),
    "retry_after": _retry_after,
    "path": _line,
    "fault": schema.choice(*(fault for fault in _FAULTS if fault)),
    "after": _number(0, 10**9),
    "rate": _rate,
    "body": schema.text,
    "content_type": _line,
    "location": _line,
    "size": _number(1, 2**30),
    "transfer": schema.choice("plain", "chunked", "gzip"),
    "missing": schema.items(schema.text),
    "users": schema.items(_line),
    "events": schema.items(_event),
    "tag": _line,
}
