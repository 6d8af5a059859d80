"""What nginx prints of its configuration: messages and, with `-T`, each file that it has read."""

import ipaddress
import re
from pathlib import PurePosixPath
from typing import NamedTuple

from ..metadata.reader import Address
from .files import matches
from .nginx_directives import directives

_UNBOUND = re.compile(r"bind\(\) to (?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)):\d+ failed \(99:")
_NO_DIRECTORY = re.compile(r'(?m)\[emerg\].* (?:open|mkdir)\(\) "[^"]+" failed \(2: [^)]+\)$')
# The clock that it puts before what happens after it has read `error_log`.
_CLOCK = re.compile(r"^\d{4}/\S+ \S+ (\[\w+\]) \d+#\d+: ", re.MULTILINE)
_HEAD = "# configuration file "


class Printed(NamedTuple):
    """The output of `nginx -t` or `nginx -T`, measured on nginx 1.22."""

    output: str

    @property
    def is_sound(self) -> bool:
        """Whether the syntax is good: nginx says so before it binds."""
        return "syntax is ok" in self.output

    @property
    def messages(self) -> str:
        """What it says, without a clock and without the files."""
        said = _CLOCK.sub(r"nginx: \1 ", self.output)
        return said.partition(_HEAD)[0].strip()

    @property
    def faults(self) -> str:
        """Its messages but for one: an ordinary user may not open the default log, and that is no
        verdict on the file."""
        lines = self.messages.splitlines()
        return "\n".join(one for one in lines if "could not open error log" not in one)

    @property
    def unknown_parameter(self) -> str:
        """The word behind an address that this nginx does not know; empty if it knows all."""
        found = re.search(r'invalid parameter "([^"]+)"', self.output)
        return found[1] if found else ""

    @property
    def unbound(self) -> Address | None:
        """The address, none of this machine's, that it could not bind; None if there is none."""
        found = _UNBOUND.search(self.output)
        return ipaddress.ip_address(found[1] or found[2]) if found else None

    @property
    def awaits_directory(self) -> bool:
        """Whether it stopped because a directory for what it writes as it runs is not there."""
        return self.is_sound and bool(_NO_DIRECTORY.search(self.output))

    @property
    def texts(self) -> dict[str, str]:
        """The files by path, in nginx's order."""
        parts = re.split(rf"(?m)^{_HEAD}(/.*):\n", self.output)
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    def shows(self, path: str) -> bool:
        """Whether a file is among those that it has read."""
        return f"{_HEAD}{path}:\n" in self.output

    def lacks(self, path: str) -> bool:
        """Whether a file is included and could not be opened."""
        return bool(re.search(rf'open\(\) "{re.escape(path)}" failed', self.output))

    def would_read(self, path: str) -> bool:
        """Whether an `include` line stands for a file, which may not be there yet."""
        main = re.search(rf"^{_HEAD}(/.*)/[^/]+:$", self.output, re.MULTILINE)
        prefix = PurePosixPath(main[1] if main else "/")
        lines = (words for text in self.texts.values() for words, _, _ in directives(text))
        patterns = [words[1] for words in lines if words[:1] == ["include"] and len(words) > 1]
        return any(_stands_for(prefix / one, path) for one in patterns)


def _stands_for(pattern: PurePosixPath, path: str) -> bool:
    """As glob(3): a star does not go beyond a slash."""
    wanted, parts = PurePosixPath(path).parts, pattern.parts
    return len(wanted) == len(parts) and all(map(matches, wanted, parts))
