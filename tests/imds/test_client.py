"""Asking until there is an answer to believe: the whole matrix, over a real socket.

Where real time is not the point, clock and sleep are a fake that the emulator shares.
"""

import contextlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.replies import Answer
from lbhook.emulator.server import Emulator
from lbhook.errors import LbhookError, MetadataError, NoAnswerError, ProtocolError
from lbhook.imds.client import Reading, Service, Waiting
from lbhook.imds.confirmation import confirm
from lbhook.imds.transport import NoResponseError, Response, get
from lbhook.metadata.body import parse

from ..shared import SLACK
from .test_transport import answering, deaf

Body = Callable[[str], bytes]
LISTS: dict[str, list[Any]] = {"publicIpAddresses": [], "inboundRules": [], "outboundRules": []}
EMPTY = json.dumps({"loadbalancer": LISTS}).encode()
RULE = {
    "frontendIpAddress": "50.0.0.1",
    "protocol": "Tcp",
    "frontendPort": 80,
    "backendPort": 8080,
    "privateIpAddress": "10.1.0.4",
}
FATAL = "waiting will not help; nothing was changed"
PRIMARY = "it answers the primary NIC and its primary address only"
AGAIN = "try again, or with a longer --wait"
UPDATED = f"IMDS may be updating or not ready yet: {AGAIN}"
IN_BETWEEN = "IMDS never answers like this: is a proxy or an agent in between?"
SHARE = f"other programs on this VM use up its share of 5 requests a second: {AGAIN}"
BUG = "; this is a bug of lbhook, or something in between changes the request: please report it"


@dataclass
class Clock:
    """A clock that only sleeping moves; with a `tick`, looking at it takes time, too."""

    now: float = 1000.0
    tick: float = 0.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        """The time, in seconds."""
        self.now += self.tick
        return self.now

    def sleep(self, seconds: float) -> None:
        """Pass the time, in no time."""
        assert seconds >= 0
        self.slept.append(seconds)
        self.now += seconds


def playing(*steps: Step, **keys: Any) -> Emulator:
    """An emulator with a playbook."""
    return Emulator(playbook=Playbook(steps=steps), **{"limit": None, **keys})


def service(imds: Emulator | str, clock: Clock | None = None, **keys: Any) -> Service:
    """A service on an emulator, on a fake clock if one is given; four seconds to wait."""
    url = imds if isinstance(imds, str) else imds.url
    if clock:
        keys = {"clock": clock, "sleep": clock.sleep, **keys}
    return Service(endpoint=url, **{"api_version": "2020-10-01", "wait": 4.0, **keys})


def patient(
    url: str, words: dict[str, str], request_id: str, deadline: float, clock: Callable[[], float]
) -> Response:
    """Ask once, and give a busy machine real time: less than a second is left of the fake one's."""
    return get(url, words, request_id, deadline + SLACK, clock)


def failure(asked: Service) -> LbhookError:
    """The error that a fetch ends with."""
    with pytest.raises(LbhookError) as caught:
        asked.fetch()
    return caught.value


def pace(imds: Emulator) -> list[float]:
    """When each request came, by the emulator's clock."""
    return [request.at for request in imds.requests]


def most_in_a_second(times: list[float]) -> int:
    """The largest number of requests that any second holds."""
    return max(sum(start <= one < start + 1.0 for one in times) for start in times)


@pytest.mark.parametrize(
    "name",
    ["documented", "dual-stack-bracketed", "floating-ip", "gateway-ha-ports", "public-ip-only"],
)
def test_a_good_answer_takes_one_request(name: str, body: Body) -> None:
    """One request when all is well, and the body as it came."""
    clock = Clock()
    with Emulator(body=body(name)) as imds:
        reading = service(imds, clock).fetch()
    assert reading == Reading(body=body(name), metadata=parse(body(name)), attempts=1, waited=0.0)
    assert (len(imds.requests), clock.slept) == (1, [])


@pytest.mark.parametrize("wording", ["older", "newer"])
def test_no_load_balancer_is_an_answer(wording: str) -> None:
    """Absent is believed at once: one request, no metadata, no error."""
    clock = Clock()
    with playing(Step(answer="absent", wording=wording)) as imds:
        reading = service(imds, clock).fetch()
    assert (reading.metadata, reading.attempts, reading.waited) == (None, 1, 0.0)
    assert len(imds.requests) == 1


# An answer's name or fault, and what the operator reads.
FATALS: list[tuple[dict[str, Any], str]] = [
    (
        {"answer": "wrong-path"},
        'IMDS answered 404: API is not found: Path = "/metadata/loadbalancer", Method = "GET";'
        " the path is wrong, or a proxy answered",
    ),
    (
        {"answer": "wrong-path", "wording": "newer"},
        'IMDS answered 404: API isn\'t found: Path = "/metadata/loadbalancer", Method = "GET";'
        " the path is wrong, or a proxy answered",
    ),
    (
        {"answer": "api-version"},
        "IMDS answered 400: Bad request. api-version is invalid or was not specified in the"
        " request. For more information refer to aka.ms/azureimds;"
        " it knows 2025-04-07, 2024-07-17, 2024-03-15: set imds.api_version",
    ),
    (
        {"answer": "missing-header"},
        f"IMDS answered 400: Bad request. Required metadata header not specified{BUG}",
    ),
    (
        {"answer": "missing-parameter"},
        'IMDS answered 400: Missing required parameter "api-version". Please fix the request and'
        f" retry.{BUG}",
    ),
    (
        {"answer": "missing-parameter", "wording": "newer"},
        'IMDS answered 400: Missing required parameter "api-version". Fix the request and'
        f" retry.{BUG}",
    ),
    (
        {"answer": "unexpected-request"},
        f"IMDS answered 400: Unexpected request. Please check the query parameters and retry.{BUG}",
    ),
    (
        {"answer": "wrong-method"},
        'IMDS answered 405: Http method is not allowed: Path = "/metadata/loadbalancer",'
        f' Method = "GET"{BUG}',
    ),
    (
        {"fault": "redirect", "location": "http://login.example/"},
        "what answered is not IMDS: it redirects (302) to 'http://login.example/';"
        " is something in between?",
    ),
    (
        {"fault": "redirect", "location": "/x", "status": 307},
        "what answered is not IMDS: it redirects (307) to '/x'; is something in between?",
    ),
    (
        {"fault": "status", "status": 407, "body": "<html>"},
        "IMDS answered 407; IMDS never sends this status: something else answered",
    ),
]


@pytest.mark.parametrize(("step", "reason"), FATALS, ids=lambda value: str(value)[:60])
def test_what_waiting_will_not_help_ends_at_once(step: dict[str, Any], reason: str) -> None:
    """76 after one request, with the whole reason, whatever Retry-After says."""
    clock = Clock()
    with playing(Step(**step, retry_after="1")) as imds:
        error = failure(service(imds, clock))
    assert isinstance(error, ProtocolError)
    assert (error.problems, error.hint, error.status) == ((reason,), FATAL, 76)
    assert (len(imds.requests), clock.slept) == (1, [])


# Of IMDS itself, while it can't do better.
UPDATING: list[tuple[dict[str, Any], str]] = [
    (
        {"answer": "not-available"},
        "IMDS answered 404: Load Balancer metadata API is not available right now. Please retry"
        " later (being provisioned)",
    ),
    (
        {"answer": "not-available", "wording": "newer"},
        "IMDS answered 404: Load Balancer metadata API isn't available right now. Retry later"
        " (being provisioned)",
    ),
    (
        {"answer": "enabling"},
        "IMDS answered 404: /metadata/loadbalancer is not currently available (being enabled)",
    ),
    (
        {"answer": "enabling", "wording": "newer"},
        "IMDS answered 404: /metadata/loadbalancer isn't currently available (being enabled)",
    ),
    (
        {"answer": "endpoint-updating"},
        "IMDS answered 404: IMDS endpoint is updating (perhaps being updated)",
    ),
    (
        {"answer": "request-timeout"},
        "IMDS answered 408: Request timeout (it was too slow)",
    ),
    (
        {"fault": "updating"},
        "IMDS answered 410: Gone (being updated, which takes up to 70 s)",
    ),
    ({"answer": "internal"}, "IMDS answered 500: Internal server error"),
    ({"answer": "bad-gateway"}, "IMDS answered 502: Bad gateway"),
    (
        {"answer": "unavailable"},
        "IMDS answered 503: Internal service unavailable. Please retry later",
    ),
    (
        {"answer": "unavailable", "wording": "newer"},
        "IMDS answered 503: Internal service unavailable. Retry later",
    ),
    ({"answer": "gateway-timeout"}, "IMDS answered 504: Gateway timeout"),
    ({"fault": "status", "status": 504, "body": ""}, "IMDS answered 504"),
]
# Of something else.
FOREIGN: list[tuple[dict[str, Any], str]] = [
    (
        {"fault": "status", "status": 404, "body": "<html>", "content_type": "text/html"},
        "IMDS answered 404 (perhaps being updated)",
    ),
    ({"fault": "status", "status": 502, "body": "<html>"}, "IMDS answered 502"),
    ({"fault": "wrong-type"}, "the answer is 'text/html', not JSON"),
    ({"fault": "huge"}, "the answer is longer than 4 MiB"),
    ({"fault": "huge", "transfer": "chunked"}, "the answer is longer than 4 MiB"),
    ({"fault": "huge", "transfer": "gzip"}, "the answer is longer than 4 MiB"),
    (
        {"fault": "not-json", "body": "<html>Log in"},
        "body: not JSON: Expecting value, line 1, column 1; 12 bytes that begin with"
        " '<html>Log in'",
    ),
    (
        {"fault": "not-json", "body": ""},
        "body: not JSON: Expecting value, line 1, column 1; it is empty",
    ),
]


TRANSIENTS = [(*row, UPDATED) for row in UPDATING] + [(*row, IN_BETWEEN) for row in FOREIGN]


@pytest.mark.parametrize(("step", "reason", "hint"), TRANSIENTS, ids=lambda value: str(value)[:60])
def test_what_may_pass_is_asked_again(step: dict[str, Any], reason: str, hint: str) -> None:
    """75 when the time is up, with the last reason and what to do about it; asked once a second,
    and once at the end."""
    clock = Clock()
    with playing(Step(**step), clock=clock) as imds:
        error = failure(service(imds, clock, get=patient))
    assert isinstance(error, NoAnswerError)
    assert (error.problems, error.hint, error.status) == (
        (
            "no usable answer from the metadata service: asked 5 times in 4 s",
            f"the last reason: {reason}",
        ),
        hint,
        75,
    )
    assert pace(imds) == [0.0, 1.0, 2.0, 3.0, 3.5]


@pytest.mark.parametrize("step", [step for step, *_ in TRANSIENTS[::3]], ids=str)
def test_what_has_passed_is_forgotten(step: dict[str, Any]) -> None:
    """The first good answer counts, whatever came before it."""
    clock = Clock()
    with playing(Step(**step, requests=2), clock=clock) as imds:
        reading = service(imds, clock).fetch()
    assert (reading.attempts, reading.waited) == (3, 2.0)
    assert reading.metadata


def test_being_asked_too_often_slows_down() -> None:
    """After 429 two seconds, then four, then eight, and no more than eight."""
    clock = Clock()
    with playing(Step(fault="throttle"), clock=clock) as imds:
        error = failure(service(imds, clock, wait=32.0, get=patient))
    assert error.problems == (
        "no usable answer from the metadata service: asked 7 times in 32 s",
        "the last reason: IMDS answered 429: Too many requests (asked too often by this VM)",
    )
    assert error.hint == SHARE
    assert pace(imds) == [0.0, 2.0, 6.0, 14.0, 22.0, 30.0, 31.5]


def test_the_pace_comes_back() -> None:
    """An answer that is not 429 is followed by the usual second."""
    clock = Clock()
    steps = (
        Step(requests=2, fault="throttle"),
        Step(requests=2, answer="unavailable"),
        Step(requests=1, fault="throttle"),
    )
    with playing(*steps, clock=clock) as imds:
        assert service(imds, clock, wait=60.0).fetch().attempts == 6
    assert pace(imds) == [0.0, 2.0, 6.0, 7.0, 8.0, 10.0]


@pytest.mark.parametrize(("status", "answer"), [(404, "not-available"), (503, "unavailable")])
def test_retry_after_is_honoured_in_seconds(status: int, answer: str) -> None:
    """On any status, when it asks for more than the usual pace."""
    clock = Clock()
    with playing(Step(requests=2, answer=answer, retry_after="7"), clock=clock) as imds:
        assert service(imds, clock, wait=60.0).fetch().waited == 14.0
    assert [request.status for request in imds.requests] == [status, status, 200]


@pytest.mark.parametrize("fault", ["throttle", "updating", "wrong-type", "not-json"])
def test_retry_after_is_honoured_with_every_fault(fault: str) -> None:
    """A wish for more than the pace is followed; the body does not matter."""
    clock = Clock()
    with playing(Step(requests=1, fault=fault, retry_after="9"), clock=clock) as imds:
        reading = service(imds, clock, wait=60.0).fetch()
    assert (reading.attempts, reading.waited) == (2, 9.0 if fault != "not-json" else 1.0)


def test_retry_after_is_honoured_as_a_date() -> None:
    """Against the answer's own Date, so that the clock of the VM does not matter."""
    clock = Clock()
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 20))
    with playing(Step(requests=1, answer="unavailable", retry_after=date), clock=clock) as imds:
        assert 18.0 <= service(imds, clock, wait=60.0).fetch().waited <= 20.0


@pytest.mark.parametrize("after", ["4", "3600", "9" * 30, "Fri, 31 Dec 2100 23:59:59 GMT"])
def test_retry_after_is_capped_by_the_budget(after: str) -> None:
    """The last moments of the time are worth one question, whatever was wished."""
    clock = Clock()
    with playing(Step(answer="unavailable", retry_after=after), clock=clock) as imds:
        failure(service(imds, clock))
    assert pace(imds) == [0.0, 3.5]


def test_partial_data_is_65_when_the_time_is_up() -> None:
    """A missing list is asked for again; in the end it is told, with its path."""
    clock = Clock()
    with playing(Step(fault="partial"), clock=clock) as imds:
        error = failure(service(imds, clock))
    assert isinstance(error, MetadataError)
    assert (error.problems, error.status) == (("loadbalancer.inboundRules: missing",), 65)
    assert len(imds.requests) == 5


def test_a_rule_that_lacks_a_key_is_65_when_the_time_is_up() -> None:
    """As with a missing list."""
    clock = Clock()
    missing = ("inboundRules.1.backendPort",)
    with playing(Step(fault="partial", missing=missing), clock=clock) as imds:
        error = failure(service(imds, clock))
    assert error.problems == ("loadbalancer.inboundRules[1].backendPort: missing",)
    assert len(imds.requests) == 5


def test_partial_data_that_becomes_whole_is_read() -> None:
    """Which is why it is asked again."""
    clock = Clock()
    with playing(Step(fault="partial", requests=1)) as imds:
        assert service(imds, clock).fetch().attempts == 2


def test_partial_data_and_then_silence_is_75() -> None:
    """The last reason decides."""
    clock = Clock()
    with playing(Step(fault="partial", requests=1), Step(answer="unavailable")) as imds:
        assert isinstance(failure(service(imds, clock)), NoAnswerError)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[]", "body: a list is not an object"),
        (b'{"a": 1}', "loadbalancer: missing; this is not a load balancer's metadata"),
        (b"[" * 50_000, "body: nested too deep"),
        (b'{"a": ' + b"1" * 5000 + b"}", "body: a number of thousands of digits"),
        (
            json.dumps(
                {"loadbalancer": {**LISTS, "inboundRules": [{**RULE, "backendPort": 70000}]}}
            ).encode(),
            "loadbalancer.inboundRules[0].backendPort: 70000 is not a port",
        ),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_an_answer_that_is_wrong_ends_at_once(body: bytes, problem: str) -> None:
    """65 after one request: asking again would give the same."""
    clock = Clock()
    with Emulator(body=body) as imds:
        error = failure(service(imds, clock))
    assert isinstance(error, MetadataError)
    assert (error.problems, error.status, len(imds.requests)) == ((problem,), 65, 1)


def test_a_version_that_imds_does_not_know() -> None:
    """The emulator judges the request itself, as the service does."""
    with Emulator() as imds:
        error = failure(service(imds, api_version="2031-01-01"))
    assert error.problems[0].endswith(
        "it knows 2025-04-07, 2024-07-17, 2024-03-15: set imds.api_version"
    )


NETWORK: list[tuple[dict[str, Any], str, str]] = [
    ({"fault": "reset"}, "connection reset", PRIMARY),
    ({"fault": "cut"}, "the answer was cut: 324 of 648 bytes", AGAIN),
    ({"fault": "cut", "after": 0}, "the answer was cut: 0 of 648 bytes", AGAIN),
]


@pytest.mark.parametrize(("step", "reason", "hint"), NETWORK, ids=lambda value: str(value)[:60])
def test_what_the_network_spoils_is_asked_again(
    step: dict[str, Any], reason: str, hint: str
) -> None:
    """75 when the time is up; the reason says who was asked."""
    clock = Clock()
    with playing(Step(**step), clock=clock) as imds:
        error = failure(service(imds, clock))
    assert error.problems == (
        "no usable answer from the metadata service: asked 5 times in 4 s",
        f"the last reason: {imds.url}: {reason}",
    )
    assert (error.hint, len(imds.requests)) == (hint, 5)


def test_nobody_listens() -> None:
    """75, refused five times in four seconds."""
    clock = Clock()
    with Emulator() as imds:
        url = imds.url
    error = failure(service(url, clock))
    assert error.problems == (
        "no usable answer from the metadata service: asked 5 times in 4 s",
        f"the last reason: {url}: connection refused",
    )
    assert error.hint == PRIMARY


@pytest.mark.parametrize(
    "step",
    [
        {"fault": "hang"},
        {"fault": "stall"},
        {"fault": "drip", "rate": 30.0},
        {"fault": "drip-headers", "rate": 30.0},
    ],
    ids=lambda value: value["fault"],
)
@pytest.mark.parametrize("wait", [0.8, 2.7])
def test_the_budget_is_hard(step: dict[str, Any], wait: float) -> None:
    """On the real clock: it ends with `wait`, and not before."""
    with playing(Step(**step)) as imds:
        begin = time.monotonic()
        error = failure(service(imds, wait=wait))
        took = time.monotonic() - begin
    assert error.problems[1] == f"the last reason: {imds.url}: response timed out"
    assert wait - 0.05 <= took < wait + SLACK
    assert len(imds.requests) in ((1,) if wait < 1 else (1, 2))


@pytest.mark.parametrize("wait", [0.8, 2.7])
def test_the_budget_bounds_connecting(wait: float) -> None:
    """Where the kernel drops whoever wants to connect; half a second is too short to ask in."""
    with deaf() as url:
        begin = time.monotonic()
        error = failure(service(url, wait=wait))
        took = time.monotonic() - begin
    assert error.problems[1] == f"the last reason: {url}: connection timed out"
    assert wait - 0.51 <= took < wait + SLACK


def test_a_service_that_dies_and_comes_back_is_read() -> None:
    """A cut answer, then nobody, then the body: within the time, on the real clock."""
    steps = (Step(requests=1, fault="cut"), Step(seconds=0.3, fault="refuse"))
    with playing(*steps) as imds:
        reading = service(imds).fetch()
    assert 2 <= reading.attempts <= 3
    assert reading.metadata


@pytest.mark.parametrize(
    "step",
    [
        {"answer": "unavailable"},
        {"answer": "not-available"},
        {"answer": "absent"},
        {"fault": "updating"},
        {"fault": "throttle"},
        {"fault": "partial"},
        {"fault": "reset"},
        {"fault": "cut"},
        {"answer": "unavailable", "retry_after": "0"},
    ],
    ids=lambda value: str(value),
)
@pytest.mark.parametrize("wait", [0.3, 1.0, 1.4, 2.0, 7.3, 15.0])
def test_never_more_than_two_requests_in_any_second(step: dict[str, Any], wait: float) -> None:
    """Neither on the way nor at the end."""
    clock = Clock()
    with playing(Step(**step), clock=clock) as imds:
        asked = service(imds, clock, wait=wait, absent_wait=wait)
        if step.get("answer") == "absent":
            asked.fetch()
        else:
            failure(asked)
    assert most_in_a_second(pace(imds)) <= 2
    assert clock.now - 1000.0 <= wait


@pytest.mark.parametrize("wait", [1.0, 3.0, 15.0])
def test_the_last_question_comes_half_a_second_before_the_end(wait: float) -> None:
    """On a clock that moves while the program works, as a real one does."""
    clock = Clock(tick=0.0005)
    with playing(Step(answer="unavailable"), clock=clock) as imds:
        failure(service(imds, clock, wait=wait))
    times = pace(imds)
    assert times[-1] - times[0] == pytest.approx(wait - 0.5, abs=0.1)
    assert len(times) == wait + 1
    assert most_in_a_second(times) <= 2


def test_the_last_question_comes_on_a_real_clock() -> None:
    """A second is two questions, half a second apart."""
    with playing(Step(answer="unavailable")) as imds:
        error = failure(service(imds, wait=1.0))
    first, second = pace(imds)
    assert 0.45 <= second - first < SLACK
    assert 0.5 <= error.waited < SLACK


def test_an_answer_at_the_last_moment_is_read() -> None:
    """The last question comes half a second before the end."""
    clock = Clock()
    with playing(Step(seconds=14.3, answer="unavailable"), clock=clock) as imds:
        reading = service(imds, clock, wait=15.0).fetch()
    assert (reading.waited, reading.attempts) == (14.5, 16)


def test_a_slow_service_gets_more_time_every_third_time() -> None:
    """Two seconds, two, five, and again; each within what is left."""
    clock = Clock()
    given: list[float] = []

    def get(url: str, parameters: object, request_id: str, deadline: float, _: object) -> Response:
        given.append(deadline - clock.now)
        clock.now = deadline
        raise NoResponseError("response timed out", hung=True)

    failure(service("http://127.0.0.1:9", clock, wait=15.0, get=get))
    assert given == [2.0, 2.0, 5.0, 2.0, 2.0, 2.0]


def test_wait_zero_is_one_attempt() -> None:
    """Of at most five seconds; transient is then the end, and so is absent."""
    clock = Clock()
    with playing(Step(answer="unavailable", retry_after="1")) as imds:
        error = failure(service(imds, clock, wait=0.0))
    assert error.problems == (
        "no usable answer from the metadata service: asked once in 0 s",
        "the last reason: IMDS answered 503: Internal service unavailable. Please retry later",
    )
    assert (len(imds.requests), clock.slept) == (1, [])
    with playing(Step(answer="absent")) as imds:
        assert service(imds, clock, wait=0.0).fetch().metadata is None
    with Emulator() as imds:
        assert service(imds, clock, wait=0.0).fetch().metadata


def test_the_only_attempt_has_five_seconds() -> None:
    """With `wait` 0; with a short `wait`, no more than that."""
    clock = Clock()
    given: list[float] = []

    def get(url: str, parameters: object, request_id: str, deadline: float, _: object) -> Response:
        given.append(deadline - clock.now)
        raise NoResponseError("response timed out", hung=True)

    failure(service("http://127.0.0.1:9", clock, wait=0.0, get=get))
    failure(service("http://127.0.0.1:9", clock, wait=0.4, get=get))
    assert given == [5.0, pytest.approx(0.4)]


def test_absence_has_a_time_of_its_own() -> None:
    """A VM is often joined to its pool after it has booted: `absent_wait` waits for that."""
    clock = Clock()
    with playing(Step(seconds=9.5, answer="absent"), clock=clock) as imds:
        reading = service(imds, clock, wait=4.0, absent_wait=20.0).fetch()
    assert (reading.waited, reading.attempts) == (10.0, 11)
    assert reading.metadata


@pytest.mark.parametrize("wait", [0.0, 4.0, 300.0])
def test_absence_that_lasts_is_believed(wait: float) -> None:
    """When `absent_wait` is over, whatever `wait` is: it is an answer, and no failure."""
    clock = Clock()
    with playing(Step(answer="absent"), clock=clock) as imds:
        reading = service(imds, clock, wait=wait, absent_wait=6.0).fetch()
    assert (reading.metadata, reading.attempts) == (None, 7)
    assert pace(imds) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.5]


def test_absence_after_a_failure_is_believed() -> None:
    """`absent_wait` counts from the start, and is over when the failures are."""
    clock = Clock()
    with playing(Step(seconds=3, answer="unavailable"), Step(answer="absent"), clock=clock) as imds:
        assert service(imds, clock, absent_wait=2.0).fetch().metadata is None
    assert pace(imds) == [0.0, 1.0, 2.0, 3.0]


def test_a_failure_after_absence_is_not_absence() -> None:
    """The failure gets the longer of both times; if it lasts, nobody knows: 75."""
    clock = Clock()
    steps = (Step(seconds=5, answer="absent"), Step(answer="unavailable"))
    with playing(*steps, clock=clock) as imds:
        error = failure(service(imds, clock, wait=2.0, absent_wait=8.0))
    assert isinstance(error, NoAnswerError)
    assert pace(imds)[-2:] == [7.0, 7.5]


def test_the_log_repeats_each_request_id() -> None:
    """What was sent can be found in Azure's own logs; each attempt has an id of its own."""
    clock, lines = Clock(), list[str]()
    with playing(Step(requests=1, answer="unavailable"), Step(requests=1, fault="reset")) as imds:
        service(imds, clock, log=lines.append).fetch()
    ids = [request.headers["x-ms-client-request-id"] for request in imds.requests]
    assert len(set(ids)) == 3
    assert lines == [
        f"GET {imds.url}/metadata/loadbalancer (request {ids[0]})",
        f"status 503, 61 bytes (request {ids[0]})",
        f"GET {imds.url}/metadata/loadbalancer (request {ids[1]})",
        f"connection reset (request {ids[1]})",
        f"GET {imds.url}/metadata/loadbalancer (request {ids[2]})",
        f"status 200, 648 bytes (request {ids[2]})",
    ]


def test_the_wait_is_visible() -> None:
    """Before each sleep: why, how often it was asked, and what is left."""
    clock, seen = Clock(), list[Waiting]()
    steps = (Step(requests=1, answer="internal"), Step(answer="absent"))
    with playing(*steps, clock=clock) as imds:
        service(imds, clock, absent_wait=2.0, watch=seen.append).fetch()
    assert seen == [
        Waiting(
            reason="IMDS answered 500: Internal server error", attempts=1, waited=0.0, left=4.0
        ),
        Waiting(
            reason="no load balancer: this VM is not in a backend pool of a Standard load balancer"
            " and has no Standard public IP, or not yet",
            attempts=2,
            waited=1.0,
            left=1.0,
        ),
    ]


def silence(public: str = "") -> Answer:
    """An answer without an inbound rule."""
    pairs = [{"frontendIpAddress": public, "privateIpAddress": "10.1.0.4"}] if public else []
    body = {"loadbalancer": {**LISTS, "publicIpAddresses": pairs}}
    return Answer(note="silence", body=json.dumps(body).encode())


def confirmed(asked: Service, first: Reading, *, absence: bool = False) -> Reading:
    """Two more readings, two seconds apart; `absence` says that it leaves no rule, either."""
    return confirm(asked, first, lambda one: not one.inbound_rules if one is not None else absence)


def test_three_answers_that_agree_are_believed() -> None:
    """Two more after the first, two seconds apart; requests and time are counted in."""
    clock = Clock()
    with Emulator(body=EMPTY, clock=clock) as imds:
        asked = service(imds, clock, wait=15.0)
        reading = confirmed(asked, asked.fetch())
    assert reading == Reading(body=EMPTY, metadata=parse(EMPTY), attempts=3, waited=4.0)
    assert pace(imds) == [0.0, 2.0, 4.0]


def test_a_rule_that_comes_back_is_believed_at_once() -> None:
    """The empty answer was a moment of the service."""
    clock = Clock()
    with playing(Step(requests=1, answer=silence())) as imds:
        asked = service(imds, clock, wait=15.0)
        reading = confirmed(asked, asked.fetch())
    assert reading.metadata
    assert len(reading.metadata.inbound_rules) == 2
    assert (reading.attempts, len(imds.requests)) == (2, 2)


def test_absence_in_the_middle_is_believed_at_once() -> None:
    """It is an answer of its own, and no empty one; `absent_wait` is not waited for again."""
    clock = Clock()
    with playing(Step(requests=1, answer=silence()), Step(answer="absent")) as imds:
        asked = service(imds, clock, wait=15.0, absent_wait=9.0)
        reading = confirmed(asked, asked.fetch())
    assert (reading.metadata, reading.attempts) == (None, 2)


@pytest.mark.parametrize(("absent_wait", "waited"), [(0.0, 4.0), (20.0, 23.5)])
def test_absence_is_confirmed_where_it_leaves_no_rule(absent_wait: float, waited: float) -> None:
    """Two readings more, after a time of its own if there is one."""
    clock = Clock()
    with playing(Step(answer="absent"), clock=clock) as imds:
        asked = service(imds, clock, wait=15.0, absent_wait=absent_wait)
        reading = confirmed(asked, asked.fetch(), absence=True)
    assert (reading.metadata, reading.waited, reading.attempts) == (
        None,
        waited,
        len(imds.requests),
    )


def test_answers_that_differ_start_the_count_again() -> None:
    """Empty of rules all three, but not alike: two more that agree with the last."""
    clock = Clock()
    steps = (Step(requests=1, answer=silence()), Step(answer=silence("51.0.0.1")))
    with playing(*steps) as imds:
        asked = service(imds, clock, wait=15.0)
        reading = confirmed(asked, asked.fetch())
    assert (reading.attempts, reading.waited) == (4, 6.0)


def test_failures_between_are_passed_over() -> None:
    """They are asked again as ever, within the same time."""
    clock = Clock()
    steps = (Step(requests=1, answer=silence()), Step(requests=2, answer="unavailable"))
    with playing(*steps, body=silence()) as imds:
        asked = service(imds, clock, wait=15.0)
        reading = confirmed(asked, asked.fetch())
    assert (reading.attempts, reading.waited) == (5, 6.0)


UNCONFIRMED = (
    "no inbound rule, but the last good answer had some, and time ran out before three answers"
    " agreed"
)


@pytest.mark.parametrize("wait", [1.0, 2.0, 4.2])
def test_no_time_to_confirm_is_no_answer(wait: float) -> None:
    """75: whoever knows better says --accept-empty."""
    clock = Clock()
    with Emulator(body=EMPTY) as imds:
        asked = service(imds, clock, wait=wait)
        first = asked.fetch()
        with pytest.raises(NoAnswerError) as caught:
            confirmed(asked, first)
    assert (caught.value.problems, caught.value.hint, caught.value.status) == (
        (UNCONFIRMED,),
        "if Azure really has no rule for this VM, run `lbhook apply --accept-empty`",
        75,
    )
    assert caught.value.attempts == len(imds.requests)
    assert caught.value.waited == clock.now - 1000.0
    assert clock.now - 1000.0 <= wait


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (
            Step(answer="internal"),
            (
                "no usable answer from the metadata service: asked 4 times in 2 s",
                "the last reason: IMDS answered 500: Internal server error",
            ),
        ),
        (Step(fault="partial"), ("loadbalancer.inboundRules: missing",)),
    ],
)
def test_failing_while_confirming_is_no_answer(step: Step, reason: tuple[str, ...]) -> None:
    """75 in this case too, and what came is told: an empty answer was not confirmed by it."""
    clock = Clock()
    with playing(Step(requests=1, answer=silence()), step) as imds:
        asked = service(imds, clock, wait=5.0)
        first = asked.fetch()
        with pytest.raises(NoAnswerError) as caught:
            confirmed(asked, first)
    assert caught.value.problems == (UNCONFIRMED, *reason)
    assert caught.value.attempts == len(imds.requests)
    assert clock.now - 1000.0 <= 5.0


def test_wrong_while_confirming_is_wrong() -> None:
    """A body that must not be acted on keeps its status."""
    clock = Clock()
    with playing(Step(requests=1, answer=silence()), Step(fault="not-json", body="[]")) as imds:
        asked = service(imds, clock, wait=15.0)
        first = asked.fetch()
        with pytest.raises(MetadataError, match="body: a list is not an object"):
            confirmed(asked, first)


@pytest.mark.parametrize(("wait", "most"), [(0.0, 5.0), (3.0, 3.0)])
def test_the_instance_gets_what_is_left_of_the_time(wait: float, most: float) -> None:
    """It ends when the whole time is up."""
    clock = Clock()
    given: list[float] = []

    def get(url: str, parameters: object, request_id: str, deadline: float, _: object) -> Response:
        given.append(deadline - 1000.0)
        clock.now = deadline
        raise NoResponseError("response timed out", hung=True)

    asked = service("http://127.0.0.1:9", clock, wait=wait, get=get)
    clock.now += 2.0
    with pytest.raises(NoAnswerError):
        asked.instance(Reading(body=b"", metadata=None, attempts=1, waited=2.0))
    assert (given, clock.now - 1000.0) == ([most], most)


def test_the_instance_is_no_third_question_in_a_second() -> None:
    """Not even when the answer came to the last question."""
    clock = Clock()
    steps = (Step(seconds=2.2, answer="unavailable"),)
    with playing(*steps, clock=clock) as imds:
        asked = service(imds, clock, wait=3.0)
        reading = asked.fetch()
        with contextlib.suppress(NoAnswerError):
            asked.instance(reading)
    assert most_in_a_second(pace(imds)) <= 2


def test_events_are_asked_for_once() -> None:
    """In their own version; a service that hangs there costs two seconds, and is left at that."""
    given: list[tuple[str, object, float]] = []
    clock = Clock()

    def get(url: str, parameters: object, request_id: str, deadline: float, _: object) -> Response:
        given.append((url, parameters, deadline - clock.now))
        clock.now = deadline
        raise NoResponseError("response timed out", hung=True)

    asked = service("http://127.0.0.1:9", clock, wait=300.0, get=get)
    with pytest.raises(NoAnswerError, match="asked once in 2 s"):
        asked.events(Reading(body=b"", metadata=None, attempts=1, waited=0.0))
    version = {"api-version": "2020-07-01"}
    assert given == [("http://127.0.0.1:9/metadata/scheduledevents", version, 2.0)]


@pytest.mark.parametrize("steps", [(), (Step(seconds=2.2, answer="unavailable"),)])
def test_events_and_the_instance_are_no_third_question_in_a_second(steps: tuple[Step, ...]) -> None:
    """Whether the answer came at once, or to the last question."""
    clock = Clock()
    with playing(*steps, clock=clock) as imds:
        asked = service(imds, clock, wait=30.0)
        reading = asked.fetch()
        asked.events(reading)
        asked.instance(reading, third=True)
    assert [one.path for one in imds.requests][-2:] == [
        *("/metadata/scheduledevents", "/metadata/instance")
    ]
    assert most_in_a_second(pace(imds)) <= 2


@pytest.mark.parametrize(
    "step",
    [
        *({"fault": "status", "status": status} for status in (400, 401, 403, 404, 429, 500)),
        *({"fault": fault} for fault in ("not-json", "cut", "reset", "redirect", "huge")),
        {
            "fault": "status",
            "status": 404,
            "body": '{"error": "No load balancer metadata is found"}',
        },
        {"fault": "status", "status": 200, "body": "[[", "content_type": "application/json"},
    ],
    ids=str,
)
def test_events_that_can_not_be_had_are_an_error(step: dict[str, Any]) -> None:
    """One question whatever comes, and no answer made of it."""
    clock = Clock()
    with playing(Step(path="/metadata/scheduledevents", **step), clock=clock) as imds:
        asked = service(imds, clock, wait=30.0)
        reading = asked.fetch()
        with pytest.raises(LbhookError):
            asked.events(reading)
    assert len(imds.requests) == 2


def test_something_else_on_the_port() -> None:
    """An SSH server where IMDS should be: asked again, and told what it is not."""
    clock = Clock()
    with answering(b"SSH-2.0-OpenSSH_9.2\r\n") as (url, _):
        error = failure(service(url, clock, wait=1.0))
    assert isinstance(error, NoAnswerError)
    assert error.problems[0] == "no usable answer from the metadata service: asked 2 times in 0 s"


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (NoResponseError("response timed out", hung=True), PRIMARY),
        (NoResponseError("response timed out", hung=True, heard=True), AGAIN),
        (NoResponseError("ProtocolError: BadStatusLine", heard=True), IN_BETWEEN),
    ],
    ids=str,
)
def test_what_came_and_was_no_answer_is_no_matter_of_the_nic(
    error: NoResponseError, hint: str
) -> None:
    """Only where nothing comes may nobody be there."""

    def get(*_: object) -> Response:
        raise error

    assert failure(service("http://127.0.0.1:9", Clock(), get=get)).hint == hint
