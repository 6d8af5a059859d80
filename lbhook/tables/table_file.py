"""A file with one table of nftables, taken apart: its sets, elements, chains and rules as text.

Nothing is guessed: what this does not know for certain is not taken apart at all.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

_TOKEN = re.compile(r'[^\S\n]+|\\\n|#[^\n]*|("[^"\n]*"|[{};,\n]|[^\s#"{};,\\]+)')
_HEADER = frozenset(["type", "policy", "comment", "device", "devices"])
_SETS = frozenset(["set", "map"])
# Before the table: that there is one, and that it goes; what else stands there is not known.
_MADE, _GONE = ("table", "add table"), ("delete table", "destroy table", "flush table")


class Word(NamedTuple):
    """A word of the file, and where it ends."""

    text: str
    end: int


class Statement:
    """A line of a chain, an element of a set, or another line; `text` is as it can be given to
    nft, without comments and with single spaces."""

    __slots__ = ("text", "words")

    def __init__(self, words: Sequence[Word]) -> None:
        self.words = words
        self.text = " ".join([text for text, _ in words])

    @property
    def name(self) -> str:
        """The comment of a rule, which lives in the kernel; empty if it has none."""
        texts = [word.text for word in self.words]
        if texts[-2:-1] == ["comment"] and texts[-1].startswith('"'):
            return texts[-1].strip('"')
        return ""


class Set(NamedTuple):
    """A set or a map: how it is declared, and its elements."""

    kind: str
    declared: tuple[str, ...]
    elements: tuple[Statement, ...]


class Chain(NamedTuple):
    """A chain: where it is hooked, and its rules."""

    header: tuple[str, ...]
    rules: tuple[Statement, ...]


class Table(NamedTuple):
    """The table of a file. `defines` stand before it; `others` are what else is in it."""

    defines: tuple[str, ...]
    sets: dict[str, Set]
    chains: dict[str, Chain]
    others: tuple[Statement, ...]


class _UnknownError(Exception):
    """What can't be taken apart for certain."""


def parsed(content: bytes, name: str) -> Table | None:
    """The table of this name, such as "inet lbhook"; None if the file is not known to hold that
    alone, as a whole."""
    try:
        return _Reader(content.decode(), name).table()
    except (_UnknownError, UnicodeDecodeError):
        return None


class _Reader:
    def __init__(self, text: str, name: str) -> None:
        self.words = list(_words(text))
        self.name = name
        self.at = 0

    def table(self) -> Table:
        """The one table of the file."""
        table = Table((), {}, {}, ())
        found = False
        for statement in self._statements():
            text = statement.text
            if text == f"table {self.name} {{" and not found:
                table, found = self._body(table), True
            elif statement.words[0].text == "define" and not found:
                define = self._whole(statement).text
                table = table._replace(defines=(*table.defines, define))
            elif found or text not in {f"{verb} {self.name}" for verb in (*_MADE, *_GONE)}:
                raise _UnknownError(text)
        if not found:
            raise _UnknownError(self.name)
        return table

    def _body(self, table: Table) -> Table:
        for statement in self._statements(end="}"):
            words = [word.text for word in statement.words]
            kind, name = (*words, "")[:2]
            if words[-1] != "{" or name in table.sets.keys() | table.chains.keys():
                raise _UnknownError(statement.text)
            if kind == "chain" and len(words) == 3:
                table.chains[name] = self._chain()
            elif kind in _SETS and len(words) == 3:
                table.sets[name] = self._set(kind)
            else:
                table = table._replace(others=(*table.others, self._whole(statement)))
        return table

    def _chain(self) -> Chain:
        lines = [self._whole(one) for one in self._statements(end="}")]
        header = [one.text for one in lines if one.words[0].text in _HEADER]
        rules = (one for one in lines if one.words[0].text not in _HEADER)
        if any(one.words[0].text == "include" for one in lines):
            raise _UnknownError("include")
        return Chain(tuple(header), tuple(rules))

    def _set(self, kind: str) -> Set:
        declared: list[str] = []
        elements: tuple[Statement, ...] = ()
        for statement in self._statements(end="}"):
            if statement.text == "elements = {" and not elements:
                elements = tuple(self._elements())
            else:
                declared.append(self._whole(statement).text)
        return Set(kind, tuple(declared), elements)

    def _elements(self) -> Iterator[Statement]:
        words: list[Word] = []
        for word in self._braced():
            if word.text not in (",", "}"):
                words.append(word)
            elif words:
                yield Statement(words)
                words = []

    def _whole(self, statement: Statement) -> Statement:
        """A statement with all that its braces hold; what may follow them, too."""
        words = list(statement.words)
        while words[-1].text == "{":
            if words[-2:-1] and words[-2].text in ("jump", "goto"):
                # A chain without a name: here lines end something.
                raise _UnknownError(statement.text)
            words += self._braced()
            words += self._line()
        return Statement(words)

    def _braced(self) -> Iterator[Word]:
        """The words up to the brace that closes, and that one; lines end nothing here."""
        depth = 1
        while depth:
            word = self._next()
            depth += {"{": 1, "}": -1}.get(word.text, 0)
            if word.text != "\n":
                yield word

    def _statements(self, end: str = "") -> Iterator[Statement]:
        """Each up to the end of its line, or to a brace that opens, which is its last word."""
        while self.at < len(self.words):
            word = self.words[self.at]
            if word.text in ("\n", ";"):
                self.at += 1
            elif word.text == "}":
                if not end:
                    raise _UnknownError("one brace too many")
                self.at += 1
                return
            else:
                yield Statement(self._line())
        if end:
            raise _UnknownError("no end")

    def _line(self) -> Sequence[Word]:
        words: list[Word] = []
        while self.at < len(self.words) and self.words[self.at].text not in ("\n", ";", "}"):
            words.append(self._next())
            if words[-1].text == "{":
                break
        return words

    def _next(self) -> Word:
        if self.at >= len(self.words):
            raise _UnknownError("no end")
        self.at += 1
        return self.words[self.at - 1]


def _words(text: str) -> Iterator[Word]:
    at = 0
    for found in _TOKEN.finditer(text):
        if found.start() != at:
            break
        at = found.end()
        if found[1]:
            yield Word(found[1], at)
    if at != len(text):
        raise _UnknownError(text[at : at + 20])
