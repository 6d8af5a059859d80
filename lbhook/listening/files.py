"""The files of a program's configuration: their text, which of them a pattern stands for, and what
/etc/hosts has for a name, as hosts(5) and glob(3) say."""

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ..metadata.reader import Address

HOSTS = "/etc/hosts"


class Files(NamedTuple):
    """Where configuration comes from: the text of a file (None if it can't be read), the names in a
    directory, and whether something is one, which may be so without names. `coming` are paths of
    files that are to be there."""

    read: Callable[[str], str | None]
    names: Callable[[str], Collection[str]]
    is_directory: Callable[[str], bool] = lambda _: False
    coming: Collection[str] = ()

    def matching(self, pattern: str) -> tuple[Sequence[str], Sequence[str]]:
        """The files that a pattern stands for, in the order of their names; and directories that
        have none."""
        if not re.search(r"[*?\[]", pattern):
            return [pattern], []
        found, empty = ["/"], []
        for part in PurePosixPath(pattern).parts[1:]:
            if not re.search(r"[*?\[]", part):
                found = [str(PurePosixPath(place, part)) for place in found]
                continue
            below = {place: {*self.names(place), *self._coming(place)} for place in found}
            empty += [place for place, names in below.items() if not names]
            found = [
                str(PurePosixPath(place, name))
                for place, names in below.items()
                for name in sorted(names)
                if matches(name, part)
            ]
        return found, empty

    def _coming(self, place: str) -> Iterator[str]:
        for path in map(PurePosixPath, self.coming):
            if path.is_relative_to(place) and path != PurePosixPath(place):
                yield path.relative_to(place).parts[0]

    def addresses(self, host: str) -> Sequence[Address]:
        """What a host stands for: itself, or what /etc/hosts has; none of a name that only DNS
        knows."""
        try:
            return [ipaddress.ip_address(host)]
        except ValueError:
            pass
        found = []
        for line in (self.read(HOSTS) or "").splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if host.lower() in map(str.lower, names):
                found += _address(address)
        local = ["127.0.0.1", "::1"] if host == "localhost" and not found else []
        return list(dict.fromkeys([*found, *map(ipaddress.ip_address, local)]))


def matches(name: str, part: str) -> bool:
    """Whether a part of a pattern stands for a name: a star does so for no leading dot."""
    hidden = name.startswith(".") and part[0] != "."
    return fnmatch.fnmatchcase(name, part.replace("[^", "[!")) and not hidden


def _address(text: str) -> list[Address]:
    try:
        return [ipaddress.ip_address(text)]
    except ValueError:
        return []
