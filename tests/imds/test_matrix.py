"""What IMDS answers, and what becomes of the machine: every row over a real socket.

Each row begins on a machine that had a good answer and its files, so that there is something to
lose: whatever the answer, nothing of it may be in force unless it was read and understood whole.
"""

import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lbhook.context import Context, Options, Reporter
from lbhook.deployment.report import Report
from lbhook.emulator import playbook
from lbhook.emulator.server import Emulator
from lbhook.runs.fetch import Fetch
from lbhook.runs.update import Update

from ..stand import NO_ENV, Stand, body, everything, target

ONE = NO_ENV + target("one")
GOOD = body(80)
ENTRY = '{"frontendIpAddress": "50.0.0.1", "protocol": "tcp", "frontendPort": 80'


@dataclass(frozen=True, kw_only=True)
class Row:
    """An answer, and what must come of it."""

    step: str
    status: int
    outcome: str
    says: str
    requests: tuple[int, int] = (2, 3)


ROWS = {
    "good": Row(step="", status=0, outcome="unchanged", says="", requests=(1, 1)),
    "absent": Row(step='answer = "absent"', status=0, outcome="absent", says="", requests=(1, 1)),
    "not available": Row(
        step='answer = "not-available"',
        status=75,
        outcome="kept",
        says="Load Balancer metadata API is not available right now",
    ),
    "not available, newer words": Row(
        step='answer = "not-available"\nwording = "newer"',
        status=75,
        outcome="kept",
        says="Load Balancer metadata API isn't available right now",
    ),
    "enabling": Row(
        step='answer = "enabling"', status=75, outcome="kept", says="not currently available"
    ),
    "wrong path": Row(
        step='answer = "wrong-path"',
        status=76,
        outcome="failed",
        says="IMDS answered 404",
        requests=(1, 1),
    ),
    "api version": Row(
        step='answer = "api-version"',
        status=76,
        outcome="failed",
        says="api-version is invalid",
        requests=(1, 1),
    ),
    "forbidden": Row(
        step='answer = "forbidden"',
        status=76,
        outcome="failed",
        says="Metadata Security Protocol",
        requests=(1, 1),
    ),
    "redirect": Row(
        step='fault = "redirect"',
        status=76,
        outcome="failed",
        says="what answered is not IMDS: it redirects (302)",
        requests=(1, 1),
    ),
    "updating": Row(step='fault = "updating"', status=75, outcome="kept", says="being updated"),
    "throttled": Row(
        step='fault = "throttle"', status=75, outcome="kept", says="429", requests=(2, 2)
    ),
    "unavailable": Row(step='answer = "unavailable"', status=75, outcome="kept", says="503"),
    "refused": Row(
        step='fault = "refuse"',
        status=75,
        outcome="kept",
        says="connection refused",
        requests=(0, 0),
    ),
    "hangs": Row(
        step='fault = "hang"', status=75, outcome="kept", says="response timed out", requests=(1, 2)
    ),
    "drips": Row(
        step='fault = "drip"\nrate = 5',
        status=75,
        outcome="kept",
        says="response timed out",
        requests=(1, 2),
    ),
    "headers drip": Row(
        step='fault = "drip-headers"\nrate = 5',
        status=75,
        outcome="kept",
        says="response timed out",
        requests=(1, 2),
    ),
    "cut": Row(step='fault = "cut"\nafter = 60', status=75, outcome="kept", says="cut"),
    "reset": Row(step='fault = "reset"', status=75, outcome="kept", says="connection reset"),
    "huge": Row(step='fault = "huge"', status=75, outcome="kept", says="4 MiB"),
    "not JSON": Row(step='fault = "not-json"', status=75, outcome="kept", says="not JSON"),
    "another type": Row(step='fault = "wrong-type"', status=75, outcome="kept", says="text/html"),
    "a list is missing": Row(
        step='fault = "partial"',
        status=65,
        outcome="failed",
        says="loadbalancer.inboundRules: missing",
    ),
}
BODIES = {
    "a key is missing": (
        f'{{"loadbalancer": {{"publicIpAddresses": [], "inboundRules": [{ENTRY}}}], '
        '"outboundRules": []}}',
        "loadbalancer.inboundRules[0].privateIpAddress: missing",
        (2, 3),
    ),
    "another shape": (
        '{"compute": {}}',
        "loadbalancer: missing; this is not a load balancer's metadata",
        (1, 1),
    ),
    "a wrong port": (
        body(80).decode().replace('"backendPort": 80', '"backendPort": 70000'),
        "loadbalancer.inboundRules[0].backendPort: 70000 is not a port",
        (1, 1),
    ),
    "nested too deep": ("[" * 200_000 + "]" * 200_000, "body: nested too deep", (1, 1)),
}


@dataclass(frozen=True)
class Scene:
    """A machine that had a good answer, and asks again."""

    stand: Stand

    def ask(self, imds: Emulator, wait: float, *, require_lb: bool = False) -> Report:
        """One apply against the service, on the real clock."""
        return self.update(imds.url, Options(wait=wait, require_lb=require_lb)).apply()

    def update(self, endpoint: str, options: Options, **imds: Any) -> Update:
        """An update that asks a service, with options of [imds]."""
        settings = self.stand.settings(ONE)
        asked = settings.imds._replace(endpoint=endpoint, **imds)
        settings = settings._replace(imds=asked, endpoint_named=True)
        return Update(Context(host=self.stand.host(settings), settings=settings, options=options))


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """The machine after one good answer."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    made = Scene(stand)
    with Emulator(GOOD) as imds:
        assert made.ask(imds, 5.0).outcome == "changed"
    stand.runner.taken()
    return made


def _play(step: str) -> playbook.Playbook | None:
    if not step:
        return None
    return playbook.parse(f'title = "a row"\n[[step]]\n{step}\n', name="row", beside=Path("/"))


def _hold_to(scene: Scene, imds: Emulator, row: Row) -> None:
    before = everything(scene.stand.disk, without=("run",))
    result = scene.ask(imds, 1.5)
    assert (result.status, result.outcome) == (row.status, row.outcome)
    assert row.says in "\n".join(result.problems)
    if row.status:
        assert result.hint
    least, most = row.requests
    assert least <= len(imds.requests) <= most
    assert everything(scene.stand.disk, without=("run",)) == before
    assert scene.stand.runner.taken() == []
    status = json.loads((scene.stand.disk / "run/lbhook/status.json").read_bytes())
    assert (status["status"], status["outcome"]) == (row.status, row.outcome)


@pytest.mark.parametrize("name", ROWS)
def test_no_answer_but_a_good_one_changes_anything(scene: Scene, name: str) -> None:
    """Promise 1: failed is not empty, and empty is not absent."""
    row = ROWS[name]
    with Emulator(GOOD, playbook=_play(row.step), limit=None) as imds:
        _hold_to(scene, imds, row)


@pytest.mark.parametrize("name", BODIES)
def test_no_body_but_a_good_one_changes_anything(scene: Scene, name: str) -> None:
    """Promise 1, for what arrives whole and can't be understood whole."""
    text, says, requests = BODIES[name]
    row = Row(step="", status=65, outcome="failed", says=says, requests=requests)
    with Emulator(text.encode(), limit=None) as imds:
        _hold_to(scene, imds, row)


def test_sudden_silence_is_read_three_times(scene: Scene) -> None:
    """No rule left, where there were some: not believed in one reading."""
    with Emulator(body()) as imds:
        row = Row(step="", status=75, outcome="kept", says="no inbound rule, but", requests=(1, 1))
        _hold_to(scene, imds, row)


def test_silence_that_stays_is_believed(scene: Scene) -> None:
    """Three readings that agree, seconds apart, and the rules are gone."""
    with Emulator(body()) as imds:
        result = scene.ask(imds, 30.0)
        assert (result.status, result.outcome, len(imds.requests)) == (0, "changed", 3)
    times = [request.at for request in imds.requests]
    assert all(later - earlier >= 1.0 for earlier, later in itertools.pairwise(times))
    assert scene.stand.text("/etc/one") == "none\n"


def test_silence_is_believed_at_once_if_asked_for(scene: Scene) -> None:
    """--accept-empty: the operator knows."""
    with Emulator(body()) as imds:
        result = scene.update(imds.url, Options(accept_empty=True)).apply()
        assert (result.outcome, len(imds.requests)) == ("changed", 1)


def test_absence_that_is_empty_is_read_three_times(scene: Scene) -> None:
    """absent = "empty" closes everything: not after one reading, and not for one boot."""

    def update(endpoint: str, wait: float = 9.0) -> Update:
        return scene.update(endpoint, Options(wait=wait), absent="empty")

    with Emulator(GOOD, playbook=_play('answer = "absent"\nrequests = 1')) as imds:
        assert update(imds.url).apply().outcome == "unchanged"
        assert (len(imds.requests), scene.stand.text("/etc/one")) == (2, "80\n")
    with Emulator(None) as imds:
        assert update(imds.url).apply().outcome == "changed"
        assert (len(imds.requests), scene.stand.text("/etc/one")) == (3, "none\n")
        assert update(imds.url).apply().outcome == "unchanged"
        assert len(imds.requests) == 4
    (scene.stand.disk / "etc/one").unlink()
    assert update("http://127.0.0.1:9", wait=0.0).apply().outcome == "kept"
    assert scene.stand.text("/etc/one") == "none\n"


def test_absence_that_is_empty_is_believed_at_once_if_asked_for(scene: Scene) -> None:
    """--accept-empty counts for it, too."""
    with Emulator(None) as imds:
        result = scene.update(imds.url, Options(accept_empty=True), absent="empty").apply()
        assert (result.outcome, len(imds.requests)) == ("changed", 1)


@pytest.mark.parametrize(("wait", "requests"), [(0.0, 1), (1.0, 4)])
def test_one_attempt_is_one_attempt(scene: Scene, wait: float, requests: int) -> None:
    """--wait 0 has absence believed at once; any other one leaves it its own time."""
    with Emulator(None) as imds:
        update = scene.update(imds.url, Options(wait=wait), absent_wait=3.0)
        assert update.ask().answer.metadata is None
        assert len(imds.requests) == requests


def test_a_public_ip_alone_is_no_load_balancer(scene: Scene) -> None:
    """--require-lb wants a rule or a tunnel, of whatever kind."""
    pair = {"frontendIpAddress": "51.0.0.1", "privateIpAddress": "10.0.0.4"}

    def asked(**lists: object) -> Update:
        empty = {"publicIpAddresses": [pair], "inboundRules": [], "outboundRules": []}
        found = json.dumps({"loadbalancer": {**empty, **lists}}).encode()
        return scene.stand.update(scene.stand.settings(ONE), found, Options(require_lb=True))

    result = asked().apply()
    assert (result.status, result.problems) == (
        66,
        ("no load balancer, and --require-lb is set: IMDS has no rule and no tunnel for this VM",),
    )
    assert scene.stand.text("/etc/one") == "80\n"
    assert asked(outboundRules=[pair]).ask().answer.metadata


def test_fetch_keeps_the_answer_and_nothing_else(tmp_path: Path) -> None:
    """`fetch` leaves the answer; `apply --cached` needs no network then."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    settings = stand.settings(ONE)._replace(endpoint_named=True)
    with Emulator(GOOD) as imds:
        asked = settings._replace(imds=settings.imds._replace(endpoint=imds.url))
        fetch = Fetch(Context(host=stand.host(asked), settings=asked))
        assert [fetch.carry_out().outcome for _ in range(2)] == ["changed", "unchanged"]
    files = [name for name in everything(stand.disk) if (stand.disk / name).is_file()]
    assert files == ["run/lbhook/lock", "var/lib/lbhook/answer.json"]
    cached = Update(
        Context(host=stand.host(settings), settings=settings, options=Options(cached=True))
    )
    assert (cached.apply().outcome, stand.text("/etc/one")) == ("changed", "80\n")


def test_a_failed_fetch_says_how_much_was_tried(scene: Scene) -> None:
    """Attempts and seconds are in the report of a run without an answer, too."""
    with Emulator(GOOD, playbook=_play('fault = "refuse"')) as imds:
        result = scene.ask(imds, 1.5)
    assert result.attempts == 2
    assert 1.0 <= result.waited <= 2.0


@pytest.fixture
def named(tmp_path: Path) -> Callable[[Emulator], Update]:
    """A machine whose template wants to know the VM's name and its interfaces."""
    stand = Stand(tmp_path)
    stand.template("ports.j2", "{{ vm.name }} {{ vm.nics[0].interface }}\n")
    net = stand.place / "machine/sys/class/net"
    for device, master in (("eth0", False), ("enP1", True)):
        (net / device).mkdir(parents=True)
        (net / device / "address").write_text("00:0d:3a:f8:06:ec\n", encoding="ascii")
        if master:
            (net / device / "master").mkdir()

    def update(imds: Emulator) -> Update:
        settings = stand.settings(ONE)
        asked = settings.imds._replace(endpoint=imds.url, instance=True)
        settings = settings._replace(imds=asked, endpoint_named=True)
        return Update(
            Context(host=stand.host(settings), settings=settings, options=Options(wait=5.0))
        )

    return update


def test_instance_is_one_request_more(named: Callable[[Emulator], Update], tmp_path: Path) -> None:
    """With instance = true a template sees the VM, its NICs by the synthetic device's name."""
    with Emulator(GOOD) as imds:
        result = named(imds).apply()
        assert (result.status, result.problems) == (0, ())
        paths = [request.path for request in imds.requests]
    assert paths == ["/metadata/loadbalancer", "/metadata/instance"]
    assert (tmp_path / "disk/etc/one").read_text(encoding="utf-8") == "web_0 eth0\n"


def test_instance_comes_back_from_the_last_good_answer(
    named: Callable[[Emulator], Update], tmp_path: Path
) -> None:
    """What is missing is brought back without IMDS, the VM's name in it."""
    with Emulator(GOOD) as imds:
        named(imds).apply()
        (tmp_path / "disk/etc/one").unlink()
    update = Update(named(imds).context._replace(options=Options(wait=0.0)))
    assert update.apply().status == 75
    assert (tmp_path / "disk/etc/one").read_text(encoding="utf-8") == "web_0 eth0\n"


@pytest.mark.parametrize("wait", [0.0, 1.0])
def test_a_good_answer_survives_what_is_not_said_of_the_vm(
    named: Callable[[Emulator], Update], tmp_path: Path, wait: float
) -> None:
    """/metadata/instance fails: the rules count, `vm` is what was said of it last."""
    with Emulator(GOOD) as imds:
        named(imds).apply()
    (tmp_path / "templates/ports.j2").write_text("{{ vm.name }} {{ lb.listeners[0].port }}\n")
    warnings: list[str] = []
    playing = _play('fault = "updating"\npath = "/metadata/instance"')
    with Emulator(body(443), playbook=playing) as imds:
        context = named(imds).context._replace(options=Options(wait=wait))
        result = Update(context._replace(reporter=Reporter(warn=warnings.append))).apply()
        assert (result.status, result.outcome, result.attempts) == (0, "changed", 1)
        assert len(imds.requests) == (2 if wait == 0 else 3)
    assert (tmp_path / "disk/etc/one").read_text(encoding="utf-8") == "web_0 443\n"
    [warning] = warnings
    assert re.fullmatch(
        r"/metadata/instance: no usable answer from the metadata service: asked .*;"
        r" the last reason: IMDS answered 410: Gone .*; vm keeps its last value",
        warning,
    )


def test_only_what_uses_the_vm_fails_without_it(
    named: Callable[[Emulator], Update], tmp_path: Path
) -> None:
    """Nothing was said of the VM yet: a template that wants it says so, others are rendered."""
    playing = _play('fault = "redirect"\npath = "/metadata/instance"')
    for template, status in (("{{ vm.name }}", 78), ("{{ lb.listeners[0].port }}", 0)):
        (tmp_path / "templates/ports.j2").write_text(template)
        with Emulator(GOOD, playbook=playing) as imds:
            assert named(imds).apply().status == status


def test_what_failed_after_a_good_read_tells_of_it(scene: Scene) -> None:
    """Attempts and seconds of the whole inquiry, whatever ended it."""
    with Emulator(body()) as imds:
        result = scene.ask(imds, 3.0)
    assert (result.status, result.attempts) == (75, 2)
    assert 2.0 <= result.waited <= 3.5
    with Emulator(None) as imds:
        result = scene.ask(imds, 3.0, require_lb=True)
    assert (result.status, result.attempts) == (66, 1)


def test_elsewhere_than_on_azure_nobody_is_asked(tmp_path: Path) -> None:
    """The default endpoint on a machine whose asset tag is not Azure's: 76 at once."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    settings = stand.settings(ONE)
    settings = settings._replace(imds=settings.imds._replace(endpoint="http://169.254.169.254"))
    settings = settings._replace(endpoint_named=False)
    result = Update(
        Context(host=stand.host(settings), settings=settings, options=Options(wait=5.0))
    ).apply()
    assert (result.status, result.outcome, result.attempts) == (76, "failed", 0)
    assert result.problems == (
        "this machine is not an Azure VM: its chassis asset tag is not Azure's",
    )
    assert result.hint == "name a metadata service with --endpoint, or a body with --metadata"
    assert not (stand.disk / "etc").exists()


def test_an_answer_that_was_put_back_is_not_the_last_good_one(scene: Scene) -> None:
    """What is missing later comes from the answer that the other files are made of."""
    failing = iter([(1, "no"), (0, "")])
    scene.stand.runner.answers = lambda _: next(failing)
    with Emulator(body(80, 443)) as imds:
        assert scene.ask(imds, 1.5).status == 69
    assert scene.stand.text("/etc/one") == "80\n"
    scene.stand.runner.answers = lambda _: None
    (scene.stand.disk / "etc/one").unlink()
    with Emulator(GOOD, playbook=_play('fault = "refuse"')) as imds:
        assert scene.ask(imds, 1.5).outcome == "kept"
    assert scene.stand.text("/etc/one") == "80\n"
