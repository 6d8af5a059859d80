"""What nginx 1.22 (Debian 12) prints, and what is read from it."""

from ipaddress import ip_address

import pytest

from lbhook.listening.nginx_printed import Printed

MAIN, SITE = "/etc/nginx/nginx.conf", "/etc/nginx/sites-enabled/default"
GOOD = f"""\
nginx: the configuration file {MAIN} syntax is ok
nginx: configuration file {MAIN} test is successful
"""
CONF = "events {}\nhttp { include conf.d/*.conf; include sites-enabled/*; }\n"
DUMP = f"""\
{GOOD}# configuration file {MAIN}:
{CONF}
# configuration file {SITE}:
# nothing: include other/*.conf;

"""
LOG = (
    "nginx: [alert] could not open error log file: open() "
    '"/var/log/nginx/error.log" failed (13: Permission denied)'
)
UNBOUND = "bind() to {} failed (99: Cannot assign requested address)"


def test_messages_and_files() -> None:
    """Each by itself, the files in nginx's order."""
    printed = Printed(DUMP)
    assert printed.is_sound
    assert printed.messages == GOOD.strip()
    assert [*printed.texts.items()] == [
        (MAIN, f"{CONF}\n"),
        (SITE, "# nothing: include other/*.conf;\n\n"),
    ]
    assert printed.shows(SITE)
    assert not printed.shows(SITE[:-1])


def test_a_message_has_no_clock() -> None:
    """nginx puts one before what happens after it has read `error_log`."""
    said = f"2026/11/29 12:00:01 [emerg] 12#12: {UNBOUND.format('10.9.9.9:80')}\n"
    assert Printed(said).messages == f"nginx: [emerg] {UNBOUND.format('10.9.9.9:80')}"


def test_a_log_that_a_user_may_not_open_is_no_fault() -> None:
    """It is the first that an ordinary user is told, whatever is wrong."""
    wrong = 'nginx: [emerg] unknown directive "lisen" in /tmp/x:1'
    assert Printed(f"{LOG}\n{wrong}\n").faults == wrong
    assert Printed(f"{LOG}\n{wrong}\n").messages == f"{LOG}\n{wrong}"
    assert not Printed(f"{LOG}\n{wrong}\n").is_sound


@pytest.mark.parametrize(
    ("place", "address"), [("10.9.9.9:80", "10.9.9.9"), ("[2001:db8::9]:443", "2001:db8::9")]
)
def test_an_address_that_is_not_there(place: str, address: str) -> None:
    """In either family; an address that is in use is there."""
    assert Printed(f"nginx: [emerg] {UNBOUND.format(place)}\n").unbound == ip_address(address)
    used = f"nginx: [emerg] bind() to {place} failed (98: Address already in use)\n"
    assert Printed(used).unbound is None


def test_a_parameter_that_is_not_known() -> None:
    """The word itself, for what is to be changed."""
    said = 'nginx: [emerg] invalid parameter "quic" in /tmp/x:1\n'
    assert Printed(said).unknown_parameter == "quic"
    assert Printed(GOOD).unknown_parameter == ""


def test_a_file_that_is_included_and_not_there() -> None:
    """By its whole name, whatever characters it has."""
    said = 'nginx: [emerg] open() "/etc/nginx/a.conf" failed (2: No such file or directory)'
    assert Printed(said).lacks("/etc/nginx/a.conf")
    assert not Printed(said.replace("a.conf", "aXconf")).lacks("/etc/nginx/a.conf")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/etc/nginx/conf.d/a.conf", True),
        ("/etc/nginx/conf.d/.a.conf", False),
        ("/etc/nginx/conf.d/a/b.conf", False),
        ("/etc/nginx/sites-enabled/new", True),
        ("/etc/nginx/other/a.conf", False),
        ("/conf.d/a.conf", False),
    ],
)
def test_what_include_lines_would_read(path: str, expected: bool) -> None:
    """From where the main file is, as glob(3), and not in a comment."""
    assert Printed(DUMP).would_read(path) is expected
