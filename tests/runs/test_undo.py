"""`rollback` and `clean`: what puts things back on purpose."""

import shutil
from pathlib import Path, PurePosixPath

import pytest

from lbhook.deployment.report import Report
from lbhook.runs import resting_forms
from lbhook.runs.undo import Undo

from ..stand import GROUP, NO_ENV, USER, Runner, Stand, body, contents, everything, outcomes, target

ONE = NO_ENV + target("one")
TWO = ONE + target("two")
EACH = "{% for one in lb.listeners %}{{ one.port }}{% endfor %}"
_OWN = ("var/lib/lbhook", "run/lbhook")


def undo(stand: Stand, config: str = ONE) -> Undo:
    """What takes back what was done to the stand."""
    return Undo(stand.context(stand.settings(config)))


def rollback(stand: Stand, config: str = ONE) -> Report:
    """One rollback."""
    stand.warnings.clear()
    return undo(stand, config).rollback()


def test_rollback_puts_back_what_the_last_apply_replaced(stand: Stand) -> None:
    """Content of before, reloaded once; the other target, which was not replaced, is left."""
    settings = stand.settings(TWO)
    stand.apply(settings, body(80))
    stand.template("two.j2", "same\n")
    stand.apply(settings, body(80, 443))
    stand.runner.taken()
    report = rollback(stand, TWO)
    assert (report.status, report.outcome) == (0, "changed")
    assert outcomes(report) == {"one": ("changed", "done"), "two": ("changed", "done")}
    assert stand.text("/etc/one") == "80\n"
    assert stand.runner.taken() == ["load one", "load two"]


def test_twice_is_a_redo(stand: Stand) -> None:
    """Rolled back twice, everything is as the apply had left it, lbhook's records too."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80))
    stand.apply(settings, body(80, 443))
    before = contents(stand.disk, without=("var/lib/lbhook/previous", "run/lbhook"))
    rollback(stand)
    rollback(stand)
    assert contents(stand.disk, without=("var/lib/lbhook/previous", "run/lbhook")) == before


def test_rollback_of_a_first_install_leaves_nothing(stand: Stand) -> None:
    """A file that did not exist is gone again; what was there before lbhook is back."""
    stand.put("/etc/two", "mine\n", mode=0o600)
    before = contents(stand.disk)
    stand.apply(stand.settings(TWO), body(80))
    report = rollback(stand, TWO)
    assert outcomes(report) == {"one": ("removed", "done"), "two": ("changed", "done")}
    files = contents(stand.disk, without=("var", "run"))
    assert files == {name: seen for name, seen in before.items() if name.startswith("etc")}


def test_the_next_apply_brings_it_forward_again(stand: Stand) -> None:
    """A rollback is for the moment: Azure has not changed its mind."""
    settings = stand.settings(ONE)
    stand.apply(settings, body(80))
    stand.apply(settings, body(443))
    rollback(stand)
    report = stand.apply(settings, body(443))
    assert outcomes(report) == {"one": ("changed", "done")}
    assert stand.text("/etc/one") == "443\n"
    assert stand.apply(settings, body(443)).outcome == "unchanged"


def test_rollback_brings_back_a_dropped_target(stand: Stand) -> None:
    """The file of a target that left the configuration, and the record that it is lbhook's."""
    stand.apply(stand.settings(TWO), body(80))
    stand.apply(stand.settings(ONE), body(80))
    assert stand.text("/etc/two") is None
    report = rollback(stand)
    assert outcomes(report)["two"] == ("restored", "done")
    assert stand.text("/etc/two") == "80\n"
    assert "/etc/two" in undo(stand).context.host.state.installed()


def test_nothing_to_go_back_to(stand: Stand) -> None:
    """Without an apply there is nothing to roll back, and that is said."""
    report = rollback(stand)
    assert report.status == 2
    assert report.problems == ("rollback: there is no apply to go back to",)


def test_failed_reload_of_a_rollback_is_put_back(stand: Stand) -> None:
    """The same care as an apply: either everything goes back, or nothing."""
    settings = stand.settings(TWO)
    stand.apply(settings, body(80))
    stand.apply(settings, body(443))
    failing = iter([(0, ""), (1, "no"), (0, ""), (0, "")])
    stand.runner.answers = lambda _: next(failing)
    report = rollback(stand, TWO)
    assert report.status == 69
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("443\n", "443\n")
    stand.runner.answers = lambda _: None
    assert stand.apply(settings, body(443)).status == 0


@pytest.mark.parametrize("work", ["rollback", "clean"])
def test_killed_at_any_step_the_next_run_settles_it(stand: Stand, work: str) -> None:
    """As each step that touches the disk finds it, and so a kill before the step leaves it: files
    whole, and the next apply is as ever."""
    settings = stand.settings(TWO)
    stand.apply(settings, body(80))
    stand.apply(settings, body(443))
    found: list[Path] = []

    def look(_name: str, _path: PurePosixPath) -> None:
        found.append(stand.place.with_name(f"{stand.place.name}-{len(found)}"))
        shutil.copytree(stand.place, found[-1], symlinks=True)

    stand.step = look
    getattr(undo(stand, TWO), work)()
    look("the", PurePosixPath("end"))
    stand.step = lambda _name, _path: None
    for place in found:
        shutil.rmtree(stand.place)
        place.rename(stand.place)
        whole = ("80\n", "443\n", "none\n")
        assert {stand.text("/etc/one"), stand.text("/etc/two")} <= set(whole)
        assert stand.apply(settings, body(443)).status == 0
        assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("443\n", "443\n")
        assert stand.apply(settings, body(443)).outcome == "unchanged"
    assert len(found) > 20


def test_clean_puts_to_rest_and_forgets(stand: Stand) -> None:
    """Resting forms are loaded; of lbhook's own there is only the lock left."""
    stand.apply(stand.settings(ONE), body(80))
    stand.runner.taken()
    report = undo(stand).clean()
    assert (report.status, outcomes(report)) == (0, {"one": ("changed", "done")})
    assert stand.text("/etc/one") == "none\n"
    assert stand.runner.taken() == ["load one"]
    state = f"{stand.disk}/var/lib/lbhook"
    runtime = f"{stand.disk}/run/lbhook"
    assert report.removed == (
        f"{state}/installed.json",
        f"{state}/history.json",
        f"{runtime}/loaded.json",
        f"{runtime}/status.json",
        f"{state}/previous",
    )
    left = [name for name in everything(stand.disk) if name.startswith(("run", "var"))]
    assert left == ["run", "run/lbhook", "run/lbhook/lock", "var", "var/lib"]


def test_clean_gives_originals_back(stand: Stand) -> None:
    """Promise 9: what was there before lbhook comes back with its mode."""
    stand.put("/etc/one", "mine\n", mode=0o600)
    before = contents(stand.disk)
    stand.apply(stand.settings(ONE), body(80))
    undo(stand).clean()
    assert contents(stand.disk, without=("var", "run")) == before


def test_clean_leaves_what_somebody_edited(stand: Stand) -> None:
    """It is not what lbhook wrote any more; it stays, and that is said."""
    stand.apply(stand.settings(ONE), body(80))
    stand.put("/etc/one", "edited\n")
    report = undo(stand).clean()
    assert (report.status, report.changes) == (0, ())
    assert stand.text("/etc/one") == "edited\n"
    assert stand.warnings == [f"one: {stand.disk}/etc/one was edited since and stays"]


def test_clean_takes_dropped_targets_along(stand: Stand) -> None:
    """A target that left the configuration, and whose file is still there, is undone."""
    stand.apply(stand.settings(TWO), body(80))
    undo(stand, ONE).clean()
    assert stand.text("/etc/two") is None


@pytest.mark.parametrize("later", [EACH, "{% if", "{{ gone }}\n"])
def test_clean_needs_no_template_that_works(stand: Stand, later: str) -> None:
    """One that renders to nothing without rules, or that was broken since: its file goes, as when
    its target is dropped."""
    stand.template("own.j2", EACH)
    config = NO_ENV + target("one", template="own.j2")
    stand.apply(stand.settings(config), body(80))
    stand.template("own.j2", later)
    report = undo(stand, config).clean()
    assert (report.status, outcomes(report)) == (0, {"one": ("removed", "done")})
    assert stand.text("/etc/one") is None
    assert not (stand.disk / "var/lib/lbhook/installed.json").exists()


def test_clean_works_without_the_program(stand: Stand) -> None:
    """The file of a program that is no longer installed goes to rest all the same."""
    config = NO_ENV + target("one", requires=["gone"])
    stand.apply(stand.settings(config), body(80))
    stand.find = lambda _: None
    stand.runner.taken()
    report = undo(stand, config).clean()
    assert (report.status, stand.text("/etc/one")) == (0, "none\n")
    assert stand.runner.taken() == []


def test_clean_twice_does_nothing_twice(stand: Stand) -> None:
    """A machine that never had lbhook, or was cleaned, stays as it is."""
    stand.apply(stand.settings(ONE), body(80))
    undo(stand).clean()
    before = contents(stand.disk)
    report = undo(stand).clean()
    assert (report.outcome, report.removed) == ("unchanged", ())
    assert contents(stand.disk) == before


NGINX = f'[targets.nginx]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
LISTEN = "/etc/nginx/lbhook/listen.conf"


def nginx(argv: tuple[str, ...]) -> tuple[int, str] | None:
    """nginx that takes everything and includes the file."""
    printed = f"# configuration file {LISTEN}:\n"
    return (0, f"syntax is ok\n{printed}") if "nginx" in argv or "unshare" in argv else None


def with_address(stand: Stand) -> None:
    """Let the machine have the address of the rules."""
    file = stand.place / "machine/proc/self/net/fib_trie"
    file.parent.mkdir(parents=True)
    file.write_text("   |-- 10.0.0.4\n      /32 host LOCAL\n")


def broken(argv: tuple[str, ...]) -> tuple[int, str] | None:
    """nginx over which somebody else's mistake has come."""
    whole = argv in (("nginx", "-t"), ("nginx", "-T")) or argv[0] == "unshare"
    return (1, "[emerg] unknown directive") if whole else nginx(argv)


def test_rollback_of_a_first_install_leaves_what_nginx_includes(stand: Stand) -> None:
    """The site that includes it has no other listeners: they stay, and so does the record, while
    another target goes to rest. The next apply has nothing to tell nginx."""
    with_address(stand)
    stand.runner = Runner(nginx)
    config = NO_ENV + NGINX + target("one")
    assert stand.apply(stand.settings(config), body(80)).status == 0
    written = stand.text(LISTEN)
    report = rollback(stand, config)
    assert (report.status, outcomes(report)) == (0, {"one": ("removed", "done")})
    assert stand.text(LISTEN) == written
    (said,) = stand.warnings
    assert said.startswith(f"nginx: {LISTEN} stays: before the last apply lbhook had none")
    applied = stand.apply(stand.settings(config), body(80))
    assert outcomes(applied) == {"nginx": ("unchanged", "none"), "one": ("created", "done")}
    assert rollback(stand, config).status == 0


@pytest.mark.parametrize("own", ["listen 10.1.0.4:81;\n", "# mine\nlisten 127.0.0.127:10009;\n"])
def test_rollback_of_a_first_install_loses_nothing_of_the_owner_s(stand: Stand, own: str) -> None:
    """A file of his with listeners comes back at once; one without any stays kept, and comes back
    with the clean."""
    stand.put(LISTEN, own)
    with_address(stand)
    stand.runner = Runner(nginx)
    config = NO_ENV + NGINX
    assert stand.apply(stand.settings(config), body(80)).status == 0
    assert rollback(stand, config).status == 0
    assert (stand.text(LISTEN) == own) == ("10.1.0.4:81" in own)
    assert stand.apply(stand.settings(config), body(443)).status == 0
    assert undo(stand, config).clean().status == 0
    assert stand.text(LISTEN) == own


def test_a_resting_form_of_another_version_is_nobody_s(stand: Stand) -> None:
    """Laid down by its package, it is at rest, no original, and no listener to go back to."""
    old = "# Written by lbhook; as it was.\nlisten 127.0.0.127:9;\n"
    stand.put(LISTEN, old)
    with_address(stand)
    stand.runner = Runner(nginx)
    settings = stand.settings(NO_ENV + NGINX)
    assert PurePosixPath(LISTEN) in resting_forms.at_rest(stand.host(settings), settings)
    assert stand.apply(settings, body(80)).status == 0
    written = stand.text(LISTEN)
    assert rollback(stand, NO_ENV + NGINX).status == 0
    assert stand.text(LISTEN) == written
    assert undo(stand, NO_ENV + NGINX).clean().status == 0
    assert "\nlisten 127.0.0.127:10009;\n" in str(stand.text(LISTEN))


def test_an_edited_resting_form_is_its_owner_s(stand: Stand) -> None:
    """A port of his own at the address of one: it is kept, and given back."""
    own = "# Written by lbhook; edited since.\nlisten 127.0.0.127:8443;\n"
    stand.put(LISTEN, own)
    with_address(stand)
    stand.runner = Runner(nginx)
    assert stand.apply(stand.settings(NO_ENV + NGINX), body(80)).status == 0
    assert stand.text(LISTEN) != own
    assert undo(stand, NO_ENV + NGINX).clean().status == 0
    assert stand.text(LISTEN) == own


def test_rollback_is_all_or_nothing(stand: Stand) -> None:
    """A target that is blocked by somebody else's mistake keeps the others where they are."""
    config = NO_ENV + NGINX + target("one")
    with_address(stand)
    stand.runner = Runner(nginx)
    for answer in (body(80), body(443)):
        assert stand.apply(stand.settings(config), answer).status == 0
    stand.runner = Runner(broken)
    before = contents(stand.disk, without=("run",))
    report = rollback(stand, config)
    assert (report.status, report.hint) == (69, "all or nothing: nothing was changed")
    assert report.problems[0].startswith("nginx: blocked: nginx refuses its configuration")
    assert contents(stand.disk, without=("run",)) == before


def test_clean_does_not_stop_at_somebody_elses_mistake(stand: Stand) -> None:
    """Promise 9: whatever is wrong with nginx, its file goes back, and so does the original."""
    stand.put(LISTEN, "listen 127.0.0.1:81;\n")
    with_address(stand)
    stand.runner = Runner(nginx)
    assert stand.apply(stand.settings(NO_ENV + NGINX), body(80)).status == 0
    stand.runner = Runner(broken)
    report = undo(stand, NO_ENV + NGINX).clean()
    assert (report.status, outcomes(report)) == (0, {"nginx": ("changed", "none")})
    assert stand.text(LISTEN) == "listen 127.0.0.1:81;\n"


def test_clean_says_what_could_not_be_reloaded(stand: Stand) -> None:
    """Its file rests all the same, and the other program is told."""
    stand.apply(stand.settings(TWO), body(80))
    stand.runner = Runner(lambda argv: (1, "no") if argv[-1] == "one" else None)
    report = undo(stand, TWO).clean()
    assert (report.status, report.problems) == (
        69,
        ("one: `load one` ended with status 1\n  no",),
    )
    assert outcomes(report) == {"one": ("changed", "failed"), "two": ("changed", "done")}
    assert (stand.text("/etc/one"), stand.text("/etc/two")) == ("none\n", "none\n")


def test_clean_keeps_the_original_of_a_file_that_stays(stand: Stand) -> None:
    """Promise 9: nobody else has it."""
    stand.put("/etc/one", "mine\n")
    stand.apply(stand.settings(ONE), body(80))
    stand.put("/etc/one", "edited\n")
    undo(stand).clean()
    [aside] = (stand.disk / "var/lib/lbhook/originals").iterdir()
    assert (stand.text("/etc/one"), aside.read_text()) == ("edited\n", "mine\n")
    assert stand.warnings[-1].endswith(f"what was there before lbhook is in {aside}")


@pytest.mark.parametrize("name", ["x" * 243, "\u4e2d" * 81])
def test_the_longest_name_that_there_can_be(stand: Stand, name: str) -> None:
    """A file that has it is replaced, put back by a failed reload, and given back."""
    stand.put(f"/etc/{name}", "mine\n")
    settings = stand.settings(NO_ENV + target("one", path=f"/etc/{name}"))
    stand.runner.answers = lambda argv: (1, "no") if argv[0] == "load" else None
    assert stand.apply(settings, body(80)).status == 69
    assert stand.text(f"/etc/{name}") == "mine\n"
    stand.runner.answers = lambda _: None
    assert stand.apply(settings, body(80)).status == 0
    assert stand.text(f"/etc/{name}") == "80\n"
    assert Undo(stand.context(settings)).clean().status == 0
    assert stand.text(f"/etc/{name}") == "mine\n"
