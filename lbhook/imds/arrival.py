"""The network of a boot: asked in the moment that there is a way, and for as long as it would be
if the question had waited until systemd takes the network to be up."""

import time
from collections.abc import Callable
from typing import NamedTuple

_TICK = 0.02
_LOOK = 1.0
# Where systemd can't be asked, it is waited for no longer: it ends its own wait before that.
_LONGEST = 120.0
# Less than that is not worth another question.
_WORTH = 1.0


class Arrival(NamedTuple):
    """How it is seen: `has_route` to the metadata service, and `online` since when systemd takes
    the network to be up (seconds of `clock`; None: not yet)."""

    has_route: Callable[[], bool]
    online: Callable[[], float | None]
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def await_route(self) -> None:
        """Return as soon as there is one, or none is to be expected any more."""
        begin = self.clock()
        look = begin + _LOOK
        while not self.has_route():
            if self.clock() >= look:
                if self.online() is not None or self.clock() - begin >= _LONGEST:
                    return
                look = self.clock() + _LOOK
            self.sleep(_TICK)

    def left(self, wait: float) -> float:
        """How much of a `wait` (seconds) is left that counts from when the network is up, which
        is awaited; 0 if no more than a moment."""
        begin = self.clock()
        while (online := self.online()) is None:
            if self.clock() - begin >= _LONGEST:
                return 0.0
            self.sleep(_LOOK)
        left = online + wait - self.clock()
        return left if left >= _WORTH else 0.0
