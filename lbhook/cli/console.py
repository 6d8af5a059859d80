"""What a person sees: messages on stderr, and the live line while lbhook waits."""

import contextlib
import os
import stat
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import LbhookError, WriteError
from .colour import is_seen, styled

if TYPE_CHECKING:
    from ..context import Reporter
    from ..imds.client import Waiting
    from ..system.sd_notify import Notifier

_CLEAR_LINE = "\r\x1b[K"
# What journald puts before a line on the console.
_SPEAKER = "[12345.678901] lbhook[4194304]: "
# What a level is to syslog, and how it looks on a terminal.
_LEVELS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "error": (3, {"fg": "red"}),
    "warning": (4, {"fg": "yellow"}),
    "info": (6, {}),
    "debug": (7, {"dim": True}),
}


class Console:
    """Messages of one run, of `command`; `verbosity` is -1 with -q, 1 with -v. With `as_json`
    each is an object in a line of its own."""

    def __init__(self, verbosity: int = 0, as_json: bool = False, command: str = "") -> None:
        self.verbosity = verbosity
        self.as_json = as_json
        self.command = command
        self._said: set[str] = set()
        self._live = False

    @property
    def manager(self) -> "Notifier":
        """The service manager, if one started this process."""
        from ..system.sd_notify import notifier

        return notifier()

    def reporter(self) -> "Reporter":
        """How an update speaks through this console."""
        from ..context import Reporter

        return Reporter(warn=self.warn, log=self.log, watch=self.watch)

    def out(self, text: str | bytes) -> None:
        """A result, on stdout. Raises `WriteError` if it can't be written."""
        self.done()
        _write(text)

    def sum_up(self, text: str) -> None:
        """A result whose last line sums it up. Where a unit's errors go to the serial console,
        that line goes there as well, and nothing else of it."""
        *lines, last = text.splitlines() or [""]
        if not (last and serial_columns()):
            self.out(text)
            return
        self.out("".join(f"{line}\n" for line in lines))
        self._say("info", last, plain=last, matters=True)

    def note(self, text: str) -> None:
        """Something to know at once."""
        if self.verbosity >= 0:
            self._say("info", text, plain=text)

    def warn(self, text: str) -> None:
        """Something to know that is no failure; each once."""
        if self.verbosity >= 0 and text not in self._said:
            self._said.add(text)
            self._say("warning", text, plain=f"lbhook: warning: {text}")

    def log(self, text: str) -> None:
        """Something to know when looking closely."""
        if self.verbosity > 0:
            self._say("debug", text)

    def watch(self, waiting: "Waiting") -> None:
        """On a terminal one line that is written over; in a log a new reason once. The service
        manager is asked for more time: it is lbhook that knows how long it may wait."""
        self.manager.status(f"Waiting for Azure: {waiting.reason}", waiting=True)
        line = f"waiting for Azure, {minutes(waiting.left)} left: {waiting.reason}"
        self.live(line, waiting.reason, f"waiting up to {waiting.left:.0f} s: {waiting.reason}")

    def live(self, line: str, reason: str, logged: str) -> None:
        """On a terminal one line that is written over; in a log a new reason once."""
        if self.verbosity < 0:
            return
        if sys.stderr and sys.stderr.isatty() and not self.as_json:
            _write(f"{_CLEAR_LINE}{line[: _columns() - 1]}", err=True)
            self._live = True
        elif reason not in self._said:
            self._said.add(reason)
            self._say("info", logged)

    def error(self, error: LbhookError) -> None:
        """All problems of a failure, and what to do."""
        self.problems(error.problems, error.hint)

    def problems(self, problems: tuple[str, ...], hint: str) -> None:
        """Problems, one below the other, and what to do about them."""
        for number, problem in enumerate(problems, start=1):
            # Who reads them one by one wants to know it of each.
            wanted = self.as_json or number == len(problems)
            self._say("error", problem, hint=hint if wanted else "")

    def bug(self, trace: str) -> None:
        """What only whoever fixes lbhook can read."""
        self._say("error", trace, plain=trace, folded=False)

    def done(self) -> None:
        """Take the live line away."""
        if self._live:
            _write(_CLEAR_LINE, err=True)
            self._live = False

    def _say(
        self,
        level: str,
        text: str,
        *,
        plain: str = "",
        hint: str = "",
        matters: bool = False,
        folded: bool = True,
    ) -> None:
        self.done()
        columns = serial_columns()
        matters = matters or level == "error"
        priority, style = _LEVELS[level]
        if self.as_json:
            import json

            said = {"level": level, "message": text, "hint": hint, "command": self.command}
            lines = [json.dumps(said)]
        else:
            lines = (plain or f"lbhook: {text}").splitlines()
            hints = [f"  hint: {one}" for one in hint.splitlines()]
            if columns and matters and folded:
                lines = [part for line in lines for part in _folded(line, columns)]
                hints = [part for line in hints for part in _folded(line, columns)]
            lines = [styled(one, **style) for one in lines] + hints
        mark = f"<{priority}>" if _is_journal() else ""
        # What does not matter on the serial console goes where the journal alone takes it.
        with contextlib.suppress(WriteError):
            _write("".join(f"{mark}{line}\n" for line in lines), err=matters or not columns)


def minutes(seconds: float) -> str:
    """A length of time as minutes and seconds."""
    whole, rest = divmod(int(seconds), 60)
    return f"{whole}:{rest:02}"


def _is_journal() -> bool:
    """Whether systemd reads stderr, and a priority before each line."""
    if not os.environ.get("JOURNAL_STREAM") or not sys.stderr:
        return False
    from ..system import journald

    return journald.takes(sys.stderr.fileno())


def serial_columns() -> int:
    """How wide the serial console is that takes what goes to stderr; 0 if none does. A unit with
    StandardError=journal+console, and so with another stdout, says it by COLUMNS."""
    columns = os.environ.get("COLUMNS", "")
    if not columns.isdecimal() or not _is_journal() or not sys.stdout:
        return 0
    found = os.fstat(sys.stdout.fileno())
    return int(columns) if stat.S_ISSOCK(found.st_mode) else 0


def _folded(line: str, columns: int) -> list[str]:
    """A line as it is read on a serial console, where journald puts the time and who speaks before
    each. A command, or a piece of JSON, stays in one: the journal has the same lines."""
    import re
    import textwrap

    said, room = line.removeprefix("lbhook: "), columns - len(_SPEAKER)
    whole = re.sub(r"`[^`]*`|\{.*\}", lambda found: found[0].replace(" ", "\0"), said)
    lines = textwrap.wrap(
        whole, room, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    return [one.replace("\0", " ") for one in lines]


def _write(text: str | bytes, *, err: bool = False) -> None:
    """Results on stdout, messages on stderr. That their reader has gone is no failure of what
    is done meanwhile.

    Raises `WriteError` if results can't be written for another reason.
    """
    stream = sys.stderr if err else sys.stdout
    if stream is None:  # closed before lbhook began
        return
    try:
        if is_seen():
            import click  # leaves colour out of what is redirected

            click.echo(text, nl=False, err=err)
        elif isinstance(text, bytes):
            stream.buffer.write(text)
        else:
            stream.write(text)
        stream.flush()
    except OSError as error:
        # What is still in the buffer goes nowhere, so that Python does not complain at its exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        if not err and not isinstance(error, BrokenPipeError):
            raise WriteError(f"standard output: {error.strerror}") from None


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size((80, 24)).columns or 80  # a serial line says 0
