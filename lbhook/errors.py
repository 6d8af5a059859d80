"""Everything that can go wrong, each kind with its exit status (sysexits) and a hint."""

from collections.abc import Sequence
from pathlib import PurePosixPath

# Exit statuses of what is no `LbhookError`: as a shell has them after a signal, and sysexits.
INTERRUPTED, TERMINATED, BUG = 130, 143, 70


class LbhookError(Exception):
    """An expected failure: what happened, where, and what to do about it.

    `problems` lists every single problem, one line each; `status` is the exit status. Of a
    failed fetch, `attempts` and `waited` (seconds) say how much was tried, and `guarded` whether
    metadata is guarded on this VM; None if nothing told. `busy` says that another run was on.
    """

    status = 70
    attempts = 0
    waited = 0.0
    guarded: bool | None = None
    busy = False

    def __init__(self, *problems: str, hint: str = "") -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        self.hint = hint


class TerminatedError(BaseException):
    """SIGTERM, or a terminal that is gone: everything is put back on the way out."""


class UsageError(LbhookError):
    """The command line, or a file named on it, can't be used."""

    status = 2


class MetadataError(LbhookError):
    """A body that must not be acted on; each problem begins with its path in the body.

    `partial` says that nothing is wrong but that something is missing, which the
    metadata service does while it is being updated: worth asking again.
    """

    status = 65

    def __init__(self, *problems: str, partial: bool = False) -> None:
        super().__init__(
            *problems, hint="nothing was changed; if Azure goes on sending this, tell its support"
        )
        self.partial = partial


class UnreadableBodyError(MetadataError):
    """A body that is not JSON at all: cut short, or from something that is not IMDS."""


class NoLoadBalancerError(LbhookError):
    """IMDS says that there is no load balancer, and one was required."""

    status = 66


class ReloadError(LbhookError):
    """A reload or a verification failed, or a target is blocked by somebody else's mistake."""

    status = 69


class TraceError(LbhookError):
    """The kernel does not say what becomes of packets."""

    status = 69


class WriteError(LbhookError):
    """A file could not be written, replaced or removed. `in_the_way` says that it is this path
    that can't be used, and not the disk that lets nobody write; `no_room` that this is full."""

    status = 73
    in_the_way = False
    no_room = False


class PutBackError(WriteError):
    """Files that could not be put back, `stuck`, beside those that were, `restored`: paths. What is
    not `whole` does not name all of them, for not all of their journal could be read."""

    def __init__(
        self,
        *problems: str,
        hint: str,
        stuck: Sequence[PurePosixPath],
        restored: Sequence[PurePosixPath],
        whole: bool = True,
    ) -> None:
        super().__init__(*problems, hint=hint)
        self.stuck = stuck
        self.restored = restored
        self.whole = whole


class NoAnswerError(LbhookError):
    """IMDS gave no usable answer within the budget."""

    status = 75


class HeldError(LbhookError):
    """Nothing new is applied: this machine is held, or an apply waits for its confirmation."""

    status = 75


class BusyError(LbhookError):
    """Another run holds the lock."""

    status = 75
    busy = True


class ProtocolError(LbhookError):
    """IMDS refused the request, or what answered is not IMDS: waiting will not help."""

    status = 76


class RightsError(LbhookError):
    """Not root where root is needed, or a file that others than root can write."""

    status = 77


class ConfigError(LbhookError):
    """Configuration, a template, or a rendered file that its check refused."""

    status = 78


class RefusedError(ConfigError):
    """Rendered files that their checks refused; `paths` are where they would have been."""

    paths: tuple[PurePosixPath, ...] = ()


# What can't be written outweighs what is wrong, and that what a program refuses.
_GRAVEST = (WriteError, ConfigError, ReloadError)


def together(errors: Sequence[LbhookError]) -> LbhookError:
    """One error with the problems of all, each once, the gravest first; its kind is theirs."""
    kinds = [kind for kind in _GRAVEST if any(isinstance(one, kind) for one in errors)]
    ranked = sorted(errors, key=lambda one: [isinstance(one, kind) for kind in kinds], reverse=True)
    problems = dict.fromkeys(problem for one in ranked for problem in one.problems)
    hints = dict.fromkeys(one.hint for one in ranked if one.hint)
    return next(iter(kinds), LbhookError)(*problems, hint="; ".join(hints))
