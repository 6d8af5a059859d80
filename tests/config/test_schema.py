"""Each reader of a TOML value: what it takes, and the whole message of what it refuses."""

import contextlib
import ipaddress
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lbhook.config import network, schema


def refusal(read: schema.Read[Any], value: object) -> list[tuple[str, str]]:
    """The problems with a value that must be refused."""
    with pytest.raises(schema.Misfit) as caught:
        read(value)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0),
        ("0s", 0),
        ("250ms", 0.25),
        ("90s", 90),
        ("1.5m", 90),
        ("5min", 300),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        (" 7d ", 604800),
        ("520w", 314496000),
    ],
)
def test_durations_add_up(text: str, seconds: float) -> None:
    """Every unit is known, and several amounts are added."""
    assert schema.duration(text) == seconds


@pytest.mark.parametrize("value", ["", "90", "-5s", "5 parsecs", "s", "5s!", 5, 5.0, True, None])
def test_no_duration(value: object) -> None:
    """A number alone could be seconds or minutes, so it is refused like any other text."""
    shown = schema.shown(value)
    assert refusal(schema.duration, value) == [
        ("", f'{shown} is not a duration such as "90s" or "5m"')
    ]


def test_duration_beyond_every_timer() -> None:
    """A wait that the system's timers could not take is refused before anything waits."""
    assert refusal(schema.duration, "521w") == [("", '"521w" is not a duration of at most "520w"')]


def test_time_limit_of_nothing() -> None:
    """A command that is given no time at all would always fail."""
    assert schema.time_limit("30s") == 30
    assert refusal(schema.time_limit, "0") == [("", '"0" is not a time limit longer than 0')]


@pytest.mark.parametrize("value", [0, -1, 65536, "80", 8.0, True, None, [80]])
def test_no_port(value: object) -> None:
    """A port is a whole number from 1 to 65535, and true is no number."""
    assert refusal(network.port, value) == [("", f"{schema.shown(value)} is not a port")]


def test_ports_and_ranges() -> None:
    """A range is written as nft writes it, and runs upwards."""
    assert [network.ports(value) for value in (1, 65535, "08000-08100")] == [
        "1",
        "65535",
        "8000-8100",
    ]
    for value in ("8000", "8100-8000", "80-80", "0-80", "80-65536", "80:90", 0):
        assert refusal(network.ports, value) == [
            ("", f'{schema.shown(value)} is not a port, or a range such as "8000-8100"')
        ]


@pytest.mark.parametrize(
    ("value", "number"), [(1, 1), ("0x1000", 0x1000), ("0xFFFFFFFF", (1 << 32) - 1), (4096, 4096)]
)
def test_marks(value: object, number: int) -> None:
    """As a number, or in the hexadecimal that firewalls print."""
    assert network.mark(value) == number


@pytest.mark.parametrize("value", [0, "0x0", -1, 1 << 32, "0x100000000", "4096", "0x", True, 1.0])
def test_no_mark(value: object) -> None:
    """No bit at all, more than 32 of them, or a number in quotes."""
    assert refusal(network.mark, value) == [
        ("", f'{schema.shown(value)} is not a mark: up to 32 bits, not all zero, such as "0x1000"')
    ]


def test_addresses() -> None:
    """IPv4 and IPv6, but no scope, which means something on one machine only."""
    assert network.address("168.63.129.16") == ipaddress.ip_address("168.63.129.16")
    assert network.address("fe80::1234:5678:9abc") == ipaddress.ip_address("fe80::1234:5678:9abc")
    assert refusal(network.address, "10.0.0.400") == [("", '"10.0.0.400" is not an address')]
    assert refusal(network.address, "fe80::1%eth0") == [
        ("", '"fe80::1%eth0" is not an address without a scope')
    ]
    assert refusal(network.address, 5) == [("", "5 is not a string")]


def test_networks() -> None:
    """A network, or one address; one with host bits gets the network that was probably meant."""
    assert network.network("10.0.0.0/8") == ipaddress.ip_network("10.0.0.0/8")
    assert network.network("fd00::1") == ipaddress.ip_network("fd00::1/128")
    assert refusal(network.network, "10.1.0.4/8") == [
        ("", '"10.1.0.4/8" is not a network; did you mean "10.0.0.0/8"?')
    ]
    assert refusal(network.network, "the office") == [
        ("", '"the office" is not a network such as "10.0.0.0/8"')
    ]
    assert refusal(network.network, "fe80::1%eth0") == [
        ("", '"fe80::1%eth0" is not a network without a scope')
    ]


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("http://169.254.169.254", "http://169.254.169.254"),
        ("http://169.254.169.254/", "http://169.254.169.254"),
        ("HTTP://127.0.0.1:8169", "http://127.0.0.1:8169"),
        ("http://localhost:80", "http://localhost:80"),
        ("http://[::1]:8169", "http://[::1]:8169"),
    ],
)
def test_endpoints(url: str, plain: str) -> None:
    """An address, perhaps a port, and nothing else."""
    assert network.endpoint(url) == plain


_NO_ENDPOINT = "is not http:// with an IP address or localhost, and perhaps a port"
_EXTRA = "no user, path or query; give http://ADDRESS[:PORT]"
_SCHEME = "only http, as the metadata service has it; give http://ADDRESS[:PORT]"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://imds.example", f'"http://imds.example" {_NO_ENDPOINT}'),
        ("http://127.1", f'"http://127.1" {_NO_ENDPOINT}'),
        ("http://[::1", f'"http://[::1" {_NO_ENDPOINT}'),
        ("http://[fe80::1%25eth0]", f'"http://[fe80::1%25eth0]" {_NO_ENDPOINT}'),
        ("http://127.0.0.1:0", f'"http://127.0.0.1:0" {_NO_ENDPOINT}'),
        ("http://127.0.0.1:70000", f'"http://127.0.0.1:70000" {_NO_ENDPOINT}'),
        ("http://", f'"http://" {_NO_ENDPOINT}'),
        ("https://127.0.0.1", f'"https://127.0.0.1": {_SCHEME}'),
        ("127.0.0.1:80", f'"127.0.0.1:80": {_SCHEME}'),
        ("", f'"": {_SCHEME}'),
        ("http://me@127.0.0.1", f'"http://me@127.0.0.1": {_EXTRA}'),
        ("http://:pw@127.0.0.1", f'"http://:pw@127.0.0.1": {_EXTRA}'),
        ("http://127.0.0.1/metadata", f'"http://127.0.0.1/metadata": {_EXTRA}'),
        ("http://127.0.0.1?a=b", f'"http://127.0.0.1?a=b": {_EXTRA}'),
        ("http://127.0.0.1#x", f'"http://127.0.0.1#x": {_EXTRA}'),
    ],
)
def test_no_endpoint(url: str, problem: str) -> None:
    """A name would have to be resolved, and credentials or paths are nobody's."""
    assert refusal(network.endpoint, url) == [("", problem)]


@given(st.text())
def test_endpoint_never_fails_otherwise(text: str) -> None:
    """Whatever is given, it is an endpoint or a misfit: no other exception."""
    with contextlib.suppress(schema.Misfit):
        assert network.endpoint(text).startswith("http://")


def test_paths() -> None:
    """Absolute, below /, without a way out and without what would break a message."""
    assert schema.path("/etc/motd") == PurePosixPath("/etc/motd")
    assert str(schema.path("//etc//motd/")) == "/etc/motd"
    for value in ("etc/motd", "/etc/../motd", "/etc/mo\0td", "/etc/mo\ntd", ""):
        assert refusal(schema.path, value) == [
            ("", f'{schema.shown(value)} is not an absolute path without ".."')
        ]
    assert refusal(schema.path, "/") == [("", '"/" is not the path of a file or directory')]


def test_commands() -> None:
    """A command is a list of words: a string would need a shell to be split."""
    assert schema.argv(["nft", "-f", "{path}"]) == ("nft", "-f", "{path}")
    assert schema.argv([]) == ()
    assert refusal(schema.argv, "nft -f x") == [
        (
            "",
            '"nft -f x" is not a command as a list of words, such as ["nft", "-f", "{path}"]',
        )
    ]
    assert refusal(schema.argv, ["nft", 5, True]) == [
        ("[1]", "5 is not a string"),
        ("[2]", "true is not a string"),
    ]
    for value in ([""], ["nft", "a\0b"]):
        assert refusal(schema.argv, value) == [
            ("", "a command begins with the name of a program and holds no NUL")
        ]


def test_modes() -> None:
    """Permission bits alone, as an octal string: 644 as a number would be another mode."""
    assert [schema.mode(value) for value in ("0644", "600")] == [0o644, 0o600]
    for value in (644, "0888", "4755", "0o644", "rw-r--r--"):
        assert refusal(schema.mode, value) == [
            ("", f'{schema.shown(value)} is not a mode such as "0644"')
        ]


def test_protocols() -> None:
    """Protocols by name in any case; the nearest one for a misspelt."""
    assert network.protocol("VRRP") == "vrrp"
    assert [network.protocol(one) for one in (89, "50", 99)] == ["ospf", "esp", "99"]
    for value in (0, 256, "256"):
        problem = f"{schema.shown(value)} is not a protocol: a name, or a number from 1 to 255"
        assert refusal(network.protocol, value) == [("", problem)]
    assert refusal(network.protocol, "tpc") == [
        ("", '"tpc" is not a known protocol; did you mean "tcp"?')
    ]


def test_interfaces() -> None:
    """What the kernel takes as a name and nft reads as one word between quotes."""
    for name in ("docker0", "br-*"):
        assert network.interface(name) == name
    wanted = 'the name of an interface, such as "docker0" or "br-*"'
    for value in ("", "a b", "*", "e*h", "e**", 'e"0', "x" * 16, f"{'x' * 15}*", "e;0", "\x7f"):
        assert refusal(network.interface, value) == [("", f"{schema.shown(value)} is not {wanted}")]


def test_names_of_interfaces() -> None:
    """The same, or one that begins as all those do that are meant."""
    assert [network.is_named(name, ("lo", "br-*")) for name in ("lo", "br-", "br-1")] == [True] * 3
    assert not any(network.is_named(name, ("lo", "br-*")) for name in ("", "lo0", "br", "xbr-1"))


def test_choices() -> None:
    """One of a few words, all of which the message names."""
    read = schema.choice("keep", "empty")
    assert read("keep") == "keep"
    assert refusal(read, "kept") == [("", '"kept" is not "keep" or "empty"')]
    assert refusal(read, ["keep"]) == [("", 'a list is not "keep" or "empty"')]


def test_plain_values() -> None:
    """Strings, truth and whole numbers are never taken for each other."""
    assert (schema.text("x"), schema.boolean(False), schema.whole(5)) == ("x", False, 5)
    assert refusal(schema.text, {}) == [("", "a table is not a string")]
    assert refusal(schema.boolean, 1) == [("", "1 is not true or false")]
    assert refusal(schema.whole, True) == [("", "true is not a whole number")]


def test_a_table_says_everything() -> None:
    """All problems of a table at once, each with its place below it."""
    read = schema.table({"port": network.port, "from": schema.items(network.network)})
    assert refusal(read, {"prot": 1, "port": 0, "from": ["x", "10.0.0.0/8", 3]}) == [
        (".prot", 'unknown key; did you mean "port"?'),
        (".port", "0 is not a port"),
        (".from[0]", '"x" is not a network such as "10.0.0.0/8"'),
        (".from[2]", "3 is not a string"),
    ]
    assert refusal(read, {"colour": "red"}) == [(".colour", "unknown key; known: port, from")]
    assert refusal(read, "x") == [("", '"x" is not a table')]


def test_values_in_messages_are_one_short_line() -> None:
    """What stands in a message can't break it into lines or fill the screen."""
    assert schema.shown("a\nb") == '"a\\nb"'
    assert schema.shown("é") == '"é"'
    assert schema.shown("x" * 99) == f'"{"x" * 55}...'
    assert schema.shown([1, 2]) == "a list"


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/etc/" + "x" * 243, ""),
        ("/etc/" + "x" * 244, "a name of 244 bytes; 243 are as many as can be used"),
        ("/etc/" + "é" * 122, "a name of 244 bytes; 243 are as many as can be used"),
        ("/" + "x" * 256 + "/y", "a name of 256 bytes; 255 are as many as can be used"),
        ("/x" * 2041, ""),
        ("/x" * 2042, "a path of more than 4083 bytes, which is as many as can be used"),
    ],
    ids=lambda value: f"{len(value)} {value[-3:]}",
)
def test_the_names_that_are_made_are_part_of_the_limit(path: str, problem: str) -> None:
    """A file is replaced under another name, and kept under a third."""
    if not problem:
        assert str(schema.replaced_path(path)) == path
        return
    with pytest.raises(schema.Misfit) as caught:
        schema.replaced_path(path)
    assert caught.value.problems == (("", problem),)
