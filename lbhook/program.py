"""One run of the program: the command line called, and the one place that decides how it ends."""

import os
import signal
import sys

TYPE_CHECKING = False  # as typing has it, which takes a tenth of a start to import
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

    import click

    from .cli.invocation import Invocation

    Handler = Callable[[int, FrameType | None], None] | signal.Handlers

# Cycles are looked for so often in what is imported, and lives on, that it takes a tenth of a run.
_MADE_BETWEEN_LOOKS = 100_000


def main() -> "NoReturn":
    """Call the command line and exit; the one place that decides how."""
    _on_endings(_leave, signal.SIGINT)
    import gc
    import io

    gc.set_threshold(_MADE_BETWEEN_LOOKS)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An arrow that the locale can't write is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    status = _run()
    # All is done and said: from here on a signal ends no more than the process.
    _on_endings(signal.SIG_DFL, signal.SIGINT)
    gc.freeze()  # the process ends: Python need not look through everything once more
    sys.exit(status)


def _on_endings(handler: "Handler", *more: int) -> None:
    """What becomes of a signal that ends lbhook from now on, unless it is ignored, as nohup has
    SIGHUP and a shell without jobs SIGINT."""
    signal.signal(signal.SIGTERM, handler)
    for number in (signal.SIGHUP, *more):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _leave(number: int, frame: "FrameType | None") -> None:
    """Quietly, as long as nothing is begun: whatever is being imported is not to be gone through
    once more, and `errors` may be what is."""
    os._exit(130 if number == signal.SIGINT else 143)


def _stamp() -> object:
    """What tells the file that was started from any other that takes its place."""
    try:
        found = os.stat(sys.argv[0])  # noqa: PTH116  (before anything is imported)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


def _failed(invocation: "Invocation", began: object) -> int:
    """What nobody foresaw: an upgrade took away what was still to be imported, or a bug."""
    from .errors import BUG, NoAnswerError

    if _stamp() == began:
        import traceback

        invocation.console.bug(traceback.format_exc())
        invocation.console.problems(("this is a bug in lbhook; no change was applied",), "")
        return BUG
    said = "replaced by another lbhook while it ran; the next run settles what this one began"
    try:
        invocation.console.problems((said,), "")
    except ImportError:
        sys.stderr.write(f"lbhook: {said}\n")
    return NoAnswerError.status


def _run() -> int:
    began = _stamp()
    from .cli.invocation import Invocation
    from .cli.work import of_a_unit
    from .errors import INTERRUPTED, TERMINATED, LbhookError, TerminatedError

    invocation = Invocation()
    run = of_a_unit(sys.argv[1:], invocation) or _command_line(invocation)
    try:
        _on_endings(_terminate)
        if signal.getsignal(signal.SIGINT) is _leave:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        return run()
    except LbhookError as error:
        invocation.console.error(error)
        return error.status
    except KeyboardInterrupt:
        invocation.console.problems(("interrupted; nothing is left half done",), "")
        return INTERRUPTED
    except TerminatedError:
        invocation.console.problems(("terminated; nothing is left half done",), "")
        return TERMINATED
    except Exception:
        return _failed(invocation, began)
    finally:
        invocation.console.done()


def _command_line(invocation: "Invocation") -> "Callable[[], int]":
    """The command that a command line asks for, to be called for its exit status."""
    import click

    from .cli.main import cli

    def call() -> int:
        try:
            return int(cli(obj=invocation, prog_name="lbhook", standalone_mode=False) or 0)
        except click.exceptions.Exit as end:
            return end.exit_code
        except click.UsageError as error:
            return _misused(invocation, error)
        except SystemExit:  # click's answer to a pipe that nobody reads, which is no failure
            return 0
        except click.Abort:
            raise KeyboardInterrupt from None

    return call


def _misused(invocation: "Invocation", error: "click.UsageError") -> int:
    """A mistake on the command line, in the words of every other error."""
    import click

    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return error.exit_code
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    if isinstance(error, click.NoSuchOption):
        from .layout import nearest

        known = [name for one in error.ctx.command.params for name in one.opts] if error.ctx else []
        text = f"no such option: {error.option_name}{nearest(error.option_name, known)}"
    elif isinstance(error, click.BadParameter) and error.message:
        named = error.param.opts[0] if error.param else ""
        also = f" (or {error.param.envvar})" if error.param and error.param.envvar else ""
        text = f"{named}{also}: {error.message}"
    path = error.ctx.command_path if error.ctx else "lbhook"
    invocation.console.problems((text,), f"`{path} --help` shows what there is")
    return error.exit_code


def _terminate(number: int, frame: "FrameType | None") -> "NoReturn":
    from .errors import TerminatedError

    raise TerminatedError
