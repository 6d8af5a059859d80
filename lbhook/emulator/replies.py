"""What the metadata service says when nothing goes wrong: bodies, errors and the instance.

The bodies ship with the package; what an error says is by name, in one of two wordings.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..layout import suggestion
from ..resources import BODIES, shipped

LOADBALANCER = "/metadata/loadbalancer"
INSTANCE = "/metadata/instance"
EVENTS = "/metadata/scheduledevents"
# Microsoft, "Scheduled Events for Linux VMs"; the later have what the earlier have, and more.
EVENTS_VERSIONS = (
    "2017-08-01",
    "2017-11-01",
    "2019-01-01",
    "2019-04-01",
    "2019-08-01",
    "2020-07-01",
)
JSON = "application/json; charset=utf-8"
# Where the agent of guarded metadata says whether it is ready, and what it adds to what IMDS says
# (Azure/GuestProxyAgent: provision.rs, proxy_server.rs).
PROVISION = "/provision"
BY_AGENT = ("x-ms-azure-host-authorization", "value")
# What `extended=true` adds, for those who provision the VM. Microsoft does not document it; names,
# types and the api-version are those that cloud-init, which Microsoft contributes to, reads.
EXTENDED_SINCE = "2021-03-01"
EXTENDED: Mapping[str, Any] = {"compute": {"hasCustomData": False, "ppsType": "None"}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer; `note` is what a log calls it, `closes` that the connection ends with it."""

    note: str
    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    closes: bool = False


# What a body may be given as: a name, bytes, a file (read at each request), an answer, or nothing
# (no load balancer).
Source = str | bytes | Path | Answer | None


@functools.cache
def _errors() -> Mapping[str, Any]:
    table: dict[str, Any] = json.loads(shipped("errors.json"))
    return table


def names() -> tuple[str, ...]:
    """Return every name that `answer` may have: bodies first, then errors."""
    return (*BODIES, *_errors())


def error(name: str, wording: str = "older", **words: str) -> Answer:
    """Return an error answer by name; `words` fill its blanks (path, method, ...).

    The sentences are Microsoft's (azure-docs, load balancer: common error codes for IMDS, editions
    before and from 2024; IMDS: errors and versioning). Those without a "newer" wording have one
    only; not-found was seen; 401, 403, 408, 410, 500, 502, 504, X-Forwarded-For and "endpoint is
    updating" are documented as statuses, and their sentences are ours.
    """
    entry = _errors()[name]
    text = str(entry.get(wording, entry["older"]))
    words = {"path": "/metadata/loadbalancer", "method": "GET", **words}
    for blank, word in words.items():
        text = text.replace("{" + blank + "}", word)
    body: dict[str, Any] = {"error": text}
    if entry.get("newest"):
        body["newest-versions"] = versions()[:-4:-1]
    return Answer(note=name, status=entry["status"], body=json.dumps(body).encode())


def bare(status: int) -> Answer:
    """Return what the agent of guarded metadata says by itself: a status, and nothing else."""
    return Answer(note="agent", status=status, body=b"", closes=True)


def provision(*, finished: bool) -> Answer:
    """Return what the agent says of itself on its own path."""
    body = json.dumps({"finished": finished, "errorMessage": ""})
    return Answer(note="provision", body=body.encode())


def handed_on(answer: Answer) -> Answer:
    """Return an answer as it is when the agent handed it on; what it says itself has no body."""
    return replace(answer, headers=(*answer.headers, BY_AGENT)) if answer.body else answer


def versions() -> list[str]:
    """Return the api-versions that the service knows, oldest first."""
    known: list[str] = json.loads(shipped("versions.json"))["apiVersions"]
    return known


def locate(text: str, beside: Path = Path()) -> Source:
    """Return the source that a user's word means: a name, else a file; UsageError if neither."""
    if text in names():
        return text
    path = beside / text
    if path.is_file():
        return path
    raise UsageError(f'"{text}" is neither a file nor a known answer{suggestion(text, names())}')


def read(source: Source, wording: str = "older") -> Answer:
    """Return what a source says now. A file that can't be read is answered as status 500."""
    if source is None:
        return error("absent", wording)
    if isinstance(source, Answer):
        return source
    if isinstance(source, bytes):
        return Answer(note="bytes", body=source)
    if isinstance(source, str):
        if source in BODIES:
            return Answer(note=source, body=shipped(f"{source}.json"))
        return error(source, wording)
    try:
        return Answer(note=source.name, body=source.read_bytes())
    except OSError as problem:
        return replace(error("internal"), note=f"can't read {source}: {problem.strerror}")


def describe(
    source: bytes | Path | None, path: str, query: Mapping[str, str], tag: str = ""
) -> Answer:
    """Return what /metadata/instance, or what is below it, says by `source`; None is the sample.
    `tag` is the value of the VM's tag `lbhook`."""
    whole = read(shipped("instance.json") if source is None else source)
    if whole.status != 200:
        return whole
    try:
        value = json.loads(whole.body)
    except ValueError:
        return replace(error("internal"), note=f"{whole.note} is not JSON")
    version = query["api-version"]
    if isinstance(value, dict) and isinstance(value.get("compute"), dict):
        value["compute"] = _as_of(version, _tagged(value["compute"], tag))
    if isinstance(value, dict) and version >= EXTENDED_SINCE and query.get("extended") == "true":
        value.setdefault("extended", EXTENDED)
    try:
        for key in path[len(INSTANCE) :].split("/")[1:]:
            value = value[int(key) if isinstance(value, list) else key]
    except (LookupError, ValueError, TypeError):
        return error("not-found")
    return _formatted(value, query.get("format", "json"))


def _tagged(compute: Mapping[str, Any], tag: str) -> Mapping[str, Any]:
    if not tag:
        return compute
    own = {"name": "lbhook", "value": tag}
    tags = ";".join(filter(None, (compute.get("tags", ""), f"lbhook:{tag}")))
    return {**compute, "tags": tags, "tagsList": [*compute.get("tagsList", []), own]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A scheduled event: Azure's EventType and EventStatus; how many seconds of notice there were,
    which counts from `since` (seconds since 1970); the VMs it is for, by default this one."""

    kind: str = "Reboot"
    status: str = "Scheduled"
    notice: float = 900.0
    names: tuple[str, ...] = ()
    id: str = "C7061BAC-AFDC-4513-B24B-AA5F13A16123"


def scheduled(
    listed: Sequence[Event], incarnation: int, since: float, source: bytes | Path | None
) -> Answer:
    """Return what /metadata/scheduledevents says. Form and words are Microsoft's."""
    whole = read(shipped("instance.json") if source is None else source)
    mine = (json.loads(whole.body)["compute"]["name"],)
    events = [
        {
            "EventId": one.id,
            "EventStatus": one.status,
            "EventType": one.kind,
            "ResourceType": "VirtualMachine",
            "Resources": list(one.names or mine),
            "NotBefore": ""
            if one.status == "Started"
            else formatdate(since + one.notice, usegmt=True),
            "Description": "",
            "EventSource": "Platform",
            "DurationInSeconds": -1,
        }
        for one in listed
    ]
    body = json.dumps({"DocumentIncarnation": incarnation, "Events": events})
    return Answer(note="scheduledevents", body=body.encode())


def _as_of(version: str, compute: Mapping[str, Any]) -> dict[str, Any]:
    introduced = json.loads(shipped("introduced.json"))  # by Microsoft's table of the schema
    return {key: value for key, value in compute.items() if introduced.get(key, "") <= version}


def _formatted(value: Any, form: str) -> Answer:
    """Return a value as JSON or text; a leaf can't be had as JSON, which is what is documented."""
    leaf = not isinstance(value, dict | list)
    if form == "text":
        text = str(value) if leaf else "\n".join(_listing(value))
        return Answer(note="instance", body=text.encode(), content_type="text/plain; charset=utf-8")
    if form != "json" or leaf:
        return error("wrong-parameter", value=form, parameter="format")
    return Answer(note="instance", body=json.dumps(value).encode())


def _listing(value: Any) -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return [f"{key}/" if isinstance(inner, dict | list) else str(key) for key, inner in items]
