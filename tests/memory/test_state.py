"""What is remembered, and for how long."""

from pathlib import Path, PurePosixPath

import pytest

from lbhook.config.targets import Target
from lbhook.memory.records import Applied, Installed, Loaded, Refused
from lbhook.memory.state import State
from lbhook.paths import Paths
from lbhook.plan import Change, FileState, Outcome
from lbhook.storage.files import Tree

from ..stand import everything

ONE = Installed(
    name="one",
    path="/etc/one",
    digest="d1",
    mode=0o640,
    kind="nftables",
    reload=("load", "{path}"),
    remove=("unload",),
    original=True,
)


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A state in which nothing is remembered."""
    return State(Tree(tmp_path), Paths(), "boot-1")


def again(state: State, boot_id: str = "boot-1") -> State:
    """What the next run reads."""
    return State(state.tree, state.paths, boot_id)


def test_what_is_installed_outlives_a_boot(state: State) -> None:
    """Every field comes back, and the target can be undone from it."""
    state.keep_installed({"/etc/one": ONE})
    assert again(state, "boot-2").installed() == {"/etc/one": ONE}
    target = ONE.target()
    assert (target.name, target.path, target.template) == ("one", PurePosixPath("/etc/one"), "")
    assert (target.reload, target.remove) == (("load", "{path}"), ("unload",))


def test_what_files_were_made_of_is_kept_of_what_is_installed(state: State) -> None:
    """Another answer may come to the same file; of what is not installed nothing is kept."""
    state.keep_installed({"/etc/one": ONE})
    state.keep_made_of({"/etc/one": "m1", "/etc/two": "m2"})
    assert again(state, "boot-2").installed() == {"/etc/one": ONE._replace(made_of="m1")}


def test_what_a_reboot_takes_is_kept_elsewhere(state: State, tmp_path: Path) -> None:
    """Written where it differs alone, and gone with the file; all else is on the disk anyway."""
    path = PurePosixPath("/run/lbhook/lb.env")
    state.keep_copy(path, b"A=1\n")
    assert again(state, "boot-2").copy(path) == b"A=1\n"
    kept = tmp_path / str(state.copy_file(path)).lstrip("/")
    before = kept.stat().st_ino
    state.keep_copy(path, b"A=1\n")
    assert kept.stat().st_ino == before
    state.keep_copy(path, None)
    state.keep_copy(PurePosixPath("/etc/one"), b"1\n")
    assert not [*kept.parent.iterdir()]


def test_a_copy_is_for_nobody_else_to_read(state: State, tmp_path: Path) -> None:
    """The file may be a secret, whatever the directory of lbhook's records lets everybody see."""
    path = PurePosixPath("/run/app/secret.env")
    state.keep_copy(path, b"TOKEN=1\n")
    kept = tmp_path / str(state.copy_file(path)).lstrip("/")
    assert kept.stat().st_mode & 0o777 == 0o600


def test_what_only_saves_time_fails_nothing(state: State, tmp_path: Path) -> None:
    """Something in the way of a copy, or of the record, is no reason to put a file back."""
    path = PurePosixPath("/run/lbhook/lb.env")
    (tmp_path / str(state.copy_file(path)).lstrip("/") / "theirs").mkdir(parents=True)
    for content in (b"A=1\n", None):
        state.keep_copy(path, content)
    assert state.copy(path) is None
    state.keep_installed({"/etc/one": ONE})
    record = tmp_path / str(state.installed_file).lstrip("/")
    (record.parent / ".installed.json.lbhook").mkdir()
    state.keep_made_of({"/etc/one": "m1"})
    assert state.installed() == {"/etc/one": ONE}


def test_what_is_loaded_does_not(state: State) -> None:
    """A boot forgets it, when the last answer was read, and what its files were made of."""
    loaded = {"/etc/one": Loaded(digest="d1", observed="o", queued=True)}
    state.keep_loaded(loaded)
    made = {"/etc/one": "m1", "/etc/two": "m2"}
    skipped = {"/etc/one": True, "/etc/two": True}
    state.keep_applied(Applied(12.0, made, {"/etc/two": "p2"}, skipped))
    news = Applied(12.5, {"/etc/one": "m3"}, {"/etc/one": "p1"}, {"/etc/one": False})
    state.keep_applied(news)
    assert (again(state).loaded(), again(state).applied(20.0)) == (loaded, 12.5)
    assert again(state).made() == {"/etc/one": "m3", "/etc/two": "m2"}
    assert again(state).proofs() == {"/etc/one": "p1", "/etc/two": "p2"}
    assert again(state).skipped() == ("/etc/two",)
    booted = again(state, "boot-2")
    assert (booted.loaded(), booted.applied(20.0), booted.made()) == ({}, 0.0, {})
    assert (booted.proofs(), booted.skipped()) == ({}, ())


def test_an_applied_time_that_is_to_come_counts_for_nothing(state: State) -> None:
    """The clock of the boot has gone back since: a snapshot, a container with its old /run."""
    state.keep_applied(Applied(12.5))
    assert [again(state).applied(now) for now in (12.4, 12.5, 13.0)] == [0.0, 12.5, 12.5]


def test_what_is_loaded_is_read_once_while_the_lock_is_held(state: State) -> None:
    """Another run can write it only while the lock is free; then it is read again."""
    before = {"/etc/one": Loaded(digest="d1")}
    state.keep_loaded(before)
    assert state.loaded() == before
    again(state).keep_loaded({})
    assert state.loaded() == before
    state.look_again()
    assert state.loaded() == {}


def test_what_is_as_recorded_is_not_written_again(state: State) -> None:
    """Not a byte, not a time."""
    state.keep_installed({"/etc/one": ONE})
    state.keep_loaded({"/etc/one": Loaded(digest="d1")})
    refused = {"f": Refused(problems=("p",))}
    state.keep_refused(refused)
    before = everything(state.tree.root)
    state.keep_installed({"/etc/one": ONE})
    state.keep_loaded({"/etc/one": Loaded(digest="d1")})
    state.keep_refused(refused)
    assert everything(state.tree.root) == before


def test_a_refusal_is_kept_and_dropped(state: State) -> None:
    """Each by what it hung on."""
    assert state.refused() == {}
    refused = {"f": Refused(problems=("p", "q"))}
    state.keep_refused(refused)
    assert again(state).refused() == refused
    state.keep_refused({})
    assert again(state).refused() == {}


def test_a_record_of_one_target_that_is_none_is_left_out(state: State) -> None:
    """The others count; keys of a later version do no harm."""
    good = '"/b": {"name": "b", "path": "/b", "digest": "d", "mode": 420, "later": 1}'
    text = f'{{"version": 1, "files": {{"/a": {{"path": "/a"}}, {good}}}}}'
    state.tree.write(state.installed_file, text.encode())
    assert list(state.installed()) == ["/b"]


@pytest.mark.parametrize("letter", ["x", "é", "\u4e2d", "\U0001f600"])
def test_an_original_has_a_name_that_a_file_can_have(state: State, letter: str) -> None:
    """With what is added to it, however long that of the file is, and in whatever letters."""
    name = (letter * 243).encode()[:243].decode(errors="ignore")
    path = PurePosixPath("/etc", name)
    state.tree.write(path, b"mine")
    for file in (state.original_file(path), state.aside_file(path)):
        state.tree.write(file, b"mine")
        state.tree.keep(file)
        assert state.tree.read(file) == b"mine"


def test_originals_of_different_paths_have_different_names(state: State) -> None:
    """Even if their files are called the same; a long name is no problem."""
    names = {
        state.original_file(PurePosixPath(path)).name
        for path in ("/etc/a/x.conf", "/etc/b/x.conf", f"/etc/{'x' * 240}")
    }
    assert len(names) == 3
    assert max(map(len, names)) < 120


def test_an_original_comes_back_with_its_mode(state: State) -> None:
    """None if none was kept; who is not root does not care for owners."""
    path = PurePosixPath("/etc/one")
    assert state.original(path) is None
    state.tree.write(state.original_file(path), b"mine\n", mode=0o604)
    found = state.original(path)
    assert found
    assert (found.content, found.mode) == (b"mine\n", 0o604)
    plain = State(Tree(state.tree.root, privileged=False), state.paths, "")
    assert plain.original(path) == FileState(content=b"mine\n", mode=0o604)


def test_the_record_of_a_change_keeps_that_there_was_an_original(state: State) -> None:
    """Whatever is installed over it later."""
    file = FileState(content=b"new\n", mode=0o644)
    target = Target(name="one", template="t", path=PurePosixPath("/etc/one"))
    change = Change(target=target, expected=file, actual=file, outcome=Outcome.CHANGED, resting="r")
    assert Installed.of(change, ONE) == Installed(
        name="one", path="/etc/one", digest=file.digest, mode=0o644, resting="r", original=True
    )
    assert not Installed.of(change, None).original
