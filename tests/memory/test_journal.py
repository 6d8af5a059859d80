"""What an unfinished run leaves, and how it is put back."""

import json
from pathlib import Path, PurePosixPath

import pytest

from lbhook.errors import PutBackError, WriteError
from lbhook.memory.journal import Journal, Settled
from lbhook.memory.journal_entries import Entry
from lbhook.plan import FileState
from lbhook.storage.files import Tree

from ..damage import Withholding
from ..stand import contents

STATE = PurePosixPath("/var/lib/lbhook")
OLD, NEW, GONE = (PurePosixPath(f"/etc/{name}") for name in ("old", "new", "gone"))
AFTER = FileState(content=b"after\n", mode=0o644)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A disk with two files."""
    tree = Tree(tmp_path)
    tree.write(OLD, b"before\n", mode=0o640)
    tree.write(GONE, b"", mode=0o600)
    return tree


def begun(tree: Tree) -> Journal:
    """A journal about a file that is replaced, one that is created and one that is removed."""
    journal = Journal(tree, STATE)
    journal.begin(
        [
            Entry(path=OLD, before=tree.state(OLD), after=AFTER.digest, target="old"),
            Entry(path=NEW, before=None, after=AFTER.digest, target="new"),
            Entry(path=GONE, before=tree.state(GONE), after="", target="gone"),
        ]
    )
    return journal


def carried_out(tree: Tree) -> None:
    """What the journal is about."""
    tree.write(OLD, b"after\n")
    tree.write(NEW, b"after\n")
    tree.remove(GONE)


def test_everything_is_put_back(tree: Tree) -> None:
    """Content, mode and owner; what was created is gone, what was removed is there, empty as it
    was; no journal is left."""
    before = contents(tree.root)
    journal = begun(tree)
    carried_out(tree)
    tree.stage(OLD, FileState(content=b"more", mode=0o600))
    assert [entry.target for entry in journal.put_back()] == ["old", "new", "gone"]
    after = {k: v for k, v in contents(tree.root).items() if not k.startswith("var")}
    assert after == before
    assert (journal.unfinished(), tree.names(STATE)) == ((), [])


def test_what_was_not_touched_is_not_put_back(tree: Tree) -> None:
    """And not counted."""
    assert begun(tree).put_back() == ()


def test_a_file_that_somebody_made_since_is_not_taken_away(tree: Tree) -> None:
    """Only what the unfinished run would have written."""
    journal = begun(tree)
    tree.write(NEW, b"somebody's\n")
    assert journal.put_back() == ()
    assert tree.read(NEW) == b"somebody's\n"


def test_a_finished_run_is_what_a_rollback_goes_back_to(tree: Tree) -> None:
    """The journal of the last run is kept, and only that."""
    journal = begun(tree)
    carried_out(tree)
    journal.commit()
    assert journal.unfinished() == ()
    first = journal.previous()
    assert [(entry.path, entry.before and entry.before.content) for entry in first] == [
        (OLD, b"before\n"),
        (NEW, None),
        (GONE, b""),
    ]
    journal.begin([])
    journal.commit()
    assert (journal.previous(), tree.names(STATE)) == ((), ["previous"])


def test_leftovers_of_its_own_renames_are_removed(tree: Tree) -> None:
    """By name; an open journal and the previous one stay."""
    journal = begun(tree)
    for name in ("journal.new", "journal.done", "previous.old"):
        tree.write(STATE / name / "journal.json", b"[]")
    tree.write(STATE / "answer.json", b"{}")
    journal.tidy()
    assert tree.names(STATE) == ["answer.json", "journal"]


def test_one_file_that_can_not_be_put_back_keeps_the_journal(tree: Tree) -> None:
    """The others are put back all the same, and the next run goes on."""
    journal = begun(tree)
    carried_out(tree)
    tree.remove(NEW)
    tree.write(NEW / "x", b"")
    with pytest.raises(WriteError) as caught:
        journal.put_back()
    assert caught.value.problems == (f"{tree.root}/etc/new: is not a regular file",)
    assert (tree.read(OLD), tree.read(GONE)) == (b"before\n", b"")
    tree.remove_directory(NEW)
    journal.put_back()
    assert journal.unfinished() == ()


def test_a_journal_that_has_lost_all_that_was_in_it(tree: Tree) -> None:
    """As on a disk that was repaired: no later run is told of it again."""
    tree.make_directory(STATE / "journal")
    journal = Journal(tree, STATE)
    assert (journal.settle(), journal.is_open()) == (Settled(), False)


def test_a_journal_that_can_not_be_read_is_not_closed(tree: Tree) -> None:
    """Of what is in it nothing was put back: the run says so, and the next one looks again."""
    journal = begun(tree)
    carried_out(tree)
    file = tree.root / "var/lib/lbhook/journal/journal.json"
    listed = file.read_bytes()
    file.write_bytes(b"{")
    with pytest.raises(PutBackError) as caught:
        journal.put_back()
    assert caught.value.problems == (f"{file.parent}: damaged: no list of files, or cut",)
    file.write_bytes(listed)
    assert [entry.target for entry in journal.put_back()] == ["old", "new", "gone"]


@pytest.mark.parametrize("name", ["journal.json", "0"])
def test_a_journal_that_the_disk_does_not_give_stays(tree: Tree, name: str) -> None:
    """Its list or a backup: nothing is wrong with what was not read, and a later run may read it.
    What could be read is put back at once."""
    carried = begun(tree)
    carried_out(tree)
    withheld = Journal(Withholding(tree.root, STATE / "journal" / name), STATE)
    for put_back in (withheld.settle, withheld.put_back):
        with pytest.raises(PutBackError) as caught:
            put_back()
        problem = f"{tree.root}/var/lib/lbhook/journal/{name}: Too many open files"
        assert (caught.value.problems, tree.names(STATE)) == ((problem,), ["journal"])
    assert (tree.read(GONE) == b"") is (name == "0")
    carried.settle()
    assert (tree.read(OLD), tree.read(GONE), tree.names(STATE)) == (b"before\n", b"", [])


def test_a_way_back_that_the_disk_does_not_give_is_not_said_to_be_gone(tree: Tree) -> None:
    """The error is that of the disk."""
    journal = begun(tree)
    journal.commit()
    list_file = STATE / "previous/journal.json"
    with pytest.raises(WriteError) as caught:
        Journal(Withholding(tree.root, list_file), STATE).previous()
    assert caught.value.problems == (f"{tree.outside(list_file)}: Too many open files",)
    assert len(journal.previous()) == 3


def test_what_stays_in_the_way_is_given_up_by_a_later_run(tree: Tree) -> None:
    """With its name, and where to find what was there; the others are put back."""
    journal = begun(tree)
    carried_out(tree)
    tree.remove(OLD)
    tree.write(OLD / "x", b"")
    settled = journal.settle()
    where = f"{tree.root}/var/lib/lbhook/journal.damaged"
    assert settled.given_up == (
        f"{tree.root}/etc/old: is not a regular file: it can't be put back; what was there before"
        f" is {where}/0: copy it to where it belongs, then remove {where}",
    )
    assert [one.target for one in settled.touched] == ["new", "gone"]
    assert (Path(where) / "0").read_bytes() == b"before\n"
    assert (journal.is_open(), journal.settle()) == (False, Settled())


def test_a_full_disk_is_nothing_to_give_up_for(tree: Tree) -> None:
    """The next run may have room: the journal stays."""
    carried = begun(tree)
    carried_out(tree)

    def full(name: str, path: PurePosixPath) -> None:
        if name == "write" and path.name == ".old.lbhook":
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError):
        Journal(Tree(tree.root, step=full), STATE).settle()
    assert [one.target for one in carried.settle().touched] == ["old"]
    assert tree.read(OLD) == b"before\n"


@pytest.mark.parametrize("damage", ["list", "backup", "cut", "keys", "version"])
def test_a_damaged_journal_puts_back_what_can_be_read(tree: Tree, damage: str) -> None:
    """Never an empty file in place of a backup that is missing; the journal stays for somebody to
    look at, and no later run stands still for it."""
    journal = begun(tree)
    carried_out(tree)
    file = tree.root / "var/lib/lbhook/journal/journal.json"
    value = json.loads(file.read_text())
    if damage == "backup":
        tree.remove(STATE / "journal/0")
    elif damage == "cut":
        tree.write(STATE / "journal/0", b"bef")
    elif damage == "keys":
        del value["entries"][0]["before"]
    elif damage == "version":
        value["version"] = 2
    file.write_text(json.dumps(value)[: -1 if damage == "list" else None])
    settled = journal.settle()
    where = f"{tree.root}/var/lib/lbhook/journal.damaged"
    cut = "damaged: entries[0]: 0 is missing or cut"
    reason = {
        "list": "damaged: no list of files, or cut",
        "backup": cut,
        "cut": cut,
        "keys": "damaged: entries[0].before: missing",
        "version": "written by a newer lbhook, as version 2",
    }[damage]
    assert settled.given_up == (
        f"{where}: {reason}; lbhook can't tell all that is to be put back: compare the files in it"
        " with the installed ones, then remove it",
    )
    assert tree.read(OLD) == (b"before\n" if damage == "version" else b"after\n")
    assert tree.read(NEW) == (b"after\n" if damage == "list" else None)
    assert journal.settle() == Settled()


def test_a_journal_of_an_older_form_is_put_back(tree: Tree) -> None:
    """It was a bare list, without digests."""
    journal = begun(tree)
    carried_out(tree)
    file = tree.root / "var/lib/lbhook/journal/journal.json"
    entries = json.loads(file.read_text())["entries"]
    for one in entries:
        if one["before"]:
            del one["before"]["digest"]
    file.write_text(json.dumps(entries))
    assert journal.settle().given_up == ()
    assert (tree.read(OLD), tree.read(NEW)) == (b"before\n", None)


def test_a_generation_that_can_not_be_read_is_no_way_back(tree: Tree) -> None:
    """All or nothing: `rollback` says so, and a later run replaces it."""
    journal = begun(tree)
    journal.commit()
    tree.remove(STATE / "previous/0")
    with pytest.raises(WriteError, match="there is no way back"):
        journal.previous()
    journal.begin([])
    journal.commit()
    assert journal.previous() == ()


@pytest.mark.parametrize("name", ["journal", "journal.new", "previous", "journal.committed"])
def test_what_is_no_directory_goes_out_of_the_way(tree: Tree, name: str) -> None:
    """A file, where a journal is to be."""
    tree.write(STATE / name, b"x")
    journal = Journal(tree, STATE)
    assert journal.settle() == Settled()
    assert tree.names(STATE) == [f"{name}.damaged"]
    journal.begin([])
    journal.commit()


def test_a_journal_that_can_not_be_written_is_not_begun(tree: Tree) -> None:
    """Nothing of it is left."""

    def full(name: str, path: PurePosixPath) -> None:
        if name == "write" and path.name == ".journal.json.lbhook":
            raise OSError(28, "No space left on device")

    with pytest.raises(WriteError):
        begun(Tree(tree.root, step=full))
    assert tree.names(STATE) == []


def test_who_is_not_root_compares_no_owners(tmp_path: Path) -> None:
    """What can't be set is not put back, and no difference."""
    tree = Tree(tmp_path, privileged=False)
    tree.write(OLD, b"before\n")
    journal = Journal(tree, STATE)
    journal.begin([Entry(path=OLD, before=tree.state(OLD), after="x", target="old")])
    [entry] = journal.unfinished()
    assert entry.before == FileState(content=b"before\n", mode=0o644)
