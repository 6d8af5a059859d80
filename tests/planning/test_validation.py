"""Candidates and the programs that judge them: refused, blocked, skipped, not checked."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lbhook.config.targets import Target
from lbhook.errors import ConfigError
from lbhook.plan import Change, FileState, Outcome, Plan, Reload
from lbhook.planning import validation
from lbhook.programs.host import Host
from lbhook.storage.files import Tree

from ..stand import Answers, Runner, Stand, altered

CONF = PurePosixPath("/etc/nginx/lbhook/listen.conf")
NGINX = Target(
    name="nginx",
    kind="nginx",
    template="t",
    path=CONF,
    requires=("nginx",),
    reload_unit="nginx.service",
)
OWN = Target(
    name="own",
    template="t",
    path=PurePosixPath("/etc/own"),
    check=("check", "{staged}"),
    check_live=("live", "{staged}", "{path}"),
)
NEW = FileState(content=b"# first\nlisten 10.0.0.4:80;\n", mode=0o644)
OLD = FileState(content=b"listen 10.0.0.4:81;\n", mode=0o644)


def change(target: Target, actual: FileState | None = OLD, **values: Any) -> Change:
    """A change of a target's file."""
    made = Change(target=target, expected=NEW, actual=actual, outcome=Outcome.CHANGED)
    return made._replace(reload=Reload.DUE, resting="listen 127.0.0.127:10009;\n", **values)


def host(
    place: Path, answers: Answers = lambda _: None, *, root: bool = True, **keys: bool
) -> Host:
    """A machine whose programs answer so."""
    stand = Stand(place, runner=Runner(answers), live=keys.get("live", True))
    built = stand.host(stand.settings(""))
    return altered(built, tree=Tree(stand.disk, privileged=root))


def examined(machine: Host, *changes: Change) -> validation.Examined:
    """What the checks say of candidates in a scratch directory."""
    directory = machine.tree.root.parent / "scratch"
    directory.mkdir(exist_ok=True)
    staged = {one.path: directory / one.target.name for one in changes}
    alone = validation.examine(machine, changes, staged)
    return validation.examine_live(machine, alone, staged)


def refusals(machine: Host, *changes: Change) -> tuple[str, ...]:
    """What is refused."""
    with pytest.raises(ConfigError) as caught:
        examined(machine, *changes)
    assert caught.value.hint == "its file was not changed"
    return caught.value.problems


def test_a_check_sees_the_candidate_and_the_live_check_both(tmp_path: Path) -> None:
    """By itself first, then in place of the old one."""
    machine = host(tmp_path)
    assert examined(machine, change(OWN)).changes == (change(OWN),)
    assert isinstance(machine.run, Runner)
    staged = f"{tmp_path}/scratch/own"
    assert machine.run.taken() == [f"check {staged}", f"live {staged} /etc/own"]


def test_a_refusal_shows_command_output_and_the_lines_it_names(tmp_path: Path) -> None:
    """The file under its own name; a port in a message is no line."""

    def said(argv: tuple[str, ...]) -> tuple[int, str]:
        return 1, f"{argv[-1]}:2: bad\nbind() to 10.0.0.4:1 failed"

    assert refusals(host(tmp_path, said), change(OWN)) == (
        "own: /etc/own: refused by its check\n"
        "`check /etc/own` ended with status 1\n"
        "  /etc/own:2: bad\n"
        "  bind() to 10.0.0.4:1 failed\n"
        "      2 | listen 10.0.0.4:80;",
    )


def test_all_refusals_come_together(tmp_path: Path) -> None:
    """Two bad files are two problems."""
    other = OWN._replace(name="other", path=PurePosixPath("/etc/other"))
    machine = host(tmp_path, lambda _: (1, ""))
    assert len(refusals(machine, change(OWN), change(other))) == 2


def test_a_live_check_that_fails_with_the_old_file_too_blocks(tmp_path: Path) -> None:
    """Somebody else's mistake must not freeze the others."""
    machine = host(tmp_path, lambda argv: (1, "broken") if argv[0] == "live" else None)
    [found] = examined(machine, change(OWN)).changes
    assert (found.outcome, found.reload) == (Outcome.BLOCKED, Reload.NONE)
    assert found.reason == (
        "its check fails with the file as it stands, too:\n"
        f"`live {tmp_path}/disk/etc/own /etc/own` ended with status 1\n  broken"
    )


def test_a_live_check_without_an_old_file_refuses(tmp_path: Path) -> None:
    """There is nothing to tell whose mistake it is."""
    machine = host(tmp_path, lambda argv: (1, "broken") if argv[0] == "live" else None)
    assert len(refusals(machine, change(OWN, actual=None))) == 1


def nginx(*, candidate: bool, present: bool, resting: bool = True) -> Answers:
    """An nginx that takes, or does not take, the candidate, what is there, the resting form."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        if "-c" in argv and argv[0] == "nginx":
            return 0, "nginx: syntax is ok"
        if argv[0] == "unshare":
            is_resting = Path(argv[-2]).name == "0"
            good = resting if is_resting else candidate
            return (0, f"# configuration file {CONF}:\n") if good else (1, "nginx: [emerg] bad")
        return (0, "") if present else (1, "nginx: [emerg] elsewhere")

    return answer


def test_nginx_takes_the_candidate(tmp_path: Path) -> None:
    """In the whole of its configuration."""
    machine = host(tmp_path, nginx(candidate=True, present=False))
    assert examined(machine, change(NGINX)).changes == (change(NGINX),)


def test_nginx_refuses_the_candidate(tmp_path: Path) -> None:
    """Although it takes what is there."""
    machine = host(tmp_path, nginx(candidate=False, present=True))
    assert refusals(machine, change(NGINX)) == (
        f"nginx: {CONF}: refused by its check\n`nginx -t` ended with status 1\n"
        "  nginx: [emerg] bad",
    )


@pytest.mark.parametrize("actual", [OLD, None])
def test_nginx_that_is_broken_anyway_is_blocked(tmp_path: Path, actual: FileState | None) -> None:
    """With the file as it stands or, where there is none, with its resting form."""
    machine = host(tmp_path, nginx(candidate=False, present=False, resting=False))
    [found] = examined(machine, change(NGINX, actual=actual)).changes
    assert found.outcome is Outcome.BLOCKED
    assert found.reason.startswith("nginx refuses its configuration without this change, too:\n")


def test_nginx_that_takes_the_resting_form_refuses_ours(tmp_path: Path) -> None:
    """Without our file it would be broken, with the resting form it is not: ours is bad."""
    machine = host(tmp_path, nginx(candidate=False, present=False))
    assert len(refusals(machine, change(NGINX, actual=None))) == 1


def test_a_program_that_does_not_miss_the_file_refuses_ours(tmp_path: Path) -> None:
    """As haproxy, where its owner has a frontend of the same name: in any form ours is bad."""
    machine = host(tmp_path, nginx(candidate=False, present=True, resting=False))
    assert len(refusals(machine, change(NGINX, actual=None))) == 1


FIREWALLD = Target(
    name="firewalld",
    kind="firewalld",
    template="t",
    path=PurePosixPath("/etc/firewalld/policies/lbhook.xml"),
)


def test_each_program_is_asked_for_its_own_files(tmp_path: Path) -> None:
    """What firewalld refuses anyway is blocked, and nginx's file goes on."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str] | None:
        if argv[0] == "firewall-offline-cmd":
            # By itself the policy is good.
            alone = "--system-config" in argv and not Path(argv[2], "zones").exists()
            return (0, "") if alone else (28, "bad zone")
        return nginx(candidate=True, present=True)(argv)

    machine = host(tmp_path, answer)
    (machine.machine.root / "etc/firewalld/zones").mkdir(parents=True)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch/firewalld").touch()
    found = examined(machine, change(NGINX), change(FIREWALLD))
    assert found.changes[0] == change(NGINX)
    assert found.changes[1].outcome is Outcome.BLOCKED
    assert found.changes[1].reason == (
        "firewalld refuses its configuration without this change, too:\n"
        "`firewall-offline-cmd --check-config` ended with status 28\n  bad zone"
    )


def test_a_file_that_nginx_does_not_include_is_skipped(tmp_path: Path) -> None:
    """With what to do about it; but one that is undone is not."""

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        return 0, "nginx: syntax is ok\n# configuration file /etc/nginx/nginx.conf:\n"

    machine = host(tmp_path, answer)
    [found] = examined(machine, change(NGINX)).changes
    assert (found.outcome, found.reload, found.reason) == (
        Outcome.SKIPPED,
        Reload.NONE,
        f"no nginx configuration includes it; put `include {CONF};` into a server block",
    )
    assert validation.skip_unread(machine, change(NGINX)) == found
    undone = change(NGINX._replace(template="", requires=()))
    assert examined(machine, undone).changes == (undone,)
    assert validation.skip_unread(machine, undone) == undone


def test_what_is_wrong_with_a_file_that_nobody_reads_is_no_matter(tmp_path: Path) -> None:
    """It is skipped; the same file, if nginx reads it, is refused."""
    included = ["# configuration file /etc/nginx/nginx.conf:\n"]

    def answer(argv: tuple[str, ...]) -> tuple[int, str]:
        return (0, included[0]) if "-T" in argv else (1, 'unknown directive "lisen"')

    machine = host(tmp_path, answer)
    [found] = examined(machine, change(NGINX)).changes
    assert (found.outcome, found.reason[:35]) == (
        Outcome.SKIPPED,
        "no nginx configuration includes it;",
    )
    included[0] += f"include {CONF};\n"
    with pytest.raises(ConfigError, match="lisen"):
        examined(machine, change(NGINX))


def test_a_target_without_its_program_is_skipped(tmp_path: Path) -> None:
    """Its reload, too; one with nothing to do is not looked at, nor is a directory's."""
    machine = altered(host(tmp_path), find=lambda _: None)
    found = validation.skip_missing(machine, change(NGINX))
    assert (found.outcome, found.reason) == (Outcome.SKIPPED, "nginx not installed")
    other = altered(machine, find=lambda name: name if name == "openresty" else None)
    renamed = change(NGINX._replace(requires=("openresty",)))
    assert validation.skip_missing(other, renamed).reason == "nginx not installed"
    owed = change(NGINX, outcome=Outcome.UNCHANGED)
    assert validation.skip_missing(machine, owed).outcome is Outcome.SKIPPED
    idle = owed._replace(reload=Reload.NONE)
    assert validation.skip_missing(machine, idle) == idle
    assert validation.skip_missing(altered(machine, live=False), owed) == owed


def test_a_target_is_undone_although_its_program_is_gone(tmp_path: Path) -> None:
    """Nothing is asked of an nginx that is not there."""
    machine = altered(host(tmp_path, lambda _: (127, "")), find=lambda _: None)
    undone = change(NGINX._replace(template="", requires=()))
    assert examined(machine, undone).changes == (undone,)


@pytest.mark.parametrize(
    ("check", "status", "output"),
    [
        (("gone", "{staged}"), 127, ""),
        (("nft", "-c", "-f", "{staged}"), 1, "netlink: Operation not permitted"),
        (("nft", "-c", "-f", "{staged}"), 1, "unshare: unshare failed: No space left on device"),
    ],
)
def test_who_can_not_check_says_so(
    tmp_path: Path, check: tuple[str, ...], status: int, output: str
) -> None:
    """Below a root or without privileges; on a live machine root must be able to."""
    target = OWN._replace(check=check, check_live=())
    machine = host(tmp_path, lambda _: (status, output), root=False)
    found = examined(machine, change(target))
    assert found.changes == (change(target),)
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("own: not checked: `")
    assert len(refusals(host(tmp_path, lambda _: (status, output)), change(target))) == 1


def test_candidates_of_a_plan_have_names_like_those_of_an_apply(tmp_path: Path) -> None:
    """In a scratch directory, one for each file that is written."""
    same = change(OWN, outcome=Outcome.UNCHANGED)
    staged = validation.laid(Plan(changes=(change(NGINX), same)), tmp_path)
    assert staged == {CONF: tmp_path / "0/.listen.conf.lbhook"}
    assert (tmp_path / "0/.listen.conf.lbhook").read_bytes() == NEW.content
