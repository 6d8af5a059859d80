"""What a disk does to a program: full, read-only, in the way, somebody else's."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import lacking
from ..stand import GROUP, NO_ENV, USER, Stand, body, contents, target

A, B = body(80, 443), body(80, 8443)
REPOSITORY = Path(__file__).parents[2]
PAIR = ["load", "pair"]
# One reload makes one group of them: all or nothing.
TWO = NO_ENV + target("one", reload=PAIR) + target("two", reload=PAIR)
RUNTIME = ("run", "var/lib/lbhook/originals")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: can't give a file away")


@pytest.fixture
def stand(stand: Stand) -> Stand:
    """A machine with two targets installed, and their next answer at hand."""
    stand.apply(stand.settings(TWO), A)
    return stand


HELD = "{}: not changed, because {} failed, and they go together".format
BY_APP = (HELD("one", "app"), HELD("two", "app"))


def refused(stand: Stand, text: str) -> tuple[int, tuple[str, ...], str]:
    """An apply that must leave everything as it was."""
    before = contents(stand.disk, without=RUNTIME)
    report = stand.apply(stand.settings(text), B)
    assert contents(stand.disk, without=RUNTIME) == before
    return report.status, report.problems, report.hint


def test_a_directory_in_the_way(stand: Stand) -> None:
    """Where a file should be there is a directory: nothing is changed, not even the other."""
    (stand.disk / "etc/two").unlink()
    (stand.disk / "etc/two").mkdir()
    assert refused(stand, TWO) == (
        73,
        (f"{stand.disk}/etc/two: is not a regular file", HELD("one", "two")),
        "remove what is there, or give the target another path",
    )


def test_a_fifo_in_the_way_does_not_hang(stand: Stand) -> None:
    """What is no regular file is not even opened."""
    (stand.disk / "etc/two").unlink()
    os.mkfifo(stand.disk / "etc/two")
    assert refused(stand, TWO)[:2] == (
        73,
        (f"{stand.disk}/etc/two: is not a regular file", HELD("one", "two")),
    )


def test_a_symbolic_link_in_the_way_is_not_followed(stand: Stand) -> None:
    """Neither the link nor what it leads to changes."""
    elsewhere = stand.place / "elsewhere"
    elsewhere.write_text("mine\n")
    (stand.disk / "etc/two").unlink()
    (stand.disk / "etc/two").symlink_to(elsewhere)
    assert refused(stand, TWO) == (
        73,
        (f"{stand.disk}/etc/two: is a symbolic link, which is not followed", HELD("one", "two")),
        "remove the link, or give the target the path that it leads to",
    )
    assert elsewhere.read_text() == "mine\n"


def test_a_file_where_a_directory_should_be(stand: Stand) -> None:
    """An element of the path is a file."""
    stand.put("/etc/app", "a file\n")
    assert refused(stand, TWO + target("app", path="/etc/app/conf", reload=PAIR)) == (
        73,
        (f"{stand.disk}/etc/app/conf: Not a directory", *BY_APP),
        "an element of the path is not a directory",
    )


def test_a_directory_that_is_a_link_of_root_is_fine(stand: Stand) -> None:
    """/var/run is one on every machine; an absolute one stays below the root."""
    (stand.disk / "alias").symlink_to("/etc")
    text = TWO + target("app", path="/alias/app")
    assert stand.apply(stand.settings(text), B).status == 0
    assert stand.text("/etc/app") == "80\n8443\n"


@needs_root
def test_a_directory_that_is_a_link_of_another_user_is_refused(stand: Stand) -> None:
    """Who owns the link decides where root writes."""
    link = stand.disk / "alias"
    link.symlink_to("/etc")
    os.lchown(link, 65534, 65534)
    assert refused(stand, TWO + target("app", path="/alias/app", reload=PAIR)) == (
        73,
        (f"{stand.disk}/alias/app: {stand.disk}/alias is a symbolic link of another user", *BY_APP),
        "remove the link, or give the target the path that it leads to",
    )


def test_a_link_that_leads_to_itself(stand: Stand) -> None:
    """It ends, with an error."""
    (stand.disk / "loop").symlink_to("loop")
    status, problems, _ = refused(stand, TWO + target("app", path="/loop/app", reload=PAIR))
    assert (status, problems) == (
        73,
        (f"{stand.disk}/loop/app: more than 40 symbolic links", *BY_APP),
    )


def test_a_vanished_template(stand: Stand) -> None:
    """It is named with the places that were searched."""
    gone = target("three", template="gone.j2", reload=PAIR)
    assert refused(stand, TWO + gone)[:2] == (
        78,
        (
            f"gone.j2: no such template in {stand.place}/templates or among the shipped ones",
            *(HELD(name, "three") for name in ("one", "two")),
        ),
    )


@pytest.mark.parametrize(("key", "kind"), [("owner", "user"), ("group", "group")])
def test_a_missing_owner_or_group(stand: Stand, key: str, kind: str) -> None:
    """File, name and what to do; problems of several targets come together."""
    text = NO_ENV + target("one", **{key: "nobody-here"}) + target("two", **{key: "nobody-here"})
    assert refused(stand, text) == (
        73,
        tuple(
            f"{stand.disk}/etc/{name}: {key} nobody-here: no such {kind}" for name in ("one", "two")
        ),
        "create it first, or name another",
    )


@pytest.mark.needs("chattr")
def test_an_immutable_file(stand: Stand) -> None:
    """It is found when it should be replaced; the one before it is put back."""
    frozen = stand.disk / "etc/two"
    if subprocess.run(("chattr", "+i", frozen), capture_output=True).returncode:
        lacking("no immutable files on this file system, or for this user")
    try:
        status, problems, hint = refused(stand, TWO)
    finally:
        subprocess.run(("chattr", "-i", frozen), check=True)
    assert (status, hint) == (73, "run as root; `lsattr` shows whether the file is immutable")
    assert problems == (
        f"{frozen}: Operation not permitted",
        f"put back: {stand.disk}/etc/one",
    )


# Arguments: size of the disk, what to do to it, the machine, where to leave what became of it,
# then the command.
IN_A_SMALL_DISK = """
set -e
machine=$3 result=$4 size=$1 fault=$2
mkdir "$machine/small"
mount -t tmpfs -o "size=$size" small "$machine/small"
cp -a "$machine/disk/." "$machine/small"
eval "$fault"
shift 4
set +e
"$@"
status=$?
rm -f "$machine/small/fill"
cp -a "$machine/small/." "$result"
exit $status
"""


def on_small_disk(
    stand: Stand, result: Path, size: str, fault: str, command: str = "apply"
) -> tuple[int, str]:
    """One command of the real program on a disk of its own."""
    result.mkdir()
    # Whoever runs the tests is root in there.
    keys = {"owner": "root", "group": "root", "reload": PAIR}
    targets = NO_ENV + target("one", **keys) + target("two", **keys)
    config = stand.place / "lbhook.toml"
    config.write_text(f'[paths]\ntemplates = ["{stand.place}/templates"]\n{targets}')
    (stand.place / "body.json").write_bytes(B)
    unshare = ["unshare", "--mount", "--propagation", "private"]
    unshare += [] if os.geteuid() == 0 else ["--map-root-user"]
    small = stand.place / "small"
    words = ["-m", "lbhook", "-c", str(config), command, "--root", str(small)]
    words += ["--metadata", str(stand.place / "body.json")] if command == "apply" else []
    script = ["sh", "-c", IN_A_SMALL_DISK, "small", size, fault, str(stand.place), str(result)]
    done = subprocess.run(
        [*unshare, *script, sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        timeout=60,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        lacking("no mounts of one's own here")
    small.rmdir()
    return done.returncode, done.stderr


FILL = 'head -c 1000000000 /dev/zero >"$machine/small/fill" 2>/dev/null || true; '


@pytest.mark.needs("unshare")
def test_a_full_disk_leaves_every_file_as_it_was(stand: Stand, tmp_path: Path) -> None:
    """However many pages are left, either everything is written or nothing is, and it is said."""
    seen = set()
    for left in (0, 1, 2, 3, 4, 6, 8, 12, 20):
        fault = FILL + f'truncate -s -{left * 4096} "$machine/small/fill"'
        result = tmp_path / f"left-{left}"
        status, said = on_small_disk(stand, result, "256k", fault)
        texts = {(result / "etc" / name).read_text() for name in ("one", "two")}
        assert (status, texts) in ((0, {"80\n8443\n"}), (73, {"80\n443\n"})), said
        if status:
            assert "No space left on device\n" in said
            assert "\n  hint: free some space" in said
        assert not [path for path in result.rglob(".*.lbhook") if path.parent.name == "etc"]
        seen.add(status)
    assert seen == {0, 73}


@pytest.mark.needs("unshare")
@pytest.mark.parametrize("left", [0, 1, 3])
def test_clean_needs_no_space(tmp_path: Path, left: int) -> None:
    """It frees some: on a disk without a free page, every file is back and no record is left."""
    stand = Stand(tmp_path)
    stand.template("ports.j2")
    stand.put("/etc/one", "mine\n")
    for answer in (A, B):
        assert stand.apply(stand.settings(TWO), answer).status == 0
    fault = FILL + f'truncate -s -{left * 4096} "$machine/small/fill"'
    result = tmp_path / "result"
    assert on_small_disk(stand, result, "256k", fault, "clean") == (0, "")
    assert (result / "etc/one").read_text() == "mine\n"
    assert not (result / "var/lib/lbhook").exists()
    assert not [*result.rglob("*.json"), *result.rglob(".*.lbhook*")]


@pytest.mark.needs("unshare")
def test_a_read_only_disk_is_named(stand: Stand, tmp_path: Path) -> None:
    """The hint knows of systemd units."""
    fault = 'mount -o remount,ro "$machine/small"'
    status, said = on_small_disk(stand, tmp_path / "result", "1m", fault)
    assert status == 73
    assert f"{stand.place}/small/run/lbhook/lock: Read-only file system\n  hint: mount it" in said


@pytest.mark.needs("unshare")
def test_a_read_only_directory_of_a_target(stand: Stand, tmp_path: Path) -> None:
    """What was staged before it is gone again."""
    etc = '"$machine/small/etc"'
    fault = f"mount --bind {etc} {etc}; mount -o remount,ro,bind {etc}"
    status, said = on_small_disk(stand, tmp_path / "result", "1m", fault)
    assert status == 73
    assert f"{stand.place}/small/etc/one: Read-only file system\n  hint: mount it" in said


def fails_at(name: str, path: str, error: int) -> Callable[[str, object], None]:
    """A step of a tree at which the disk gives an error."""

    def step(step: str, where: object) -> None:
        if (step, str(where)) == (name, path):
            raise OSError(error, os.strerror(error))

    return step


RECORD = "/var/lib/lbhook/installed.json"


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ("mkdir", "/var/lib/lbhook/journal.new"),
        ("open", "/etc/.two.lbhook"),
        ("write", "/etc/.two.lbhook"),
        ("fsync", "/etc/.two.lbhook"),
        ("rename", "/etc/two"),
        ("write", "/var/lib/lbhook/.installed.json.lbhook"),
        ("rename", RECORD),
        ("rename", "/var/lib/lbhook/journal.committed"),
    ],
)
def test_an_exceeded_quota_puts_everything_back(stand: Stand, step: str, path: str) -> None:
    """Promise 2: what was begun is undone, and it is named."""
    stand.step = fails_at(step, path, 122)
    text = NO_ENV + target("one", reload=PAIR) + target("two", mode="0600", reload=PAIR)
    before = contents(stand.disk, without=(*RUNTIME, "var"))
    report = stand.apply(stand.settings(text), B)
    assert (report.status, report.hint) == (73, "the quota is used up")
    assert report.problems[0].endswith(": Disk quota exceeded")
    assert contents(stand.disk, without=(*RUNTIME, "var")) == before
    stand.step = lambda _name, _path: None
    assert stand.apply(stand.settings(text), B).status == 0
    assert stand.text("/etc/two") == "80\n8443\n"


def test_who_runs_the_tests_owns_the_files(stand: Stand) -> None:
    """The owner of the configuration is the owner on the disk."""
    found = (stand.disk / "etc/one").stat()
    assert (found.st_uid, found.st_gid) == (os.geteuid(), os.getegid())
    assert (USER, GROUP) != ("", "")
