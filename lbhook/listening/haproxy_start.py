"""How haproxy was started, or would be: which files it reads, how they are checked, and what makes
it read another one (haproxy(1), of 2.6)."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from .files import Files

# What Debian's unit has on its command line, for words of its owner's.
_MORE = "EXTRAOPTS"


class Start(NamedTuple):
    """A command line, with the environment that goes with it. `variables` are the names that a unit
    puts in there; None if no unit is known."""

    files: Files
    words: Sequence[str]
    env: Mapping[str, str]
    variables: Collection[str] | None = None

    def reads(self, path: str) -> bool:
        """Whether it reads a file, or would if it were there."""
        return any(path in self._named(place, (path,)) for place in self._places())

    def names(self) -> list[str]:
        """The files that it reads."""
        return [name for place in self._places() for name in self._named(place, ())]

    def check(self, instead: Mapping[str, Path]) -> tuple[str, ...]:
        """The command that tests what it reads, with some files in place of others."""
        found = [name for place in self._places() for name in self._named(place, instead)]
        files = [word for name in found for word in ("-f", str(instead.get(name, name)))]
        return (self.words[0], "-c", *files, *self._parted()[0])

    def advice(self, path: PurePosixPath, unit: str) -> str:
        """What makes it read a file: the name of its directory, since the name of a file that is
        not there keeps haproxy from starting."""
        shared = any(PurePosixPath(place).parent == path.parent for place in self._places())
        place = path if shared else path.parent
        if unit != "haproxy" or (self.variables is not None and _MORE not in self.variables):
            line = f"`-f {place}` into the command line of {unit}"
            return f"create {place}, put {line}, and restart {unit}"
        options = self.env.get(_MORE, "-S /run/haproxy-master.sock")
        line = f'{_MORE}="{options} -f {place}"'
        return f"create {place}, put `{line}` into /etc/default/haproxy, and restart haproxy"

    def _parted(self) -> tuple[list[str], list[str]]:
        """Its options, and the places that it reads: of `-f`, and all that is behind `--`."""
        options: list[str] = []
        places: list[str] = []
        words = iter(self.words[1:])
        for word in words:
            if word == "--":
                places += words
            elif word == "-f":
                places.append(next(words, ""))
            else:
                options.append(word)
        return options, places

    def _places(self) -> Iterator[str]:
        """Files and directories, as they are named from where it goes first (`-C`)."""
        options, places = self._parted()
        there = dict(itertools.pairwise(options)).get("-C", "")
        yield from (str(PurePosixPath("/", there, place)) for place in places)

    def _named(self, place: str, coming: Collection[str]) -> list[str]:
        """The files of one place: of a directory, in the order of their names."""
        found = {*self.files.names(place)}
        below = {PurePosixPath(one) for one in coming}
        found |= {one.name for one in below if one.parent == PurePosixPath(place)}
        if not found and not self.files.is_directory(place):
            return [place]
        named = sorted(name for name in found if name.endswith(".cfg") and name[0] != ".")
        return [f"{place}/{name}" for name in named]
