"""`install` and `uninstall`: what a package does, for pip and for the single file."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from lbhook.config import settings as config
from lbhook.config import shipped
from lbhook.deployment.report import Report
from lbhook.errors import LbhookError, ReloadError, RightsError, UsageError, WriteError
from lbhook.installation.executable import SINGLE_FILE, Executable
from lbhook.installation.installer import Installation
from lbhook.levers.drain import Drain
from lbhook.programs import unit_limits
from lbhook.programs.host import host
from lbhook.runs.undo import Undo
from lbhook.runs.update import Update
from lbhook.storage.files import Tree

from ..program import REPO
from ..stand import NO_ENV, Runner, Stand, altered, body, contents, target

PROGRAM = Executable(path=PurePosixPath("/opt/lbhook/bin/lbhook"))
ZIPPED = b"#!/usr/bin/python3\nzip"
SINGLE = Executable(path=SINGLE_FILE, single=lambda: ZIPPED)
UNITS = "usr/local/lib/systemd/system"
LISTEN = "/etc/nginx/lbhook/listen.conf"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: this machine is root's")
OWN = '[targets.own]\ntemplate = "own.j2"\npath = "/etc/app/own"\n'
Make = Callable[..., Installation]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A directory that stands for a machine on which pip has put the program."""
    made = Stand(tmp_path)
    made.put(str(PROGRAM.path), "#!/opt/lbhook/bin/python3\n")
    return made


@pytest.fixture
def installing(stand: Stand) -> Make:
    """Makes what installs a program on the stand; `live` as if it were this machine."""

    def make(program: Executable = PROGRAM, text: str = "", *, live: bool = False) -> Installation:
        settings = stand.settings(text)
        place = host(settings, stand.disk)
        machine = stand.host(settings).machine
        place = altered(place, live=live, run=stand.runner, find=stand.find, machine=machine)
        return Installation(Undo(stand.context(settings)._replace(host=place)), program)

    return make


@pytest.fixture
def readable() -> Iterator[Path]:
    """A program and a package that everybody can read, in a directory that everybody can enter."""
    with tempfile.TemporaryDirectory(prefix="lbhook-") as name:
        place = Path(name)
        place.chmod(0o755)
        (place / "python").mkdir(mode=0o755)
        for file, mode in (("lbhook", 0o755), ("python/base.py", 0o644)):
            (place / file).touch()
            (place / file).chmod(mode)
        yield place


def outcomes(report: Report) -> set[str]:
    """What became of the files, in all."""
    return {one.outcome.value for one in report.changes}


def enabled() -> list[str]:
    """The units that a package enables: neither a path, nor what lets a shutdown wait."""
    units = [file for file in sorted((REPO / "systemd").iterdir()) if file.is_file()]
    known = [one.name for one in units if "[Install]" in one.read_text() and one.suffix != ".path"]
    return [name for name in known if name != "lbhook-drain.service"]


def test_everything_is_put_into_place(stand: Stand, installing: Make) -> None:
    """Each unit, which starts this program and no other, the user, completion, a configuration
    in which nothing is on, and what nginx must not miss."""
    report = installing().install()
    assert (report.status, report.outcome, outcomes(report)) == (0, "changed", {"created"})
    for file in (REPO / "systemd").rglob("*.*"):
        if file.is_file() and file.suffix != ".sysusers":
            text = (stand.disk / UNITS / file.relative_to(REPO / "systemd")).read_text()
            assert text == file.read_text().replace("/usr/bin/lbhook", str(PROGRAM.path))
    assert "lbhook" in str(stand.text("/usr/local/lib/sysusers.d/lbhook.conf"))
    shipped = (REPO / "lbhook/lbhook.toml").read_text().replace("/usr/share", "/usr/local/share")
    assert stand.text("/etc/lbhook/lbhook.toml") == shipped
    assert stand.text(shipped.splitlines()[0].removeprefix("#:schema "))
    assert (stand.disk / "etc/lbhook/templates").is_dir()
    assert (stand.disk / "etc/lbhook/nftables.d").is_dir()
    assert "\nlisten 127.0.0.127:10009;\n" in str(stand.text(LISTEN))
    for shell, name in (("bash", "bash-completion"), ("zsh", "site-functions"), ("fish", "fish")):
        (script,) = (stand.disk / "usr/local/share").rglob(f"{name}/**/*lbhook*")
        assert f"_LBHOOK_COMPLETE={shell}_complete" in script.read_text()


def test_units_are_enabled_and_not_started(stand: Stand, installing: Make) -> None:
    """Below the directory, whatever runs on this machine; the hint says how to start them."""
    report = installing().install()
    below = f"--root={stand.disk}"
    assert stand.runner.taken() == [
        f"systemd-sysusers {below} lbhook.conf",
        f"systemctl {below} enable {' '.join(enabled())}",
    ]
    assert report.hint.endswith(f"systemctl start {' '.join(enabled())}")


@needs_root
@pytest.mark.parametrize("now", [False, True])
def test_on_a_machine_that_runs_systemd(stand: Stand, installing: Make, now: bool) -> None:
    """systemd is told; units are started if that is asked for."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True)
    installing(live=True).install(start=now)
    names = " ".join(enabled())
    wanted = [f"systemctl enable {names}", "systemctl daemon-reload"]
    wanted += [f"systemctl start {names}"] if now else []
    begun = [f"{PROGRAM.path} --version", "systemd-sysusers lbhook.conf"]
    assert stand.runner.taken() == [*begun, *wanted]


@needs_root
def test_a_configuration_that_the_units_can_not_read(
    stand: Stand, installing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `mkdir` leaves it under `umask 027`: said before they are started."""
    file = stand.place / "made/lbhook.toml"
    file.parent.mkdir(mode=0o750)
    monkeypatch.setattr("lbhook.programs.unit_limits.DEFAULT_FILE", file)
    installing(live=True).install()
    (said,) = (one for one in stand.warnings if "which lbhook-fetch" in one)
    assert said.endswith(f"can't read it; `chmod go+rX {file.parent}`")


@needs_root
def test_where_no_systemd_runs(stand: Stand, installing: Make) -> None:
    """In a chroot units are enabled, and nobody is told; without systemctl that is said."""
    installing(live=True).install(start=True)
    assert stand.runner.taken()[2:] == [f"systemctl enable {' '.join(enabled())}"]
    stand.find = lambda _: None
    installing(live=True).install()
    assert stand.runner.taken() == [f"{PROGRAM.path} --version"]
    assert any("systemctl is not installed: skipped" in warning for warning in stand.warnings)


@pytest.mark.parametrize("program", [PROGRAM, SINGLE], ids=["pip", "single"])
def test_twice_is_once(stand: Stand, installing: Make, program: Executable) -> None:
    """The second time writes nothing; a unit that somebody changed is brought back, and a
    configuration that somebody wrote stays."""
    installing(program).install()
    before = contents(stand.disk, without=("run/lbhook",))
    report = installing(program).install()
    assert (report.outcome, outcomes(report)) == ("unchanged", {"unchanged"})
    assert contents(stand.disk, without=("run/lbhook",)) == before
    stand.put(f"/{UNITS}/lbhook.service", "[Service]\n")
    stand.put("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    stand.put(LISTEN, "listen 8080;\n")
    report = installing(program).install()
    changed = {str(one.path) for one in report.changes if one.touches_file}
    assert changed == {f"/{UNITS}/lbhook.service"}
    assert stand.text("/etc/lbhook/lbhook.toml") == "[targets.nginx]\n"
    assert stand.text(LISTEN) == "listen 8080;\n"


def test_the_single_file_is_copied(stand: Stand, installing: Make) -> None:
    """To where units and people find it; the units start that."""
    installing(SINGLE).install()
    place = stand.disk / "usr/local/bin/lbhook"
    assert (place.read_bytes(), place.stat().st_mode & 0o777) == (ZIPPED, 0o755)
    unit = str(stand.text(f"/{UNITS}/lbhook.service"))
    assert set(re.findall(r"^ExecStart=(\S+)", unit, re.M)) == {"/usr/local/bin/lbhook"}


def test_the_single_file_is_not_made_to_be_taken_away(stand: Stand, installing: Make) -> None:
    """That needs room, which a full disk has not."""

    def made() -> bytes:
        raise WriteError("/tmp: No space left on device")

    installing(SINGLE).install()
    installing(replace(SINGLE, single=made)).uninstall()
    assert not (stand.disk / "usr/local/bin/lbhook").exists()


@pytest.mark.parametrize("program", [PROGRAM, SINGLE], ids=["pip", "single"])
def test_uninstall_takes_it_all_away(stand: Stand, installing: Make, program: Executable) -> None:
    """What was there before is there again, and nothing else but nginx's resting form; twice is
    once."""
    text = NO_ENV + target("one")
    stand.template("ports.j2")
    stand.put("/etc/one", "mine\n")
    before = {name: file for name, file in contents(stand.disk).items() if file[2]}
    installing(program, text).install()
    place = installing(program, text).undo.context.host
    update = stand.update(stand.settings(text), body(80))
    Update(update.context._replace(host=place)).apply()
    assert stand.text("/etc/one") == "80\n"
    stand.runner.taken()
    report = installing(program, text).uninstall()
    assert (report.status, report.outcome) == (0, "changed")
    assert stand.runner.taken()[0].startswith(f"systemctl --root={stand.disk} disable lbhook")
    after = contents(stand.disk, without=("run/lbhook", "etc/nginx"))
    assert {name: file for name, file in after.items() if file[2]} == before
    assert not [name for name in after if "lbhook/" in name and name.startswith("etc/lbhook")]
    assert not (stand.disk / "usr/local/share/lbhook").exists()
    report = installing(program, text).uninstall()
    assert (report.status, report.outcome, report.changes) == (0, "unchanged", ())


def test_uninstall_leaves_an_edited_configuration(stand: Stand, installing: Make) -> None:
    """It is the user's, and that is said."""
    installing().install()
    stand.put("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    report = installing().uninstall()
    assert stand.text("/etc/lbhook/lbhook.toml") == "[targets.nginx]\n"
    assert stand.warnings == [f"{stand.disk}/etc/lbhook/lbhook.toml was edited and stays"]
    assert "configuration" not in {
        one.target.name for one in report.changes if one.outcome.value == "removed"
    }


@needs_root
def test_uninstall_stops_the_units_first(stand: Stand, installing: Make) -> None:
    """Nothing may write a file again that has just been put to rest."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True)
    installing(live=True).install()
    stand.runner.taken()
    installing(live=True).uninstall()
    first, second, *_, last = stand.runner.taken()
    assert first.startswith("systemctl stop lbhook")
    assert second.startswith("systemctl disable lbhook")
    assert last == "systemctl daemon-reload"


@needs_root
def test_uninstall_ends_a_drain(stand: Stand, installing: Make) -> None:
    """Without lbhook nobody would answer health probes again."""
    installing(live=True).install()
    Drain(installing(live=True).undo.context).begin("ann", persist=True)
    installing(live=True).uninstall()
    assert b"add table inet lbhook_drain; delete table inet lbhook_drain\n" in stand.runner.read
    assert stand.text("/run/lbhook/drain.json") is None
    assert stand.text("/run/lbhook/drain.nft") is None


@pytest.mark.parametrize("place", ["/usr/lib/systemd/system", "/lib/systemd/system"])
def test_a_package_is_left_to_its_manager(stand: Stand, installing: Make, place: str) -> None:
    """Taking it away is refused, and changes nothing; `install` sees to the units' limits, and
    puts no second program beside the package's."""
    stand.put(f"{place}/lbhook.service", "[Service]\n")
    before = contents(stand.disk)
    with pytest.raises(UsageError, match="a package has installed it"):
        installing().uninstall()
    assert contents(stand.disk) == before
    report = installing(text=OWN).install()
    assert {one.target.name for one in report.changes} == {"limits", "nginx", "nginx-stream", "env"}
    assert not (stand.disk / UNITS).exists()
    assert (report.hint, stand.runner.taken()) == ("", [])


def limits(stand: Stand) -> list[str | None]:
    """The drop-ins that let the units do more than is shipped."""
    places = (f"/etc/systemd/system/{unit}.d/targets.conf" for unit in unit_limits.UNITS)
    return [stand.text(place) for place in places]


def test_the_units_may_write_where_the_targets_are(stand: Stand, installing: Make) -> None:
    """Each unit that writes, and not the one that asks; the directory is made. A target that goes
    takes the right with it."""
    installing(text=OWN).install()
    (text,) = set(limits(stand))
    assert "\nReadWritePaths=-/etc/app\n" in str(text)
    assert (stand.disk / "etc/app").is_dir()
    assert not (stand.disk / "etc/systemd/system/lbhook-fetch.service.d").exists()
    assert installing(text=OWN).install().outcome == "unchanged"
    report = installing().install()
    assert (report.outcome, set(limits(stand))) == ("changed", {None})
    assert not [*(stand.disk / "etc/systemd/system").glob("lbhook*")]


def test_uninstall_takes_the_limits_too(stand: Stand, installing: Make) -> None:
    """With their directories, but for what somebody has put there."""
    installing(text=OWN).install()
    stand.put("/etc/systemd/system/lbhook.service.d/mine.conf", "[Service]\n")
    installing(text=OWN).uninstall()
    (left,) = (stand.disk / "etc/systemd/system").glob("lbhook*")
    assert [one.name for one in left.iterdir()] == ["mine.conf"]


def test_a_target_right_in_etc(stand: Stand, installing: Make) -> None:
    """The units may then write all of it, which nobody should learn from a drop-in."""
    installing(text='[targets.own]\ntemplate = "own.j2"\npath = "/etc/own.conf"\n').install()
    (warning,) = stand.warnings
    assert warning == (
        "own: its file is directly in /etc: lbhook's units can now write everything there"
    )


def test_on_a_read_only_usr(stand: Stand, installing: Make) -> None:
    """Units, user and single file go where a machine without a writable /usr has its own, shell
    completion nowhere; taking it away finds them there."""
    (stand.disk / "usr").mkdir()
    made = installing(SINGLE)
    made = replace(made, is_writable=lambda path: stand.disk / "usr" not in (path, *path.parents))
    report = made.install()
    assert not [one.path for one in report.changes if one.path.is_relative_to("/usr")]
    unit = str(stand.text("/etc/systemd/system/lbhook.service"))
    assert set(re.findall(r"^ExecStart=(\S+)", unit, re.M)) == {"/opt/bin/lbhook"}
    assert (stand.disk / "opt/bin/lbhook").read_bytes() == ZIPPED
    assert stand.text("/etc/sysusers.d/lbhook.conf")
    assert stand.warnings == [
        "/usr/local/share can't be written: no shell completion, no schema for editors"
    ]
    made.uninstall()
    left = [path for path in contents(stand.disk) if "lbhook" in path and "nginx" not in path]
    assert [path for path in left if not path.startswith(("run/", "opt/lbhook"))] == []


def test_on_an_ostree(stand: Stand, installing: Make) -> None:
    """/usr/local leads into /var, which may be mounted after systemd has read its units: they and
    the user are in /etc, and taking it away finds them there."""
    (stand.disk / "var/usrlocal").mkdir(parents=True)
    (stand.disk / "usr").mkdir()
    (stand.disk / "usr/local").symlink_to("../var/usrlocal")
    made = installing(SINGLE)
    made.install()
    assert stand.text("/etc/systemd/system/lbhook.service")
    assert stand.text("/etc/sysusers.d/lbhook.conf")
    assert not (stand.disk / "var/usrlocal/lib").exists()
    made.uninstall()
    assert not stand.text("/etc/systemd/system/lbhook.service")


def test_on_a_read_only_usr_with_opt_in_var(stand: Stand, installing: Make) -> None:
    """The single file goes where it can be written, if that may be mounted late."""
    (stand.disk / "usr").mkdir()
    (stand.disk / "var").mkdir(exist_ok=True)
    (stand.disk / "opt").rename(stand.disk / "var/opt")
    (stand.disk / "opt").symlink_to("var/opt")
    made = installing(SINGLE)
    made = replace(made, is_writable=lambda path: stand.disk / "usr" not in (path, *path.parents))
    made.install()
    assert (stand.disk / "var/opt/bin/lbhook").read_bytes() == ZIPPED
    made.uninstall()
    assert not (stand.disk / "var/opt/bin/lbhook").exists()


def refused(made: Installation, kind: type[LbhookError]) -> str:
    """What `install` says when it refuses."""
    with pytest.raises(kind) as caught:
        made.install()
    return str(caught.value)


def test_a_program_that_is_not_there(stand: Stand, installing: Make) -> None:
    """Units in an image must find the program there, at the same path."""
    (stand.disk / "opt/lbhook/bin/lbhook").unlink()
    assert "no such program" in refused(installing(), UsageError)


def test_without_root(stand: Stand, installing: Make) -> None:
    """This machine's is root's to change."""
    made = installing(live=True)
    ordinary = altered(made.undo.context.host, tree=Tree(root=stand.disk, privileged=False))
    undo = Undo(made.undo.context._replace(host=ordinary))
    assert "not root" in refused(replace(made, undo=undo), RightsError)


@needs_root
def test_a_program_that_others_can_write(tmp_path: Path, stand: Stand, installing: Make) -> None:
    """Units would run it as root."""
    part = tmp_path / "home/lbhook"
    part.parent.mkdir()
    part.write_text("")
    os.chown(part.parent, 65534, 0)
    said = refused(installing(replace(PROGRAM, parts=(part,)), live=True), RightsError)
    assert said.startswith(f"{part.parent}: others than root can write it")


@needs_root
@pytest.mark.parametrize("closed", ["lbhook", "python/base.py", "python"])
def test_a_program_that_only_root_can_read(readable: Path, installing: Make, closed: str) -> None:
    """As `umask 027` leaves it: lbhook-fetch.service, which is another user's, could not run it."""
    parts = (readable / "lbhook", readable / "python")
    made = installing(replace(PROGRAM, parts=parts), live=True)
    made.install()
    path = readable / closed
    path.chmod(0o750 if path.is_dir() else 0o640)
    said = refused(made, RightsError)
    assert said == f"{path}: others than root can't read it; run `chmod go+rX {path}`"
    assert made.uninstall().status == 0  # which leaves nothing that would have to run it


@needs_root
def test_a_package_that_only_root_can_read(readable: Path, installing: Make) -> None:
    """As pip leaves it under `umask 027`: one line for it, however many files it has."""
    package = readable / "python"
    for number in range(40):
        (package / f"part{number}.py").touch(mode=0o640)
    package.chmod(0o750)
    made = installing(replace(PROGRAM, parts=(readable / "lbhook", package)), live=True)
    said = refused(made, RightsError)
    assert said == f"{package}: others than root can't read it; run `chmod -R go+rX {package}`"


@needs_root
def test_a_virtual_environment_that_only_root_can_read(readable: Path) -> None:
    """One command fixes all of it; a directory above it is entered, and need not be listed."""
    readable.chmod(0o711)
    for path in (readable / "python", *readable.glob("python/*")):
        path.chmod(0o750 if path.is_dir() else 0o640)
    script = "import sys; from lbhook.installation import executable\n"
    script += "from pathlib import Path; sys.prefix = sys.argv[1]\n"
    script += "print(*executable.unreadable(Path(sys.argv[1])), sep='\\n')"
    argv = [sys.executable, "-c", script, str(readable / "python")]
    done = subprocess.run(argv, cwd=REPO, capture_output=True, text=True, check=True)
    place = readable / "python"
    line = f"{place}: others than root can't read it; run `chmod -R go+rX {place}`"
    assert set(done.stdout.splitlines()) == {line}


@needs_root
@pytest.mark.parametrize("home", ["/root", "/home/me", "/run/user/0"])
def test_a_program_that_the_units_do_not_see(installing: Make, home: str) -> None:
    """ProtectHome=yes: where it must be instead is said."""
    part = Path(home, "venv/bin/lbhook")
    with pytest.raises(RightsError) as caught:
        installing(replace(PROGRAM, parts=(part,)), live=True).install()
    assert "lbhook's units see nothing below" in str(caught.value)
    assert "python3 -m venv /opt/lbhook" in caught.value.hint


@needs_root
def test_the_single_file_with_a_python_that_the_units_do_not_see(installing: Make) -> None:
    """As pyenv's: a virtual environment would be of no use."""
    python = Path("/root/.pyenv/versions/3.11.7/bin/python3.11")
    with pytest.raises(RightsError) as caught:
        installing(replace(SINGLE, parts=(python,)), live=True).install()
    assert caught.value.hint.endswith("elsewhere: /usr/bin/python3 lbhook.pyz install")


@needs_root
def test_a_program_that_starts_in_this_shell_alone(stand: Stand, installing: Make) -> None:
    """As of `pip install --target`, which PYTHONPATH finds; the single file is not there yet."""
    said = "ModuleNotFoundError: No module named 'lbhook'"
    stand.runner = Runner(lambda argv: (1, said) if argv[1] == "--version" else None)
    assert refused(installing(live=True), UsageError) == (
        f"`{PROGRAM.path} --version` ended with status 1\n  {said}"
    )
    assert stand.text(f"/{UNITS}/lbhook.service") is None
    assert installing(SINGLE, live=True).install().status == 0


def test_a_systemctl_that_fails(stand: Stand, installing: Make) -> None:
    """What it said is said, and the next `install` goes on from there."""
    answers = {"systemctl": (1, "Failed to enable unit: no space")}
    stand.runner = Runner(answers=lambda argv: answers.get(argv[0]))
    assert "no space" in refused(installing(), ReloadError)
    answers.clear()
    assert installing().install().status == 0


@pytest.mark.parametrize("text", ["", "[targets.nginx]\n[targets.nftables]\n"])
def test_resting_forms(stand: Stand, installing: Make, text: str) -> None:
    """Of the targets that are on, and of nginx; not of a target of one's own."""
    stand.template("motd.j2", "hello\n")
    own = '[targets.motd]\ntemplate = "motd.j2"\npath = "/etc/motd"\n'
    installing(text=text + own).install()
    assert stand.text("/etc/motd") is None
    assert (stand.text("/etc/nftables.d/lbhook.nft") is None) == ("nftables" not in text)
    assert "LB_TCP_PORTS=\n" in str(stand.text("/run/lbhook/lb.env"))


def test_the_configuration_that_is_put_down() -> None:
    """Everything in it is commented out; it names each target that can be turned on, and the
    values that it shows are those that hold."""
    text = (REPO / "lbhook/lbhook.toml").read_text()
    assert config.parse(text) == config.parse("")
    tables = re.findall(r"^# (\[[\w.-]+\]\n(?:# \w+ = .*\n)*)", text, re.M)
    settings = [config.parse(table.replace("# ", "")) for table in tables]
    named = {re.sub(r"\[targets\.(.*)\]", r"\1", table.splitlines()[0]) for table in tables}
    assert named == {*shipped.SHIPPED, "[imds]", "[drain]"} - {"env"}
    bare = [config.parse(table.splitlines()[0]) for table in tables]
    assert settings == bare
