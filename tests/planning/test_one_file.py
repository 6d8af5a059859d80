"""Two targets whose paths links lead to one file, or to what is lbhook's own."""

from pathlib import Path

import pytest

from lbhook.runs.undo import Undo

from ..stand import NO_ENV, Stand, body, target

TWO = NO_ENV + target("one") + target("two", path="/srv/link/one", reload=["load-two"])
MORE = TWO + target("three", reload=["load-three"])


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine on which /srv/link is /etc, and /srv/state lbhook's memory."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    (stand.disk / "srv").mkdir()
    (stand.disk / "srv/link").symlink_to("/etc")
    (stand.disk / "srv/state").symlink_to("/var/lib/lbhook")
    return stand


def test_two_targets_with_one_file_are_refused(stand: Stand) -> None:
    """By name, with both paths; their file is as it was, and the others follow Azure."""
    stand.put("/etc/one", "mine\n")
    for _ in range(2):
        report = stand.apply(stand.settings(MORE), body(80))
        problem = f"links lead /etc/one of one and /srv/link/one of two to one file, {stand.disk}"
        assert (report.status, report.problems) == (78, (f"{problem}/etc/one",))
        assert report.hint == "give each target a file of its own"
    assert (stand.text("/etc/one"), stand.text("/etc/three")) == ("mine\n", "80\n")


def test_clean_works_all_the_same(stand: Stand) -> None:
    """Each file once, by the path that it was installed by."""
    stand.put("/etc/one", "mine\n")
    only = stand.settings(NO_ENV + target("two", path="/srv/link/one"))
    assert stand.apply(only, body(80)).status == 0
    report = Undo(stand.context(stand.settings(TWO))).clean()
    assert (report.status, stand.text("/etc/one")) == (0, "mine\n")


def test_a_path_that_is_given_another_name_is_no_second_file(stand: Stand) -> None:
    """A configuration that names the file itself, where it named a way to it."""
    stand.put("/etc/one", "mine\n")
    before = stand.settings(NO_ENV + target("one", path="/srv/link/one"))
    after = stand.settings(NO_ENV + target("one"))
    assert stand.apply(before, body(80)).status == 0
    assert stand.apply(after, body(80, 443)).status == 0
    assert stand.text("/etc/one") == "80\n443\n"
    assert stand.apply(after, body(80, 443)).outcome == "unchanged"


def test_a_file_of_lbhooks_own_is_no_targets(stand: Stand) -> None:
    """Also where a link leads to it."""
    stand.apply(stand.settings(NO_ENV + target("three")), body(80))
    settings = stand.settings(NO_ENV + target("one", path="/srv/state/installed.json"))
    report = stand.apply(settings, body(80))
    where = f"{stand.disk}/var/lib/lbhook/installed.json"
    problem = f"links lead /srv/state/installed.json of one to {where}, which belongs to lbhook"
    assert (report.status, report.problems) == (78, (problem,))


def test_metrics_have_a_file_of_their_own(stand: Stand) -> None:
    """As everything else that lbhook writes."""
    metrics = '[metrics]\ntextfile = "/srv/link/one.prom"\n'
    settings = stand.settings(NO_ENV + target("one", path="/etc/one.prom") + metrics)
    report = stand.apply(settings, body(80))
    assert report.status == 78
    assert "/srv/link/one.prom of metrics.textfile" in report.problems[0]
