"""Try many addresses and ports at once: run inside a host, called from outside."""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .hosts import Host

# The handshake is between kernels on one machine: what takes this long is not coming.
PATIENCE = 0.3
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


class Target(NamedTuple):
    """Where to knock."""

    protocol: str
    ip: str
    port: int


class Answer(NamedTuple):
    """What came of it: open, refused, unreachable or filtered, and what was said."""

    state: str
    reply: str = ""


def knock(host: Host, *targets: Target, source: str = "") -> dict[Target, Answer]:
    """Knock from `host` (and its address `source`) at all targets at once."""
    order = json.dumps({"source": source, "targets": targets})
    done = host.run(host.python("knock.py"), stdin=order)
    answers = [Answer(*words) for words in json.loads(done.stdout)]
    return dict(zip(targets, answers, strict=True))


def one(host: Host, protocol: str, ip: str, port: int, source: str = "") -> Answer:
    """Knock at one door."""
    target = Target(protocol, ip, port)
    return knock(host, target, source=source)[target]


def states(host: Host, *targets: Target, source: str = "") -> set[str]:
    """Return the different things that happen at all these targets."""
    return {answer.state for answer in knock(host, *targets, source=source).values()}


def _connect(target: Target, source: str) -> socket.socket:
    kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[target.protocol]
    family, *_, address = socket.getaddrinfo(target.ip, target.port, type=kind)[0]
    door = socket.socket(family, kind)
    door.settimeout(PATIENCE)
    if source:
        door.bind(socket.getaddrinfo(source, 0, family, kind)[0][4])
    door.connect(address)
    return door


def _converse(door: socket.socket, target: Target) -> str:
    door.sendall(REQUEST)
    if target.protocol == "udp":
        return door.recv(65536).decode()
    # The connection stands: only a broken listener says nothing now, so there is time.
    door.settimeout(10)
    door.shutdown(socket.SHUT_WR)
    return b"".join(iter(lambda: door.recv(65536), b"")).decode()


def _try(target: Target, source: str) -> Answer:
    try:
        with _connect(target, source) as door:
            return Answer("open", _converse(door, target))
    except TimeoutError:
        return Answer("filtered")
    except ConnectionRefusedError:
        return Answer("refused")
    except OSError as error:
        return Answer("unreachable", str(error))


def _main() -> None:
    order = json.load(sys.stdin)
    targets = [Target(*words) for words in order["targets"]]
    with ThreadPoolExecutor(max(1, min(len(targets), 256))) as pool:
        answers = list(pool.map(lambda target: _try(target, order["source"]), targets))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    _main()
