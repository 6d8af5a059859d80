"""Reloads, and what is known of a unit after one."""

from functools import partial

from lbhook.deployment.reloads import reload
from lbhook.plan import Change, Outcome, Reload
from lbhook.planning.verification import main_pid

from ..stand import NO_ENV, Runner, Stand


def _says(text: str, _: tuple[str, ...]) -> tuple[int, str]:
    return 0, text


def test_a_program_runs_by_the_unit_that_its_target_names(stand: Stand) -> None:
    """haproxy.service may run beside it, and is not looked at; nor is what is another program."""
    own = '[targets.haproxy]\nreload_unit = "haproxy@edge.service"\n'
    settings = stand.settings(NO_ENV + own)
    host, (target,) = stand.host(settings), settings.active()
    assert main_pid(host, target) == 0
    machine = stand.place / "machine"
    (machine / "run/systemd/system").mkdir(parents=True)
    for pid, name in ((50, "haproxy"), (51, "haproxy"), (52, "docker")):
        (machine / f"proc/{pid}").mkdir(parents=True)
        (machine / f"proc/{pid}/comm").write_text(f"{name}\n", encoding="ascii")
    (machine / "run/haproxy.pid").write_text("50\n", encoding="ascii")
    for pid, found in ((51, 51), (52, 0), (0, 0)):
        shown = f"ActiveState={'active' if pid else 'inactive'}\nMainPID={pid}\n"
        stand.runner = Runner(partial(_says, shown))
        assert main_pid(stand.host(settings), target) == found


def test_a_reload_of_the_users_own_may_be_a_restart(stand: Stand) -> None:
    """What verifies it then looks at the program that runs now: the old one listens nowhere, and
    one that does not run is not verified."""
    own = '[targets.nginx]\nreload = ["systemctl", "restart", "nginx"]\n'
    settings = stand.settings(NO_ENV + own)
    machine = stand.place / "machine"
    (machine / "run/systemd/system").mkdir(parents=True)
    (machine / "proc/51").mkdir(parents=True)
    (machine / "proc/51/comm").write_text("nginx\n", encoding="ascii")
    running = [50]

    def systemctl(argv: tuple[str, ...]) -> tuple[int, str]:
        running[0] += argv[:2] == ("systemctl", "restart")
        return 0, f"ActiveState=active\nMainPID={running[0]}\n"

    stand.runner = Runner(systemctl)
    host, (target,) = stand.host(settings), settings.active()
    assert main_pid(host, target) == 0
    change = Change(target, None, None, Outcome.CHANGED, reload=Reload.DUE)
    assert reload(host, change) is Reload.DONE
    assert main_pid(host, target) == 51
