"""The disk: what is staged, replaced, taken away and refused."""

import os
import stat
from pathlib import Path, PurePosixPath

import pytest

from lbhook.errors import LbhookError, RightsError, WriteError
from lbhook.plan import FileState
from lbhook.storage.files import Tree

from ..conftest import lacking
from ..stand import GROUP, USER, contents

CONF = PurePosixPath("/etc/app/app.conf")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: can't give a file away")


def text(content: str, mode: int = 0o644) -> FileState:
    """A file of ours."""
    return FileState(content=content.encode(), mode=mode)


def test_a_file_is_staged_beside_its_place_and_then_takes_it(tmp_path: Path) -> None:
    """Until it is replaced nothing but a name with a leading dot is there."""
    tree = Tree(tmp_path)
    tree.stage(CONF, text("new\n", 0o640))
    assert tree.state(CONF) is None
    assert tree.names(CONF.parent) == [".app.conf.lbhook"]
    tree.replace(CONF)
    assert tree.names(CONF.parent) == ["app.conf"]
    assert tree.state(CONF) == FileState(
        content=b"new\n", mode=0o640, uid=os.geteuid(), gid=os.getegid()
    )


@pytest.mark.usefixtures("umask")
def test_a_umask_hides_no_mode(tmp_path: Path) -> None:
    """Files and directories are as readable as they should be."""
    tree = Tree(tmp_path)
    tree.write(CONF, b"new\n")
    assert stat.S_IMODE((tmp_path / "etc/app").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "etc/app/app.conf").stat().st_mode) == 0o644


def test_a_directory_may_be_made_by_two_at_once(tmp_path: Path) -> None:
    """As by the first two runs of a boot, before either has the lock."""

    def race(name: str, _: PurePosixPath) -> None:
        if name == "mkdir":
            (tmp_path / "run/lbhook").mkdir(parents=True, exist_ok=True)

    Tree(tmp_path, step=race).make_directory(PurePosixPath("/run/lbhook"))
    assert (tmp_path / "run/lbhook").is_dir()


def test_what_was_staged_before_is_in_nobodys_way(tmp_path: Path) -> None:
    """A candidate that a kill left is replaced; so is a link in its place, not followed."""
    tree = Tree(tmp_path)
    tree.stage(CONF, text("cut"))
    tree.stage(CONF, text("whole\n"))
    victim = tmp_path / "victim"
    victim.write_text("mine\n")
    candidate = tmp_path / "etc/app/.app.conf.lbhook"
    candidate.unlink()
    candidate.symlink_to(victim)
    tree.stage(CONF, text("whole\n"))
    tree.replace(CONF)
    assert (tree.read(CONF), victim.read_text()) == (b"whole\n", "mine\n")


def test_a_candidate_that_can_not_be_finished_is_not_left(tmp_path: Path) -> None:
    """The error names the file, and a full disk is not made fuller."""

    def full(name: str, path: PurePosixPath) -> None:
        if name == "fsync" and path.name.startswith("."):
            raise OSError(28, "No space left on device")

    tree = Tree(tmp_path, step=full)
    with pytest.raises(WriteError) as caught:
        tree.stage(CONF, text("new\n"))
    assert caught.value.problems == (f"{tmp_path}/etc/app/app.conf: No space left on device",)
    assert tree.names(CONF.parent) == []


def test_taking_away_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    """A file, a candidate, a directory, and the names in one."""
    tree = Tree(tmp_path)
    tree.remove(CONF)
    tree.discard(CONF)
    tree.remove_directory(CONF.parent)
    assert (tree.names(CONF.parent), tree.read(CONF), contents(tmp_path)) == ([], None, {})


def test_a_directory_of_our_own_goes_with_its_files(tmp_path: Path) -> None:
    """Its candidates among them."""
    tree = Tree(tmp_path)
    tree.write(CONF, b"new\n")
    tree.stage(CONF, text("newer\n"))
    tree.remove_directory(CONF.parent)
    assert tree.names(PurePosixPath("/etc")) == []


def test_each_change_of_the_disk_is_a_step(tmp_path: Path) -> None:
    """In order, so that what is stopped there is stopped before it is done."""
    steps: list[str] = []
    tree = Tree(tmp_path, step=lambda name, path: steps.append(f"{name} {path}"))
    owned = FileState(content=b"new\n", mode=0o644, uid=os.geteuid(), gid=os.getegid())
    tree.stage(CONF, owned)
    tree.replace(CONF)
    tree.remove(CONF)
    candidate = "/etc/app/.app.conf.lbhook"
    made = ["mkdir /etc/app", "fsync /etc/app"] * 2
    staged = [f"{name} {candidate}" for name in ("open", "write", "fchmod", "fsync")]
    replaced = [f"rename {CONF}", "fsync /etc/app"]
    assert steps == [*made, *staged, *replaced, f"unlink {CONF}", "fsync /etc/app"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_is_given_away_only_to_somebody_else(tmp_path: Path) -> None:
    """A unit that lacks the right to do so can write what is root's."""
    steps: list[str] = []
    tree = Tree(tmp_path, step=lambda name, path: steps.append(name))
    for uid in (0, 65534):
        tree.stage(CONF, FileState(content=b"new\n", mode=0o640, uid=uid, gid=0))
        found = tree.outside(tree.candidate(CONF)).stat()
        assert (found.st_uid, found.st_mode & 0o777) == (uid, 0o640)
        assert ("fchown" in steps) == (uid != 0)


def test_reading_takes_no_step(tmp_path: Path) -> None:
    """A plan changes nothing."""
    Tree(tmp_path).write(CONF, b"new\n")

    def never(name: str, path: PurePosixPath) -> None:
        raise AssertionError(name)

    tree = Tree(tmp_path, step=never)
    assert (tree.read(CONF), tree.names(CONF.parent)) == (b"new\n", ["app.conf"])


def test_a_link_swapped_in_for_an_element_redirects_nothing(tmp_path: Path) -> None:
    """What was opened as a directory stays that directory, whatever its name leads to by then."""
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    directory = tmp_path / "etc/app"
    directory.mkdir(parents=True)

    def swap(name: str, where: PurePosixPath) -> None:
        if name == "open":
            directory.rename(tmp_path / "etc/moved")
            directory.symlink_to(outside)

    tree = Tree(tmp_path, step=swap)
    tree.stage(CONF, text("new\n"))
    with pytest.raises(WriteError):
        tree.replace(CONF)
    assert list(outside.iterdir()) == []


@needs_root
def test_an_owner_is_set_before_the_file_takes_its_place(tmp_path: Path) -> None:
    """Whose it is, and what a program without privileges is told of that."""
    tree = Tree(tmp_path)
    tree.stage(CONF, FileState(content=b"new\n", mode=0o600, uid=65534, gid=65534))
    candidate = tmp_path / "etc/app/.app.conf.lbhook"
    assert (candidate.stat().st_uid, candidate.stat().st_gid) == (65534, 65534)


def test_owners_have_numbers(tmp_path: Path) -> None:
    """Of names that there are; without privileges nobody asks."""
    assert Tree(tmp_path).owner(CONF, USER, GROUP) == (os.geteuid(), os.getegid())
    assert Tree(tmp_path).owner(CONF, "root", "root") == (0, 0)
    assert Tree(tmp_path, privileged=False).owner(CONF, "nobody-here", "none") == (-1, -1)
    with pytest.raises(WriteError) as caught:
        Tree(tmp_path).owner(CONF, "nobody-here", GROUP)
    problem = f"{tmp_path}/etc/app/app.conf: owner nobody-here: no such user"
    assert caught.value.problems == (problem,)


UNITS = "if lbhook's units can't write {}/etc/app, run `sudo lbhook install`, see docs/units.md"


@pytest.mark.parametrize(
    ("privileged", "number", "kind", "hint"),
    [
        (True, 13, WriteError, UNITS),
        (False, 13, RightsError, "run as root, or use --root DIR"),
        (False, 28, WriteError, "free some space"),
        (True, 24, WriteError, "a later run may open it"),
        (True, 12, WriteError, ""),
    ],
)
def test_an_error_of_the_system_has_a_status_and_a_hint(
    tmp_path: Path, privileged: bool, number: int, kind: type[LbhookError], hint: str
) -> None:
    """A right that is missing is 77 for who is not root, 73 for root, whom a unit's limits keep."""
    error = Tree(tmp_path, privileged=privileged).failure(CONF, OSError(number, "it is so"))
    assert (type(error), error.problems) == (kind, (f"{tmp_path}/etc/app/app.conf: it is so",))
    assert error.hint == hint.format(tmp_path)


@needs_root
def test_a_label_is_kept(tmp_path: Path) -> None:
    """The next file has the SELinux label of the one before."""
    tree = Tree(tmp_path)
    tree.write(CONF, b"old\n")
    file, label = tmp_path / "etc/app/app.conf", b"system_u:object_r:etc_t:s0"
    try:
        os.setxattr(file, "security.selinux", label)
    except OSError:
        lacking("no labels on this file system")
    tree.write(CONF, b"new\n")
    assert os.getxattr(file, "security.selinux").startswith(label)
