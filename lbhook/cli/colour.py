"""Colour on a terminal."""

import os
import sys
from typing import Any


def is_seen() -> bool:
    """Whether somebody reads results or messages on a terminal."""
    return any(stream is not None and stream.isatty() for stream in (sys.stdout, sys.stderr))


def styled(text: str, **style: Any) -> str:
    """Text as `click.style` dresses it, unless nobody sees it or the environment asks for none
    (no-color.org)."""
    if os.environ.get("NO_COLOR") or not is_seen():
        return text
    # Imported where there is a terminal: units have none.
    import click

    return click.style(text, **style)


def diff(text: str) -> str:
    """A unified diff, green and red on a terminal."""
    return "".join(f"{_coloured(line)}\n" for line in text.splitlines())


def picture(text: str) -> str:
    """A picture, its headings bold and what it marks red on a terminal."""
    return "".join(f"{_painted(line)}\n" for line in text.splitlines())


def explanation(text: str) -> str:
    """An explanation, what is the template's own dim on a terminal."""
    return "".join(f"{_dimmed(line)}\n" for line in text.splitlines())


def _dimmed(line: str) -> str:
    return styled(line, dim=True) if line.startswith("template ") else line


def _painted(line: str) -> str:
    if line.startswith("!"):
        return styled(line, fg="red")
    return line if line.startswith(" ") or not line else styled(line, bold=True)


def _coloured(line: str) -> str:
    if line.startswith(("--- ", "+++ ")):
        return styled(line, bold=True)
    colours = {"+": "green", "-": "red", "@": "cyan", "#": "yellow"}
    return styled(line, fg=colours[line[0]]) if line[:1] in colours else line
