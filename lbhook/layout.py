"""How text is laid out for people: columns, lines, numbers; and JSON for programs."""

import json
import time
from collections.abc import Collection, Sequence
from ipaddress import IPv4Address, IPv6Address

# Cells to the left and to the right of an arrow.
Row = tuple[tuple[str, ...], tuple[str, ...]]


def dump(value: object) -> str:
    """JSON as lbhook prints it."""
    return f"{json.dumps(value, indent=2)}\n"


def utc(seconds: float) -> str:
    """A time in seconds since 1970, in UTC as RFC 3339 has it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def minute(seconds: float) -> str:
    """A time in seconds since 1970, to the minute, for people."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))


def width() -> int:
    """Columns of the terminal; 80 in a pipe."""
    # This and what follows is imported where text is laid out: most runs say a line or two.
    import shutil

    return shutil.get_terminal_size((80, 24)).columns or 80  # a serial line says 0


def table(title: str, rows: Sequence[Row]) -> str:
    """Rows below a title, an arrow in the middle; on two lines each where one would be too long."""
    if not rows:
        return f"{title}\n  none\n"
    left, right = aligned([row[0] for row in rows]), aligned([row[1] for row in rows])
    size = max(map(len, left))
    lines = [f"  {one:<{size}}  →  {other}" for one, other in zip(left, right, strict=True)]
    if max(map(len, lines)) > width():
        lines = [
            line
            for one, other in zip(left, right, strict=True)
            for line in (f"  {one}", f"    →  {other}")
        ]
    return "\n".join([title, *lines, ""])


def place(ip: IPv4Address | IPv6Address, port: int) -> str:
    """An address and a port; port 0 is every port."""
    name = f"[{ip}]" if ip.version == 6 else str(ip)
    return f"{name}:{port or '*'}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The cells of each row in columns."""
    columns = max(map(len, rows))
    sizes = [max(len(row[at]) for row in rows if at < len(row)) for at in range(columns)]
    return ["  ".join(map(str.ljust, row, sizes)).rstrip() for row in rows]


def fitting(text: str, room: int) -> str:
    """A text, cut if it is longer than its room."""
    return text if len(text) <= room else f"{text[: max(room, 4) - 3]}..."


def wrapped(text: str, first: str = "  ", others: str = "  ") -> str:
    """Lines of text, each behind its indent; what a command printed stays as it is."""
    import textwrap

    head, *rest = text.splitlines() or [""]
    lines = textwrap.wrap(
        head,
        width(),
        initial_indent=first,
        subsequent_indent=others,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join([*lines, *(f"{others}{line}" for line in rest)])


def count(number: int, noun: str) -> str:
    """A number and its noun."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def nearest(word: str, known: Collection[str]) -> str:
    """`; did you mean "x"?`, or nothing if none is near."""
    # Imported only where something is misspelt.
    import difflib

    near = difflib.get_close_matches(word, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else ""


def suggestion(word: str, known: Collection[str]) -> str:
    """The nearest, or what there is to choose from."""
    return nearest(word, known) or (f"; known: {', '.join(known)}" if known else "")
