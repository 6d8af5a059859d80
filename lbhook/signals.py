"""Signals that end lbhook, held back while it must not be disturbed."""

import contextlib
import signal
import threading
from collections.abc import Iterator

# Ctrl-C, systemd or a shutdown, and a terminal that was closed or lost.
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Hold them back; the first that came in the meantime is delivered at the end.

    With handlers, not with a mask: programs that are started inherit a mask.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python delivers them to the main thread alone
        return
    came: list[int] = []
    before = {one: signal.signal(one, lambda number, _: came.append(number)) for one in ENDINGS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler or signal.SIG_DFL)
        if came:
            signal.raise_signal(came[0])
