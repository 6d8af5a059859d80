"""Where a playbook stands: which step a request falls under."""

from collections.abc import Callable

from .faults import Step
from .playbook import Playbook


class Script:
    """Where a playbook stands by a monotonic clock; the caller holds a lock."""

    def __init__(self, playbook: Playbook, clock: Callable[[], float]) -> None:
        self._steps = (*playbook.steps, Step())
        self._clock = clock
        self._index = self._taken = 0
        self._since = clock() if playbook.start == "launch" else None

    def current(self) -> tuple[int, Step]:
        """Return number and step that are in force now."""
        step = self._steps[self._index]
        while self._since is not None and step.seconds is not None:
            if self._clock() - self._since < step.seconds:
                break
            step = self._next(self._since + step.seconds)
        return self._index, step

    def take(self, path: str) -> tuple[int, Step]:
        """Count a request, and return number and step that it falls under."""
        if self._since is None:
            self._since = self._clock()
        index, step = self.current()
        if not step.concerns(path):
            return index, Step()
        self._taken += 1
        if self._taken == step.requests:
            self._next(self._clock())
        return index, step

    def _next(self, since: float) -> Step:
        self._index, self._taken, self._since = self._index + 1, 0, since
        return self._steps[self._index]
