"""lbhook applied again and again in one process, each time with the next of some answers."""

from __future__ import annotations

import contextlib
import io
import json
import sys

from lbhook.cli.main import cli


def _outcome(answer: str) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        cli.main(["apply", "--json", "--metadata", answer], standalone_mode=False)
    return str(json.loads(said.getvalue())["outcome"])


if __name__ == "__main__":
    count, *answers = sys.argv[1:]
    print(json.dumps([_outcome(answers[n % len(answers)]) for n in range(1, int(count) + 1)]))
