"""Reloads, and what is known of a unit after one."""

from lbhook.deployment.reloads import reload
from lbhook.plan import Change, Outcome, Reload
from lbhook.planning.verification import main_pid

from ..stand import NO_ENV, Runner, Stand


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
