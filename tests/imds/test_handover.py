"""What one process heard and another puts in force: nothing in between is to be trusted."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from lbhook.emulator.server import Emulator
from lbhook.errors import LbhookError
from lbhook.imds.handover import Handed, Handover
from lbhook.paths import Paths
from lbhook.storage.files import Tree

from ..program import BODIES, Desk, Ended

DOCUMENTED = BODIES / "documented.json"
HEARD = Handed(
    body=b"{}", instance=b"[]", read=12.5, attempts=3, waited=2.5, guarded=True, events=b"{}"
)
PORTS = "{% for one in lb.listeners %}{{ one.port }} {% else %}none{% endfor %}"


@pytest.fixture
def handover(tmp_path: Path) -> Handover:
    """An empty place to hand over."""
    return Handover(Tree(tmp_path, privileged=False), Paths())


def place(handover: Handover) -> Path:
    """The file, as others see it."""
    return handover.tree.outside(handover.file)


@pytest.mark.parametrize("body", [b"{}", b"", None])
def test_what_is_left_is_taken(handover: Handover, body: bytes | None) -> None:
    """To the byte; that there is no load balancer, too."""
    for guarded in (True, False, None):
        fetched = HEARD._replace(body=body, guarded=guarded, events=body)
        handover.leave(fetched)
        assert handover.take(now=20.0) == fetched
    assert str(handover.file) == "/run/lbhook-fetch/answer.json"


def test_nothing_left_is_nothing(handover: Handover) -> None:
    """The first boot, or a fetch that failed."""
    assert handover.take(now=20.0) is None


def test_it_was_read_by_now(handover: Handover) -> None:
    """One that claims to be of the future would keep every later answer out."""
    handover.leave(HEARD)
    taken = handover.take(now=11.0)
    assert taken
    assert taken.read == 11.0


@pytest.mark.parametrize(
    "changed",
    [
        {"version": 2},
        {"body": "%%%"},
        {"body": 7},
        {"instance": None},
        {"read": "soon"},
        {"read": float("nan")},
        {"read": float("inf")},
        {"read": -1},
        {"attempts": [1]},
        {"waited": 10**400},
        {"guarded": 1},
        {"events": "%%%"},
        {"events": 7},
        {"body": base64.b64encode(b" " * (16 * 1024 * 1024)).decode()},
    ],
    ids=lambda changed: f"{str(changed)[:24]}",
)
def test_damage_is_refused(handover: Handover, changed: dict[str, Any]) -> None:
    """Whoever writes there, it does not get further than this; nor does more than it may be."""
    handover.leave(HEARD)
    content = json.loads(place(handover).read_bytes())
    place(handover).write_text(json.dumps({**content, **changed}))
    with pytest.raises(LbhookError, match=r"what was fetched is damaged; it is not used"):
        handover.take(now=20.0)


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "{", "[" * 100_000])
def test_what_is_no_record_is_refused(handover: Handover, text: str) -> None:
    """Half a file, or something else altogether."""
    place(handover).parent.mkdir(parents=True)
    place(handover).write_text(text)
    with pytest.raises(LbhookError, match="damaged"):
        handover.take(now=20.0)


def test_a_link_is_not_followed(handover: Handover) -> None:
    """The directory is another user's: root reads no file of that user's choice."""
    secret = handover.tree.outside(Paths().state) / "secret"
    secret.parent.mkdir(parents=True)
    secret.write_text("{}")
    place(handover).parent.mkdir(parents=True)
    place(handover).symlink_to(secret)
    with pytest.raises(LbhookError, match="symbolic link"):
        handover.take(now=20.0)


# Both processes


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A machine with one target, which asks what the test sets up."""
    desk = Desk(tmp_path, body="")
    desk.own_target(PORTS)
    return desk


def fetch(desk: Desk, answer: str) -> Ended:
    """What the process without power does."""
    with Emulator(body=answer) as imds:
        desk.endpoint = imds.url
        return desk.run("fetch", "--hand-over")


def apply(desk: Desk, *words: str) -> dict[str, Any]:
    """What the process without a network does."""
    desk.endpoint = "http://127.0.0.1:9"
    ended = desk.apply("--json", *words)
    result: dict[str, Any] = json.loads(ended.out)
    return {**result, "err": ended.err}


def test_what_was_fetched_is_applied_without_a_network(desk: Desk) -> None:
    """It becomes the last good answer with what is made of it, and not before."""
    assert fetch(desk, "documented") == Ended(0, "fetched: 2 inbound rules; handed over\n", "")
    kept = desk.root / "var/lib/lbhook/answer.json"
    assert not kept.exists()
    result = apply(desk, "--cached")
    assert (result["outcome"], result["source"], result["attempts"]) == ("changed", "imds", 1)
    assert desk.files()["etc/motd"] == "443 443 "
    assert (
        json.loads(kept.read_text())["body"] == base64.b64encode(DOCUMENTED.read_bytes()).decode()
    )


def test_it_is_news_once(desk: Desk) -> None:
    """From the second time on it is the last good answer."""
    fetch(desk, "documented")
    apply(desk, "--cached")
    result = apply(desk, "--cached")
    assert (result["outcome"], result["source"]) == ("unchanged", "cache")


def test_a_later_answer_is_not_replaced_by_an_earlier_one(desk: Desk) -> None:
    """Somebody ran `lbhook apply` since."""
    fetch(desk, "documented")
    with Emulator(body="public-ip-only") as imds:
        desk.endpoint = imds.url
        desk.apply()
    result = apply(desk, "--cached")
    assert (result["outcome"], result["source"]) == ("unchanged", "cache")
    assert desk.files()["etc/motd"] == "none"


def test_that_there_is_no_load_balancer_is_handed_over(desk: Desk) -> None:
    """A steady state, and no failure of either process."""
    ended = fetch(desk, "absent")
    assert (ended.status, ended.err) == (0, "")
    result = apply(desk, "--cached")
    assert (result["outcome"], result["status"]) == ("absent", 0)


def test_what_is_damaged_gives_way_to_the_last_good_answer(desk: Desk) -> None:
    """With a warning."""
    fetch(desk, "documented")
    apply(desk, "--cached")
    (desk.root / "run/lbhook-fetch/answer.json").write_text("{")
    result = apply(desk, "--cached")
    assert (result["status"], result["source"]) == (0, "cache")
    assert "what was fetched is damaged; it is not used" in result["err"]


def test_a_body_is_read_as_strictly_again(desk: Desk) -> None:
    """Whoever took the first process over gets no text into a file."""
    fetch(desk, "documented")
    file = desk.root / "run/lbhook-fetch/answer.json"
    body = DOCUMENTED.read_bytes().replace(b"10.1.0.4", b"10.1.0.4; }")
    content = {**json.loads(file.read_text()), "body": base64.b64encode(body).decode()}
    file.write_text(json.dumps(content))
    result = apply(desk, "--cached")
    assert result["status"] == 65
    assert "etc/motd" not in desk.files()


def test_without_any_answer_there_is_a_failure(desk: Desk) -> None:
    """The metadata service was silent, and there is no last good answer."""
    desk.endpoint = "http://127.0.0.1:9"
    assert desk.run("fetch", "--hand-over", "--wait", "0").status == 75
    assert apply(desk, "--cached")["status"] == 75
