"""`make bench`: each figure as a ratio to a yardstick of the same run, taken in turns.

Prints a table and writes bench.json. Machines differ and are noisy; ratios of one run are not.
With `--check` (`make bench CHECK=1`) it fails if a figure is worse by more than a fifth than that
in reference.json; with `--keep` what was measured becomes that. `--table` prints that for
docs/performance.md. `--against COMMIT` measures boots alone, beside those of that commit.
"""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.shared import sharing

from . import boots, in_turns, live, package, peers, runs, sizes, verdicts
from .measure import CHECKOUT, Result
from .scene import Bench

REFERENCE = Path(__file__).with_name("reference.json")
WORSE = 1.2
_LINE = "{:<35} {:<21} {:>7} {:>6}{} {:>5}"


def main() -> None:
    """Measure all rows, print them as they come, write them down."""
    if "--table" in sys.argv:
        print(markdown(reference()), end="")
        return
    print(_LINE.format("what", "against", "", "figure", " ", "reach"))
    if "--against" in sys.argv:
        commit = sys.argv[sys.argv.index("--against") + 1]
        with sharing():
            for result in in_turns.results(commit, "trixie"):
                print(line(result), flush=True)
        return
    results = []
    with tempfile.TemporaryDirectory(prefix="lbhook-bench-") as place, sharing():
        bench = Bench(Path(place))
        try:
            for result in _results(bench):
                print(line(result), flush=True)
                results.append(result)
        finally:
            bench.close()
    print("* not reached. Figures are ratios of medians, but for those that name a unit.")
    _write(CHECKOUT / "bench.json", results)
    if "--keep" in sys.argv:
        _write(REFERENCE, results)
    if "--check" in sys.argv:
        sys.exit("\n".join(worse(results, reference())) or 0)


def _results(bench: Bench) -> Iterator[Result]:
    yield from runs.results(bench)
    yield from live.results(bench)
    yield from boots.results(bench)
    yield from sizes.results()
    yield from verdicts.results(bench)
    yield from package.results(bench)
    yield from peers.results(bench)


def line(result: Result) -> str:
    """A row of the table."""
    if result.yardstick:
        against = f"{result.against:.0f} {result.unit}"
        figure, reach = f"{result.figure:.2f}", f"{result.reach:.2f}"
    else:
        against, figure, reach = result.unit, f"{result.figure:.0f}", f"{result.reach:.0f}"
    star = " " if result.reached else "*"
    return _LINE.format(result.what, result.yardstick, against, figure, star, reach).rstrip()


def markdown(results: Sequence[Result]) -> str:
    """The table of docs/performance.md."""
    lines = ["| what | against | figure | at most |", "|---|---|---|---|"]
    for one in results:
        if one.yardstick:
            took = f", {one.against:.0f} {one.unit}" if one.against >= 1 else ""
            against = f"{one.yardstick}{took}"
            figure, reach = f"{one.figure:.2f}", f"{one.reach:.2f}"
        else:
            against, figure, reach = "", f"{one.figure:.0f} {one.unit}", f"{one.reach:.0f}"
        missed = "" if one.reached else ", not reached"
        lines.append(f"| {one.what} | {against} | {figure.strip()}{missed} | {reach} |")
    return "\n".join(lines) + "\n"


def reference() -> list[Result]:
    """What was measured when it was kept last."""
    return [Result(**one) for one in json.loads(REFERENCE.read_text(encoding="utf-8"))]


def worse(results: Sequence[Result], before: Sequence[Result]) -> list[str]:
    """What is worse by more than a fifth, or was not measured."""
    now = {(one.what, one.yardstick): one.figure for one in results}
    problems = []
    for old in before:
        figure = now.get((old.what, old.yardstick))
        if figure is None:
            problems.append(f"{old.what}: not measured")
        elif figure > old.figure * WORSE:
            problems.append(f"{old.what}: {figure:.2f}, and {old.figure:.2f} before")
    return problems


def _write(file: Path, results: Sequence[Result]) -> None:
    text = json.dumps([dataclasses.asdict(one) for one in results], indent=2)
    file.write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
