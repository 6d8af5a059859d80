"""A rendered file line by line, each with the rules and settings that it came from.

Templates need not know of it: each `{{ expression }}` is rendered with a mark around it, and
what it looks at is noted. What a template keeps in a variable first is found by its value.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jinja2.ext import Extension
from jinja2.lexer import Token, TokenStream

from ..config.targets import Target
from ..errors import ConfigError
from ..layout import aligned, fitting
from ..metadata.facts import Facts
from .provenance import Look, Sources
from .render import Renderer
from .sandbox import Sandbox, Values, sandbox

VERSION = 1
# Columns for the names of sources.
_WIDEST = 24
# Characters for private use, which no configuration file has.
_OPEN, _NUMBERED, _CLOSE = "\ue000", "\ue001", "\ue002"
_MARK = re.compile(f"{_OPEN}(\\d+){_NUMBERED}|{_CLOSE}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a rendered file, and its sources; without any it is the template's own. `likely`
    are sources that have what is in the line, where nothing tells for sure."""

    text: str
    sources: tuple[str, ...] = ()
    likely: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A rendered file, and what each of its sources is. It is not `whole` if the template works
    on its own output, which hides where that came from."""

    lines: tuple[Line, ...]
    meanings: Mapping[str, str] = field(default_factory=dict)
    whole: bool = True


def explain(plain: Renderer, target: Target, lb: Facts | None, vm: object = None) -> Explanation:
    """The file of a target, as `plain` renders it; without facts in its resting form."""
    text = _rendered(plain, target, lb, vm)
    tracing = sandbox(_Tracing, plain.environment.loader)
    tracing.add_extension(_Marking)
    tracing.globals.update(lbhook_begin=tracing.begin, lbhook_mark=tracing.mark)
    try:
        marked = _rendered(Renderer(tracing), target, lb, vm)
    except ConfigError:  # a filter refused its own output, which is marked here
        marked = ""
    if _MARK.sub("", marked) != text:
        return Explanation(lines=tuple(Line(text=one) for one in _split(text)), whole=False)
    sources = Sources(target, lb or Facts())
    lines = tuple(
        _line(sources, line, parts) for line, parts in _parts(marked, tracing.expressions)
    )
    used = dict.fromkeys(name for line in lines for name in (*line.sources, *line.likely))
    return Explanation(lines=lines, meanings={name: sources.meaning(name) for name in used})


def to_json(explanation: Explanation) -> dict[str, Any]:
    """The value of `explain --json`."""
    return {
        "version": VERSION,
        "whole": explanation.whole,
        "lines": [asdict(line) for line in explanation.lines],
        "sources": dict(explanation.meanings),
    }


def to_text(explanation: Explanation) -> str:
    """The file with its sources to the left of each line, and below it what they are."""
    names = [_named(line) for line in explanation.lines]
    size = min(_WIDEST, max(map(len, names)))
    lines = [
        f"{fitting(name, size):<{size}} | {line.text.expandtabs(4)}".rstrip()
        for name, line in zip(names, explanation.lines, strict=True)
    ]
    meanings = [pair for pair in explanation.meanings.items() if pair[1]]
    below = ["", *aligned(meanings)] if meanings else []
    if any(line.likely for line in explanation.lines):
        below += ["", "~ is a likely source: it has the same value as the line"]
    return "\n".join([*lines, *below, ""])


def _named(line: Line) -> str:
    """The sources of a line in short: `rules 1-3, ~vars.allow[0]`."""
    names = [*line.sources, *(f"~{name}" for name in line.likely)]
    numbers: dict[str, list[int]] = {}
    for name in names:
        kind, _, number = name.rpartition(" ")
        numbers.setdefault(kind or name, []).extend([int(number)] if kind else [])
    return ", ".join(_counted(kind, found) for kind, found in numbers.items()) or "template"


def _counted(kind: str, numbers: Sequence[int]) -> str:
    if len(numbers) < 2:
        return " ".join([kind, *map(str, numbers)])
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    shown = (f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    return f"{plural} {', '.join(shown)}"


def _rendered(renderer: Renderer, target: Target, lb: Facts | None, vm: object) -> str:
    content = renderer.rest(target) if lb is None else renderer.render(target, lb, vm)
    return content.decode()


@dataclass(slots=True)
class _Expression:
    """What one expression looked at. `given` are the settings that it had looked at when another
    began inside it, which it gives to a macro; None if no other did. `around` is what the one
    around it gave."""

    around: Sequence[Look] = ()
    given: Sequence[Look] | None = None
    looks: list[Look] = field(default_factory=list)


_Part = tuple[_Expression, str]


class _Tracing(Sandbox):
    """A sandbox that notes what each expression looks at, and marks what it comes to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.expressions: list[_Expression] = []
        self._open: list[_Expression] = []

    def getattr(self, obj: Any, attribute: str) -> Any:
        """What `obj.attribute` is in a template."""
        self._note(obj, attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """What `obj[argument]` is, and what filters take for an attribute."""
        self._note(obj, argument)
        return super().getitem(obj, argument)

    def begin(self) -> None:
        """An expression begins."""
        outer = self._open[-1] if self._open else _Expression()
        if outer.given is None:
            outer.given = tuple(look for look in outer.looks if isinstance(look[0], Values))
        self._open.append(_Expression(outer.given))

    def mark(self, _: None, value: object) -> str:
        """It ends, and comes to a value."""
        self.expressions.append(self._open.pop())
        return f"{_OPEN}{len(self.expressions) - 1}{_NUMBERED}{value}{_CLOSE}"

    def _note(self, obj: object, name: object) -> None:
        if self._open:
            self._open[-1].looks.append((obj, name))


class _Marking(Extension):
    """Makes `{{ expression }}` to `{{ lbhook_mark(lbhook_begin(), (expression)) }}`."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens of a template with the calls put in."""
        for token in stream:
            if token.type == "variable_end":
                yield from _tokens(token.lineno, "))")
            yield token
            if token.type == "variable_begin":
                yield from _tokens(token.lineno, "lbhook_mark(lbhook_begin(),(")


def _tokens(line: int, text: str) -> Iterator[Token]:
    kinds = {"(": "lparen", ")": "rparen", ",": "comma"}
    for word in re.findall(r"\w+|\W", text):
        yield Token(line, kinds.get(word, "name"), word)


def _parts(marked: str, expressions: Sequence[_Expression]) -> Iterator[tuple[str, list[_Part]]]:
    """Each line without its marks, and what of it came out of which expression."""
    inside: list[int] = []
    for line in _split(marked):
        text, parts = "", list[_Part]()
        # Text, then the number of a mark that opens, or None and a mark that closes; and so on.
        runs = _MARK.split(line)
        for run, number, last in _in_pairs(runs):
            text += run
            expression = expressions[inside[-1]] if inside else None
            if run and expression and expression.given is None:
                parts.append((expression, run))
            if not last:
                inside = [*inside, int(number)] if number else inside[:-1]
        yield text, parts


def _in_pairs(runs: Sequence[str | None]) -> Iterator[tuple[str, str | None, bool]]:
    for at in range(0, len(runs), 2):
        last = at + 1 == len(runs)
        yield runs[at] or "", None if last else runs[at + 1], last


def _line(sources: Sources, text: str, parts: Sequence[_Part]) -> Line:
    sure = dict[str, None]()
    likely = dict[str, None]()
    blind = [run for expression, run in parts if not expression.looks]
    for expression, _ in parts:
        found = sources.of(expression.looks) or sources.of(expression.around)
        sure.update(dict.fromkeys(found))
    for run in blind:
        # Where something is sure, an address says little: it may be that of many rules.
        alike = () if sure else sources.alike(run)
        likely.update(dict.fromkeys((*alike, *sources.settings_alike(run))))
    return Line(text=text, sources=(*sure,), likely=tuple(one for one in likely if one not in sure))


def _split(text: str) -> list[str]:
    """Lines; what follows the last newline is one only if there is anything."""
    return text.removesuffix("\n").split("\n")
