"""What a check has refused is kept for whoever looks into it, and not for long."""

import os

import pytest

from lbhook.runs.undo import Undo

from ..stand import NO_ENV, Runner, Stand, body, contents, target

PLACE = "var/lib/lbhook/refused"
CHECKED = NO_ENV + target("one", check=["judge", "{staged}"]) + target("two")


def refusing(word: str = "judge") -> Runner:
    """A runner whose checks refuse."""
    return Runner(lambda argv: (1, "no") if word in argv else None)


def kept(stand: Stand) -> list[str]:
    """The names of what is kept."""
    place = stand.disk / PLACE
    return sorted(one.name for one in place.iterdir()) if place.is_dir() else []


@pytest.mark.parametrize("key", ["check", "check_live"])
def test_the_refused_file_is_kept_and_named(stand: Stand, key: str) -> None:
    """As it was refused, for root alone; the one that is there stays as it was."""
    settings = stand.settings(NO_ENV + target("one", **{key: ["judge", "{staged}"]}))
    if key == "check":
        stand.apply(settings, body(80))
    stand.runner = refusing()
    report = stand.apply(settings, body(80, 443))
    assert report.status == 78
    file = stand.disk / PLACE / "one"
    assert report.hint == f"its file was not changed; what was refused is in {file}"
    assert file.read_text() == "80\n443\n"
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_uid == os.geteuid()
    assert stand.text("/etc/one") == ("80\n" if key == "check" else None)


def test_there_is_one_of_each_target(stand: Stand) -> None:
    """The latest; one that is good at once keeps none."""
    settings = stand.settings(CHECKED)
    stand.runner = refusing()
    for ports in ((80,), (443,), (8080, 8081)):
        stand.apply(settings, body(*ports))
    assert kept(stand) == ["one"]
    assert (stand.disk / PLACE / "one").read_text() == "8080\n8081\n"


@pytest.mark.parametrize("good", [body(80), body(80, 443)])
def test_a_good_run_takes_it_away(stand: Stand, good: bytes) -> None:
    """Whether the file then differs, or is what it was before the slip; not one of another target
    or without an answer, and not a plan."""
    settings = stand.settings(CHECKED)
    stand.apply(settings, body(80))
    stand.runner = refusing()
    stand.apply(settings, body(80, 443))
    stand.runner = Runner()
    stand.apply(settings, None)
    stand.plan(settings, good)
    assert kept(stand) == ["one"]
    stand.apply(settings, good)
    assert kept(stand) == []


def test_a_plan_keeps_nothing(stand: Stand) -> None:
    """It changes nothing, and names no file."""
    settings = stand.settings(CHECKED)
    stand.runner = refusing()
    before = contents(stand.disk)
    stand.plan(settings, body(80))
    assert contents(stand.disk) == before


def test_clean_takes_it_away(stand: Stand) -> None:
    """With all other state."""
    settings = stand.settings(CHECKED)
    stand.runner = refusing()
    stand.apply(settings, body(80))
    assert kept(stand) == ["one"]
    stand.runner = Runner()
    Undo(stand.context(settings)).clean()
    assert not (stand.disk / "var/lib/lbhook").exists()


def test_it_is_bounded(stand: Stand) -> None:
    """What is too long is cut at the end of a line."""
    stand.template("long.j2", "{% for n in range(90000) %}" + "x" * 99 + "\n{% endfor %}")
    stand.runner = refusing()
    settings = stand.settings(NO_ENV + target("one", template="long.j2", check=["judge"]))
    stand.apply(settings, body(80))
    content = (stand.disk / PLACE / "one").read_bytes()
    assert 4 * 2**20 - 100 < len(content) <= 4 * 2**20
    assert content.endswith(b"x\n")


def test_where_it_can_not_be_kept_it_is_not_missed(stand: Stand) -> None:
    """The refusal is told as before."""
    stand.put(f"/{PLACE}", "in the way")
    stand.runner = refusing()
    report = stand.apply(stand.settings(CHECKED), body(80))
    assert (report.status, report.hint) == (78, "its file was not changed")
