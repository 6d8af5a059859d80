"""What a person sees: messages on stderr, the live line while lbhook waits, colour."""

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from .errors import LbhookError, WriteError

if TYPE_CHECKING:
    from .imds import Waiting
    from .notify import Notifier
    from .update import Voice

_CLEAR_LINE = "\r\x1b[K"


@dataclass(slots=True, eq=False, repr=False)
class Console:
    """Messages of one run; `verbosity` is -1 with -q, 1 with -v."""

    verbosity: int = 0
    _said: set[str] = field(default_factory=set)
    _live: bool = False

    @property
    def manager(self) -> "Notifier":
        """The service manager, if one started this process."""
        from .notify import notifier

        return notifier()

    def voice(self) -> "Voice":
        """How an update speaks through this console."""
        from .update import Voice

        return Voice(warn=self.warn, log=self.log, watch=self.watch)

    def out(self, text: str | bytes) -> None:
        """A result, on stdout. Raises `WriteError` if it can't be written."""
        self.done()
        _write(text)

    def note(self, text: str) -> None:
        """Something to know at once."""
        if self.verbosity >= 0:
            self._say(text)

    def warn(self, text: str) -> None:
        """Something to know that is no failure; each once."""
        if self.verbosity >= 0 and text not in self._said:
            self._said.add(text)
            self._say(f"lbhook: warning: {text}", fg="yellow")

    def log(self, text: str) -> None:
        """Something to know when looking closely."""
        if self.verbosity > 0:
            self._say(f"lbhook: {text}", dim=True)

    def watch(self, waiting: "Waiting") -> None:
        """On a terminal one line that is written over; in a log a new reason once. The service
        manager is asked for more time: it is lbhook that knows how long it may wait."""
        self.manager.status(f"Waiting for Azure: {waiting.reason}", waiting=True)
        if self.verbosity < 0:
            return
        if sys.stderr and sys.stderr.isatty():
            minutes, seconds = divmod(int(waiting.left), 60)
            line = f"waiting for Azure, {minutes}:{seconds:02} left: {waiting.reason}"
            _write(f"{_CLEAR_LINE}{line[: _columns() - 1]}", err=True)
            self._live = True
        elif waiting.reason not in self._said:
            self._said.add(waiting.reason)
            self._say(f"lbhook: waiting up to {waiting.left:.0f} s: {waiting.reason}")

    def error(self, error: LbhookError) -> None:
        """All problems of a failure, and what to do."""
        self.problems(error.problems, error.hint)

    def problems(self, problems: tuple[str, ...], hint: str) -> None:
        """Problems, one below the other, and what to do about them."""
        for problem in problems:
            self._say(f"lbhook: {problem}", fg="red")
        for line in hint.splitlines():
            self._say(f"  hint: {line}")

    def done(self) -> None:
        """Take the live line away."""
        if self._live:
            _write(_CLEAR_LINE, err=True)
            self._live = False

    def _say(self, text: str, fg: str | None = None, *, dim: bool = False) -> None:
        self.done()
        _write(click.style(f"{text}\n", fg=fg, dim=dim or None), err=True)


def _write(text: str | bytes, *, err: bool = False) -> None:
    """Results on stdout, messages on stderr. That their reader has gone is no failure of what
    is done meanwhile.

    Raises `WriteError` if results can't be written for another reason.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # closed before lbhook began
        return
    try:
        click.echo(text, nl=False, err=err)
    except OSError as error:
        # What is still in the buffer goes nowhere, so that Python does not complain at its exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not err and not isinstance(error, BrokenPipeError):
            raise WriteError(f"standard output: {error.strerror}") from None


def coloured_diff(text: str) -> str:
    """A unified diff, green and red on a terminal."""
    return "".join(f"{_coloured(line)}\n" for line in text.splitlines())


def coloured_picture(text: str) -> str:
    """A picture, its headings bold and what it marks red on a terminal."""
    return "".join(f"{_painted(line)}\n" for line in text.splitlines())


def coloured_explanation(text: str) -> str:
    """An explanation, what is the template's own dim on a terminal."""
    return "".join(f"{_dimmed(line)}\n" for line in text.splitlines())


def _dimmed(line: str) -> str:
    return click.style(line, dim=True) if line.startswith("template ") else line


def _painted(line: str) -> str:
    if line.startswith("!"):
        return click.style(line, fg="red")
    return line if line.startswith(" ") or not line else click.style(line, bold=True)


def _coloured(line: str) -> str:
    if line.startswith(("--- ", "+++ ")):
        return click.style(line, bold=True)
    colours = {"+": "green", "-": "red", "@": "cyan", "#": "yellow"}
    return click.style(line, fg=colours[line[0]]) if line[:1] in colours else line


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size((80, 24)).columns or 80  # a serial line says 0
