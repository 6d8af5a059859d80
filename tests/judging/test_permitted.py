"""What the unit of a program keeps it from."""

from ipaddress import ip_address
from pathlib import Path

import pytest

from lbhook.judging.permitted import forbidden, parted, versions
from lbhook.judging.surroundings import Surroundings
from lbhook.listening.nginx_config import Listen
from lbhook.metadata.facts import Listener
from lbhook.metadata.model import Protocol

from ..stand import Runner, Stand


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        ("", [4, 6]),
        ("AF_INET AF_INET6 AF_UNIX", [4, 6]),
        ("AF_UNIX AF_INET", [4]),
        ("~AF_INET6", [4]),
        ("~AF_PACKET", [4, 6]),
        ("none", []),
    ],
)
def test_families_of_addresses(tmp_path: Path, families: str, expected: list[int]) -> None:
    """As `systemctl show` prints them; without systemd nothing is kept from it."""
    stand = Stand(tmp_path, Runner(lambda _: (0, f"RestrictAddressFamilies={families}\n")))
    around = Surroundings(stand.host(stand.settings("")), (), (), False)
    assert versions(around) == [4, 6]
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    assert versions(around) == expected


def test_who_has_both_is_not_asked_about(tmp_path: Path) -> None:
    """An unchanged run is to ask systemd as little as can be."""
    stand = Stand(tmp_path, Runner(lambda _: (0, "RestrictAddressFamilies=AF_INET\n")))
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    around = Surroundings(stand.host(stand.settings("")), (), (), False)
    around.held = (Listen(ip_address("::"), 80),)
    assert versions(around) == [4, 6]
    assert stand.runner.taken() == []


def test_listeners_of_the_other_family_go(tmp_path: Path) -> None:
    """By port, with what to do; those that stay are not mentioned."""
    stand = Stand(tmp_path, Runner(lambda _: (0, "RestrictAddressFamilies=AF_INET\n")))
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    around = Surroundings(stand.host(stand.settings("")), (), (), False)
    four, six = (
        Listener(ip=ip_address(ip), protocol=Protocol.TCP, port=443, rules=())
        for ip in ("10.1.0.4", "ace::1")
    )
    assert parted(around, [[four]]) == ([[four]], [])
    kept, (note,) = parted(around, [[four, six]])
    assert kept == [[four]]
    assert note == (
        "port 443 of IPv6 is left out: nginx.service has RestrictAddressFamilies= without that; add"
        " it there, or set `except_ports = [443]` to leave the port alone"
    )
    assert parted(around, [[six]])[0] == []


def test_who_does_not_run_has_the_rights_of_its_unit(tmp_path: Path) -> None:
    """Before a boot starts it: a port that it may not open would keep it from starting."""
    stand = Stand(tmp_path, Runner(lambda _: (0, "User=nobody\nActiveState=inactive\n")))
    around = Surroundings(stand.host(stand.settings("")), (), (), False)
    assert forbidden(around)(443) == ""
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    around = Surroundings(stand.host(stand.settings("")), (), (), False)
    assert forbidden(around)(8443) == ""
    assert forbidden(around)(443).startswith("nginx, as user nobody, has no CAP_NET_BIND_SERVICE")
