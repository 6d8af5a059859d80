"""The state and the runtime directory as links, one rule for both: they are followed, below a root
within it, and what somebody made for lbhook stays when lbhook goes."""

from pathlib import Path

import pytest

from lbhook.runs.undo import Undo

from ..stand import NO_ENV, Stand, body, target

ONE = NO_ENV + target("one")
PLACES = ("var/lib/lbhook", "run/lbhook")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> str:
    """One of the two directories."""
    return str(request.param)


def linked(stand: Stand, place: str, to: str) -> Path:
    """The directory as a link of root's."""
    link = stand.disk / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(to)
    return link


@pytest.mark.parametrize("there", [True, False])
def test_a_directory_may_be_a_link(tmp_path: Path, place: str, there: bool) -> None:
    """To another disk, on which the directory need not be yet; clean leaves both, and no record."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    link = linked(stand, place, "/data/lbhook")
    if there:
        (stand.disk / "data/lbhook").mkdir(parents=True)
    settings = stand.settings(ONE)
    for answer in (body(80), body(443), body(443)):
        assert stand.apply(settings, answer).status == 0
    assert list((stand.disk / "data/lbhook").glob("*.json"))
    report = Undo(stand.context(settings)).clean()
    assert (report.status, report.problems) == (0, ())
    assert link.is_symlink()
    assert not list((stand.disk / "data/lbhook").glob("*.json"))
    assert stand.apply(settings, body(80)).status == 0


@pytest.mark.parametrize("to", ["{out}", "../../../../../../../../../{out}"])
def test_nothing_is_made_outside_a_root(tmp_path: Path, place: str, to: str) -> None:
    """Wherever a link seems to lead: not even the lock, and not while a plan looks for it."""
    out = tmp_path / "out"
    out.mkdir()
    stand = Stand(tmp_path, live=False)
    stand.template("ports.j2")
    linked(stand, place, to.format(out=out))
    settings = stand.settings(ONE)
    stand.plan(settings, body(80))
    assert stand.apply(settings, body(80)).status == 0
    assert Undo(stand.context(settings)).clean().status == 0
    assert not list(out.iterdir())
