"""`make bench`: each figure as a ratio to a yardstick of the same run, taken in turns.

Prints a table and writes bench.json. Machines differ and are noisy; ratios of one run are not.
"""

import dataclasses
import json
import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lbhook.emulator import Emulator

from . import sizes
from .measure import (
    CHECKOUT,
    Once,
    Result,
    Row,
    count,
    measure,
    mebibytes,
    milliseconds,
    program,
    python,
)

BODY = CHECKOUT / "tests/bodies/documented.json"
THREE = "import click, requests, jinja2"
TARGETS = "[targets.nftables]\n[targets.nginx]\n"
# What a wheel is made of.
SHIPPED = ("lbhook/*.py", "lbhook/bodies/*", "lbhook/playbooks/*", "templates/*", "systemd/*")
FEW = 7
_LINE = "{:<34} {:<22} {:>7} {:>6}{} {:>5}"


def main() -> None:
    """Measure all rows, print them as they come, write them down."""
    print(_LINE.format("what", "against", "", "figure", " ", "reach"))
    results = []
    with tempfile.TemporaryDirectory(prefix="lbhook-bench-") as place:
        for result in _results(Bench(Path(place))):
            print(_line(result), flush=True)
            results.append(dataclasses.asdict(result))
    print("* not reached. Figures are ratios of medians, but for those that name a unit.")
    text = json.dumps(results, indent=2)
    (CHECKOUT / "bench.json").write_text(f"{text}\n", encoding="utf-8")


class Bench:
    """A directory with a configuration, bodies and roots."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.config = place / "lbhook.toml"
        self.config.write_text(TARGETS, encoding="utf-8")

    def root(self, name: str) -> Path:
        """An empty directory to apply to."""
        root = self.place / name
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir()
        return root

    def body(self, rules: int, order: int = 0) -> Path:
        """A body with so many rules, in an order of its own."""
        file = self.place / f"{rules}-{order}.json"
        entries = [
            {
                "frontendIpAddress": f"50.0.{number // 5000}.1",
                "protocol": "Tcp",
                "frontendPort": 1 + number % 5000,
                "backendPort": 10_001 + number,
                "privateIpAddress": "10.1.0.4",
            }
            for number in range(rules)
        ]
        random.Random(order).shuffle(entries)
        lists = {"publicIpAddresses": [], "inboundRules": entries, "outboundRules": []}
        file.write_text(json.dumps({"loadbalancer": lists}), encoding="utf-8")
        return file

    def apply(self, body: Path, root: Path) -> tuple[str | Path, ...]:
        """The words of an apply."""
        return ("apply", "-c", self.config, "--metadata", body, "--root", root)


def _results(bench: Bench) -> Iterator[Result]:
    version = milliseconds(program("--version"))
    click = milliseconds(python("import click"))
    yield measure(_row("lbhook --version", "import click", 1.15, version, click))
    yield from _with_imds(bench)
    yield from _first_apply(bench)
    yield from _many_rules(bench)
    yield from sizes.results()
    size = sum(file.stat().st_size for one in SHIPPED for file in CHECKOUT.glob(one))
    yield count("size of the installed package", round(size / 1024), 300, "KiB")


def _with_imds(bench: Bench) -> Iterator[Result]:
    root = bench.root("imds")
    with Emulator(BODY, limit=None) as imds:
        words = ("apply", "-c", bench.config, "--endpoint", imds.url, "--root", root)
        unchanged = milliseconds(program(*words))
        unchanged()
        before = len(imds.requests)
        unchanged()
        asked = len(imds.requests) - before
        url = f"{imds.url}/metadata/loadbalancer?api-version=2020-10-01"
        code = f"import click, requests; requests.get({url!r}, headers={{'Metadata': 'true'}})"
        against = milliseconds(python(code))
        yardstick = "two imports, a request"
        yield measure(
            _row("unchanged apply, IMDS on loopback", yardstick, 1.15, unchanged, against)
        )
    yield count("requests on the wire, unchanged", asked, 1, "")


def _first_apply(bench: Bench) -> Iterator[Result]:
    root, body = bench.root("first"), bench.body(2400)
    imports = milliseconds(python(THREE))
    small, large = bench.apply(BODY, root), bench.apply(body, root)
    first = milliseconds(program(*small), before=lambda: _emptied(root))
    yield measure(_row("first apply, three targets, --root", "three imports", 1.5, first, imports))
    code = f"sys.argv = {['lbhook', *map(str, large)]}; from lbhook.program import main; main()"
    peak = mebibytes(code, before=lambda: _emptied(root))
    row = _row("peak memory, 2,400 rules", "three imports", 1.3, peak, mebibytes(THREE))
    yield measure(dataclasses.replace(row, unit="MiB", pairs=FEW))


def _many_rules(bench: Bench) -> Iterator[Result]:
    many, few = bench.root("many"), bench.root("few")
    for root, rules in ((many, 2400), (few, 10)):
        milliseconds(program(*bench.apply(bench.body(rules), root)))()
    shuffled = milliseconds(program(*bench.apply(bench.body(2400, order=1), many)))
    against = milliseconds(program(*bench.apply(bench.body(10, order=1), few)))
    row = _row("unchanged apply, 2,400 rules", "10 rules", 1.3, shuffled, against)
    yield measure(dataclasses.replace(row, pairs=FEW))
    large, small = (
        milliseconds(program("render", "nftables", "--metadata", bench.body(rules)))
        for rules in (10_000, 1000)
    )
    row = _row("render nftables, 10,000 rules", "1,000 rules", 10.0, large, small)
    yield measure(dataclasses.replace(row, pairs=3))


def _emptied(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


def _row(what: str, yardstick: str, reach: float, measured: Once, against: Once) -> Row:
    return Row(what=what, yardstick=yardstick, reach=reach, measured=measured, against=against)


def _line(result: Result) -> str:
    if result.yardstick:
        against = f"{result.against:.0f} {result.unit}"
        figure, reach = f"{result.figure:.2f}", f"{result.reach:.2f}"
    else:
        against, figure, reach = result.unit, f"{result.figure:.0f}", f"{result.reach:.0f}"
    star = "*" if result.figure > result.reach else " "
    return _LINE.format(result.what, result.yardstick, against, figure, star, reach)


if __name__ == "__main__":
    main()
