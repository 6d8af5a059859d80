"""The directives of a text: words, what ends them, and their lines."""

import pytest

from lbhook.listening.nginx_directives import directives

LUA = """\
http { server {
    content_by_lua_block { if x then y = {1} end%s
    }
    listen 81;
} }
"""


@pytest.mark.parametrize(
    "more",
    [
        *("", ' a = "{"', " a = '}\\'}'", " -- 'tis {", " --[[ { ]]", " --[=[ ]] } ]=] a = {}"),
        *(" a = [[}]]", ' -- "a', " a = b[c[1]]"),
    ],
)
def test_a_block_of_lua_is_no_configuration(more: str) -> None:
    """Its braces are another language's, and so are its strings and comments."""
    assert [*directives(LUA % more)] == [
        (["http"], "{", 1),
        (["server"], "{", 1),
        (["listen", "81"], ";", 4),
        ([], "}", 5),
        ([], "}", 5),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('server_name "a b;{}" c;', ["server_name", "a b;{}", "c"]),
        ("return 200 'it\\'s # {';", ["return", "200", "it\\'s # {"]),
        ("set $x ${y}z;", ["set", "$x", "${y}z"]),
        ("listen 80#1 ; # listen 81;", ["listen", "80#1"]),
        ("location ~ \\.php\\{$;", ["location", "~", "\\.php\\{$"]),
        (";; a\n b;", ["a", "b"]),
    ],
)
def test_what_is_in_a_word(text: str, words: list[str]) -> None:
    """Quotes, escapes, variables and comments, where nginx takes them for that."""
    assert [found for found, _, _ in directives(text)] == [words]


def test_a_directive_has_the_line_of_its_first_word() -> None:
    """However many it is spread over."""
    text = "# one\nlisten\n  80\n;\nevents {\n}"
    found = [(end, line) for _, end, line in directives(text)]
    assert found == [(";", 2), ("{", 5), ("}", 6)]


def test_a_text_that_is_cut_ends() -> None:
    """What nothing ends is no directive; a block of Lua may stay open."""
    assert [*directives("a_by_lua_block { { }")] == []
    assert [*directives('listen 80; server_name "x')] == [(["listen", "80"], ";", 1)]
