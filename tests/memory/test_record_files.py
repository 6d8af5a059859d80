"""Records as files: what becomes of a damaged one, and what is removed when."""

from pathlib import Path, PurePosixPath

import pytest

from lbhook.errors import WriteError
from lbhook.memory import record_forms
from lbhook.memory.record_files import RecordFiles
from lbhook.memory.records import Installed
from lbhook.paths import Paths
from lbhook.storage import aside, forms
from lbhook.storage.files import Tree

from ..damage import Withholding

STATE = PurePosixPath("/var/lib/lbhook")
ONE = Installed(name="one", path="/etc/one", digest="d1", mode=0o640)
TWO = ONE._replace(name="two", path="/etc/two")


@pytest.fixture
def files(tmp_path: Path) -> RecordFiles:
    """Those of a machine that has none."""
    return RecordFiles(Tree(tmp_path), Paths())


def installed(files: RecordFiles) -> list[str]:
    """The paths in the record of what is installed."""
    return sorted(files.read(files.installed_file, record_forms.INSTALLED)["files"])


def written(files: RecordFiles, *paths: PurePosixPath) -> None:
    """Something at each path."""
    for path in paths:
        files.tree.write(path, b"{}")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"", "damaged: not JSON, or cut"),
        (b"{", "damaged: not JSON, or cut"),
        (b"[]", "damaged: not JSON, or cut"),
        (b'{"version": 2, "files": {}}', "written by a newer lbhook, as version 2"),
        (b"\xff", "damaged: not JSON, or cut"),
    ],
)
def test_a_damaged_record_is_ignored_and_named(
    files: RecordFiles, content: bytes, wrong: str
) -> None:
    """Once, however often it is read."""
    files.tree.write(files.installed_file, content)
    first = files.read(files.installed_file, record_forms.INSTALLED)
    assert (first["files"], files.read(files.installed_file, record_forms.INSTALLED)) == ({}, first)
    file = files.tree.outside(files.installed_file)
    assert files.damaged == [f"{file}: {wrong}; what can't be read is ignored"]


def test_what_is_no_file_is_named_once(files: RecordFiles) -> None:
    """Its path is said by the disk, and by nobody else."""
    file = files.tree.outside(files.installed_file)
    file.mkdir(parents=True)
    assert installed(files) == []
    assert files.damaged == [f"{file}: is not a regular file; what can't be read is ignored"]


def test_what_the_disk_does_not_give_is_not_damaged(files: RecordFiles) -> None:
    """It stays where it is, and who needs it does not go on as if there were none."""
    files.tree.write(files.installed_file, forms.written({"files": {"/etc/one": ONE}}))
    withheld = RecordFiles(Withholding(files.tree.root, files.installed_file), Paths())
    problem = f"{files.tree.outside(files.installed_file)}: Too many open files"
    with pytest.raises(WriteError, match=problem):
        installed(withheld)
    assert withheld.set_aside(dict) == ()
    assert files.tree.names(STATE) == ["installed.json"]
    assert installed(files) == ["/etc/one"]


@pytest.mark.parametrize("directory", [False, True])
def test_the_newest_takes_the_place_of_the_last(files: RecordFiles, directory: bool) -> None:
    """Of what was put aside, files and directories, as journals are."""
    path = STATE / "journal"
    for number in range(11):
        files.tree.write(path / "list" if directory else path, b"%d" % number)
        place = aside.moved(files.tree, path)
    assert place.name == "journal.damaged.9"
    assert files.tree.read(place / "list" if directory else place) == b"10"
    assert len(aside.names(files.tree, path)) == 9


def test_nothing_is_put_aside_that_can_be_read(files: RecordFiles) -> None:
    """Nor anything said."""
    files.tree.write(files.installed_file, forms.written({"files": {"/etc/one": ONE}}))
    assert files.set_aside(lambda: {"/etc/two": TWO}) == ()
    assert installed(files) == ["/etc/one"]
    assert not [name for name in files.tree.names(STATE) if "damaged" in name]


def test_a_record_that_is_lost_is_put_aside_with_what_others_know_in_its_place(
    files: RecordFiles,
) -> None:
    """It is named once, by where it is kept from now on."""
    files.tree.write(files.installed_file, b"{")
    assert installed(files) == []
    assert files.damaged
    [said] = files.set_aside(lambda: {"/etc/two": TWO})
    assert said.endswith("what can't be read is ignored, and kept in installed.json.damaged")
    assert files.damaged == []
    assert files.tree.read(STATE / "installed.json.damaged") == b"{"
    assert installed(files) == ["/etc/two"]
    assert files.set_aside(dict) == ()


def test_what_can_be_read_of_a_record_stays_in_force(files: RecordFiles) -> None:
    """Beside what others know; the damaged one is kept as it was."""
    good = '"/etc/one": {"name": "one", "path": "/etc/one", "digest": "d1", "mode": 416}'
    text = f'{{"version": 1, "files": {{"/a": {{"path": "/a"}}, {good}}}}}'.encode()
    files.tree.write(files.installed_file, text)
    assert len(files.set_aside(lambda: {"/etc/two": TWO})) == 1
    assert files.tree.read(STATE / "installed.json.damaged") == text
    assert installed(files) == ["/etc/one", "/etc/two"]


def test_room_is_made_of_what_only_tells(files: RecordFiles) -> None:
    """What it takes to take everything back stays."""
    original, copy = (of(PurePosixPath("/run/a")) for of in (files.original_file, files.copy_file))
    stays = (files.installed_file, files.loaded_file, files.hold_file, original)
    goes = (files.answer_file, files.told_file, files.history_file, files.ports_file, copy)
    damaged, way_back = STATE / "told.json.damaged.2", STATE / "previous" / "journal.json"
    written(files, *stays, *goes, damaged, way_back)
    files.make_room()
    assert [files.tree.read(one) for one in stays] == [b"{}"] * len(stays)
    assert [files.tree.read(one) for one in (*goes, damaged, way_back)] == [None] * 7


def test_all_is_forgotten_but_what_nobody_else_has(files: RecordFiles) -> None:
    """The record of a drain is not: it may not be over; a directory in the way is not lbhook's."""
    path = PurePosixPath("/etc/one")
    original, aside = files.original_file(path), files.aside_file(path)
    drain, theirs = STATE / "drain.json", files.told_file / "theirs"
    goes = (files.installed_file, files.status_file, STATE / "hold.json.damaged", original)
    written(files, *goes, aside, drain, theirs)
    assert set(files.forget()) == {*goes[:3], files.told_file, original.parent}
    assert [files.tree.read(one) for one in goes] == [None] * 4
    assert [files.tree.read(one) for one in (aside, drain, theirs)] == [b"{}"] * 3


def test_of_a_machine_that_has_forgotten_nothing_is_left(files: RecordFiles) -> None:
    """Not even the directory of its records."""
    written(files, files.installed_file, files.copy_file(PurePosixPath("/run/a")))
    files.forget()
    assert files.tree.names(STATE.parent) == []
    assert files.forget() == ()
