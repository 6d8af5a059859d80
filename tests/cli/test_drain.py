"""What `drain` and `undrain` take on the command line."""

import pytest

from ..program import run_lbhook


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--for", "soon"), 'a duration such as "90s" or "5m"'),
        (("--for", "0"), "a time limit longer than 0"),
        (("--for", "9999w"), 'a duration of at most "520w"'),
        (("--reason", "a\x1b[2Jb"), "a line of at most 200 characters that can be printed"),
        (("--reason", "a\nb"), "a line of at most 200 characters that can be printed"),
        (("--reason", "x" * 201), "a line of at most 200 characters that can be printed"),
        (("now",), "unexpected extra argument"),
    ],
)
def test_what_is_no_drain(words: tuple[str, ...], said: str) -> None:
    """Status 2 with the reason, before anything is looked at."""
    ended = run_lbhook("drain", *words)
    assert ended.status == 2
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_a_misspelt_command() -> None:
    """The nearest is named."""
    ended = run_lbhook("undrian")
    assert (ended.status, 'did you mean "undrain"?' in ended.err) == (2, True)
