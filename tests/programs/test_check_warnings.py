"""What a check that passes warns of: lbhook's own lines are spoken of, others' are not."""

import re
from pathlib import Path

import pytest

from lbhook.programs.check_warnings import about

from .test_nginx import LIVE, etc, inside, needs_nginx, write

__all__ = ["etc"]
SAID = f"""
nginx: [warn] conflicting server name "a" on 10.1.0.4:80, ignored
nginx: [warn] conflicting server name "b" on 10.1.0.4:8080, ignored
nginx: [warn] conflicting server name "c" on 0.0.0.0:443, ignored
nginx: [warn] conflicting server name "d" on [::]:443, ignored
nginx: [warn] "listen ... http2" is deprecated, use "http2" in {LIVE}:3
nginx: [warn] "listen ... http2" is deprecated, use "http2" in {LIVE}:4
nginx: [warn] "listen ... http2" is deprecated, use "http2" in /etc/nginx/conf.d/own.conf:3
nginx: the configuration file /etc/nginx/nginx.conf syntax is ok
[WARNING] missing timeouts for backend 'servers'.
[WARNING] missing timeouts for frontend 'lbhook'.
"""
HTTP2 = f'"listen ... http2" is deprecated, use "http2" in {LIVE}:3 (and 1 more)'


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("listen 10.1.0.4:80 http2;", ['conflicting server name "a" on 10.1.0.4:80, ignored']),
        (
            "listen 443;\nlisten [::]:443;",
            [
                f'conflicting server name "{name}" on {place}:443, ignored'
                for name, place in (("c", "0.0.0.0"), ("d", "[::]"))
            ],
        ),
        ("frontend lbhook\n    bind 10.1.0.4:80\n", ["missing timeouts for frontend 'lbhook'"]),
        ("# No rule leads here.\nlisten 127.0.0.127:10009;\n", []),
    ],
)
def test_warnings_about_a_file(content: str, expected: list[str]) -> None:
    """By its path, its listeners or its frontend; those that differ in the line alone are one."""
    assert list(about(SAID, LIVE, content)) == [
        *(one for one in expected if "http2" not in one and "timeouts" not in one),
        HTTP2,
        *(one for one in expected if "timeouts" in one),
    ]


def test_warnings_about_nothing_of_ours() -> None:
    """The rest of the configuration is its owner's."""
    assert about(SAID, "/etc/nginx/lbhook/other.conf", "listen 10.1.0.4:81;") == ()


@needs_nginx
def test_nginx_warns_so(etc: Path) -> None:
    """Of a name that two servers have at one of lbhook's listeners, and of one at another's."""
    more = "listen 127.0.0.1:83; server_name one; } "
    more += "server { listen 127.0.0.1:81; server_name one; } "
    more += "server { listen 127.0.0.1:83; server_name one;"
    write(etc, f"include {LIVE}; {more}")
    content = "listen 127.0.0.1:81;\n"
    good, _, said = inside(etc, f"answer(live({content!r}))")
    assert good
    assert len(re.findall("conflicting", said)) == 2
    assert about(said, LIVE, content) == ('conflicting server name "one" on 127.0.0.1:81, ignored',)
