"""A metadata service on loopback that behaves like Azure's, and misbehaves on request.

`GET /metadata/loadbalancer`, `/metadata/instance` (and below), `/metadata/scheduledevents` and
`/metadata/versions`, with the rules of the real service: header, api-version, methods, 5 requests a
second. What Microsoft documents is followed to the word; replies.error() says which sentences are
ours.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from ..errors import UsageError
from . import http, listener
from .faults import Step
from .http import Asked, Delivery, Request
from .listener import TICK
from .playbook import Playbook, load
from .replies import Source, locate
from .service import Service


class Emulator:
    """The service, on daemon threads; a context manager, started by `with`.

    `body`: what /metadata/loadbalancer says: a name (replies.names()) or a file name, a Path
    (read at each request), bytes, an Answer, or None for "no load balancer". `body` and `instance`
    (for /metadata/instance) may be replaced while it runs. `playbook`: a Playbook, a shipped name
    or a file. `listen`: loopback or 169.254.169.254 only; port 0 picks one. `limit`: requests a
    second over all connections, None for no limit. `clock`: monotonic seconds, for the playbook
    and the limit. `on_request` is called from the connection's thread before the answer is sent.

    UsageError for a wrong address or name, ConfigError for a wrong playbook.
    """

    def __init__(
        self,
        body: Source = "documented",
        playbook: Playbook | str | Path | None = None,
        listen: tuple[str, int] = ("127.0.0.1", 0),
        limit: int | None = 5,
        clock: Callable[[], float] = time.monotonic,
        on_request: Callable[[Request], None] | None = None,
        instance: bytes | Path | None = None,
    ) -> None:
        self.requests: list[Request] = []
        self.playbook = load(playbook) if isinstance(playbook, str | Path) else playbook
        self._service = Service(self.playbook or Playbook(), limit, clock)
        self.body = body
        self.instance = instance
        self.address = (listener.local(listen[0]), listen[1])
        self._clock = clock
        self._on_request = on_request
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._connections: dict[threading.Thread, socket.socket] = {}
        self._answering: set[threading.Thread] = set()

    @property
    def body(self) -> Source:
        """What /metadata/loadbalancer says when no step of the playbook says otherwise."""
        return self._service.body

    @body.setter
    def body(self, source: Source) -> None:
        self._service.body = locate(source) if isinstance(source, str) else source

    @property
    def instance(self) -> bytes | Path | None:
        """What /metadata/instance says."""
        return self._service.instance

    @instance.setter
    def instance(self, source: bytes | Path | None) -> None:
        self._service.instance = source

    @property
    def url(self) -> str:
        """Scheme, address and port; the port is known once the emulator has started."""
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def __enter__(self) -> Emulator:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen; the playbook's time runs from here. UsageError if it can't be bound."""
        try:
            self._listener = listener.bound(self.address)
        except OSError as problem:
            raise UsageError(f"can't listen on {self.url}: {problem.strerror}") from problem
        self.address = (self.address[0], self._listener.getsockname()[1])
        self._stopping.clear()
        self._started = self._clock()
        self._service.begin()
        self._open = False
        self._follow_script()
        self._thread = threading.Thread(target=self._accept, name="emulator", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close every socket and end every thread, within half a second."""
        deadline = time.monotonic() + 0.4
        self._stopping.set()
        self._thread.join(0.2)  # first, so that nobody comes in after the others were sent away
        self._listener.close()
        with self._lock:
            self._hang_up(self._connections)
            threads = set(self._connections) - {threading.current_thread()}
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def serve_forever(self) -> None:
        """Wait, inside `with`, until another thread calls stop() or an exception comes (Ctrl-C)."""
        while not self._stopping.wait(0.5):
            pass

    def _accept(self) -> None:
        while not self._stopping.is_set():
            self._follow_script()
            if not self._open:
                self._stopping.wait(TICK)
                continue
            with contextlib.suppress(OSError):  # a time-out, or a client that is gone already
                self._welcome(self._listener.accept()[0])

    def _welcome(self, connection: socket.socket) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
        with self._lock:
            self._connections[thread] = connection
        thread.start()

    def _follow_script(self) -> None:
        refused = self._service.current()[1].fault == "refuse"
        if refused and self._open:
            # A socket that is bound but does not listen refuses, and keeps the port for later.
            self._listener.close()
            self._listener = listener.bound(self.address)
        elif not refused and not self._open:
            self._listener.listen(128)
        self._open = not refused
        if refused:
            # At every look: whoever was spared because its answer belongs to the step before.
            with self._lock:
                self._hang_up(self._connections.keys() - self._answering)

    def _hang_up(self, threads: Iterable[threading.Thread]) -> None:
        for thread in threads:
            with contextlib.suppress(OSError):
                self._connections[thread].shutdown(socket.SHUT_RDWR)

    def _converse(self, connection: socket.socket) -> None:
        try:
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as reader:
                while self._exchange(connection, reader):
                    pass
        finally:
            with self._lock:
                del self._connections[threading.current_thread()]

    def _exchange(self, connection: socket.socket, reader: BinaryIO) -> bool:
        asked = http.read_request(reader)
        if asked is None:
            return False
        try:
            with self._lock:
                self._answering.add(threading.current_thread())
            user = functools.partial(listener.user, connection)
            index, step, answer = self._service.answer(asked, user)
            delivery = http.deliver(step, answer, asked)
            begun = delivery.at_once or delivery.slowly
            self._record(asked, answer.status if begun else None, answer.note)
            connection.sendall(delivery.at_once)
        finally:
            with self._lock:
                self._answering.discard(threading.current_thread())
        return self._drip(connection, delivery) and self._end(connection, delivery, index, step)

    def _record(self, asked: Asked, status: int | None, note: str) -> None:
        request = Request(
            method=asked.method,
            path=asked.path,
            query=asked.query,
            headers=asked.headers,
            status=status,
            at=self._clock() - self._started,
            note=note,
        )
        self.requests.append(request)
        if self._on_request:
            self._on_request(request)

    def _drip(self, connection: socket.socket, delivery: Delivery) -> bool:
        # At high rates several bytes go out together, so that no sleep is shorter than 10 ms.
        size = max(1, int(delivery.rate / 100))
        for at in range(0, len(delivery.slowly), size):
            if self._stopping.wait(size / delivery.rate):
                return False
            connection.sendall(delivery.slowly[at : at + size])
        return True

    def _end(self, connection: socket.socket, delivery: Delivery, index: int, step: Step) -> bool:
        if delivery.ending == "hang":
            while not (self._over(index, step) or listener.gone(connection)):
                if self._stopping.wait(TICK):
                    break
        if delivery.ending == "reset":
            linger = struct.pack("ii", 1, 0)  # on, for 0 s: close() sends RST instead of FIN
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        return delivery.ending == "keep"

    def _over(self, index: int, step: Step) -> bool:
        return step.seconds is not None and self._service.current()[0] != index
