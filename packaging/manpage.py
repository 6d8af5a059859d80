"""Writes lbhook(8) and lbhook.toml(5): packaging/*.in, filled in from what the program says of
itself and from docs/configuration.md, which must have every key that the program knows.

    manpage.py lbhook.8 | lbhook.toml.5
"""

import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from lbhook import __version__
from lbhook.cli.main import MODULES, cli
from lbhook.config import restrictions, rules, settings, target_tables
from lbhook.config.settings import Settings
from lbhook.config.shipped import SHIPPED

_HERE = Path(__file__).parent
_CONFIGURATION = _HERE.parent / "docs/configuration.md"
# What a page of Markdown is made of: a fenced block, a heading, a table, a paragraph.
_PART = re.compile(
    r"^```\w*\n(?P<code>.*?)^```$|^(?P<level>#+) (?P<title>[^\n]*)$|(?P<table>(?:^\|[^\n]*\n?)+)"
    r"|^(?P<text>[^\n]+(?:\n(?!```|#|\|)[^\n]+)*)$",
    re.M | re.S,
)
# As wide as a block may be at 80 columns.
_FOLDED = textwrap.TextWrapper(
    width=64,
    subsequent_indent="    ",
    break_long_words=False,
    break_on_hyphens=False,
    replace_whitespace=False,
)


def page(name: str) -> str:
    """A manual page by the name of its file, in man(7)."""
    return {"lbhook.8": _of_the_program, "lbhook.toml.5": _of_the_configuration}[name]()


def _of_the_configuration() -> str:
    text = _CONFIGURATION.read_text(encoding="utf-8")
    lines = "\n".join(_converted(text))
    missing = [one for one in _keys() if f"\n.TP\n\\fB{_escaped(one)}\\fR" not in lines]
    if missing:
        raise SystemExit(f"{_CONFIGURATION.name} lacks {', '.join(missing)}")
    return _filled("lbhook.toml.5", {"VERSION": __version__, "CONFIGURATION": lines})


def _keys() -> Iterator[str]:
    """Every key that the program knows."""
    for name in Settings._fields:
        kind = getattr(settings, name.capitalize(), None)
        yield from getattr(kind, "_fields", ())
    yield from (*restrictions.KEYS, *rules.KEYS, *target_tables.TARGET, "vars")
    yield from (name for kind in SHIPPED.values() for name in kind.variables)


def _converted(text: str) -> Iterator[str]:
    below = True
    # Of HTML there are anchors alone.
    for part in _PART.finditer(re.sub(r"(?m)^<a .*</a>\n", "", text)):
        apart = [] if below else [".PP"]
        below = bool(part["title"])
        if part["code"] is not None:
            yield from (*apart, ".nf", ".RS", *_code(part["code"]), ".RE", ".fi")
        elif part["title"]:
            yield from _heading(part["level"], part["title"])
        elif part["table"]:
            yield from _rows(part["table"])
        else:
            yield from (*apart, _text(_plain(part["text"])))


def _heading(level: str, title: str) -> Iterator[str]:
    """The page's own title is that of the whole manual page."""
    plain = _plain(title).replace("`", "")
    if level == "##":
        yield f".SH {_escaped(f'TABLE {plain}' if plain[0] == '[' else plain.upper())}"
    elif level == "###":
        yield f".SS {_escaped(plain)}"


def _rows(table: str) -> Iterator[str]:
    """Each row as a term and what it is; a default stands beside its key."""
    head, _, *rows = (_cells(line) for line in table.splitlines())
    with_default = head[1] == "default"
    columns = head[2 + with_default :]
    for key, *cells in rows:
        default = cells.pop(0).replace("`", "") if with_default else "—"
        term = "" if default in ("", "—") else f" = {default}"
        keys = ", ".join(_bold(one) for one in re.findall(r"`([^`]+)`", key)) or _text(key)
        more = [f"({name}: {cell})" for name, cell in zip(columns, cells[1:], strict=True) if cell]
        yield from (".TP", f"{keys}{_escaped(term)}", _text(_plain(" ".join((cells[0], *more)))))


def _cells(line: str) -> list[str]:
    return [one.strip() for one in re.split(r"(?<!\\)\|", line.strip("|"))]


def _plain(text: str) -> str:
    """Without links, and with words for signs that a terminal may lack."""
    text = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", text)
    return re.sub(r"\s+", " ", text.replace("\\|", "|").replace("**", "").strip())


def _code(text: str) -> Iterator[str]:
    for line in (part for one in text.splitlines() for part in _apart(one)):
        # No line ends within a string: TOML would not take it.
        whole = re.sub(r'"[^"]*"', lambda found: found[0].replace(" ", "\0"), line)
        for part in _FOLDED.wrap(whole) or [""]:
            yield re.sub(r"^(?=[.'])", r"\\&", _escaped(part.replace("\0", " ")))


def _apart(line: str) -> list[str]:
    """A line that is too long with a comment behind it: the comment comes first."""
    found = re.fullmatch(r"(\S.*?)\s{2,}# (.*)", line)
    if found and len(line) > _FOLDED.width:
        return [*(f"# {one}" for one in textwrap.wrap(found[2], 60)), found[1]]
    return [line]


def _of_the_program() -> str:
    ctx = click.Context(cli, info_name="lbhook", **cli.context_settings)
    about = [one for one in _paragraphs(cli) if not one.startswith("\b")]
    filled = {
        "VERSION": __version__,
        "ABOUT": "\n.PP\n".join(map(_text, about[1:])),
        "OPTIONS": "\n".join(_options(cli.get_params(ctx), ctx)),
        "COMMANDS": "\n".join(line for name in MODULES for line in _command(name, ctx)),
    }
    return _filled("lbhook.8", filled)


def _filled(name: str, parts: Mapping[str, str]) -> str:
    template = _HERE / f"{name}.in"
    return re.sub(r"@([A-Z]+)@", lambda found: parts[found[1]], template.read_text())


def _command(name: str, above: click.Context) -> Iterator[str]:
    command = cli.get_command(above, name)
    if command is None or command.hidden:
        return
    ctx = click.Context(command, info_name=name, parent=above)
    words = [_bold(f"lbhook {name}"), *map(_text, command.collect_usage_pieces(ctx))]
    yield f".SS {' '.join(words)}"
    for number, paragraph in enumerate(_paragraphs(command)):
        yield from [".PP"] if number else []
        yield from _block(paragraph) if paragraph.startswith("\b") else [_text(paragraph)]
    general = {name for one in cli.params for name in one.opts}
    yield from _options([one for one in command.params if not general & {*one.opts}], ctx)


def _paragraphs(command: click.Command) -> list[str]:
    return re.split(r"\n\s*\n", re.sub(r"(?m)^ {4}", "", (command.help or "").strip()))


def _block(paragraph: str) -> Iterator[str]:
    """Lines that stay as they are: a title, and what is below it."""
    title, *lines = paragraph.strip("\b\n").splitlines()
    yield from (_text(title.strip()), ".PP", ".nf", ".RS")
    yield from (_text(line.strip()) for line in lines)
    yield from (".RE", ".fi")


def _options(parameters: Sequence[click.Parameter], ctx: click.Context) -> Iterator[str]:
    for one in parameters:
        record = one.get_help_record(ctx)
        if record and isinstance(one, click.Option):
            yield from (".TP", _bold(record[0]), _text(record[1]))


def _bold(text: str) -> str:
    return f"\\fB{_escaped(text)}\\fR"


def _text(text: str) -> str:
    """Text in short lines, none of which is a request of roff's."""
    marked = re.sub(r"`([^`]+)`", r"\\fB\1\\fR", _escaped(text))
    filled = textwrap.fill(marked, 78, break_long_words=False, break_on_hyphens=False)
    return re.sub(r"(?m)^(?=[.'])", r"\\&", filled)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


if __name__ == "__main__":
    sys.stdout.write(page(sys.argv[1]))
