"""A file of nginx's, taken apart as nginx 1.22 does: into directives."""

import re
from collections.abc import Iterator

# A word ends at a blank, `;` or `{`; only at its start do quotes, `#` and `}` mean something.
_TOKEN = re.compile(
    r"""\#[^\n]* | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [;{}] | (?:\\.|\$\{|[^\s;{\\])+""",
    re.VERBOSE | re.DOTALL,
)
_LUA = re.compile(r"\w+_by_lua_block")
# Of Lua what may have a brace that is none: comments and strings, long ones among them.
_BRACE = re.compile(
    r"""(?:--)?\[(?P<long>=*)\[.*?\](?P=long)\] | --[^\n]*
    | "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | [{}]""",
    re.VERBOSE | re.DOTALL,
)


def directives(text: str) -> Iterator[tuple[list[str], str, int]]:
    """Words of each directive, what ends it (`;`, `{` or `}`), and the line of its first word."""
    words: list[str] = []
    line, at, first = 1, 0, 1
    end = 0
    while token := _TOKEN.search(text, end):
        line += text.count("\n", at, token.start())
        at, end = token.span()
        word = token[0]
        if word[0] == "#":
            continue
        first = first if words else line
        if word in ("{", "}", ";"):
            if word == "{" and words and _LUA.fullmatch(words[0]):
                end = _end_of_block(text, end)
            elif words or word != ";":
                yield words, word, first
            words = []
        else:
            words.append(word[1:-1] if word[0] in "\"'" else word)


def _end_of_block(text: str, start: int) -> int:
    """Behind the brace that closes a block of Lua."""
    depth = 1
    for found in _BRACE.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.end()
    return len(text)
