"""A directory for a moment, and what is said where there can be none."""

import errno
import tempfile
from pathlib import Path

import pytest

from lbhook.errors import WriteError
from lbhook.storage import scratch


def test_it_is_gone_afterwards() -> None:
    """With what was in it."""
    with scratch.directory() as place:
        (place / "one").write_text("x")
    assert not place.exists()


def test_there_is_no_place_for_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a disk that is full: the error is the disk's, and says what to do."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(WriteError) as caught, scratch.directory():
        pass
    assert caught.value.hint.startswith("free some space in /tmp, or set TMPDIR")


def test_there_is_no_room_in_it(tmp_path: Path) -> None:
    """The file is named that could not be written; what fails elsewhere is nobody's scratch."""
    with pytest.raises(WriteError) as caught, scratch.directory() as place:
        raise OSError(errno.ENOSPC, "No space left on device", str(place / "one"))
    assert caught.value.problems == (f"{place}/one: No space left on device",)
    with pytest.raises(FileNotFoundError), scratch.directory():
        (tmp_path / "gone").read_text()
