"""How deep a text is nested, seen before a parser goes down into it.

What a parser does with thousands of levels is the interpreter's affair, and another one from
version to version: an error, or a stack that ends. So nothing rests on it.
"""

import re
from collections.abc import Iterable, Mapping

# No configuration, answer or record has ten.
MOST = 64
_OPENING, _CLOSING = "[{", "]}"
# Strings and comments, whose brackets mean nothing, then brackets. What is not closed goes to its
# line's end, or to the text's.
JSON = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[\]{}]', re.S)
TOML = re.compile(
    r'"""[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*(?:""")?'
    r"|'''[^']*(?:'(?!'')[^']*)*(?:''')?"
    r'|"[^"\\\n]*(?:\\.[^"\\\n]*)*"?'
    r"|'[^'\n]*'?"
    r"|\#[^\n]*"
    r"|[\[\]{}]",
    re.S,
)


def is_too_deep(text: str, tokens: re.Pattern[str]) -> bool:
    """Whether a text, JSON or TOML as its `tokens` are, opens more than `MOST` brackets."""
    if sum(map(text.count, _OPENING)) <= MOST:
        return False
    depth = 0
    for found in tokens.finditer(text):
        depth += (found[0] in _OPENING) - (found[0] in _CLOSING)
        if depth > MOST:
            return True
    return False


def is_deep(value: object) -> bool:
    """Whether tables and lists lie in one another more than `MOST` deep: keys with dots make them
    without a bracket."""
    level, depth = _containers([value]), 0
    while level and depth <= MOST:
        level = _containers(below for one in level for below in _below(one))
        depth += 1
    return depth > MOST


def _containers(values: Iterable[object]) -> list[object]:
    return [one for one in values if isinstance(one, (Mapping, list))]


def _below(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()
