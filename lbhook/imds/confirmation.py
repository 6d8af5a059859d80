"""An answer that would take every rule away, read again until it can be believed.

Why: docs/decisions/0003-believing-an-answer.md.
"""

from collections.abc import Callable

from ..errors import LbhookError, MetadataError, NoAnswerError
from ..metadata.model import Metadata
from .client import Reading, Service, Waiting
from .timetable import LAST_QUESTION, ONLY_ATTEMPT

_TIMES = 2
_BETWEEN = 2.0
_EMPTY = "no inbound rule, but the last good answer had some"


def confirm(service: Service, first: Reading, silent: Callable[[Metadata | None], bool]) -> Reading:
    """Read again, two seconds apart, until two answers in a row agree with the one before, or
    one of them is not `silent`.

    Raises `NoAnswerError` if the time of `service` is up first.
    """
    begin, agreed, last = service.clock() - first.waited, 0, first
    end = begin + _time_to_confirm(service, first)
    while agreed < _TIMES:
        try:
            again = _ask_again(service, begin, end, last)
        except LbhookError as error:
            error.attempts += last.attempts
            error.waited = service.clock() - begin
            raise
        agreed = agreed + 1 if again.metadata == last.metadata else 0
        last = again._replace(attempts=last.attempts + again.attempts)
        if not silent(again.metadata):
            break
    return last._replace(waited=service.clock() - begin)


def _time_to_confirm(service: Service, first: Reading) -> float:
    """The same as for the first reading; absence may have used up all that it had."""
    if first.metadata is None and service.absent_wait:
        return max(service.wait, service.absent_wait + ONLY_ATTEMPT)
    return service.wait or ONLY_ATTEMPT


def _ask_again(service: Service, begin: float, end: float, last: Reading) -> Reading:
    now = service.clock()
    left = end - now
    wait = left - _BETWEEN
    if wait < LAST_QUESTION:
        raise _unconfirmed()
    reason = f"{_EMPTY}: asking again"
    service.watch(Waiting(reason=reason, attempts=last.attempts, waited=now - begin, left=left))
    service.sleep(_BETWEEN)
    try:
        return service._replace(wait=wait, absent_wait=0.0).fetch()
    except (NoAnswerError, MetadataError) as error:
        if isinstance(error, MetadataError) and not error.partial:
            raise
        raise _unconfirmed(*error.problems, attempts=error.attempts) from None


def _unconfirmed(*problems: str, attempts: int = 0) -> NoAnswerError:
    error = NoAnswerError(
        f"{_EMPTY}, and time ran out before three answers agreed",
        *problems,
        hint="if Azure really has no rule for this VM, run `lbhook apply --accept-empty`",
    )
    error.attempts = attempts
    return error
