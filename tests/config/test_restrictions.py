"""Who alone may come to a port: what an entry may say, and what it comes to."""

from ipaddress import ip_network

import pytest

from lbhook.config import restrictions
from lbhook.config import settings as config
from lbhook.errors import ConfigError

HEAD = "[[targets.nftables.restrict]]\n"
WEB = f'{HEAD}protocol = "tcp"\nport = 443\n'


def read(*entries: str, variables: str = "") -> tuple[restrictions.Restriction, ...]:
    """The restrictions of a firewall's configuration."""
    text = f"[targets.nftables.vars]\n{variables}\n{''.join(entries)}"
    found = next(one for one in config.parse(text).targets if one.name == "nftables")
    restrict: tuple[restrictions.Restriction, ...] = found.vars["restrict"]
    return restrict


def problems(*entries: str, variables: str = "") -> list[str]:
    """What is wrong with it."""
    with pytest.raises(ConfigError) as caught:
        read(*entries, variables=variables)
    return [one.removeprefix("lbhook.toml: targets.nftables.") for one in caught.value.problems]


def test_an_entry_is_read() -> None:
    """Each of its keys, and without a protocol both; nothing restricts nothing."""
    assert read() == ()
    assert read(f'{WEB}sources = ["203.0.113.0/24"]\n') == (
        {
            "protocol": "tcp",
            "number": 6,
            "port": "443",
            "sources": (ip_network("203.0.113.0/24"),),
        },
    )
    (both,) = read(f'{HEAD}port = "8000-8100"\nsources = ["2001:db8::/32"]\n')
    assert (both["protocol"], both["number"], both["port"]) == ("", 0, "8000-8100")


@pytest.mark.parametrize(
    "sources",
    [
        '["10.0.0.0/9", "10.128.0.0/9", "2001:db8::/32"]',
        '["2001:db8::/32", "10.0.0.0/8", "10.1.2.0/24", "10.1.2.3", "10.0.0.0/8"]',
        '["2001:db8::/33", "2001:db8:8000::/33", "10.0.0.0/8"]',
    ],
)
def test_the_same_networks_are_the_same_bytes(sources: str) -> None:
    """Order, repetition and how they are cut change nothing."""
    (entry,) = read(f"{WEB}sources = {sources}\n")
    assert entry["sources"] == (ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"))


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        ('["office"]', '[0].sources[0]: "office" is not a network such as "10.0.0.0/8"'),
        (
            '["10.0.0.1/8"]',
            '[0].sources[0]: "10.0.0.1/8" is not a network; did you mean "10.0.0.0/8"?',
        ),
        ('["fe80::%eth0/64"]', '[0].sources[0]: "fe80::%eth0/64" is not a network without a scope'),
        ("[10]", "[0].sources[0]: 10 is not a string"),
        ('"10.0.0.0/8"', '[0].sources: "10.0.0.0/8" is not a list'),
        ("[]", "[0].sources: an empty list: name who may come"),
        ('["0.0.0.0/0"]', "[0].sources: 0.0.0.0/0 is everybody, which limits nobody"),
        ('["10.0.0.0/8", "::/0"]', "[0].sources: ::/0 is everybody, which limits nobody"),
        ('["0.0.0.0/1", "128.0.0.0/1"]', "[0].sources: 0.0.0.0/0 is everybody"),
        (
            '["::ffff:203.0.113.0/120"]',
            # Since Python 3.13 it is written with dots.
            f"[0].sources: {ip_network('::ffff:203.0.113.0/120')} never arrives: write it as IPv4",
        ),
    ],
)
def test_sources_that_are_none(sources: str, problem: str) -> None:
    """Each with its place, and what would be right."""
    (found,) = problems(f"{WEB}sources = {sources}\n")
    assert found.startswith(f"restrict{problem}")


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (HEAD, ["restrict[0].port: missing", "restrict[0].sources: missing"]),
        (f'{HEAD}port = 0\nsources = ["10.0.0.0/8"]\n', ["restrict[0].port: 0 is not a port, or"]),
        (
            f'{HEAD}protocol = "sctp"\nport = 1\nsources = ["10.0.0.0/8"]\n',
            ['restrict[0].protocol: "sctp" is not "tcp" or "udp"'],
        ),
        (
            f'{HEAD}port = 1\nfrom = "10.0.0.0/8"\n',
            ["restrict[0].from: unknown key"],
        ),
        ("restrict = 5\n", ["vars.restrict: is no variable; write it as [[targets.nftables.restr"]),
    ],
)
def test_entries_that_are_none(entry: str, found: list[str]) -> None:
    """Each problem of an entry, at once."""
    said = problems(entry)
    assert [one[: len(start)] for one, start in zip(said, found, strict=True)] == found


@pytest.mark.parametrize(
    ("protocol", "port", "also"),
    [("tcp", "443", "tcp"), ("", "443", "tcp"), ("tcp", '"400-500"', ""), ("", '"1-443"', "")],
)
def test_a_port_has_one_entry(protocol: str, port: str, also: str) -> None:
    """Nobody could tell whether both or either are to hold; another protocol is another port."""
    sources = 'sources = ["10.0.0.0/8"]\n'
    kinds = [f'protocol = "{one}"\n' if one else "" for one in (protocol, also)]
    first = f"{HEAD}{kinds[0]}port = {port}\n{sources}"
    assert problems(first, f"{HEAD}{kinds[1]}port = 443\n{sources}") == [
        "restrict[1].port: restrict[0] has it, too; put all its sources there"
    ]
    udp = f'{HEAD}protocol = "udp"\nport = 443\n{sources}'
    assert len(read(f"{WEB}{sources}", udp)) == 2


def test_ssh_is_not_narrowed() -> None:
    """A range that has its port would lock operators out; UDP is not SSH, and where SSH is closed
    its port is one like any other."""
    sources = 'sources = ["10.0.0.0/8"]\n'
    wide = f'{HEAD}port = "1-1023"\n{sources}'
    assert problems(wide) == ["restrict[0].port: 22 is one of ssh_ports, which ssh_from limits"]
    assert read(wide, variables="ssh_ports = [2222]")
    assert read(f'{HEAD}protocol = "udp"\nport = 22\n{sources}')


def test_only_a_firewall_of_lbhooks_has_it() -> None:
    """By any name; another target does not know the key."""
    named = '[targets.fw]\nlike = "nftables"\npath = "/etc/fw.nft"\n'
    entry = '[[targets.fw.restrict]]\nport = 443\nsources = ["10.0.0.0/8"]\n'
    firewall = next(one for one in config.parse(named + entry).targets if one.name == "fw")
    assert len(firewall.vars["restrict"]) == 1
    with pytest.raises(ConfigError) as caught:
        config.parse('[[targets.nginx.restrict]]\nport = 443\nsources = ["10.0.0.0/8"]\n')
    assert "targets.nginx.restrict: unknown key" in caught.value.problems[0]


def test_thousands_are_read() -> None:
    """In any order, as many as a cloud has."""
    many = [f"10.{n // 256 % 256}.{n % 256}.{n // 65536 * 128}/25" for n in range(0, 100000, 3)]
    listed = ", ".join(f'"{one}"' for one in reversed(many))
    (entry,) = read(f"{WEB}sources = [{listed}]\n")
    assert len(entry["sources"]) <= len(many)
    assert entry["sources"][0] == ip_network("10.0.0.0/25")
