"""Playbooks: what they may say, what is wrong with them, and where they stand at a time."""

import gzip
import json
from pathlib import Path

import pytest

from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook, load, parse
from lbhook.emulator.replies import Answer, error, locate, names, read
from lbhook.emulator.script import Script
from lbhook.errors import ConfigError, UsageError
from lbhook.resources import BODIES, PLAYBOOKS

BODY_FILES = Path(__file__).parents[1] / "bodies"


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time it was told."""
        return self.now


def problems_of(text: str) -> list[str]:
    """Everything that parse finds wrong with a playbook."""
    with pytest.raises(ConfigError) as caught:
        parse(text, name="p.toml")
    return list(caught.value.problems)


@pytest.mark.parametrize("name", PLAYBOOKS)
def test_shipped_playbooks_are_sound_and_end_well(name: str) -> None:
    """Each playbook that ships can be read, has a title, and ends in a sound service for ever."""
    playbook = load(name)
    assert playbook.title
    assert playbook.steps[-1] == Step()


def test_every_shipped_playbook_has_a_name() -> None:
    """The table of shipped playbooks is what lies in the directory."""
    found = (Path(__file__).parents[2] / "lbhook" / "playbooks").glob("*.toml")
    assert sorted(path.stem for path in found) == sorted(PLAYBOOKS)


def test_update_lasts_as_long_as_microsoft_says() -> None:
    """The update answers 410 for 70 seconds."""
    step = load("update").steps[0]
    assert (step.seconds, step.fault, str(step)) == (70.0, "updating", "70 s: updating")


@pytest.mark.parametrize(
    ("name", "example"),
    [
        ("documented", "documented"),
        ("dual-stack", "dual-stack-bracketed"),
        ("floating-ip", "floating-ip"),
        ("gateway-ha-ports", "gateway-ha-ports"),
        ("public-ip-only", "public-ip-only"),
    ],
)
def test_built_in_bodies_are_the_examples(name: str, example: str) -> None:
    """A built-in body is byte for byte the published example."""
    assert read(name).body == (BODY_FILES / f"{example}.json").read_bytes()


@pytest.mark.parametrize("name", [name for name in names() if name not in BODIES])
def test_every_error_has_a_status_and_a_sentence(name: str) -> None:
    """Each error answer, in either wording, is JSON with `error` and has a status of errors."""
    for wording in ("older", "newer"):
        answer = error(name, wording)
        assert 400 <= answer.status < 600
        assert json.loads(answer.body)["error"]
        assert answer.note == name


@pytest.mark.parametrize(
    ("name", "older", "newer"),
    [
        ("absent", "No load balancer metadata is found. Please", "No load balancer metadata is f"),
        (
            "not-available",
            "Load Balancer metadata API is not available r",
            "Load Balancer metadata",
        ),
        ("enabling", "/metadata/loadbalancer is not currently", "/metadata/loadbalancer isn't c"),
        ("wrong-path", 'API is not found: Path = "/x"', 'API isn\'t found: Path = "/x"'),
        ("wrong-method", 'Http method is not allowed: Path = "/x"', "Http method isn't allowed"),
    ],
)
def test_errors_come_in_both_wordings(name: str, older: str, newer: str) -> None:
    """The sentences of the wire and of the later documentation can both be had."""
    said = [
        json.loads(error(name, wording, path="/x").body)["error"] for wording in ("older", "newer")
    ]
    assert said[0].startswith(older)
    assert said[1].startswith(newer)
    assert said[0] != said[1]


@pytest.mark.parametrize("example", ["error-no-load-balancer", "error-api-version"])
def test_errors_are_the_published_ones(example: str) -> None:
    """Absent and api-version are what was published, the newest versions included."""
    name = {"error-no-load-balancer": "absent", "error-api-version": "api-version"}[example]
    published = json.loads((BODY_FILES / f"{example}.json").read_bytes())
    assert json.loads(error(name).body) == published


def test_a_file_that_vanished_is_a_server_error(tmp_path: Path) -> None:
    """A body that can't be read is no answer of another kind, and the note names the file."""
    answer = read(tmp_path / "gone.json")
    assert answer.status == 500
    assert answer.note == f"can't read {tmp_path}/gone.json: No such file or directory"


def test_an_unknown_answer_names_the_nearest() -> None:
    """A misspelt name is a usage error with the name that was meant."""
    with pytest.raises(UsageError) as caught:
        locate("documentd")
    assert caught.value.problems == (
        '"documentd" is neither a file nor a known answer; did you mean "documented"?',
    )


def test_an_unknown_playbook_names_the_nearest() -> None:
    """A misspelt playbook is a usage error with the name that was meant."""
    with pytest.raises(UsageError) as caught:
        load("cold-bot")
    assert caught.value.problems == (
        '"cold-bot" is neither a file nor a shipped playbook; did you mean "cold-boot"?',
    )


def test_all_keys_arrive() -> None:
    """Each key of a step ends up where it belongs, in seconds and bytes."""
    playbook = parse(
        """
        title = "all"
        start = "first-request"
        [[step]]
        for = "1m30s"
        fault = "status"
        status = 502
        body = "<h1>no</h1>"
        content_type = "text/html"
        retry_after = 7
        path = "/metadata/instance"
        [[step]]
        requests = 2
        fault = "partial"
        answer = "dual-stack"
        missing = ["outboundRules", "inboundRules.0.backendPort"]
        [[step]]
        answer = "absent"
        wording = "newer"
        retry_after = "Wed, 21 Oct 2026 07:28:00 GMT"
        """
    )
    assert playbook == Playbook(
        title="all",
        start="first-request",
        steps=(
            Step(
                seconds=90.0,
                fault="status",
                status=502,
                body="<h1>no</h1>",
                content_type="text/html",
                retry_after="7",
                path="/metadata/instance",
            ),
            Step(
                requests=2,
                fault="partial",
                answer="dual-stack",
                missing=("outboundRules", "inboundRules.0.backendPort"),
            ),
            Step(answer="absent", wording="newer", retry_after="Wed, 21 Oct 2026 07:28:00 GMT"),
        ),
    )


def test_answers_are_files_beside_the_playbook(tmp_path: Path) -> None:
    """A file is looked for beside the playbook, not where the program was started."""
    (tmp_path / "mine.json").write_text("{}")
    (tmp_path / "p.toml").write_text('[[step]]\nanswer = "mine.json"\n')
    assert load(tmp_path / "p.toml").steps[0].answer == tmp_path / "mine.json"


def test_all_problems_are_listed_at_once() -> None:
    """Every wrong key, type and combination is named with file and place, in one error."""
    assert problems_of(
        """
        titel = "x"
        [[step]]
        for = "soon"
        fautl = "hang"
        [[step]]
        fault = "drip"
        rate = "fast"
        after = 3
        [[step]]
        for = "1s"
        requests = 0
        fault = "explode"
        [[step]]
        requests = 1
        fault = "refuse"
        [[step]]
        requests = 1
        fault = "status"
        [[step]]
        answer = "documentd"
        retry_after = true
        missing = [1]
        """
    ) == [
        "p.toml: step[1]: only the last step may lack both `for` and `requests`",
        'p.toml: titel: unknown key; did you mean "title"?',
        'p.toml: step[0].for: "soon" is not a duration such as "90s" or "5m"',
        'p.toml: step[0].fautl: unknown key; did you mean "fault"?',
        'p.toml: step[1].rate: "fast" is not a whole number',
        'p.toml: step[1].after: means nothing with fault "drip"',
        "p.toml: step[2].requests: 0 is not from 1 to 1000000000",
        'p.toml: step[2].fault: "explode" is not "refuse" or "hang" or "reset" or "stall" or "cut"'
        ' or "drip" or "drip-headers" or "status" or "redirect" or "huge" or "wrong-type" or'
        ' "not-json" or "partial" or "throttle" or "updating" or "unsigned"'
        ' or "forgotten" or "denied"',
        "p.toml: step[2].requests: a step has `for` or `requests`, not both",
        "p.toml: step[3].requests: requests that are refused can't be counted: give `for`",
        "p.toml: step[4].status: missing",
        'p.toml: step[5].answer: "documentd" is neither a file nor a known answer; did you mean'
        ' "documented"?',
        "p.toml: step[5].retry_after: true is not a string",
        "p.toml: step[5].missing[0]: 1 is not a string",
        "p.toml: step[5].missing: means nothing without a fault",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "p.toml: step: there must be at least one [[step]]"),
        ("step = 1", "p.toml: step: 1 is not a list"),
        ("step = [1]", "p.toml: step[0]: 1 is not a table"),
        (
            'start = "first-request"\n[[step]]\nfor = "1s"\nfault = "refuse"',
            "p.toml: start: the first request never comes while step[0] refuses connections",
        ),
        (
            '[[step]]\nfault = "redirect"\nlocation = "a\\r\\nb: c"',
            None,
        ),
        ('[[step]]\nfault = ["hang"]', None),
        ('[[step]]\nfault = "drip"\nrate = 0', "p.toml: step[0].rate: 0 is not a rate in bytes a"),
        ("[[step]", "p.toml: not TOML: "),
    ],
)
def test_a_problem_is_named(text: str, problem: str | None) -> None:
    """What can't be a playbook is refused with one problem, and never with another exception."""
    found = problems_of(text)
    assert len(found) == 1
    assert found[0].startswith(problem or "p.toml: step[0].")


def test_a_playbook_that_is_not_text_is_refused(tmp_path: Path) -> None:
    """A file that is not UTF-8 is a configuration error that names it."""
    (tmp_path / "p.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"p\.toml"):
        load(tmp_path / "p.toml")


def test_time_runs_from_the_launch() -> None:
    """Steps follow each other by the clock, whether or not anybody asks, and skip if need be."""
    clock = Clock()
    steps = (Step(seconds=10), Step(seconds=5), Step(fault="hang"))
    script = Script(Playbook(steps=steps), clock)
    seen = []
    for now in (100.0, 109.9, 110.0, 114.9, 115.0, 999.0):
        clock.now = now
        seen.append(script.current()[0])
    assert seen == [0, 0, 1, 1, 2, 2]


def test_time_runs_from_the_first_request() -> None:
    """With start = "first-request", nothing happens before somebody asks."""
    clock = Clock()
    script = Script(Playbook(start="first-request", steps=(Step(seconds=10), Step())), clock)
    clock.now = 500.0
    assert script.current()[0] == 0
    script.take("/")
    clock.now = 509.0
    assert script.current()[0] == 0
    clock.now = 510.0
    assert script.current()[0] == 1


def test_a_timed_step_begins_when_the_counted_one_before_it_ends() -> None:
    """The time of a step that follows a number of requests runs from the last of these."""
    clock = Clock()
    script = Script(Playbook(steps=(Step(requests=2), Step(seconds=10), Step())), clock)
    clock.now = 200.0
    assert [script.take("/")[0] for _ in range(3)] == [0, 0, 1]
    clock.now = 209.9
    assert script.current()[0] == 1
    clock.now = 210.0
    assert script.current()[0] == 2


def test_an_answer_concerns_only_its_own_path() -> None:
    """A step with an answer neither counts nor touches requests for /metadata/instance."""
    steps = (Step(requests=1, answer="absent"), Step(fault="hang"))
    script = Script(Playbook(steps=steps), Clock())
    assert script.take("/metadata/instance") == (0, Step())
    assert script.take("/metadata/loadbalancer") == (0, steps[0])
    assert script.take("/metadata/loadbalancer") == (1, steps[1])


def test_a_path_narrows_a_fault() -> None:
    """A fault with a path leaves the other paths alone, those that only begin alike included."""
    step = Step(fault="hang", path="/metadata/instance")
    assert step.concerns("/metadata/instance/compute")
    assert not step.concerns("/metadata/instances")
    assert not step.concerns("/metadata/loadbalancer")


def test_after_the_last_step_the_service_is_sound() -> None:
    """A playbook whose last step ends is followed by a service without fault."""
    clock = Clock()
    script = Script(Playbook(steps=(Step(seconds=1, fault="hang"),)), clock)
    clock.now += 1
    assert script.current() == (1, Step())


def test_huge_is_a_true_body() -> None:
    """The body that is too large would be a valid one, so that only its size can be the reason."""
    sound = read("documented")
    for transfer in ("plain", "gzip"):
        spoilt = Step(fault="huge", size=100_000, transfer=transfer).spoil(sound)
        body = gzip.decompress(spoilt.body) if transfer == "gzip" else spoilt.body
        assert len(body) == 100_000
        assert json.loads(body) == json.loads(sound.body)


def test_partial_leaves_out_what_it_is_told() -> None:
    """Whole lists and single keys of one entry go; a key that is not there is no problem."""
    missing = ("outboundRules", "inboundRules.1.backendPort", "tunnelInterfaces.0.x")
    spoilt = Step(fault="partial", missing=missing).spoil(read("documented"))
    lists = json.loads(spoilt.body)["loadbalancer"]
    assert set(lists) == {"publicIpAddresses", "inboundRules"}
    assert ["backendPort" in rule for rule in lists["inboundRules"]] == [True, False]


def test_partial_leaves_other_answers_alone() -> None:
    """An error, or another path's answer, has no lists to be left out."""
    for body in (b'{"error": "x"}', b"[]", b"not json"):
        sound = Answer(note="x", body=body)
        assert Step(fault="partial").spoil(sound).body == body
