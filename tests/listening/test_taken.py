"""What another program has, what it keeps from nginx and haproxy, and what is said of it."""

from ipaddress import ip_address

import pytest

from lbhook.listening import taken
from lbhook.listening.nginx_config import Listen
from lbhook.listening.taken import Taken

V4, V6, ANY4, ANY6 = "10.1.0.4", "fd00::4", "0.0.0.0", "::"


def listen(ip: str, *words: str) -> Listen:
    """A line for port 80."""
    return Listen(ip_address(ip), 80, words)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize(
    ("theirs", "ours", "words", "excludes"),
    [
        (V4, V4, (), True),
        (V4, "10.1.0.5", (), False),
        (V4, ANY4, (), True),
        (V4, ANY6, (), False),
        (V4, ANY6, ("ipv6only=off",), True),
        (V4, V4, ("udp",), False),
        (ANY4, V4, (), True),
        (ANY4, V6, (), False),
        (ANY4, ANY6, ("ipv6only=off",), True),
        (V6, V4, (), False),
        (V6, ANY6, (), True),
        (ANY6, V6, (), True),
        (ANY6, V4, (), None),
        (ANY6, ANY4, (), None),
    ],
)
def test_what_excludes_what(
    theirs: str, ours: str, words: tuple[str, ...], excludes: bool | None, both: bool
) -> None:
    """A socket for all of IPv6 keeps IPv4 from others if it takes that, too, and so do they."""
    other = Taken(ip_address(theirs), 80, program="app", both=both and theirs == ANY6)
    assert other.excludes(listen(ours, *words)) is (both if excludes is None else excludes)
    assert not other._replace(port=81).excludes(listen(ours, *words))


APP = Taken(ip_address(V4), 80, program="app")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (APP, f"app has {V4}:80; stop that program, or"),
        (APP._replace(program=""), f"another program has {V4}:80; stop that program, or"),
        (
            APP._replace(there=False),
            f"app had {V4}:80 when lbhook looked last; name it in `ports` to take it, or",
        ),
        (
            APP._replace(there=False, ip=ip_address(ANY4), line="/etc/app:3"),
            f"app is to listen on {ANY4}:80 by /etc/app:3; take that line away, or",
        ),
    ],
)
def test_what_is_said_of_it(other: Taken, says: str) -> None:
    """Whose it is, and what to do; nothing of what is in nobody's way."""
    away = Taken(ip_address("10.1.0.5"), 80, program="other")
    said = taken.by_another([away, other], listen(V4))
    assert said == f"{says} set `except_ports = [80]` to leave the port alone"
    assert taken.by_another([away], listen(V4)) == ""


def test_what_is_said_of_what_is_kept() -> None:
    """It works for now; both would ask for it after a boot."""
    other = Taken(ip_address(ANY6), 443, program="haproxy", there=False, line="/etc/haproxy.cfg:7")
    assert taken.kept(other) == (
        "haproxy is to listen on [::]:443 by /etc/haproxy.cfg:7, too; only one can have it after a"
        " boot: take that line away, or set `except_ports = [443]` to leave the port alone"
    )
