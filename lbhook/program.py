"""One run of the program: the command line called, and the one place that decides how it ends."""

import gc
import io
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from .errors import BUG, INTERRUPTED, TERMINATED, LbhookError, TerminatedError

if TYPE_CHECKING:
    import click

    from .cli.invocation import Invocation

# Cycles are looked for so often in what is imported, and lives on, that it takes a tenth of a run.
_MADE_BETWEEN_LOOKS = 100_000


def main() -> NoReturn:
    """Invocation the command line and exit; the one place that decides how."""
    gc.set_threshold(_MADE_BETWEEN_LOOKS)
    signal.signal(signal.SIGTERM, _terminate)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, _terminate)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # An arrow that the locale can't write is no reason to fail.
        sys.stdout.reconfigure(errors="replace")
    status = _run()
    gc.freeze()  # the process ends: Python need not look through everything once more
    sys.exit(status)


def _run() -> int:
    import click

    from .cli.invocation import Invocation
    from .cli.main import cli

    invocation = Invocation()
    try:
        return int(cli(obj=invocation, prog_name="lbhook", standalone_mode=False) or 0)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.UsageError as error:
        return _misused(invocation, error)
    except LbhookError as error:
        invocation.console.error(error)
        return error.status
    except SystemExit:  # click's answer to a pipe that nobody reads, which is no failure
        return 0
    except (KeyboardInterrupt, click.Abort):
        invocation.console.problems(("interrupted; nothing is left half done",), "")
        return INTERRUPTED
    except TerminatedError:
        invocation.console.problems(("terminated; nothing is left half done",), "")
        return TERMINATED
    except Exception:
        import traceback

        invocation.console.bug(traceback.format_exc())
        invocation.console.problems(("this is a bug in lbhook; no change was applied",), "")
        return BUG
    finally:
        invocation.console.done()


def _misused(invocation: "Invocation", error: "click.UsageError") -> int:
    """A mistake on the command line, in the words of every other error."""
    import click

    if type(error).__name__ == "NoArgsIsHelpError":
        error.show()
        return error.exit_code
    text = error.format_message().rstrip(".")
    text = text[:1].lower() + text[1:]
    if isinstance(error, click.NoSuchOption):
        from .config.schema import nearest

        known = [name for one in error.ctx.command.params for name in one.opts] if error.ctx else []
        text = f"no such option: {error.option_name}{nearest(error.option_name, known)}"
    elif isinstance(error, click.BadParameter) and error.message:
        named = error.param.opts[0] if error.param else ""
        also = f" (or {error.param.envvar})" if error.param and error.param.envvar else ""
        text = f"{named}{also}: {error.message}"
    path = error.ctx.command_path if error.ctx else "lbhook"
    invocation.console.problems((text,), f"`{path} --help` shows what there is")
    return error.exit_code


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise TerminatedError
