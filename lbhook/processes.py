"""Running argv with a time limit. Nobody else starts processes.

A command gets a minimal environment, nothing to read unless it is given something, and a session
of its own; when its time is up the whole process group ends. What it prints is kept for the report.
"""

import contextlib
import os
import re
import select
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

if TYPE_CHECKING:
    import subprocess

# Like sudo's secure_path: neither a unit's nor a user's PATH decides which nft is run.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/"}
_MOST_OUTPUT = 16 * 1024 * 1024
_TOO_MUCH = 4 * _MOST_OUTPUT
_MOST_LINES = 40
_LOOK = 0.02
# While PID 1 is replaced, as by an upgrade of systemd, nobody takes connections for a moment.
_OF_MANAGER = ("systemctl", "systemd-run")
_REPLACED = re.compile(
    "Failed to (connect to .*|get properties): "
    "(Connection refused|Connection reset by peer|Transport endpoint is not connected)"
)
_TRIES, _PAUSE = 20, 0.1
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of linux/prctl.h
TIMED_OUT = 124
TALKED_TOO_MUCH = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127


class Result(NamedTuple):
    """What became of a command; `output` is standard output and error as they came."""

    argv: tuple[str, ...]
    status: int
    output: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it ended with status 0 in time."""
        return self.status == 0

    def report(self) -> str:
        """The command, how it ended, and its output, for a message of several lines."""
        how = {
            TIMED_OUT: f"took longer than {self.seconds:.0f} s and was ended",
            TALKED_TOO_MUCH: f"said more than {_TOO_MUCH // 1024 // 1024} MiB and was ended",
            NOT_FOUND: "was not found",
        }
        signalled = f"was ended by signal {-self.status}"
        ended = signalled if self.status < 0 else f"ended with status {self.status}"
        end = how.get(self.status, ended)
        lines = self.output.strip().splitlines()[-_MOST_LINES:]
        return "\n".join([f"`{' '.join(self.argv)}` {end}", *(f"  {line}" for line in lines)])


class Run(Protocol):
    """How the other modules run a command."""

    def __call__(
        self,
        argv: Sequence[str],
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        """Run a command for at most `timeout` seconds, with `env` beside what every one gets, and
        `stdin` to read."""


def run(
    argv: Sequence[str],
    timeout: float = 30.0,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """Run a command to its end, or to the end of its time."""
    for _ in range(_TRIES if argv[0] in _OF_MANAGER else 1):
        result = _run(argv, timeout, env, stdin)
        if result.ok or not _REPLACED.fullmatch(result.output.strip()):
            break
        time.sleep(_PAUSE)
    return result


def _run(
    argv: Sequence[str], timeout: float, env: Mapping[str, str] | None, stdin: bytes
) -> Result:
    # Not a pipe: its end would come with that of the last daemon that the command started.
    kept = os.memfd_create("output", os.MFD_CLOEXEC)
    begin = time.monotonic()
    try:
        status = _status(_started(argv, kept, env or {}, stdin), kept, timeout)
        output = _last(kept).decode("utf-8", "backslashreplace")
    except OSError as error:
        status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        output = str(error.strerror)
    finally:
        os.close(kept)
    seconds = time.monotonic() - begin
    return Result(argv=tuple(argv), status=status, output=output, seconds=seconds)


def forked(work: Callable[[], bytes], timeout: float) -> bytes:
    """What a copy of this process comes to; empty if it did not end well in time.

    It ends with this process, however that ends, and with it all that it has made of the kernel.
    """
    reading, writing = os.pipe2(os.O_CLOEXEC)
    parent = os.getpid()
    child = os.fork()
    if not child:
        _be_a_copy(work, writing, parent)
    os.close(writing)
    try:
        said, whole = _read(reading, time.monotonic() + timeout)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, 9)
        os.waitpid(child, 0)
    return said if whole else b""


def _be_a_copy(work: Callable[[], bytes], writing: int, parent: int) -> NoReturn:
    """Do a piece of work in place of what this process was about, and end."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_END_WITH_PARENT, 9, 0, 0, 0)
        if os.getppid() == parent:
            with os.fdopen(writing, "wb") as out:
                out.write(work())
    except BaseException:
        os._exit(1)
    finally:
        os._exit(0)


def _read(reading: int, end: float) -> tuple[bytes, bool]:
    """What comes before `end`, and whether that was all."""
    said, readable = b"", select.poll()
    readable.register(reading, select.POLLIN)
    while (left := end - time.monotonic()) > 0:
        if readable.poll(1000 * left):
            found = os.read(reading, 1 << 16)
            if not found:
                return said, True
            said += found
    return said, False


def find(program: str) -> str | None:
    """Where a program is, on the fixed search path; None if it is not installed."""
    # Imported only where a program is wanted: it brings three ways to compress.
    import shutil

    return shutil.which(program, path=PATH)


def filled(argv: Sequence[str], places: Mapping[str, object]) -> tuple[str, ...]:
    """A command with `{path}` and `{staged}` replaced, once: what takes their place stays."""
    names = "|".join(map(re.escape, places))
    return tuple(re.sub(f"{{({names})}}", lambda one: str(places[one[1]]), word) for word in argv)


def _started(
    argv: Sequence[str], output: int, env: Mapping[str, str], stdin: bytes
) -> "subprocess.Popen[bytes]":
    # Not above: an unchanged answer may need no command.
    import subprocess

    # Not a pipe: a command that does not read what it is given would keep its writer waiting.
    with os.fdopen(os.memfd_create("input", os.MFD_CLOEXEC), "w+b") as given:
        given.write(stdin)
        given.seek(0)
        return subprocess.Popen(
            argv,
            stdin=given,
            stdout=output,
            stderr=output,
            env={**env, **ENVIRONMENT},
            executable=find(argv[0]),
            cwd="/",
            start_new_session=True,
        )


def _status(process: "subprocess.Popen[bytes]", output: int, timeout: float) -> int:
    end = time.monotonic() + timeout
    # Popen.wait() with a time-out sleeps between its looks, and so notices the end late.
    watched, ended = os.pidfd_open(process.pid), select.poll()
    ended.register(watched, select.POLLIN)
    try:
        while True:
            left = end - time.monotonic()
            if ended.poll(1000 * max(0.0, min(left, _LOOK))):
                return process.wait()
            if left <= 0 or os.fstat(output).st_size > _TOO_MUCH:
                _end(process)
                return TIMED_OUT if left <= 0 else TALKED_TOO_MUCH
    except BaseException:
        _end(process)
        raise
    finally:
        os.close(watched)


def _end(process: "subprocess.Popen[bytes]") -> None:
    import signal
    import subprocess

    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)


def _last(output: int) -> bytes:
    size = os.fstat(output).st_size
    return os.pread(output, _MOST_OUTPUT, max(0, size - _MOST_OUTPUT))
