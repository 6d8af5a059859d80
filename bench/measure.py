"""How one figure is taken: a command's time or memory, in turns with that of its yardstick."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]
PAIRS = 15
Once = Callable[[], float]
# What getrusage says of a child counts what it was before exec, too: a copy of this process.
_PEAK = """
import atexit, sys
@atexit.register
def tell():
    with open("/proc/self/status") as status:
        print(*(line.split()[1] for line in status if line.startswith("VmHWM")), file=sys.stderr)
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, and what it is to be at most; `unit` is that of both medians."""

    what: str
    yardstick: str
    measured: Once
    against: Once
    reach: float
    unit: str = "ms"
    pairs: int = PAIRS


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A row as it came out; `figure` is a ratio of medians where there is a yardstick."""

    what: str
    yardstick: str
    figure: float
    reach: float
    median: float
    against: float
    unit: str

    @property
    def reached(self) -> bool:
        """Whether the figure is what it is to be."""
        return self.figure <= self.reach


def measure(row: Row) -> Result:
    """Medians of pairs, each taken right after the other, after one that does not count."""
    row.measured()
    row.against()
    pairs = [(row.measured(), row.against()) for _ in range(row.pairs)]
    return result(row.what, row.yardstick, pairs, row.reach, row.unit)


def result(
    what: str, yardstick: str, pairs: Sequence[tuple[float, float]], reach: float, unit: str = "ms"
) -> Result:
    """What pairs of figures come to."""
    median = statistics.median(one for one, _ in pairs)
    against = statistics.median(other for _, other in pairs)
    return Result(
        what=what,
        yardstick=yardstick,
        figure=round(median / against, 3),
        reach=reach,
        median=round(median, 1),
        against=round(against, 1),
        unit=unit,
    )


def count(what: str, figure: float, reach: float, unit: str) -> Result:
    """A figure that needs no yardstick."""
    return Result(
        what=what, yardstick="", figure=figure, reach=reach, median=figure, against=0.0, unit=unit
    )


def program(*words: str | Path) -> tuple[str, ...]:
    """lbhook as pip installs it, if it is installed here."""
    installed = Path(sys.executable).with_name("lbhook")
    start = (str(installed),) if installed.exists() else (sys.executable, "-m", "lbhook")
    return (*start, *map(str, words))


def python(code: str) -> tuple[str, ...]:
    """A line of Python as a program."""
    return (sys.executable, "-c", code)


def milliseconds(argv: tuple[str, ...], before: Callable[[], None] = lambda: None) -> Once:
    """The time that a program takes; `before` is not counted."""

    def once() -> float:
        before()
        begin = time.perf_counter()
        _run(argv)
        return (time.perf_counter() - begin) * 1000

    return once


def mebibytes(code: str, before: Callable[[], None] = lambda: None) -> Once:
    """The most memory that a line of Python takes."""

    def once() -> float:
        before()
        return int(_run(python(_PEAK + code)).splitlines()[-1]) / 1024

    return once


def printed(argv: tuple[str, ...], before: Callable[[], None] = lambda: None) -> Once:
    """The figure that a program prints last, on stderr."""

    def once() -> float:
        before()
        return float(_run(argv).splitlines()[-1])

    return once


def environment() -> dict[str, str]:
    """What a program is run with. What is installed has its bytecode, whatever is said here."""
    return {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}


def _run(argv: tuple[str, ...]) -> str:
    done = subprocess.run(
        argv, cwd=CHECKOUT, env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(argv)}\n{done.stderr}")
    return done.stderr
