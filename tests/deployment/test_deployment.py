"""One target's trouble holds no other back: each group follows by itself, and both is said."""

import json
from pathlib import PurePosixPath

import pytest

from lbhook.deployment.deployment import Deployment
from lbhook.runs.undo import Undo

from ..stand import GROUP, NO_ENV, USER, Runner, Stand, body, outcomes, target

A, B = body(80, 443), body(80, 8443)
OWNED = f'owner = "{USER}"\ngroup = "{GROUP}"\n'


def broken(word: str) -> Runner:
    """A runner whose commands with a word fail."""
    return Runner(lambda argv: (1, "it is broken") if word in argv else None)


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ({"reload": ["load", "bad"]}, 69),
        ({"verify": ["bad"]}, 69),
        ({"check": ["bad"]}, 78),
        ({"check_live": ["bad"]}, 78),
        ({"template": "gone.j2"}, 78),
        ({"owner": "nobody-here"}, 73),
        ({"path": "/etc/one/below"}, 73),
    ],
)
def test_a_target_in_trouble_is_alone_in_it(
    stand: Stand, keys: dict[str, object], status: int
) -> None:
    """Whatever it is: what can't be rendered, written, checked, reloaded or verified is as it
    was; the others follow Azure; status and report have both."""
    sound = NO_ENV + target("one") + target("two")
    assert stand.apply(stand.settings(sound), A).status == 0
    stand.runner = broken("bad")
    report = stand.apply(stand.settings(sound + target("bad", **keys)), B)
    assert (report.status, report.outcome) == (status, "changed")
    assert outcomes(report)["one"] == outcomes(report)["two"] == ("changed", "done")
    assert outcomes(report)["bad"][0] == "unchanged"
    assert (stand.text("/etc/one"), stand.text("/etc/bad")) == ("80\n8443\n", None)
    assert len(report.problems) >= 1
    status_json = json.loads(stand.text("/run/lbhook/status.json") or "")
    assert (status_json["status"], status_json["problems"]) == (status, [*report.problems])


def test_a_target_in_trouble_is_tried_again_alone(stand: Stand) -> None:
    """The next run finds the others as they should be, and says `failed` of what it came for."""
    settings = stand.settings(NO_ENV + target("one") + target("bad"))
    stand.runner = broken("bad")
    assert stand.apply(settings, A).outcome == "changed"
    report = stand.apply(settings, A)
    assert (report.status, report.outcome) == (69, "failed")
    assert outcomes(report)["one"] == ("unchanged", "none")
    stand.runner = Runner()
    assert outcomes(stand.apply(settings, A)) == {
        "one": ("unchanged", "none"),
        "bad": ("created", "done"),
    }


def test_all_that_went_wrong_is_said_at_once(stand: Stand) -> None:
    """Of each group; the gravest is the status."""
    stand.runner = broken("bad")
    text = NO_ENV + target("bad") + target("lost", template="gone.j2") + target("one")
    report = stand.apply(stand.settings(text + target("nobody", owner="nobody-here")), A)
    assert report.status == 73
    assert "nobody-here" in report.problems[0]
    assert "gone.j2" in report.problems[1]
    assert report.problems[2].startswith("bad: `load bad` ended with status 1")
    assert stand.text("/etc/one") == "80\n443\n"


def test_the_plan_shows_what_is_held_back_and_what_is_not(stand: Stand) -> None:
    """The diffs of the others, and the failure as apply would say it."""
    text = NO_ENV + target("bad", check=["bad"]) + target("one")
    stand.runner = broken("bad")
    plan = stand.plan(stand.settings(text), A)
    assert [one.touches_file for one in plan.changes] == [False, True]
    assert plan.to_do
    [failure] = plan.failures
    assert failure.status == 78


def test_a_rollback_takes_back_every_group_of_the_last_apply(stand: Stand) -> None:
    """They were one apply; the one that failed is not in it."""
    settings = stand.settings(NO_ENV + target("one") + target("two") + target("bad"))
    assert stand.apply(settings, A).status == 0
    stand.runner = broken("bad")
    assert stand.apply(settings, B).status == 69
    stand.runner = Runner()
    report = Undo(stand.context(settings)).rollback()
    assert (report.status, len(report.changes)) == (0, 2)
    assert [stand.text(f"/etc/{name}") for name in ("one", "two", "bad")] == ["80\n443\n"] * 3


def test_the_answer_is_kept_when_a_boot_finds_it_in_force(stand: Stand) -> None:
    """With lb.env up to date it is, whoever else failed; where that failed, the old one stays."""
    env = f'[targets.env]\npath = "/etc/lb.env"\n{OWNED}'
    record = PurePosixPath("/var/lib/lbhook/record")
    settings = stand.settings(env + target("bad"))
    stand.runner = broken("bad")
    plan = stand.plan(settings, A)
    done = Deployment(stand.host(settings), plan, records={record: b"A"}).carry_out()
    assert (len(done.failures), stand.text(str(record))) == (1, "A")
    plan = stand.plan(settings, A)  # lb.env as it should be by now
    done = Deployment(stand.host(settings), plan, records={record: b"again"}).carry_out()
    assert (len(done.failures), stand.text(str(record))) == (1, "again")
    (stand.disk / "etc/lb.env").unlink()
    (stand.disk / "etc/lb.env").mkdir()
    stand.runner = Runner()
    plan = stand.plan(settings, B)
    done = Deployment(stand.host(settings), plan, records={record: b"B"}).carry_out()
    assert (len(done.failures), stand.text(str(record))) == (1, "again")
    assert stand.text("/etc/bad") == "80\n8443\n"


def test_an_answer_that_nobody_follows_is_not_kept(stand: Stand) -> None:
    """Nothing of it is in force."""
    record = PurePosixPath("/var/lib/lbhook/record")
    settings = stand.settings(NO_ENV + target("bad"))
    stand.runner = broken("bad")
    plan = stand.plan(settings, A)
    Deployment(stand.host(settings), plan, records={record: b"A"}).carry_out()
    assert stand.text(str(record)) is None


def test_a_first_install_that_fails_leaves_what_another_program_names(stand: Stand) -> None:
    """nginx can't start without a file that it includes: the resting form stays."""
    text = f'{NO_ENV}[targets.nginx]\nreload = ["bad"]\n{OWNED}'
    said = "syntax is ok\n# configuration file /etc/nginx/lbhook/listen.conf:\n"
    stand.runner = Runner(lambda argv: (1, "it is broken") if argv[0] == "bad" else (0, said))
    report = stand.apply(stand.settings(text), A)
    assert report.status == 69
    assert "listen 127.0.0.127:10009;" in str(stand.text("/etc/nginx/lbhook/listen.conf"))
