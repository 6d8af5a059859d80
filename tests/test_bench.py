"""The bench itself: ratios of medians, taken in turns, in a table that fits a terminal."""

import re
import subprocess
from pathlib import Path

import pytest

from bench import sizes
from bench.__main__ import line, markdown, reference, worse
from bench.measure import Row, count, measure, mebibytes
from lbhook.emulator.server import Emulator
from lbhook.metadata import facts
from lbhook.metadata.body import parse

from .program import BODIES, REPO, run_lbhook


def test_a_figure_is_a_ratio_of_medians() -> None:
    """One pair is thrown away, the others are taken in turns."""
    taken: list[str] = []

    def of(name: str, values: list[float]) -> float:
        taken.append(name)
        return values.pop(0)

    ours, theirs = [99.0, 3.0, 30.0, 6.0], [99.0, 2.0, 4.0, 40.0]
    row = Row(
        what="ours",
        yardstick="theirs",
        measured=lambda: of("ours", ours),
        against=lambda: of("theirs", theirs),
        reach=1.2,
        pairs=3,
    )
    result = measure(row)
    assert taken == ["ours", "theirs"] * 4
    assert (result.median, result.against, result.figure) == (6.0, 4.0, 1.5)
    assert line(result).split() == ["ours", "theirs", "4", "ms", "1.50*", "1.20"]


def test_the_table_fits() -> None:
    """80 columns, and a star only where something is out of reach."""
    figures = [count("size", 299, 300, "KiB"), count("size", 301, 300, "KiB")]
    lines = [line(one) for one in figures]
    assert [len(line) <= 80 for line in lines] == [True, True]
    assert ["*" in line for line in lines] == [False, True]


def test_memory_is_that_of_the_program_itself() -> None:
    """Not of what it was before exec; 32 MiB more are seen as such."""
    ballast = b"1" * (64 << 20)
    bare = mebibytes("pass")()
    assert 2 < bare < 40
    assert 30 < mebibytes("x = b'1' * (32 << 20)")() - bare < 36
    assert len(ballast) == 64 << 20


def test_a_figure_that_got_worse_by_more_than_a_fifth_is_named() -> None:
    """So is one that was not measured; a machine that is a little noisy is none."""
    before = [count("one", 10, 100, "ms"), count("two", 10, 100, "ms"), count("gone", 1, 1, "")]
    now = [count("one", 12, 100, "ms"), count("two", 12.1, 100, "ms")]
    assert worse(now, before) == ["two: 12.10, and 10.00 before", "gone: not measured"]


def test_the_documentation_has_what_was_measured() -> None:
    """The table of docs/performance.md is that of bench/reference.json; why a row is not reached
    is in the decision."""
    page = (REPO / "docs" / "performance.md").read_text(encoding="utf-8")
    assert markdown(reference()) in page
    (decision,) = (REPO / "docs" / "decisions").glob("0008-*.md")
    explained = re.findall(r"^\| ([^|]+) \| [\d.]+", decision.read_text(encoding="utf-8"), re.M)
    assert [one.what for one in reference() if not one.reached] == explained


def test_figures_in_the_text_are_measured_ones() -> None:
    """What the page says of a row in words is the row's own figure."""
    page = " ".join((REPO / "docs" / "performance.md").read_text(encoding="utf-8").split())
    figures = {(one.what, one.yardstick): one for one in reference()}
    script = figures["unchanged apply, the env file alone", "shell script"]
    units = figures["the same, as the units split it", "shell script"]
    peer = figures["unchanged apply, the env file alone", "cloud-init's client"]
    assert f"a shell script takes {script.against:.0f} ms" in page
    assert f"lbhook {script.figure:.1f} times as long" in page
    assert f"its two units {units.figure:.1f} times" in page
    assert f"lbhook takes {peer.figure:.2f} of the time" in page


@pytest.mark.needs("curl", "jq")
def test_the_shell_script_does_the_same(tmp_path: Path) -> None:
    """Its env file is lbhook's, but for the comments."""
    desk = run_lbhook("render", "env", "--metadata", str(BODIES / "documented.json"))
    with Emulator(BODIES / "documented.json") as imds:
        argv = ("sh", str(REPO / "bench" / "peer.sh"), imds.url, str(tmp_path / "lb.env"))
        subprocess.run(argv, check=True, timeout=30)
    lines = [line for line in desk.out.splitlines() if not line.startswith("#")]
    assert (tmp_path / "lb.env").read_text(encoding="utf-8").splitlines() == lines


def test_rules_in_pieces_are_the_same_rules() -> None:
    """Nothing is lost where a file is loaded in pieces, and a piece is short."""
    lb = facts.derive(parse(sizes.body(700)))
    for kind, text in (("each", sizes.one_each(lb)), ("iptables", sizes.iptables(lb))):
        found = list(sizes.pieces(kind, text.decode()))
        rules = [line for piece in found for line in piece.splitlines() if "dport" in line]
        assert rules == [line for line in text.decode().splitlines() if "dport" in line]
        assert len(found) == 4
    assert list(sizes.pieces("set", "as it is")) == ["as it is"]
