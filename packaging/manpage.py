"""Writes lbhook(8): packaging/lbhook.8.in, filled in from what the program says of itself."""

import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from lbhook import __version__
from lbhook.cli.main import MODULES, cli

_TEMPLATE = Path(__file__).with_name("lbhook.8.in")


def page() -> str:
    """The manual page, in man(7)."""
    ctx = click.Context(cli, info_name="lbhook", **cli.context_settings)
    about = [one for one in _paragraphs(cli) if not one.startswith("\b")]
    filled = {
        "VERSION": __version__,
        "ABOUT": "\n.PP\n".join(map(_text, about[1:])),
        "OPTIONS": "\n".join(_options(cli.get_params(ctx), ctx)),
        "COMMANDS": "\n".join(line for name in MODULES for line in _command(name, ctx)),
    }
    return re.sub(r"@([A-Z]+)@", lambda found: filled[found[1]], _TEMPLATE.read_text())


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
    sys.stdout.write(page())
