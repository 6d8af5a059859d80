"""A put-back restores what was running: no program is made to load what it did not run."""

import pytest

from lbhook.deployment import others

from ..stand import NO_ENV, Runner, Stand, body, outcomes, target

A, B = body(80, 443), body(80, 8443)
MAIN = "/etc/app/app.conf"
APP = {"path": "/etc/app/conf.d/lb.conf", "reload": ["load", "app"], "verify": ["probe"]}


@pytest.fixture
def stand(stand: Stand) -> Stand:
    """A program with a file of its owner's and one of lbhook's, which is in force."""
    stand.put(MAIN, "site\n")
    stand.apply(stand.settings(NO_ENV + target("app", **APP)), A)
    stand.runner = Runner(lambda argv: (1, "mute") if argv[0] == "probe" and broken() else None)

    def broken() -> bool:
        return "8443" in str(stand.text("/etc/app/conf.d/lb.conf"))

    return stand


def loads(stand: Stand) -> int:
    """How often the program was reloaded since it was asked last."""
    return stand.runner.taken().count("load app")


def test_with_nothing_else_changed_it_is_reloaded_with_the_old_file(stand: Stand) -> None:
    """That is what it ran before."""
    settings = stand.settings(NO_ENV + target("app", **APP))
    report = stand.apply(settings, B)
    assert (report.status, loads(stand)) == (69, 2)
    assert report.problems[-1] == "reloaded with the old files: app"
    assert stand.text("/etc/app/conf.d/lb.conf") == "80\n443\n"


def test_files_that_came_together_are_lbhooks_own(stand: Stand) -> None:
    """From the first time on: that both were new is no change of anybody else's."""
    two = {**APP, "path": "/etc/app/conf.d/more.conf"}
    settings = stand.settings(NO_ENV + target("app", **APP) + target("more", **two))
    stand.apply(stand.settings(NO_ENV), A)
    stand.apply(settings, A)
    stand.runner.taken()
    report = stand.apply(settings, B)
    assert (report.status, loads(stand)) == (69, 2)
    assert report.problems[-1] == "reloaded with the old files: app, more"


def test_with_another_file_edited_it_is_left_alone_until_the_next_answer(stand: Stand) -> None:
    """The edited file and the old one together were never running: not by the put-back, not by a
    run without an answer; the next answer goes on from there."""
    settings = stand.settings(NO_ENV + target("app", **APP))
    stand.put(MAIN, "another site\n")
    report = stand.apply(settings, B)
    assert (report.status, loads(stand)) == (69, 1)
    assert report.problems[-1].startswith(
        "not reloaded: app: its program may still run with the new file"
    )
    assert stand.text("/etc/app/conf.d/lb.conf") == "80\n443\n"
    silent = stand.apply(settings, None)
    assert (silent.status, outcomes(silent)["app"], loads(stand)) == (75, ("unchanged", "owed"), 0)
    assert (stand.apply(settings, A).status, loads(stand)) == (0, 1)
    assert (stand.apply(settings, A).status, loads(stand)) == (0, 0)


def test_what_else_is_loaded(stand: Stand) -> None:
    """Nothing with a command that names the file, or a file without a directory of its own."""
    host = stand.host(stand.settings(NO_ENV))

    def seen(**keys: object) -> str:
        text = NO_ENV + target("app", **{**APP, **keys})
        return others.seen(host, stand.settings(text).active()[0])

    assert seen(reload=["load", "{path}"]) == seen(path="/etc/app.conf") == others.ALONE
    before = seen()
    assert seen(path="/etc/app/lb.conf") == before
    stand.put(MAIN, "longer than before\n")
    assert seen() not in (before, others.ALONE, "")
