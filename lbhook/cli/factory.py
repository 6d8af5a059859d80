"""What a command works with, put together from its options.

What only a command needs is imported when it runs: --help and --version are to be quick.
"""

import contextlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import LbhookError, UsageError
from .invocation import Invocation

if TYPE_CHECKING:
    from pathlib import Path

    from ..config.settings import Settings
    from ..context import Context, Options
    from ..deployment.report import Report
    from ..installation.installer import Installation
    from ..levers.drain import Drain
    from ..levers.standstill import Hold
    from ..metadata.planned import Plans
    from ..programs.host import Host
    from ..runs.fetch import Fetch
    from ..runs.restoration import Restoration
    from ..runs.unconfirmed import Unconfirmed
    from ..runs.undo import Undo
    from ..runs.update import Update
    from ..telling.history import History


def update(
    invocation: Invocation,
    endpoint: str | None,
    root: "Path | None",
    coming: Sequence[str] = (),
    going: Sequence[str] = (),
    **chosen: Any,
) -> "Update":
    """An update of this machine, or of a directory, as the options ask for it."""
    from ..runs.update import Update

    plans = _plans(coming, going) if coming or going else None
    return Update(_chosen(invocation, endpoint, root, plans=plans, **chosen))


def fetch(
    invocation: Invocation, endpoint: str | None, root: "Path | None", **chosen: Any
) -> "Fetch":
    """What asks for this machine, or for a directory."""
    from ..runs.fetch import Fetch

    return Fetch(_chosen(invocation, endpoint, root, **chosen))


def _chosen(
    invocation: Invocation, endpoint: str | None, root: "Path | None", **chosen: Any
) -> "Context":
    """What a run is given, as the options ask for it."""
    from ..context import Options

    if chosen.get("metadata") is not None and chosen.get("cached"):
        raise UsageError(
            "--metadata and --cached can't both be meant", hint="leave one of them out"
        )
    settings = invocation.settings(endpoint)
    known = [target.name for target in settings.active()]
    for name in chosen.get("only", ()):
        if name not in known:
            from ..layout import suggestion

            raise UsageError(
                f"--only {name}: no such target is on{suggestion(name, known)}",
                hint="a shipped target is on when its table is in the configuration",
            )
    return _context(invocation, settings, root, Options(**chosen))


def _context(
    invocation: Invocation,
    settings: "Settings",
    root: "Path | None",
    options: "Options | None" = None,
) -> "Context":
    """What a run of this machine, or of a directory, is given."""
    from ..context import Context, Options

    return Context(
        host=_host(settings, root),
        settings=settings,
        options=options or Options(),
        reporter=invocation.console.reporter(),
        read_stdin=_read_stdin,
    )


def _plans(coming: Sequence[str], going: Sequence[str]) -> "Plans":
    from ..metadata.planned import Plans, read

    return Plans(coming=tuple(map(read, coming)), going=tuple(map(read, going)))


def unbegun(invocation: Invocation, root: "Path | None", error: LbhookError) -> "Report":
    """What an apply came to that ended before there was anything to apply with: status.json has
    it as well, where it would be if the configuration can't be gone by."""
    from ..config import permissions
    from ..config import settings as config
    from ..deployment.report import Report
    from ..telling.publisher import Publisher

    result = Report(outcome="failed", status=error.status, problems=error.problems, hint=error.hint)
    settings = config.Settings()
    with contextlib.suppress(LbhookError):
        read = invocation.settings()
        permissions.demand(read)
        settings = read
    with contextlib.suppress(UsageError):
        publisher = Publisher(_context(invocation, settings, root))
        publisher.leave_status(result)
        publisher.leave_metrics("apply", result, 0.0)
    return result


def _read_stdin() -> bytes:
    """A body on standard input, or the beginning of one that is too long."""
    from ..metadata.reader import MOST_BYTES

    if sys.stdin is None:  # closed before lbhook began
        raise UsageError(
            "--metadata -: standard input is closed", hint="give a file, or - for standard input"
        )
    return sys.stdin.buffer.read(MOST_BYTES + 1)


def restoring(invocation: Invocation, root: "Path | None") -> "Restoration":
    """What gives this boot what it lacks before there is a network."""
    from ..runs.restoration import Restoration

    return Restoration(_context(invocation, invocation.settings(), root))


def undoing(invocation: Invocation, root: "Path | None") -> "Undo":
    """What takes back what lbhook did to this machine, or to a directory."""
    from ..runs.undo import Undo

    return Undo(_context(invocation, invocation.settings(), root))


def draining(invocation: Invocation) -> "Drain":
    """What takes this machine out of rotation, and back."""
    from ..levers.drain import Drain

    return Drain(_context(invocation, invocation.settings(), None))


def hold(invocation: Invocation, root: "Path | None") -> "Hold":
    """What holds this machine, or a directory, and lets it go on."""
    from ..levers.standstill import Hold
    from ..system.caller import caller

    context = _context(invocation, invocation.settings(), root)
    return Hold(context, caller(context.host.machine))


def unconfirmed(invocation: Invocation, root: "Path | None") -> "Unconfirmed":
    """The apply that waits for its confirmation, on this machine or in a directory."""
    return waiting(invocation, _context(invocation, invocation.settings(), root))


def waiting(invocation: Invocation, context: "Context") -> "Unconfirmed":
    """The same, of a run that has begun."""
    from ..runs.unconfirmed import Unconfirmed
    from ..system.caller import caller

    return Unconfirmed(context, caller(context.host.machine), _reverting(invocation))


def _reverting(invocation: Invocation) -> Sequence[str]:
    """The command line by which the service manager puts back what nobody has confirmed."""
    from pathlib import Path

    program = Path(sys.argv[0]).resolve()
    # As `python -m lbhook` has it.
    words = ("-m", "lbhook") if program.name == "__main__.py" else (str(program),)
    config = ("--config", str(invocation.config.absolute())) if invocation.config else ()
    return (sys.executable, *words, *config, "rollback", "--unconfirmed")


def say_held(invocation: Invocation, host: "Host") -> bool:
    """Warn that nothing new is applied here, and until when; whether it is so."""
    from ..levers import standstill

    found = standstill.in_force(host.state)
    if found:
        invocation.console.warn(f"{found.text}; {found.remedy}")
    return found is not None


def history(invocation: Invocation, root: "Path | None") -> "History":
    """Which rules came and went on this machine, or in a directory."""
    from ..telling.history import History

    return History(_host(invocation.settings(), root))


def installation(invocation: Invocation, root: "Path | None") -> "Installation":
    """What brings lbhook onto this machine, or below a directory, and takes it away again."""
    from ..installation.executable import running
    from ..installation.installer import Installation

    return Installation(undo=undoing(invocation, root), program=running(live=root is None))


def lacking(update: "Update") -> tuple[str, ...]:
    """What lbhook's units can't do that the configuration asks for; for one of them it is too
    late to be told."""
    from ..system.sd_notify import notifier

    if notifier().address:
        return ()
    from ..programs import unit_limits

    found = unit_limits.lacking(update.context.host, update.context.settings)
    return tuple(f"{one.text}; {one.remedy}" for one in found)


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
