"""When Azure is asked again, and how long an answer is waited for.

What is retried, for how long and why: docs/decisions/0003-believing-an-answer.md.
"""

from .classification import Kind, Meaning

# The whole VM may ask five times a second; lbhook asks once, and a question that nobody takes
# within a second is asked again: half a second after the service is there, on average, that is
# noticed (bench/pace.py).
PACE = 1.0
_SLOWEST = 8.0
# A service that hangs is asked again soon, but every third time it gets longer to answer.
_PATIENCE = (2.0, 2.0, 5.0)
ONLY_ATTEMPT = 5.0
LAST_QUESTION = 0.5
# Less than that is no time to answer in.
_SHORTEST = 0.25


class Timetable:
    """Of one question, from `begin` on, by a monotonic clock in seconds.

    `wait` and `absent_wait` are how long it is asked in all; with a `wait` of 0 once, for
    `only_attempt`. `absent_wait` counts once IMDS has said that there is no load balancer, whatever
    `wait` is.
    """

    def __init__(
        self, begin: float, *, wait: float, absent_wait: float, only_attempt: float
    ) -> None:
        self.begin = begin
        self._wait, self._absent_wait, self._only_attempt = wait, absent_wait, only_attempt
        self._pace = PACE
        self._hung = 0
        self._absent = False

    def deadline(self, started: float) -> float:
        """Until when an answer to what is asked now is waited for."""
        patience = _PATIENCE[self._hung % len(_PATIENCE)] if self._wait else self._only_attempt
        return min(started + patience, self.end())

    def note(self, kind: Kind, *, hung: bool) -> None:
        """Take an answer into account, or that none came: `hung` says that it was waited for."""
        self._hung = self._hung + 1 if hung else 0
        self._absent = self._absent or kind is Kind.ABSENT

    def end(self, kind: Kind | None = None) -> float:
        """When the time is up for another question, after an answer of this kind."""
        whole = self._wait or self._only_attempt
        if kind is Kind.ABSENT:
            whole = self._absent_wait
        elif self._absent:
            whole = max(whole, self._absent_wait)
        return self.begin + whole

    def following(self, meaning: Meaning, started: float, now: float) -> float | None:
        """When to ask again what was asked at `started`; None if there is no time left for it."""
        self._pace = min(self._pace * 2, _SLOWEST) if meaning.slow_down else PACE
        if not self._wait and not self._absent:
            return None
        end = self.end(meaning.kind)
        following = max(started + self._pace, now + meaning.retry_after)
        if following < end:
            return following
        # The last moments of the time are worth one more question, whatever the pace.
        following = max(end - LAST_QUESTION, started + LAST_QUESTION, now)
        return following if end - following >= _SHORTEST else None
