"""HTTP as the metadata service speaks it: requests read, refused, and answers as bytes."""

from __future__ import annotations

import http.client
import urllib.parse
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import BinaryIO

from .faults import Step
from .replies import EVENTS, EVENTS_VERSIONS, INSTANCE, LOADBALANCER, Answer, error, versions

LOADBALANCER_SINCE = "2020-10-01"  # the api-version that introduced it, by Microsoft's table


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that came and what was answered; `status` is None if no answer was begun.

    `headers` have lower-case names; `at` is in seconds since the emulator started; `note` is the
    name of the answer or of the fault.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    status: int | None
    at: float
    note: str

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.status or '-'} {self.note}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as it was read: names of headers in lower case, no path if it was not HTTP."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    keep_alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Bytes sent at once, bytes sent at a rate, and how it ends: keep, close, reset or hang."""

    at_once: bytes = b""
    slowly: bytes = b""
    rate: float = 1.0
    ending: str = "keep"


def read_request(reader: BinaryIO) -> Asked | None:
    """Return the next request of a connection, with its body skipped; None at its end."""
    line = reader.readline(65537).decode("latin-1")
    if not line:
        return None
    try:
        method, target, version = line.split()
        headers = {name.lower(): value for name, value in http.client.parse_headers(reader).items()}
        url = urllib.parse.urlsplit(target)
        reader.read(min(int(headers.get("content-length", 0)), 65536))
    except (ValueError, http.client.HTTPException):
        return Asked(method="?", path="", query="", headers={}, keep_alive=False)
    return Asked(
        method=method,
        path=url.path,
        query=url.query,
        headers=headers,
        keep_alive=version == "HTTP/1.1" and headers.get("connection", "").lower() != "close",
    )


def refusal(asked: Asked, path: str) -> Answer | None:
    """Return what the service says to a request that it will not serve."""
    if not asked.path:
        return error("unexpected-request")
    words = {"path": asked.path, "method": asked.method}
    if asked.method != "GET":
        return error("wrong-method", **words)
    if asked.headers.get("metadata", "").strip().lower() != "true":
        return error("missing-header")
    if "x-forwarded-for" in asked.headers:
        return error("forwarded")
    if path == "/metadata/versions":
        return None  # the one path that needs no api-version
    if path == EVENTS:
        return _events_refusal(asked)
    if path != LOADBALANCER and path != INSTANCE and not path.startswith(INSTANCE + "/"):
        return error("wrong-path", **words)
    return _query_refusal(asked, LOADBALANCER_SINCE if path == LOADBALANCER else "")


def _events_refusal(asked: Asked) -> Answer | None:
    """It has api-versions of its own."""
    query = dict(urllib.parse.parse_qsl(asked.query))
    return None if query.get("api-version") in EVENTS_VERSIONS else error("api-version")


def _query_refusal(asked: Asked, since: str) -> Answer | None:
    pairs = urllib.parse.parse_qsl(asked.query, keep_blank_values=True)
    query = dict(pairs)
    if len(query) != len(pairs):
        return error("unexpected-request")  # duplicate parameters are rejected, by documentation
    version = query.get("api-version")
    if version not in versions() or version < since:
        return error("api-version")
    return None


def _head(answer: Answer, keep_alive: bool) -> bytes:
    framing = () if _chunked(answer) else (("Content-Length", str(len(answer.body))),)
    lines = [
        f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}",
        f"Content-Type: {answer.content_type}",
        "Server: IMDS/150.870.65.1854",
        f"x-ms-request-id: {uuid.uuid4()}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in (*answer.headers, *framing)),
        *(() if keep_alive else ("Connection: close",)),
    ]
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _chunked(answer: Answer) -> bool:
    return any(name == "Transfer-Encoding" for name, _ in answer.headers)


def deliver(step: Step, answer: Answer, asked: Asked) -> Delivery:
    """Return how an answer is to reach the client, by the step's fault."""
    keep = asked.keep_alive and not answer.closes
    head = _head(answer, keep)
    body = b"" if asked.method == "HEAD" else answer.body
    after = len(body) // 2 if step.after is None else step.after
    sound = "keep" if keep else "close"
    if step.fault in ("hang", "refuse"):
        return Delivery(ending="hang" if step.fault == "hang" else "reset")
    if step.fault == "reset":
        return Delivery(at_once=b"" if step.after is None else head + body[:after], ending="reset")
    if step.fault in ("stall", "cut"):
        ending = "hang" if step.fault == "stall" else "close"
        return Delivery(at_once=head + body[:after], ending=ending)
    if step.fault == "drip":
        return Delivery(at_once=head, slowly=body, rate=step.rate, ending=sound)
    if step.fault == "drip-headers":
        return Delivery(slowly=head + body, rate=step.rate, ending=sound)
    return Delivery(at_once=head + body, ending=sound)
