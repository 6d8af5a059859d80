"""How deep a text is nested, seen without going down into it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbhook.config import nesting
from lbhook.config.nesting import JSON, MOST, TOML, is_deep, is_too_deep
from lbhook.config.toml_files import Tables
from lbhook.emulator import playbook
from lbhook.errors import ConfigError

from ..program import run_lbhook
from ..strategies import Json

MANY = 5000
DEEP = {
    "arrays": "[x]\nx = " + "[" * MANY + "]" * MANY,
    "inline tables": "[x]\nx = " + "{x = " * MANY + "1" + "}" * MANY,
    "both": "x = " + "[{x = " * MANY + "1" + "}]" * MANY,
    "dotted keys": ".".join("x" * MANY) + " = 1",
    "a table": "[" + ".".join("x" * MANY) + "]\ny = 1",
    "a list of tables": "[[" + ".".join("x" * MANY) + "]]\ny = 1",
    "never closed": "x = " + "[" * MANY,
}


@pytest.mark.parametrize("form", DEEP)
def test_a_configuration_nested_too_deep_is_refused(form: str, tmp_path: Path) -> None:
    """As any other mistake in it: 78, with the file's name, whatever the interpreter would do."""
    file = tmp_path / "lbhook.toml"
    file.write_text(DEEP[form])
    ended = run_lbhook("-c", file, "plan", "--root", tmp_path, "--metadata", "documented")
    assert (ended.status, ended.err.splitlines()[0]) == (
        78,
        f"lbhook: {file}: nested more than 64 deep",
    )


def test_so_is_a_playbook() -> None:
    """It is TOML that somebody else may have written, too."""
    for text in DEEP.values():
        with pytest.raises(ConfigError, match="playbook: nested more than 64 deep"):
            playbook.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{"[" * MANY}"',
        f"x = '{'[' * MANY}'",
        f'x = """\n"{"[" * MANY}\\""""',
        f"x = '''\n'{'[' * MANY}'''",
        f"# {'[' * MANY}\nx = 1",
        "x = [[], []]\n" * MANY,
        f'x = "{"[" * MANY}\\"{"[" * MANY}"',
    ],
)
def test_brackets_in_strings_and_comments_are_text(text: str) -> None:
    """And those that are closed again count no more."""
    assert not is_too_deep(text, TOML)


def test_as_deep_as_it_may_be() -> None:
    """Exactly so deep, and no level more, with brackets and with dots."""
    assert not is_too_deep("[" * MOST + "]" * MOST, JSON)
    assert is_too_deep("[" * (MOST + 1) + "]" * (MOST + 1), JSON)
    for more in (0, 1):
        tables = Tables()
        tables.add(Path("x.toml"), ".".join("x" * (MOST + more)) + " = 1")
        assert bool(tables.problems) == bool(more)


def _depth(value: Json) -> int:
    below = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (isinstance(value, (dict, list))) + max(map(_depth, below), default=0)


@given(
    st.recursive(
        st.text('[]{}"\\\n', max_size=4) | st.integers(),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(st.text('[]{}"\\', max_size=3), below, max_size=3)
        ),
    ),
    st.integers(0, MOST),
)
def test_a_document_is_as_deep_as_it_is(value: Json, around: int) -> None:
    """Whatever its strings hold."""
    for _ in range(around):
        value = [value]
    expected = _depth(value) > MOST
    assert is_too_deep(json.dumps(value), JSON) == expected
    assert is_deep(value) == expected
    assert nesting.is_too_deep("[]" * MOST + json.dumps(value), JSON) == expected
