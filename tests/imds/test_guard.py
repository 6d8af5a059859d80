"""Guarded metadata: what its agent says, who is to be let in, and that the agent is waited for."""

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from lbhook.emulator.faults import Step
from lbhook.emulator.server import Emulator
from lbhook.errors import NoAnswerError, ProtocolError
from lbhook.imds import guard
from lbhook.imds.classification import Kind, Meaning, classify
from lbhook.imds.client import Service, Waiting
from lbhook.imds.guard import Agent, Asker
from lbhook.processes import NOT_FOUND, TIMED_OUT, Result

from .test_client import Clock, failure, pace, playing, service

ASKER = Asker(user="lbhook", group="lbhook")
RULE = (
    'add to the VM\'s access rules for IMDS the identity {"name": "lbhook", "userName": "lbhook",'
    ' "groupName": "lbhook"} and the privilege {"name": "loadbalancer", "path":'
    ' "/metadata/loadbalancer"}, without exePath, which is Python and would match every script;'
    " the next run asks again"
)
DENIED = (
    "the access rules of the Metadata Security Protocol do not let in user lbhook, group lbhook"
)
LOOK = "`systemctl status azure-proxy-agent` shows it"
BY_AGENT = "without a body, as azure-proxy-agent answers:"
SIGNED = {guard.HEADER: "value"}


def judge(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Meaning:
    """The meaning of an answer."""
    return classify(status, headers or {}, body, asker=lambda: ASKER)


def test_a_request_that_nobody_signed() -> None:
    """It is asked again, the agent is waited for, and the remedy is to look at the agent."""
    meaning = judge(401, b'{"error": "Unauthorized"}')
    assert meaning == Meaning(
        kind=Kind.TRANSIENT,
        reason="IMDS answered 401: Unauthorized (the request is not signed)",
        hint="metadata is guarded (Metadata Security Protocol), and nothing has signed the request:"
        " azure-proxy-agent is not"
        " running, is being updated, or its key is not latched yet."
        f" {LOOK}, `azure-proxy-agent --status --wait 120` waits for it; see"
        " docs/troubleshooting.md",
        unsigned=True,
    )


def test_a_signature_that_imds_does_not_take() -> None:
    """The agent handed the refusal on: its key is wrong, and the remedy is outside of this VM."""
    meaning = judge(401, headers=SIGNED)
    assert (meaning.kind, meaning.unsigned) == (Kind.TRANSIENT, True)
    assert meaning.reason == "IMDS answered 401 (the signature is not valid)"
    assert "keyIncarnationId" in meaning.hint


def test_a_caller_that_the_rules_deny() -> None:
    """Final, with who asked and the rule that would let it in; Python's path is no such rule."""
    assert judge(403) == Meaning(
        kind=Kind.REFUSED,
        reason=f"403 {BY_AGENT} {DENIED}",
        hint=RULE,
    )


def test_another_403_says_who_asked_too() -> None:
    """Whoever said it, with words or behind the agent, the caller is named."""
    for headers in ({}, SIGNED):
        meaning = judge(403, b'{"error": "Forbidden"}', headers)
        assert meaning.kind is Kind.REFUSED
        assert meaning.reason == f"IMDS answered 403: Forbidden; {DENIED}"
        assert meaning.hint == RULE


def test_a_connection_that_the_agent_forgot() -> None:
    """It is asked again: another connection has another note."""
    assert judge(421) == Meaning(
        kind=Kind.TRANSIENT,
        reason=f"421 {BY_AGENT} it does not know this connection",
        hint=f"azure-proxy-agent was restarted, or is very busy: {LOOK}; lbhook asks again",
    )


@pytest.mark.parametrize(
    ("status", "kind", "why"),
    [
        (405, Kind.OURS, "it does not allow this HTTP method"),
        (500, Kind.TRANSIENT, "it has no access rules yet"),
        (502, Kind.TRANSIENT, "it did not reach IMDS"),
        (503, Kind.TRANSIENT, "it got no answer from IMDS"),
    ],
)
def test_what_the_agent_says_is_told_from_what_imds_says(status: int, kind: Kind, why: str) -> None:
    """No body and no header is the agent's own; either of them makes it that of IMDS."""
    own = judge(status)
    assert (own.kind, own.reason) == (kind, f"{status} {BY_AGENT} {why}")
    assert own.hint == f"the fault is in azure-proxy-agent, not in IMDS: {LOOK}"
    for body, headers in ((b'{"error": "x"}', {}), (b"", SIGNED), (b"<html>", {})):
        other = judge(status, body, headers)
        assert other.kind is kind
        assert other.reason.startswith(f"IMDS answered {status}")


def test_retry_after_is_kept() -> None:
    """Whoever says when to come again is heard."""
    for status in (401, 421, 503):
        assert judge(status, headers={"retry-after": "7"}).retry_after == 7.0


def test_who_asks_is_this_process() -> None:
    """By the names that the access rules go by."""
    assert guard.asker().user == pwd.getpwuid(os.geteuid()).pw_name


@dataclass
class Program:
    """The agent's own program: notes what it is asked, and takes some time to answer."""

    clock: Clock
    status: int = 0
    output: str = ""
    takes: float = 0.0
    calls: list[tuple[str, ...]] = field(default_factory=list)

    def __call__(
        self,
        argv: Sequence[str],
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        """One call; it is ended when its time is up."""
        self.calls.append(tuple(argv))
        self.clock.now += min(self.takes, timeout)
        status = TIMED_OUT if self.takes > timeout else self.status
        return Result(argv=tuple(argv), status=status, output=self.output, seconds=timeout)


def asking(imds: Emulator, program: Program, wait: float = 60.0) -> Service:
    """A service on a VM that has the agent's program."""
    agent = Agent(program, "/usr/sbin/azure-proxy-agent")
    return service(imds, program.clock, wait=wait, find_agent=lambda: agent)


UNSIGNED = Step(answer="unauthorized")


def test_the_agent_is_waited_for() -> None:
    """One refusal, one wait by the agent's own word, and the next question is answered."""
    clock = Clock()
    program = Program(clock, takes=40.0)
    seen: list[Waiting] = []
    with playing(Step(answer="unauthorized", seconds=40.0), clock=clock) as imds:
        reading = asking(imds, program)._replace(watch=seen.append).fetch()
    assert program.calls == [("/usr/sbin/azure-proxy-agent", "--status", "--wait", "58")]
    assert (reading.attempts, pace(imds)) == (2, [0.0, 40.0])
    assert seen[0].reason == "metadata is guarded: waiting for azure-proxy-agent"


def test_the_wait_for_the_agent_is_no_longer_than_that_of_others() -> None:
    """Two minutes, as cloud-init waits; what is left of the time is for asking."""
    clock = Clock()
    program = Program(clock, takes=999.0)
    with playing(UNSIGNED, clock=clock) as imds:
        error = failure(asking(imds, program, wait=300.0))
    assert program.calls == [("/usr/sbin/azure-proxy-agent", "--status", "--wait", "119")]
    assert (error.waited, len(imds.requests)) == (299.5, 182)
    assert error.problems[2] == "azure-proxy-agent is not ready after 119 s"


def test_a_short_wait_is_kept() -> None:
    """The budget is hard, whatever the agent does; there is one more question at its end."""
    clock = Clock()
    program = Program(clock, takes=999.0)
    with playing(UNSIGNED, clock=clock) as imds:
        error = failure(asking(imds, program, wait=15.0))
    assert isinstance(error, NoAnswerError)
    assert error.problems == (
        "no usable answer from the metadata service: asked 3 times in 14 s",
        "the last reason: IMDS answered 401: Unauthorized (the request is not signed)",
        "azure-proxy-agent is not ready after 13 s",
    )
    assert error.waited <= 15.0


def test_what_the_agent_says_is_passed_on() -> None:
    """In one line of ASCII, with what IMDS said."""
    clock = Clock()
    program = Program(clock, status=2, output="keyLatchStatus - no \x1b[31m\r\nkey\n")
    with playing(UNSIGNED, clock=clock) as imds:
        error = failure(asking(imds, program, wait=4.0))
    assert error.problems[2] == "azure-proxy-agent says: keyLatchStatus - no \\x1b[31m key"
    assert len(program.calls) == 1


@pytest.mark.parametrize("status", [NOT_FOUND, 126])
def test_a_program_that_can_not_be_run_is_none(status: int) -> None:
    """It is asked at the usual pace then."""
    clock = Clock()
    with playing(Step(answer="unauthorized", requests=2), clock=clock) as imds:
        reading = asking(imds, Program(clock, status=status)).fetch()
    assert (reading.attempts, reading.waited) == (3, 2.0)


def test_one_attempt_waits_for_nobody() -> None:
    """`--wait 0` is one question."""
    clock = Clock()
    program = Program(clock)
    with playing(UNSIGNED, clock=clock) as imds:
        failure(asking(imds, program, wait=0.0))
    assert (program.calls, len(imds.requests)) == ([], 1)


def test_the_agent_is_asked_for_nothing_else() -> None:
    """Neither when all is well nor when IMDS itself is ailing is its program run."""
    for step in (Step(), Step(answer="unavailable"), Step(fault="status", status=421, body="")):
        clock = Clock()
        program = Program(clock)
        with playing(step, clock=clock) as imds:
            asked = asking(imds, program, wait=4.0)
            if step == Step():
                asked.fetch()
            else:
                failure(asked)
        assert program.calls == []


@pytest.mark.parametrize("status", [401, 421])
def test_what_heals_is_asked_again(status: int) -> None:
    """An agent that is updated in the second of a boot's question costs that second."""
    clock = Clock()
    step = Step(fault="status", status=status, body="", requests=1)
    with playing(step, clock=clock) as imds:
        reading = service(imds, clock).fetch()
    assert (reading.attempts, reading.waited) == (2, 1.0)


def test_a_denial_ends_one_run_at_once() -> None:
    """76 after one request, with the rule as its hint."""
    clock = Clock()
    with playing(Step(fault="status", status=403, body=""), clock=clock) as imds:
        error = failure(service(imds, clock))
    assert isinstance(error, ProtocolError)
    assert (error.status, error.guarded, len(imds.requests)) == (76, True, 1)
    assert error.hint == guard.asker().rule


def test_whether_metadata_is_guarded_is_known_from_an_answer() -> None:
    """The agent's header, or a refusal that only guarded metadata has; a time-out tells nothing."""
    clock = Clock()
    with playing(clock=clock) as imds:
        assert service(imds, clock).fetch().guarded is False
    with playing(Step(answer="unauthorized"), clock=clock) as imds:
        assert failure(service(imds, clock)).guarded is True
    with playing(Step(answer="unavailable"), clock=clock) as imds:
        assert failure(service(imds, clock)).guarded is None
