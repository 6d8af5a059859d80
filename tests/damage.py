"""What time, disks and other versions do to a file of lbhook's own."""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from lbhook.plan import FileState
from lbhook.storage.files import Tree

# Of each type one, and what is hardest of its kind; the deepest is deeper than any parser likes.
ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 1.5, 10**400, 1e308, float("nan"), float("inf")),
    *("", "/", "x\0y", "\udc80", "../../etc/shadow", "é" * 300, [], {}, [[]], {"x": {}}, [1, None]),
)
_GONE = object()


class Withholding(Tree):
    """A disk that does not give one file, for as long as too many are open."""

    def __init__(self, root: Path, withheld: PurePosixPath) -> None:
        super().__init__(root)
        self.withheld = withheld

    def state(self, path: PurePosixPath, most: int = -1) -> FileState | None:
        """The same, but for that file."""
        if path == self.withheld:
            raise self.failure(path, OSError(errno.EMFILE, os.strerror(errno.EMFILE)))
        return super().state(path, most)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value of a document, itself among them."""
    yield at
    if isinstance(value, dict):
        for key, below in value.items():
            yield from places(below, (*at, key))
    if isinstance(value, list):
        for index, below in enumerate(value):
            yield from places(below, (*at, index))


def changed(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    """The document with another value at a place; without one, if it is to be gone."""
    if not at:
        return None if new is _GONE else new
    copy = dict(value) if isinstance(value, dict) else dict(enumerate(value))
    copy[at[0]] = changed(copy[at[0]], at[1:], new) if len(at) > 1 else new
    if copy[at[0]] is _GONE:
        del copy[at[0]]
    return copy if isinstance(value, dict) else [*copy.values()]


def documents(value: Any) -> Iterator[Any]:
    """The document with each odd value at each place, without what is there, and of versions
    that never were."""
    for at in places(value):
        for odd in (*ODD, _GONE):
            yield changed(value, at, odd)


def texts(content: bytes) -> Iterator[bytes]:
    """What a disk or an editor makes of it: cut, doubled, of bytes, and far too deep."""
    for length in {0, 1, len(content) // 2, len(content) - 2}:
        yield content[:length]
    yield from (content * 2, b"\0" * len(content), b"\xff\xfe" + content, b"[" * 200_000)
    yield b'{"version": 1, "files": ' + b'{"x": ' * 100_000 + b"1" + b"}" * 100_001


def written(value: Any) -> bytes:
    """JSON as a careless editor leaves it."""
    return json.dumps(value).encode()


def stand_in(file: Path, kind: str) -> None:
    """Something else where a file was: a link to it or to nothing, a directory, one with something
    in it, another's file."""
    content = file.read_bytes()
    if kind == "owner":
        os.chown(file, 12345, 12345)
        return
    file.unlink()
    if kind == "link":
        other = file.with_name(f"{file.name}.moved")
        other.write_bytes(content)
        file.symlink_to(other)
    elif kind == "nowhere":
        file.symlink_to("/nowhere")
    elif kind in ("directory", "full"):
        file.mkdir()
    if kind == "full":
        (file / "below").mkdir()


STAND_INS = ("owner", "link", "nowhere", "directory", "full")


def laid(state: Mapping[str, str], root: Path, **instead: str) -> None:
    """Lay down a state that was kept: files by path, with what this machine has for `BOOT`."""
    for path, text in state.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        for name, here in instead.items():
            text = text.replace(name, here)
        file.write_text(text, encoding="utf-8")


def copied(root: Path, place: Path) -> Path:
    """A copy of a disk, in place of one that was there before."""
    if place.exists():
        shutil.rmtree(place)
    shutil.copytree(root, place, symlinks=True)
    return place
