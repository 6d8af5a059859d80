"""Every row of the error table: what an answer means, and what it tells the operator."""

import json

import pytest

from lbhook.emulator.replies import error
from lbhook.imds.classification import Kind, Meaning, classify
from lbhook.imds.guard import Asker
from lbhook.metadata.reader import MOST_BYTES

JSON = {"content-type": "application/json; charset=utf-8"}
ABSENT = (
    "no load balancer: this VM is not in a backend pool of a Standard load balancer and has no"
    " Standard public IP, or not yet"
)
BUG = "; this is a bug of lbhook, or something in between changes the request: please report it"
ASKER = Asker(user="lbhook", group="lbhook")
AGAIN = "try again, or with a longer --wait"
UPDATED = f"IMDS may be updating or not ready yet: {AGAIN}"
NOT_THERE = (
    f"{UPDATED}; if it stays so, this Azure may have no such metadata, as Azure Stack Hub has"
    " none: `[rules.NAME]` of the configuration stands without an answer"
)
IN_BETWEEN = "IMDS never answers like this: is a proxy or an agent in between?"
WALL = 1_800_000_000.0


def judge(status: int, text: str | None = None, **headers: str) -> Meaning:
    """The meaning of an error answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = b"" if text is None else json.dumps({"error": text}).encode()
    return classify(status, {**JSON, **named}, body, lambda: WALL, lambda: ASKER)


# status, both wordings (documentation and wire), kind, reason after the words
TABLE = [
    (
        404,
        "No load balancer metadata is found. Please check if your VM is using any non-basic SKU"
        " load balancer and retry later.",
        Kind.ABSENT,
        ABSENT,
    ),
    (
        404,
        "No load balancer metadata is found. Check if your virtual machine is using any nonbasic"
        " SKU load balancer and retry later.",
        Kind.ABSENT,
        ABSENT,
    ),
    (
        404,
        "Load Balancer metadata API is not available right now. Please retry later",
        Kind.TRANSIENT,
        " (being provisioned)",
    ),
    (
        404,
        "Load Balancer metadata API isn't available right now. Retry later",
        Kind.TRANSIENT,
        " (being provisioned)",
    ),
    (
        404,
        "/metadata/loadbalancer is not currently available",
        Kind.TRANSIENT,
        " (being enabled)",
    ),
    (
        404,
        "/metadata/loadbalancer isn't currently available",
        Kind.TRANSIENT,
        " (being enabled)",
    ),
    (
        404,
        'API is not found: Path = "/metadata/x", Method = "GET"',
        Kind.OURS,
        "; the path is wrong, or a proxy answered",
    ),
    (
        404,
        'API isn\'t found: Path = "/metadata/x", Method = "GET"',
        Kind.OURS,
        "; the path is wrong, or a proxy answered",
    ),
    (404, "IMDS endpoint is updating", Kind.TRANSIENT, " (perhaps being updated)"),
    (400, "Bad request. Required metadata header not specified", Kind.OURS, BUG),
    (400, 'Missing required parameter "api-version". Please fix the request', Kind.OURS, BUG),
    (400, 'Missing required parameter "api-version". Fix the request', Kind.OURS, BUG),
    (400, "Parameter value is not allowed", Kind.OURS, BUG),
    (400, "Unexpected request. Check the query parameters and retry.", Kind.OURS, BUG),
    (405, "Http method is not allowed: Path", Kind.OURS, BUG),
    (405, "Http method isn't allowed: Path", Kind.OURS, BUG),
    (408, "Request timeout", Kind.TRANSIENT, " (it was too slow)"),
    (410, "Gone", Kind.TRANSIENT, " (being updated, which takes up to 70 s)"),
    (425, "Too early", Kind.TRANSIENT, " (too early)"),
    (500, "Internal server error", Kind.TRANSIENT, ""),
    (502, "Bad gateway", Kind.TRANSIENT, ""),
    (503, "Internal service unavailable. Please retry later", Kind.TRANSIENT, ""),
    (503, "Internal service unavailable. Retry later", Kind.TRANSIENT, ""),
    (504, "Gateway timeout", Kind.TRANSIENT, ""),
    (204, "Nothing", Kind.TRANSIENT, ""),
    (407, "Who are you", Kind.REFUSED, "; IMDS never sends this status: something else answered"),
    (418, "I am a teapot", Kind.REFUSED, "; IMDS never sends this status: something else answered"),
]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", True),
        ("Not found", True),
        ("IMDS endpoint is updating", False),
        ("Load Balancer metadata API is not available right now. Please retry", False),
    ],
)
def test_an_azure_without_such_metadata_is_thought_of(message: str, told: bool) -> None:
    """Of a 404 in words that Azure does not use for a load balancer, or in none."""
    body = json.dumps({"error": message}).encode() if message else b""
    meaning = classify(404, {}, body)
    assert meaning.kind is Kind.TRANSIENT
    assert meaning.hint.startswith(UPDATED)
    assert ("Azure Stack Hub" in meaning.hint) is told


@pytest.mark.parametrize(("status", "text", "kind", "meaning"), TABLE)
def test_a_row_of_the_table(status: int, text: str, kind: Kind, meaning: str) -> None:
    """Kind and whole reason, and what to do; absence is told in words of its own."""
    reason = ABSENT if kind is Kind.ABSENT else f"IMDS answered {status}: {text}{meaning}"
    hint = {Kind.TRANSIENT: UPDATED}.get(kind, "") if status >= 400 else IN_BETWEEN
    assert judge(status, text) == Meaning(kind=kind, reason=reason, hint=hint)


def test_being_asked_too_often_slows_down() -> None:
    """429 is the one status that changes the pace."""
    assert judge(429, "Too many requests") == Meaning(
        kind=Kind.TRANSIENT,
        reason="IMDS answered 429: Too many requests (asked too often by this VM)",
        hint=f"other programs on this VM use up its share of 5 requests a second: {AGAIN}",
        slow_down=True,
    )


@pytest.mark.parametrize(
    "text",
    [
        "No load balancer metadata is found",
        "no  LOAD balancer\nmetadata is found!",
        "  No load balancer metadata is found, see aka.ms",
    ],
)
def test_absence_is_told_by_a_normalised_beginning(text: str) -> None:
    """Case, blanks and what follows do not matter."""
    assert judge(404, text).kind is Kind.ABSENT


@pytest.mark.parametrize(
    "text",
    [
        "Sorry. No load balancer metadata is found",
        "No load balancer",
        "Not found",
        "",
        None,
    ],
)
def test_every_other_404_is_transient(text: str | None) -> None:
    """Absence is believed in its own words only: an HTML page or nothing is no absence."""
    said = f": {text}" if text else ""
    assert judge(404, text) == Meaning(
        kind=Kind.TRANSIENT,
        reason=f"IMDS answered 404{said} (perhaps being updated)",
        hint=IN_BETWEEN if text == "" else NOT_THERE,
    )


def test_a_curly_apostrophe_is_an_apostrophe() -> None:
    """Documentation is set with typographic ones."""
    assert judge(404, "API isn\u2019t found: Path").kind is Kind.OURS


def test_an_unknown_version_names_those_that_are_known() -> None:
    """The newest versions are printed, so that the operator can choose one."""
    body = {
        "error": "Bad request. api-version is invalid",
        "newest-versions": ["2025-04-07", 3, "x; rm", "٢٠٢٥-04-07", "2024-03-15", *["1"] * 99],
    }
    meaning = classify(400, JSON, json.dumps(body).encode())
    assert meaning == Meaning(
        kind=Kind.OURS,
        reason="IMDS answered 400: Bad request. api-version is invalid;"
        " it knows 2025-04-07, 2024-03-15: set imds.api_version",
    )


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_a_redirect_is_never_imds(status: int) -> None:
    """It says where to, in ASCII and in short."""
    meaning = judge(status, location="http://login.example/\u202e" + "x" * 99)
    where = "http://login.example/\\u202e" + "x" * 58
    assert meaning == Meaning(
        kind=Kind.REFUSED,
        reason=f"what answered is not IMDS: it redirects ({status}) to '{where}';"
        " is something in between?",
    )


def test_a_redirect_to_nowhere() -> None:
    """A redirect without Location is one all the same."""
    assert judge(302).reason == (
        "what answered is not IMDS: it redirects (302) to 'elsewhere'; is something in between?"
    )


def test_a_good_answer() -> None:
    """200 and JSON; whether the body says anything is for the model to judge."""
    for kind in ("application/json", "application/json; charset=utf-8", "Text/JSON"):
        for encoding in ("", "identity", "gzip"):
            headers = {"content-type": kind, "content-encoding": encoding}
            assert classify(200, headers, b"x") == Meaning(kind=Kind.GOOD, reason="")


@pytest.mark.parametrize(
    ("headers", "size", "reason"),
    [
        ({}, 2, "the answer is of no type, not JSON"),
        ({"content-type": "text/html"}, 2, "the answer is 'text/html', not JSON"),
        ({"content-type": "a\xff" * 40}, 2, f"the answer is '{'a' + chr(92) + 'xff'}"),
        (JSON, MOST_BYTES + 1, "the answer is longer than 4 MiB"),
        (
            {**JSON, "content-encoding": "br"},
            2,
            "the answer is encoded as 'br', which lbhook did not ask for",
        ),
    ],
)
def test_a_good_status_with_a_bad_body_is_transient(
    headers: dict[str, str], size: int, reason: str
) -> None:
    """A wrong type, an odd encoding or too much of it: asked again, and told what came."""
    meaning = classify(200, {**headers, "retry-after": "7"}, b" " * size)
    assert (meaning.kind, meaning.retry_after) == (Kind.TRANSIENT, 7.0)
    assert meaning.hint == IN_BETWEEN
    assert meaning.reason.startswith(reason)


def test_exactly_4_mib_are_read() -> None:
    """The limit itself is within it."""
    assert classify(200, JSON, b" " * MOST_BYTES).kind is Kind.GOOD


@pytest.mark.parametrize(
    "body",
    [b"<html>no</html>", b"\xff", b"[" * 100_000, b"[]", b'{"error": 5}', b'{"error": null}'],
)
def test_an_error_without_a_message_is_told_by_its_status(body: bytes) -> None:
    """HTML, nesting and other shapes come from something in between; nothing is raised."""
    assert classify(503, {}, body) == Meaning(
        kind=Kind.TRANSIENT, reason="IMDS answered 503", hint=IN_BETWEEN
    )


def test_a_message_is_one_short_line_of_ascii() -> None:
    """What the network sent can't break the terminal or the log."""
    reason = judge(500, "a\n\x1b[31m\u202e" + "x" * 999).reason
    assert reason == "IMDS answered 500: a\\n\\x1b[31m\\u202e" + "x" * 183


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("120", 120.0),
        ("9" * 400, float("inf")),
        ("", 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("\u0667", 0.0),
        ("soon", 0.0),
        ("Fri, 15 Jan 2027 08:00:30 GMT", 30.0),
        ("Fri Jan 15 08:00:30 2027", 30.0),
        ("Friday, 15-Jan-27 08:00:30 GMT", 30.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 99 Jan 2027 08:00:30 GMT", 0.0),
        ("Fri, 15 Jan 0000 08:00:30 GMT", 0.0),
        (", , ,", 0.0),
    ],
)
@pytest.mark.parametrize("status", [200, 404, 410, 429, 500, 503])
def test_retry_after_is_read_on_every_status(value: str, seconds: float, status: int) -> None:
    """In seconds or as a date in any of HTTP's three forms; anything else is no wish at all."""
    text = "No load balancer metadata is found" if status == 404 else "x"
    kind = "text/html" if status == 200 else "application/json"
    assert judge(status, text, retry_after=value, content_type=kind).retry_after == seconds


def test_a_date_counts_from_the_date_of_the_answer() -> None:
    """At boot the clock of a VM may be years off; the service's own is not."""
    meaning = judge(
        503,
        retry_after="Sun, 06 Nov 1994 08:49:47 GMT",
        date="Sun, 06 Nov 1994 08:49:37 GMT",
    )
    assert meaning.retry_after == 10.0


@pytest.mark.parametrize("wording", ["older", "newer"])
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent", Kind.ABSENT),
        ("not-available", Kind.TRANSIENT),
        ("enabling", Kind.TRANSIENT),
        ("wrong-path", Kind.OURS),
        ("not-found", Kind.TRANSIENT),
        ("endpoint-updating", Kind.TRANSIENT),
        ("api-version", Kind.OURS),
        ("missing-header", Kind.OURS),
        ("forwarded", Kind.OURS),
        ("missing-parameter", Kind.OURS),
        ("wrong-parameter", Kind.OURS),
        ("unexpected-request", Kind.OURS),
        ("unauthorized", Kind.TRANSIENT),
        ("forbidden", Kind.REFUSED),
        ("wrong-method", Kind.OURS),
        ("request-timeout", Kind.TRANSIENT),
        ("updating", Kind.TRANSIENT),
        ("throttled", Kind.TRANSIENT),
        ("internal", Kind.TRANSIENT),
        ("bad-gateway", Kind.TRANSIENT),
        ("unavailable", Kind.TRANSIENT),
        ("gateway-timeout", Kind.TRANSIENT),
    ],
)
def test_every_error_of_the_emulator_is_classified(name: str, kind: Kind, wording: str) -> None:
    """The sentences that the emulator serves, in both wordings."""
    answer = error(name, wording)
    assert classify(answer.status, JSON, answer.body).kind is kind
