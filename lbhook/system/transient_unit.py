"""Commands that the service manager runs, each in a transient unit: systemd-run(1)."""

import itertools
import os
import re
from collections.abc import Mapping, Sequence

from ..processes import ENVIRONMENT, TALKED_TOO_MUCH, TIMED_OUT, Result, Run

_NUMBERS = itertools.count(1)
_STOPPED = 5.0
# A shell's words for a command that tells its status behind all that it says.
_TELLING = 'timeout -s KILL "$0" "$@"; ended=$?; printf "\\0%d\\0" "$ended"; exit "$ended"'
# The last one: what the command itself says may look like it.
_TOLD = re.compile("(.*)\0([0-9]{1,3})\0", re.DOTALL)


def run_by_manager(
    run: Run,
    argv: Sequence[str],
    timeout: float = 30.0,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """Run a command as the service manager does, free of this process's limits, to its own end."""
    unit = f"run-lbhook-{os.getpid()}-{next(_NUMBERS)}.service"
    ended = False
    try:
        words = by_manager(argv, timeout, unit, env)
        result = run(words, timeout=timeout, env=env, stdin=stdin)
        ended = result.status not in (TIMED_OUT, TALKED_TOO_MUCH)
    finally:
        if not ended:
            # The unit has a control group of its own; a job that waits is no process yet.
            run(("systemctl", "kill", "--signal=SIGKILL", unit), timeout=_STOPPED)
            run(("systemctl", "stop", "--no-block", unit), timeout=_STOPPED)
    return _as_it_ended(result)._replace(argv=tuple(argv))


def by_manager(
    argv: Sequence[str], timeout: float, unit: str, env: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """How the service manager is told to run a command.

    It gets the time there that `run` gives it, and ends even if lbhook has gone. What it leaves
    running stays, as by hand.
    """
    limits = (
        *("--collect", "--service-type=exec", f"--property=RuntimeMaxSec={timeout:.3f}"),
        *("--property=KillMode=process", "--property=KillSignal=SIGKILL"),
        "--property=IgnoreSIGPIPE=no",
    )
    # It would be the command itself, and systemd 252 can't read that again if it has lines.
    named = (f"--unit={unit}", "--description=A command of lbhook")
    given = [f"--setenv={name}={value}" for name, value in {**(env or {}), **ENVIRONMENT}.items()]
    # Else systemd would put in what it knows by the names of a shell's variables: nothing.
    words = (word.replace("$", "$$") for word in ("sh", "-c", _TELLING, f"{timeout:.3f}", *argv))
    return ("systemd-run", "--quiet", "--wait", "--pipe", *named, *limits, *given, "--", *words)


def _as_it_ended(result: Result) -> Result:
    """With the status that the command itself had. To systemd-run some signals are a success
    (systemd.service(5), SuccessExitStatus=), and so is a manager that was replaced meanwhile."""
    told = _TOLD.match(result.output)
    if told:
        output = f"{told[1]}{result.output[told.end() :]}"
        return result._replace(status=int(told[2]), output=output)
    if result.ok:
        lost = f"{result.output}\nsystemd did not run it to its end"
        return result._replace(status=1, output=lost)
    return result
