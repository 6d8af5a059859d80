"""When a boot asks: as soon as it can, and no shorter than it would have."""

import socket

import pytest

from lbhook.imds.arrival import Arrival
from lbhook.imds.transport import has_route


class Boot:
    """A boot in which there is a route, and systemd says online, at these seconds; None: never."""

    def __init__(self, route: float | None, online: float | None) -> None:
        self.route, self.online = route, online
        self.now, self.looks = 0.0, 0

    def look(self) -> float | None:
        """Ask systemd."""
        self.looks += 1
        return self.online if self.online is not None and self.now >= self.online else None

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.now += seconds

    @property
    def arrival(self) -> Arrival:
        """What is tested."""
        there = self.route
        return Arrival(
            lambda: there is not None and self.now >= there, self.look, lambda: self.now, self.sleep
        )


@pytest.mark.parametrize("route", [0.0, 0.5, 3.0])
def test_it_asks_as_soon_as_there_is_a_way(route: float) -> None:
    """Whatever systemd still waits for."""
    boot = Boot(route, 60.0)
    boot.arrival.await_route()
    assert route <= boot.now < route + 0.05
    assert boot.looks <= route


@pytest.mark.parametrize(("online", "asks"), [(4.0, 4.0), (None, 120.0)])
def test_without_a_way_it_asks_all_the_same(online: float | None, asks: float) -> None:
    """When systemd takes the network to be up; where it can't be asked, in the end."""
    boot = Boot(None, online)
    boot.arrival.await_route()
    assert asks <= boot.now < asks + 1.1


@pytest.mark.parametrize(
    ("now", "online", "left"),
    [(16.0, 1.0, 0.0), (16.0, 5.0, 4.0), (16.0, 15.5, 14.5), (16.0, 20.0, 15.0), (16.0, None, 0.0)],
)
def test_the_wait_counts_from_when_the_network_is_up(
    now: float, online: float | None, left: float
) -> None:
    """A route may be there long before; nothing is given up sooner for that."""
    boot = Boot(1.0, online)
    boot.now = now
    assert boot.arrival.left(15.0) == pytest.approx(left)


def test_a_way_is_what_the_kernel_knows() -> None:
    """Loopback is one; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        assert has_route(f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(BlockingIOError):
            listener.recv(1)
