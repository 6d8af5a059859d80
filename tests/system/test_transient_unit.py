"""What the service manager is asked to run, and how it is known to have ended."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from lbhook.processes import TALKED_TOO_MUCH, TIMED_OUT, Result, run
from lbhook.system.transient_unit import by_manager, run_by_manager


def test_a_command_of_the_service_manager_is_the_same_command() -> None:
    """systemd would put its own values, or nothing, in place of what a shell is to expand; and it
    ends what has gone on for too long."""
    argv = by_manager(("sh", "-c", "echo ${1%/*} $2\n"), timeout=2.5, unit="one.service")
    assert (argv[0], argv[-4:]) == ("systemd-run", ("2.500", "sh", "-c", "echo $${1%/*} $$2\n"))
    assert "--property=RuntimeMaxSec=2.500" in argv
    assert "--setenv=LC_ALL=C.UTF-8" in argv
    assert {"--wait", "--pipe", "--collect", "--unit=one.service"} <= set(argv)


def here(
    argv: Sequence[str],
    timeout: float = 30.0,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
) -> Result:
    """What systemd-run would run, run at once; what comes of it is a success, as to systemd-run."""
    own = argv[argv.index("--") + 1 :]
    done = run([word.replace("$$", "$") for word in own], timeout, env, stdin)
    return done._replace(status=0) if done.status < TIMED_OUT else done


@pytest.mark.parametrize(
    ("script", "status", "output"),
    [
        ("echo well; cat", 0, "well\nread"),
        ("echo no >&2; exit 3", 3, "no\n"),
        (r"printf 'a\0000\000b'; exit 3", 3, "a\x000\0b"),
        ("kill -TERM $$", 143, None),
        ("exec /nowhere/at/all", 127, None),
    ],
)
def test_a_command_of_the_service_manager_tells_its_own_end(
    script: str, status: int, output: str | None
) -> None:
    """systemd-run calls the death by some signals a success: systemd.service(5)."""
    argv = ("sh", "-c", script)
    done = run_by_manager(here, argv, 5.0, {}, b"read")
    assert (done.argv, done.status) == (argv, status)
    assert output is None or done.output == output


def test_a_command_whose_end_nobody_tells_has_failed() -> None:
    """As when systemd is replaced meanwhile, or stops the unit."""
    done = run_by_manager(lambda argv, *_, **__: Result(tuple(argv), 0, "half"), ("check",))
    assert (done.ok, done.output) == (False, "half\nsystemd did not run it to its end")
    refused = Result(("x",), 1, "Failed to connect to bus")
    assert run_by_manager(lambda *_, **__: refused, ("check",)).output == refused.output


@pytest.mark.parametrize("status", [TIMED_OUT, TALKED_TOO_MUCH])
def test_a_command_of_the_service_manager_is_ended_with_its_unit(status: int) -> None:
    """It is in a control group of its own, where the end of systemd-run ends nothing."""
    asked: list[tuple[str, ...]] = []

    def noted(argv: Sequence[str], *_: Any, **__: Any) -> Result:
        asked.append(tuple(argv))
        return Result(tuple(argv), status)

    assert run_by_manager(noted, ("reload",)).status == status
    unit = asked[0][asked[0].index("--pipe") + 1].partition("=")[2]
    assert asked[1:] == [
        ("systemctl", "kill", "--signal=SIGKILL", unit),
        ("systemctl", "stop", "--no-block", unit),
    ]
    assert not unit.startswith("lbhook")
