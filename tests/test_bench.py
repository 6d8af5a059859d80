"""The bench itself: ratios of medians, taken in turns, in a table that fits a terminal."""

from bench.__main__ import line
from bench.measure import Row, count, measure, mebibytes


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
