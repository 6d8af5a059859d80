"""A directory for a moment, and what is said where there can be none."""

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
    """Or a name that it can't have; what fails elsewhere is nobody's scratch."""
    full = Path("/dev/full")
    with pytest.raises(WriteError) as caught, scratch.directory() as place:
        full.write_text("x")
    assert caught.value.problems == (f"{place}: No space left on device",)
    with pytest.raises(WriteError) as caught, scratch.directory() as place:
        (place / ("x" * 256)).touch()
    assert caught.value.problems[0].startswith(f"{place}/xxx")
    with pytest.raises(FileNotFoundError), scratch.directory():
        (tmp_path / "gone").read_text()
