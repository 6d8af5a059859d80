"""New connections without a pause, while the test does something else: run inside a host."""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .hosts import Host

_PAUSE = 0.005


class Count(NamedTuple):
    """How often a door was tried, and how often it was open."""

    tries: int
    opened: int


class Storm:
    """Connections of `host` to each (address, port), until `stop`.

    The kernel knocks a second time after a second: with a `patience` of less, in seconds, who
    was not let in at once was not let in.
    """

    def __init__(self, host: Host, *doors: tuple[str, int], patience: float = 0.5) -> None:
        words = [f"{ip},{port}" for ip, port in doors]
        self._process = host.spawn([*host.python("storm.py"), str(patience), *words])
        assert self._process.stdout
        assert self._process.stdout.readline() == "blowing\n"

    def stop(self) -> list[Count]:
        """End it, and say how it went at each door."""
        said, _ = self._process.communicate()
        return [Count(*one) for one in json.loads(said)]


def _is_open(ip: str, port: int, patience: float) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET) as door:
        door.settimeout(patience)
        # Gone at once, so that thousands leave nothing behind.
        door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return door.connect_ex((ip, port)) == 0


def _storm(door: str, patience: float, over: threading.Event, opened: list[bool]) -> None:
    ip, port = door.split(",")
    while not over.is_set():
        opened.append(_is_open(ip, int(port), patience))
        time.sleep(_PAUSE)


def _main() -> None:
    over, patience, doors = threading.Event(), float(sys.argv[1]), sys.argv[2:]
    opened: list[list[bool]] = [[] for _ in doors]
    threads = [
        threading.Thread(target=_storm, args=(door, patience, over, one))
        for door, one in zip(doors, opened, strict=True)
    ]
    for thread in threads:
        thread.start()
    print("blowing", flush=True)
    sys.stdin.read()
    over.set()
    for thread in threads:
        thread.join()
    json.dump([Count(len(one), sum(one)) for one in opened], sys.stdout)


if __name__ == "__main__":
    _main()
