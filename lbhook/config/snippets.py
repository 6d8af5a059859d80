"""Lines of one's own for the firewall's chains: `/etc/lbhook/nftables.d/PLACE-NAME.nft`.

They become a part of the rendered file, so that nft's check, the transaction and the file on the
disk have them, and a new one differs like a new rule.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .targets import Target

# The chains that they can be in.
PLACES = ("input", "prerouting")
_NAME = re.compile(rf"({'|'.join(PLACES)})(-[\w.-]+)?\.nft", re.ASCII)
_LONGEST = 65536
# What nft's scanner has between blanks: a string, a comment, a brace, a word.
_TOKEN = re.compile(r'"[^"]*"|#.*|[{};"]|\\$|[^\s{};"#\\]+')
# What says something of a whole chain, or brings text that nobody has looked at.
_NO_RULES = ("type", "policy", "include")
_BEGIN, _END = "# {}, line by line:", "# end of {}"


def with_snippets(target: Target, directory: Path) -> Target:
    """The firewall with its `vars.snippets`: for each place that has any, a list of `file` and
    `lines`. Any other target as it is.

    Raises `ConfigError` with every problem, each with its file and line.
    """
    found = _read(directory) if target.kind == "nftables" else {}
    return target._replace(vars={**target.vars, "snippets": found}) if found else target


def files(directory: Path) -> list[Path]:
    """The snippets of a directory, in the order of their names; what an editor or a package has
    left beside them is none."""
    try:
        found = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [one for one in found if one.suffix == ".nft" and not one.name.startswith(".")]


def origin(lines: Sequence[str], number: int) -> str:
    """The snippet and the line of it that a line of the rendered file is, as `FILE:LINE`; empty if
    it is none."""
    for above in range(min(number, len(lines)) - 1, 0, -1):
        line = lines[above - 1].strip()
        if re.fullmatch(_END.format(".*"), line):
            return ""
        begin = re.fullmatch(_BEGIN.format("(/.*)"), line)
        if begin:
            return f"{begin[1]}:{number - above}"
    return ""


def _read(directory: Path) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    problems: list[str] = []
    try:
        listed = files(directory)
    except OSError as error:
        raise _refused([f"{directory}: {error.strerror}"]) from None
    for file in listed:
        name = _NAME.fullmatch(file.name)
        lines, wrong = _lines(file) if name else ([], [_misnamed(file)])
        problems += wrong
        if name and any(map(str.strip, lines)):
            found.setdefault(name[1], []).append({"file": str(file), "lines": tuple(lines)})
    if problems:
        raise _refused(problems)
    return {place: tuple(some) for place, some in found.items()}


def _misnamed(file: Path) -> str:
    shown = file.name if file.name.isprintable() else ascii(file.name)
    names = " or ".join(f"{place}-NAME.nft" for place in PLACES)
    return f"{file.parent}/{shown}: its name has no place; call it {names}"


def _refused(problems: Sequence[str]) -> ConfigError:
    return ConfigError(*problems, hint="the firewall was not changed")


def _lines(file: Path) -> tuple[list[str], list[str]]:
    """The lines of a snippet, and what is wrong with them."""
    try:
        text = _content(file).decode()
    except OSError as error:
        return [], [f"{file}: {error.strerror}"]
    except ValueError as error:  # a `UnicodeDecodeError` among them
        start = getattr(error, "start", None)
        return [], [f"{file}: {error}" if start is None else f"{file}: not UTF-8 at byte {start}"]
    lines = [line.rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines, [f"{file}:{number}: {problem}" for number, problem in _problems(lines)]


def _content(file: Path) -> bytes:
    """Raises `OSError`, or `ValueError` for what is no file or too long. Nothing is waited for."""
    with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise ValueError("is not a file")
        content = opened.read(_LONGEST + 1)
    if len(content) > _LONGEST:
        raise ValueError(
            f"more than {_LONGEST // 1024} KiB, which is as many as a snippet may have"
        )
    return content


def _problems(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """What would reach beyond the chain that the lines stand in."""
    unclosed: list[int] = []
    for number, line in enumerate(lines, 1):
        if not line.replace("\t", " ").isprintable():
            yield number, "characters that can't be printed"
        for problem in _odd(line, number, unclosed):
            yield number, problem
    for number in unclosed:
        yield number, "a { that is not closed"
    if lines and lines[-1].endswith("\\"):
        yield len(lines), "its last line goes on"


def _odd(line: str, number: int, unclosed: list[int]) -> Iterator[str]:
    """What is odd about one line; `unclosed` are the numbers of those with braces that wait for
    their end."""
    begins = True
    for word in _TOKEN.findall(line):
        if word.startswith("#"):
            return
        if word == "{":
            unclosed.append(number)
        elif word == "}" and unclosed:
            unclosed.pop()
        elif word == "}":
            yield "a } too many: a snippet is rules of one chain"
        elif word == '"':
            yield "a string that does not end in its line"
        elif word == "include" or (begins and word in _NO_RULES):
            yield f"{word} is no rule: a snippet is rules of one chain"
        begins = word == ";"
