"""What an answer of the metadata service means, by its status and the beginning of its message.

The table is Microsoft's, corrected by what was seen on the wire: see
docs/decisions/0003-believing-an-answer.md.
"""

import email.utils
import enum
import re
import time
from collections.abc import Callable, Mapping
from datetime import timezone
from typing import NamedTuple

from ..errors import MetadataError
from ..metadata.model import ABSENT
from ..metadata.reader import MOST_BYTES, decode
from . import guard

# What the transport hands on as plain bytes.
READABLE = ("", "identity", "gzip", "x-gzip")


class Kind(enum.Enum):
    """What an answer means: see the error table of the documentation."""

    GOOD = "good"
    ABSENT = "absent"
    TRANSIENT = "transient"
    OURS = "ours"
    REFUSED = "refused"


class Meaning(NamedTuple):
    """The class of one answer, and what it tells the operator: why it is no good one, and what
    to do if it stays. `retry_after` in seconds; `unsigned` says that the agent of guarded
    metadata is to be waited for."""

    kind: Kind
    reason: str
    hint: str = ""
    retry_after: float = 0.0
    slow_down: bool = False
    unsigned: bool = False


_OURS = "; this is a bug of lbhook, or something in between changes the request: please report it"
# What to do if an answer stays as it is.
AGAIN = "try again, or with a longer --wait"
IN_BETWEEN = "IMDS never answers like this: is a proxy or an agent in between?"
_UPDATED = f"IMDS may be updating or not ready yet: {AGAIN}"
# Azure Stack Hub has IMDS, and no /metadata/loadbalancer.
_NOT_THERE = (
    f"{_UPDATED}; if it stays so, this Azure may have no such metadata, as Azure Stack Hub has"
    " none: `[rules.NAME]` of the configuration stands without an answer"
)
_SHARE = f"other programs on this VM use up its share of 5 requests a second: {AGAIN}"
_TEMPORARY = {
    408: "it was too slow",
    410: "being updated, which takes up to 70 s",
    425: "too early",
    429: "asked too often by this VM",
}


class _Missing(NamedTuple):
    """What a 404 means whose message begins so."""

    begins: str
    kind: Kind
    meaning: str
    hint: str = _UPDATED


# Microsoft's sentences, normalised: documentation and wire word them differently ("isn't",
# "is not", "Please ..."). The last row is every other 404.
_MISSING = (
    _Missing("no load balancer metadata is found", Kind.ABSENT, ""),
    _Missing("load balancer metadata api is not available", Kind.TRANSIENT, "being provisioned"),
    _Missing("/metadata/loadbalancer is not currently available", Kind.TRANSIENT, "being enabled"),
    _Missing("api is not found", Kind.OURS, ""),
    _Missing("imds endpoint is updating", Kind.TRANSIENT, "perhaps being updated"),
    _Missing("", Kind.TRANSIENT, "perhaps being updated", _NOT_THERE),
)


def classify(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    now: Callable[[], float] = time.time,
    asker: Callable[[], guard.Asker] = guard.asker,
) -> Meaning:
    """What an answer means, by its status and the beginning of its message."""
    message = _message(body)
    text = f"IMDS answered {status}" + (f": {one_line(message, 200)}" if message else "")
    after = _retry_after(headers, now)
    if status == 200:
        return _classify_good(headers, body, after)
    if 300 <= status < 400:
        where = headers.get("location", "elsewhere")[:80]
        reason = f"what answered is not IMDS: it redirects ({status}) to {where!a}"
        return Meaning(kind=Kind.REFUSED, reason=f"{reason}; is something in between?")
    guarded = _classify_guarded(status, headers, body, text, asker)
    if guarded:
        return guarded._replace(retry_after=after)
    # An error of IMDS has a message, or no body at all.
    hint = _UPDATED if status >= 400 and (message or not body) else IN_BETWEEN
    if status == 404:
        return _classify_missing(text, message, hint, after)
    if 400 <= status < 500 and status not in _TEMPORARY:
        return _classify_refused(status, text, body)
    reason = f"{text} ({_TEMPORARY[status]})" if status in _TEMPORARY else text
    if status == 429:
        return Meaning(
            kind=Kind.TRANSIENT, reason=reason, hint=_SHARE, retry_after=after, slow_down=True
        )
    return Meaning(kind=Kind.TRANSIENT, reason=reason, hint=hint, retry_after=after)


def _classify_guarded(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    text: str,
    asker: Callable[[], guard.Asker],
) -> Meaning | None:
    """What IMDS and the agent say where metadata is guarded; None if it is nothing of that."""
    own = guard.own_reason(status, headers, body)
    said = f"{status} without a body, as {guard.PROGRAM} answers: {own}"
    if status == 401:
        signed = guard.HEADER in headers
        reason = (
            f"{text} ({'the signature is not valid' if signed else 'the request is not signed'})"
        )
        hint = guard.HINT.rejected if signed else guard.HINT.unsigned
        return Meaning(kind=Kind.TRANSIENT, reason=reason, hint=hint, unsigned=True)
    if status == 421:
        hint = guard.HINT.forgotten if own else IN_BETWEEN
        return Meaning(kind=Kind.TRANSIENT, reason=said if own else text, hint=hint)
    if status == 403:
        told = said if own else f"{text}; {guard.DENIED}"
        return Meaning(kind=Kind.REFUSED, reason=f"{told} {asker()}", hint=asker().rule)
    if own:
        kind = Kind.OURS if status == 405 else Kind.TRANSIENT
        return Meaning(kind=kind, reason=said, hint=guard.HINT.ailing)
    return None


def _classify_good(headers: Mapping[str, str], body: bytes, after: float) -> Meaning:
    kind = headers.get("content-type", "")
    encoding = headers.get("content-encoding", "identity").lower()
    problem = ""
    if "json" not in kind.lower():
        problem = f"the answer is {ascii(kind[:40]) if kind else 'of no type'}, not JSON"
    elif encoding not in READABLE:
        problem = f"the answer is encoded as {encoding[:40]!a}, which lbhook did not ask for"
    elif len(body) > MOST_BYTES:
        problem = f"the answer is longer than {MOST_BYTES // 1024 // 1024} MiB"
    if problem:
        return Meaning(kind=Kind.TRANSIENT, reason=problem, hint=IN_BETWEEN, retry_after=after)
    return Meaning(kind=Kind.GOOD, reason="")


def _classify_missing(text: str, message: str, hint: str, after: float) -> Meaning:
    plain = message.lower().replace("\u2019", "'").replace("n't", " not")
    begins = re.sub(r"[^a-z/]+", " ", plain).strip()
    row = next(one for one in _MISSING if begins.startswith(one.begins))
    if row.kind is Kind.ABSENT:
        return Meaning(kind=row.kind, reason=f"no load balancer: {ABSENT}", retry_after=after)
    if row.kind is Kind.OURS:
        return Meaning(kind=row.kind, reason=f"{text}; the path is wrong, or a proxy answered")
    if hint is _UPDATED:
        hint = row.hint
    return Meaning(kind=row.kind, reason=f"{text} ({row.meaning})", hint=hint, retry_after=after)


def _classify_refused(status: int, text: str, body: bytes) -> Meaning:
    if status == 405:
        return Meaning(kind=Kind.OURS, reason=f"{text}{_OURS}")
    if status == 400:
        return Meaning(kind=Kind.OURS, reason=text + (_newest_versions(body) or _OURS))
    return Meaning(
        kind=Kind.REFUSED, reason=f"{text}; IMDS never sends this status: something else answered"
    )


def one_line(text: str, most: int) -> str:
    """The beginning of a text from the network, in one line of printable ASCII."""
    safe = (one if one.isascii() and one.isprintable() else ascii(one)[1:-1] for one in text[:most])
    return "".join(safe)[:most]


def _message(body: bytes) -> str:
    """The `error` of a body; empty if it has none."""
    message = _member(body, "error")
    return message if isinstance(message, str) else ""


def _newest_versions(body: bytes) -> str:
    versions = _member(body, "newest-versions")
    if not isinstance(versions, list):
        return ""
    dates = (one for one in versions[:10] if isinstance(one, str))
    known = [one for one in dates if re.fullmatch(r"[0-9-]{10}", one)]
    return f"; it knows {', '.join(known)}: set imds.api_version" if known else ""


def _member(body: bytes, key: str) -> object:
    try:
        value = decode(body)
    except MetadataError:
        return None
    return value.get(key) if isinstance(value, dict) else None


def _retry_after(headers: Mapping[str, str], now: Callable[[], float]) -> float:
    """Seconds from a Retry-After header, which has seconds or a date (RFC 9110, 10.2.3).

    A date counts from the answer's own: at boot the clock of this VM may not be set yet.
    """
    value = headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]+", value):
        return float(value)
    until = _instant(value)
    if until is None:
        return 0.0
    since = _instant(headers.get("date", ""))
    return max(0.0, until - (now() if since is None else since))


def _instant(date: str) -> float | None:
    try:
        found = email.utils.parsedate_to_datetime(date[:40])
        return found.replace(tzinfo=found.tzinfo or timezone.utc).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
