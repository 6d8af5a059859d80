"""What is said of a candidate that its program refused."""

import re
from collections.abc import Sequence
from pathlib import Path

from ..config.snippets import origin
from ..errors import RefusedError
from ..plan import Change
from ..processes import Result


def whole(refusals: Sequence[tuple[Change, str]]) -> RefusedError:
    """All refusals as one error: each change, and the text of its own."""
    error = RefusedError(*(said for _, said in refusals), hint="its file was not changed")
    error.paths = tuple(dict.fromkeys(change.path for change, _ in refusals))
    return error


def text(change: Change, result: Result, candidate: Path) -> str:
    """The command, what it said, and the lines of the candidate that it names."""
    said = result.report().replace(str(candidate), str(change.path))
    head = f"{change.target.name}: {change.path}: refused by its check\n{said}"
    lines = change.expected.content.decode().splitlines() if change.expected else []
    numbers = sorted(
        {int(one) for one in re.findall(rf"{re.escape(str(change.path))}:(\d+)", said)}
    )
    named = [_quoted(lines, number) for number in numbers if 0 < number <= len(lines)]
    return "\n".join([head, *named])


def _quoted(lines: Sequence[str], number: int) -> str:
    """A line of the candidate; before it the place that it was written in, if that is another."""
    snippet = origin(lines, number)
    quoted = f"  {number:>5} | {lines[number - 1]}"
    return f"  {snippet}:\n{quoted}" if snippet else quoted


def first_line(result: Result) -> str:
    """What a check said, on one line."""
    return result.report().replace("\n", ": ").split(":  ")[0]
