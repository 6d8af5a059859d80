"""What is wrong with a template, as its author needs it: the line, a caret, the nearest name."""

import linecache
import re
from collections.abc import Collection, Mapping

from ..layout import nearest

# jinja2's own, and those that end them.
_TAGS = (
    *("for", "if", "macro", "call", "filter", "set", "block", "with", "autoescape"),
    *("include", "import", "from", "extends", "elif", "else", "raw"),
)
_KNOWN_TAGS = (*_TAGS, *(f"end{tag}" for tag in _TAGS[:9]), "endraw")
_MISSPELT = re.compile(r"(?:unknown|[Nn]o) (tag|filter|test)(?: named)? '(\w+)'")
# Python's own, which name a type of its own.
_NO_JSON = re.compile(r"is not JSON serializable$|keys must be str, int, float")
_WORD = re.compile(r"""["']([^"']+)["']""")


def explained(problem: str, known: Mapping[str, Collection[str]]) -> str:
    """jinja2's words with the nearest tag, filter or test of those that there are."""
    if _NO_JSON.search(problem):
        return (
            "tojson takes what is defined: text, numbers, true or false, lists and tables of them"
        )
    found = _MISSPELT.search(problem)
    if not found:
        return problem
    what, name = found.groups()
    near = nearest(name, _KNOWN_TAGS if what == "tag" else known[what])
    return re.sub(r"( found)?\.$", "", problem) + near if near else problem


def pointed(file: str, line: int, problem: str) -> str:
    """A problem at its place, the line itself, and a caret where the problem names a word that
    the line has once."""
    text = linecache.getline(file, line).rstrip()
    lines = [f"{file}:{line}: {problem}"]
    if text.strip():
        lines += [f"{line:>7} | {text}", *_caret(text, problem)]
    return "\n".join(lines)


def _caret(text: str, problem: str) -> list[str]:
    for word in _WORD.findall(problem):
        places = [one.start() for one in re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", text)]
        if len(places) == 1:
            # A tab stays one, so that the caret is below the word wherever tabs stop.
            before = re.sub(r"[^\t]", " ", text[: places[0]])
            return [f"{'':>7} | {before}{'^' * len(word)}"]
    return []
