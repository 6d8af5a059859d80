"""Puts what a package has beside the Python package below a directory: units, the user that asks,
configuration, completion, manual pages, documentation and examples. Prints each path, and each
directory of lbhook's own, as an RPM lists them.

    stage.py DIRECTORY UNIT-DIRECTORY ZSH-DIRECTORY

The last is below /usr/share. What `lbhook install` puts down comes from the same list.
"""

import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import manpage

from lbhook.installation.contents import DIRECTORIES, Piece, Places, pieces

_REPO = Path(__file__).parent.parent
_SHARE = PurePosixPath("/usr/share")
_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs", "examples")


def staged(units: str, zsh: str) -> Iterator[Piece]:
    """Each file of a package."""
    yield from pieces(
        Places(
            units=PurePosixPath("/", units),
            users=PurePosixPath("/usr/lib/sysusers.d"),
            share=_SHARE,
            zsh=PurePosixPath(zsh),
        )
    )
    for name in ("lbhook.8", "lbhook.toml.5"):
        path = _SHARE / f"man/man{name[-1]}" / name
        yield Piece(name="manual", path=path, content=manpage.page(name).encode())
    for file in (one for page in _PAGES for one in _files(_REPO / page)):
        path = _SHARE / "doc/lbhook" / file.relative_to(_REPO)
        yield Piece(name="documentation", path=path, content=file.read_bytes())


def _files(place: Path) -> list[Path]:
    return sorted(one for one in (place, *place.rglob("*")) if one.is_file())


def main(root: str, units: str, zsh: str) -> None:
    """Write them all."""
    for place in DIRECTORIES:
        Path(root, *place.parts[1:]).mkdir(parents=True, exist_ok=True)
    own = set(DIRECTORIES)
    for piece in staged(units, zsh):
        file = Path(root, *piece.path.parts[1:])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(piece.content)
        file.chmod(piece.mode)
        print(piece.path)
        own |= {one for one in piece.path.parents if _is_own(one)}
    for place in sorted(own):
        print(f"%dir {place}")


def _is_own(place: PurePosixPath) -> bool:
    """Whether a directory is there for lbhook alone; that of drop-ins for another's unit is."""
    return "lbhook" in place.parts or place.suffixes[-2:] == [".service", ".d"]


if __name__ == "__main__":
    main(*sys.argv[1:])
