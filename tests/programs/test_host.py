"""What a host hands out, and whose limits hold for its commands."""

from pathlib import Path

import pytest

from lbhook.config.shipped import SHIPPED
from lbhook.programs.systemd import PROGRAMS

from ..stand import NO_ENV, Stand, body, target

# Those of shipped targets, and those that a target of one's own may reload.
NAMES = {
    *(kind.daemon for kind in SHIPPED.values() if kind.daemon),
    *(program.name for program in PROGRAMS.values()),
}
OWN = ("check", "check_live", "reload", "verify", "observe")


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_program_has_its_own_module(tmp_path: Path, name: str) -> None:
    """Every program that a target can be for is asked by the module of that name."""
    stand = Stand(tmp_path)
    daemon = stand.host(stand.settings("")).daemon(name)
    assert type(daemon).__module__ == f"lbhook.programs.{name}"


@pytest.mark.parametrize("name", ["", "caddy", "nginx.service"])
def test_no_program_is_taken_for_another(tmp_path: Path, name: str) -> None:
    """A program without a module is a mistake in lbhook's tables, and is not taken for nginx."""
    stand = Stand(tmp_path)
    host = stand.host(stand.settings(""))
    with pytest.raises(KeyError, match=f"'{name}'"):
        host.daemon(name)


def confine(stand: Stand) -> None:
    """Let lbhook run as in a hardened unit."""
    machine = stand.place / "machine"
    (machine / "proc/self").mkdir(parents=True)
    (machine / "proc/self/status").write_text("Name:\tlbhook\nNoNewPrivs:\t1\n")
    (machine / "run/systemd/system").mkdir(parents=True)
    (machine / "run/dbus").mkdir()
    (machine / "run/dbus/system_bus_socket").touch()


def test_in_a_unit_commands_of_ones_own_are_run_by_pid_1(stand: Stand) -> None:
    """All of a target's, and the hook, with what it reads; elsewhere lbhook runs them itself."""
    commands = {name: [f"/opt/{name}"] for name in OWN}
    settings = stand.settings(
        NO_ENV + '[hooks]\nchanged = ["/opt/hook"]\n' + target("one", **commands)
    )
    stand.apply(settings, body(80))
    by_hand = stand.runner.taken()
    assert {*by_hand} == {f"/opt/{name}" for name in (*OWN, "hook")}
    confine(stand)
    stand.apply(settings, body(80, 443))
    in_a_unit = stand.runner.taken()
    assert all(line.startswith("systemd-run ") for line in in_a_unit)
    assert {line.rpartition(" ")[2] for line in in_a_unit} == {*by_hand}
    assert b'"new"' in stand.runner.read[-1]


def test_in_a_unit_shipped_commands_stay_within_the_limits(stand: Stand) -> None:
    """They fit the shipped targets, and so lose no time."""
    confine(stand)
    defaults = SHIPPED["nftables"].defaults
    settings = stand.settings(NO_ENV + "[targets.nftables]\n")
    host = stand.host(settings)
    (nftables,) = settings.active()
    for name in ("check", "reload", "observe", "remove"):
        host.command(nftables, defaults[name], {"staged": "/a", "path": "/b"})
    assert [argv[0] for argv in stand.runner.calls] == ["nft"] * 4


def test_before_there_is_a_bus_nobody_else_is_asked(stand: Stand) -> None:
    """`systemd-run --wait` would wait for it, and the boot perhaps for lbhook-restore.service."""
    confine(stand)
    (stand.place / "machine/run/dbus/system_bus_socket").unlink()
    own = stand.settings(NO_ENV + target("one", reload=["/opt/reload"]))
    stand.apply(own, body(80))
    assert stand.runner.taken() == ["/opt/reload"]


def test_who_is_not_root_runs_a_command_himself(stand: Stand) -> None:
    """PID 1 would not do it for him: `lbhook plan` in a session that may gain no rights."""
    confine(stand)
    host = stand.host(stand.settings(NO_ENV))
    host.tree.privileged = False
    host.free(("/opt/check",), 1.0)
    assert stand.runner.taken() == ["/opt/check"]
