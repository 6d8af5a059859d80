"""Real processes: their time, their end, their output and what they are given."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lbhook.processes import (
    NOT_EXECUTABLE,
    NOT_FOUND,
    TALKED_TOO_MUCH,
    TIMED_OUT,
    Result,
    filled,
    find,
    forked,
    run,
)

from .program import REPO


def shell(script: str, timeout: float = 30.0) -> Result:
    """Run a script."""
    return run(("sh", "-c", script), timeout)


def is_gone(pid: int) -> bool:
    """Whether a process has ended, soon."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


def test_output_and_errors_are_kept_as_they_came() -> None:
    """Both in one text, in order."""
    result = shell("echo one; echo two >&2; echo three; exit 3")
    assert (result.status, result.ok, result.output) == (3, False, "one\ntwo\nthree\n")
    assert result.report() == (
        "`sh -c echo one; echo two >&2; echo three; exit 3` ended with status 3\n"
        "  one\n  two\n  three"
    )


def test_output_that_is_no_text_is_kept_readable() -> None:
    """What is not UTF-8 is escaped."""
    assert shell(r"printf 'a\377b'").output == r"a\xffb"


def test_of_much_output_the_end_is_kept() -> None:
    """The last 16 MiB of it, and the last lines in a report."""
    result = shell("head -c 17000000 /dev/zero | tr '\\0' x; echo; seq 100")
    assert len(result.output) == 16 * 1024 * 1024
    assert result.report().splitlines()[1:] == [f"  {number}" for number in range(61, 101)]


def test_a_command_gets_a_minimal_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours, and a path that nobody chose."""
    monkeypatch.setenv("LD_PRELOAD_NOT", "1")
    names = {line.split("=")[0] for line in run(("env",)).output.splitlines()}
    assert names == {"PATH", "LC_ALL", "HOME"}
    assert shell("pwd").output == "/\n"


def test_a_command_has_nothing_to_read() -> None:
    """No standard input, and no terminal."""
    assert run(("cat",), timeout=5).output == ""
    assert shell("test -t 0 || test -t 1 || test -t 2").status == 1


def test_a_command_has_a_session_of_its_own() -> None:
    """A signal to lbhook's process group does not reach it."""
    sid = int(shell("cut -d' ' -f6 /proc/self/stat").output)
    assert sid != os.getsid(0)


def test_after_its_time_the_whole_group_ends() -> None:
    """Children among it; what they said until then is kept."""
    begin = time.monotonic()
    result = shell("trap '' TERM; sleep 77 & echo $! $$; wait", timeout=0.3)
    assert time.monotonic() - begin < 60
    assert result.status == TIMED_OUT
    child, leader = map(int, result.output.split())
    assert is_gone(child)
    assert is_gone(leader)
    assert "took longer than 0 s and was ended" in result.report()


def test_a_command_that_talks_without_end_is_ended() -> None:
    """What it says is kept in memory, of which a small machine has little."""
    result = run(("yes",), timeout=30)
    assert result.status == TALKED_TOO_MUCH
    assert result.report().splitlines()[0] == "`yes` said more than 64 MiB and was ended"


def test_a_daemon_that_a_command_leaves_is_not_waited_for() -> None:
    """It keeps its output open, and lives on."""
    begin = time.monotonic()
    result = shell("sleep 77 & echo $!", timeout=100)
    assert time.monotonic() - begin < 60
    pid = int(result.output)
    assert result.status == 0
    os.kill(pid, signal.SIGKILL)


def test_an_interrupt_ends_the_command() -> None:
    """What interrupts lbhook does not leave its commands behind."""

    class StoppedError(BaseException):
        pass

    def interrupt(number: int, frame: object) -> None:
        raise StoppedError

    old = signal.signal(signal.SIGUSR1, interrupt)
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        with pytest.raises(StoppedError):
            shell("echo $$ >/proc/self/fd/1; exec sleep 78")
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, old)
    running = Path("/proc").glob("[0-9]*/cmdline")
    assert not any(words(path) == ["sleep", "78"] for path in running)


def words(path: Path) -> list[str]:
    """The command line of a process."""
    try:
        return path.read_text().strip("\0").split("\0")
    except OSError:
        return []


def test_a_command_that_ends_by_a_signal() -> None:
    """The signal is named."""
    assert shell("kill -9 $$").report() == "`sh -c kill -9 $$` was ended by signal 9"


def test_a_command_that_is_not_there() -> None:
    """It is not found, or can't be run."""
    missing = run(("no-such-program", "x"))
    assert (missing.status, missing.report().splitlines()[0]) == (
        NOT_FOUND,
        "`no-such-program x` was not found",
    )
    assert run(("/etc/passwd",)).status == NOT_EXECUTABLE
    assert find("no-such-program") is None
    assert find("sh") is not None


def test_places_are_filled_in() -> None:
    """In every word, as often as they stand there; other braces stay."""
    argv = ("x", "{path}:{path}", "{staged}", "{other}")
    assert filled(argv, {"path": "/p", "staged": "/s"}) == ("x", "/p:/p", "/s", "{other}")


def test_a_command_reads_what_it_is_given() -> None:
    """More than a pipe holds, to a command that reads it and to one that does not; and nothing,
    unless it is given something."""
    much = b"x" * 1_000_000
    assert run(("wc", "-c"), stdin=much).output == "1000000\n"
    assert run(("true",), stdin=much).ok
    assert run(("cat",)).output == ""


def test_a_process_with_a_thousand_open_files_can_run_one() -> None:
    """As under a parent that leaves its own open; select() can't wait for a descriptor so high."""
    script = """
import os, resource
from lbhook.processes import run
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
files = [os.open("/dev/null", os.O_RDONLY) for _ in range(1100)]
print(files[-1] > 1024, run(("true",)).status, run(("sleep", "9"), timeout=0.1).status)
"""
    done = subprocess.run(
        (sys.executable, "-c", script),
        env={"PYTHONPATH": str(REPO)},
        capture_output=True,
        text=True,
    )
    assert (done.stdout, done.stderr) == (f"True 0 {TIMED_OUT}\n", "")


def test_a_copy_of_this_process_says_what_it_comes_to() -> None:
    """More than a pipe holds at once; and it leaves no child behind."""
    assert forked(lambda: b"x" * 300_000, 10.0) == b"x" * 300_000
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_copy_that_fails_or_is_late_says_nothing() -> None:
    """Whatever it does: it neither raises here nor goes on."""

    def fails() -> bytes:
        raise ValueError

    def is_late() -> bytes:
        time.sleep(60)
        return b"late"

    assert forked(fails, 10.0) == b""
    assert forked(is_late, 0.1) == b""
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_copy_ends_with_its_process() -> None:
    """Also when that one is killed, and could not tell."""
    code = (
        "import os, time; from lbhook.processes import forked;"
        " forked(lambda: print(os.getpid(), flush=True) or time.sleep(60), 60)"
    )
    argv = [sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=REPO) as process:
        assert process.stdout
        copy = int(process.stdout.readline())
        process.kill()
    end = time.monotonic() + 30
    while Path(f"/proc/{copy}").exists() and time.monotonic() < end:
        if "Z" in Path(f"/proc/{copy}/stat").read_text().rpartition(")")[2].split()[0]:
            break
        time.sleep(0.01)
    else:
        assert not Path(f"/proc/{copy}").exists()


@pytest.mark.parametrize(
    ("said", "calls"),
    [
        ("Failed to connect to bus: Connection refused", 3),
        ("Failed to get properties: Connection reset by peer", 3),
        ("Failed to get properties: Transport endpoint is not connected", 3),
        ("Failed to connect to bus: No such file or directory", 1),
        ("curl: Failed to connect to port 80: Connection refused", 1),
    ],
)
def test_a_manager_that_is_replaced_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, calls: int
) -> None:
    """An upgrade of systemd or libc executes PID 1 anew, and nobody answers for a moment."""
    script = f'echo >>{tmp_path}/calls; test $(wc -l <{tmp_path}/calls) = 3 || {{ echo "{said}" >&2; exit 1; }}'  # noqa: E501
    (tmp_path / "systemctl").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setattr("lbhook.processes.PATH", f"{tmp_path}")
    assert run(("systemctl", "show", "nginx.service")).ok == (calls == 3)
    assert len((tmp_path / "calls").read_text().splitlines()) == calls
