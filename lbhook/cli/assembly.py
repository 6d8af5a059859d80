"""What a command works with, put together from its options.

What only a command needs is imported when it runs: --help and --version are to be quick.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import LbhookError, UsageError
from .run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from ..config.config import Settings
    from ..deployment.report import Report
    from ..imds.planned import Plans
    from ..installation.installation import Installation
    from ..programs.host import Host
    from ..runs.restoration import Restoration
    from ..runs.undo import Undo
    from ..runs.update import Update


def update(
    run: Run,
    endpoint: str | None,
    root: "Path | None",
    coming: Sequence[str] = (),
    going: Sequence[str] = (),
    **wish: Any,
) -> "Update":
    """An update of this machine, or of a directory, as the options ask for it."""
    from ..runs.update import Update, Wish

    if wish.get("metadata") is not None and wish.get("cached"):
        raise UsageError(
            "--metadata and --cached can't both be meant", hint="leave one of them out"
        )
    plans = _plans(coming, going) if coming or going else None
    settings = run.settings(endpoint)
    known = [target.name for target in settings.active()]
    for name in wish.get("only", ()):
        if name not in known:
            from ..config.schema import suggestion

            raise UsageError(
                f"--only {name}: no such target is on{suggestion(name, known)}",
                hint="a shipped target is on when its table is in the configuration",
            )
    return Update(
        host=_host(settings, root),
        settings=settings,
        wish=Wish(plans=plans, **wish),
        voice=run.console.voice(),
        read_stdin=_read_stdin,
    )


def _plans(coming: Sequence[str], going: Sequence[str]) -> "Plans":
    from ..imds.planned import Plans, read

    return Plans(coming=tuple(map(read, coming)), going=tuple(map(read, going)))


def unbegun(run: Run, root: "Path | None", error: LbhookError) -> "Report":
    """What an apply came to that ended before there was anything to apply with: status.json has
    it as well, where it would be if the configuration can't be gone by."""
    from ..config import config, rights
    from ..deployment.report import Report
    from ..runs.aftermath import Aftermath

    result = Report(outcome="failed", status=error.status, problems=error.problems, hint=error.hint)
    settings = config.Settings()
    with contextlib.suppress(LbhookError):
        read = run.settings()
        rights.demand(read)
        settings = read
    with contextlib.suppress(UsageError):
        aftermath = Aftermath(_host(settings, root), settings, run.console.voice())
        aftermath.leave_status(result)
        aftermath.leave_metrics("apply", result, 0.0)
    return result


def _read_stdin() -> bytes:
    """A body on standard input, or the beginning of one that is too long."""
    from ..metadata.reader import MOST_BYTES

    if sys.stdin is None:  # closed before lbhook began
        raise UsageError(
            "--metadata -: standard input is closed", hint="give a file, or - for standard input"
        )
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def restoring(run: Run, root: "Path | None") -> "Restoration":
    """What gives this boot what it lacks before there is a network."""
    from ..runs.restoration import Restoration

    asking = update(run, endpoint=None, root=root)
    return Restoration(host=asking.host, inquiry=asking.inquiry)


def undoing(run: Run, root: "Path | None") -> "Undo":
    """What takes back what lbhook did to this machine, or to a directory."""
    from ..runs.undo import Undo

    settings = run.settings()
    return Undo(host=_host(settings, root), settings=settings, warn=run.console.warn)


def installation(run: Run, root: "Path | None") -> "Installation":
    """What brings lbhook onto this machine, or below a directory, and takes it away again."""
    from ..installation.installation import Installation, program

    return Installation(undo=undoing(run, root), program=program(live=root is None))


def _host(settings: "Settings", root: "Path | None") -> "Host":
    from ..programs.host import host

    if root is not None:
        root = root.absolute()
        if root.exists() and not root.is_dir():
            raise UsageError(
                f"--root {root}: not a directory", hint="give the one to install below"
            )
        if not root.exists():
            raise UsageError(f"--root {root}: no such directory", hint="make it first")
    return host(settings, root)
