"""What a reload means in each state of a unit."""

import signal
from pathlib import Path

import pytest

from lbhook.errors import ReloadError
from lbhook.plan import Reload
from lbhook.programs.systemd import Services, Unit
from lbhook.system.machine import Machine

from ..stand import Runner

APP, NGINX, FIREWALLD = "app.service", "nginx.service", "firewalld.service"
SHOW = (
    "systemctl show {} --property=ActiveState,MainPID,Job,UnitFileState,ReloadResult,Result"
    ",LimitNOFILE,LimitNOFILESoft,ExecStart,TriggeredBy,User,Group,AmbientCapabilities,RestrictAddressFamilies"
)


class Clock:
    """A clock that goes only when somebody sleeps."""

    now = 0.0

    def __call__(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let it go by."""
        self.now += seconds


class Host:
    """systemd with one unit, which goes through `states` each time it is asked for."""

    def __init__(self, place: Path, *states: str, **values: str) -> None:
        self.states, self.values = list(states), values
        self.runner = Runner(self.answer)
        self.signals: list[tuple[int, int]] = []
        self.clock = Clock()
        self.refuse, self.stubborn = "", True
        self.lost = 0
        self.children = place / "proc/51/task/51/children"
        self.children.parent.mkdir(parents=True)
        self.children.write_text("60 ")
        (place / "run/systemd/system").mkdir(parents=True)
        for pid, name in ((50, "nginx"), (51, "haproxy"), (52, "conmon"), (53, "firewalld")):
            (place / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
            (place / f"proc/{pid}/comm").write_text(f"{name}\n")
        self.services = Services(
            self.runner, Machine(place), self.kill, self.clock.sleep, self.clock
        )

    def answer(self, argv: tuple[str, ...]) -> tuple[int, str]:
        """What systemctl says."""
        if argv[1] != "show":
            refused = self.refuse in argv
            self.refuse = self.refuse if self.stubborn else ""
            return (1, "it is refused") if refused else (0, "")
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        values = {"ActiveState": state, **self.values}
        return 0, "".join(f"{key}={value}\n" for key, value in values.items())

    def kill(self, pid: int, number: int) -> None:
        """Note a signal."""
        if pid == 51 and "signal" in self.refuse:
            raise PermissionError
        if pid == 50 and self.refuse == "signal":
            raise ProcessLookupError
        self.signals.append((pid, number))
        if len(self.signals) > self.lost:
            self.children.write_text("60 61 ")

    def reload(self, name: str, *, changed: bool = True) -> tuple[Reload, list[str]]:
        """A reload, and what was run for it besides looking."""
        result = self.services.reload(name, timeout=5.0, file_changed=changed)
        return result, [line for line in self.runner.taken() if " show " not in line]


def test_a_unit_is_asked_for_once(tmp_path: Path) -> None:
    """One `systemctl show` has everything."""
    values = {"MainPID": "50", "Job": "12", "UnitFileState": "enabled", "ReloadResult": "exit-code"}
    host = Host(tmp_path, "active", **values)
    assert host.services.unit(NGINX) == Unit(
        name=NGINX, active="active", main_pid=50, job=12, enabled=True, reloaded=False
    )
    assert host.runner.taken() == [SHOW.format(NGINX)]


def test_what_systemd_leaves_out_is_none(tmp_path: Path) -> None:
    """An old systemd knows no ReloadResult, and a unit that is not there has nothing."""
    host = Host(tmp_path, "inactive", Job="", MainPID="")
    assert host.services.unit(APP) == Unit(name=APP, active="inactive")


def test_an_active_unit_is_reloaded_without_waiting(tmp_path: Path) -> None:
    """A queued job, which may wait for lbhook's own."""
    host = Host(tmp_path, "active")
    assert host.reload(APP) == (Reload.QUEUED, [f"systemctl --no-block reload {APP}"])


@pytest.mark.parametrize(
    ("name", "pid", "number"),
    [(NGINX, 50, signal.SIGHUP), ("haproxy.service", 51, signal.SIGUSR2)],
)
def test_nginx_and_haproxy_are_signalled(tmp_path: Path, name: str, pid: int, number: int) -> None:
    """Their main process takes the files at once, from anywhere."""
    host = Host(tmp_path, "active", MainPID=str(pid))
    assert host.reload(name) == (Reload.DONE, [])
    assert host.signals == [(pid, number)]


@pytest.mark.parametrize(("lost", "sent"), [(0, 1), (1, 2), (2, 2)])
def test_a_signal_that_haproxy_lost_is_sent_again(tmp_path: Path, lost: int, sent: int) -> None:
    """Once, if it has started no new worker by then; what it has come to, its sockets show."""
    host = Host(tmp_path, "active", MainPID="51")
    host.lost = lost
    assert host.reload("haproxy.service") == (Reload.DONE, [])
    assert host.signals == [(51, signal.SIGUSR2)] * sent
    assert bool(lost) is (host.clock.now >= 1.0)


def test_a_worker_of_haproxy_is_believed_once_the_unit_is_not_between_two_states(
    tmp_path: Path,
) -> None:
    """Whatever was known of it before: right after a signal it is active still."""
    host = Host(tmp_path, "active", "reloading", "active", MainPID="51")
    assert host.services.unit("haproxy.service").active == "active"
    host.children.write_text("60 61 ")  # it can't listen, and goes again

    def later(seconds: float) -> None:
        host.clock.sleep(seconds)
        host.children.write_text("60 ")

    host.services.sleep = later
    assert not host.services.stays_renewed("haproxy.service", (60,), 5.0)


def test_firewalld_is_reloaded_by_its_own_command(tmp_path: Path) -> None:
    """A signal would not say what came of it, nor when."""
    host = Host(tmp_path, "active", MainPID="53")
    assert host.reload(FIREWALLD) == (Reload.DONE, ["firewall-cmd --reload"])
    assert host.signals == []


def test_a_command_that_fails_once_is_run_again(tmp_path: Path) -> None:
    """firewalld whose table somebody has flushed shuts everybody out until it is."""
    host = Host(tmp_path, "active", MainPID="53")
    host.refuse, host.stubborn = "--reload", False
    assert host.reload(FIREWALLD) == (Reload.DONE, ["firewall-cmd --reload"] * 2)


def test_a_command_that_fails_again_is_refused(tmp_path: Path) -> None:
    """The command, and what it said."""
    host = Host(tmp_path, "active", MainPID="53")
    host.refuse = "--reload"
    with pytest.raises(ReloadError) as caught:
        host.reload(FIREWALLD)
    problem = "`firewall-cmd --reload` ended with status 1\n  it is refused"
    assert caught.value.problems == (problem,)
    assert [one for one in host.runner.taken() if " show " not in one] == [
        "firewall-cmd --reload"
    ] * 2


def test_an_nginx_in_a_container_is_reloaded_by_its_unit(tmp_path: Path) -> None:
    """The main process of its unit is not nginx, and would not understand the signal."""
    host = Host(tmp_path, "active", MainPID="52")
    assert host.reload(NGINX) == (Reload.QUEUED, [f"systemctl --no-block reload {NGINX}"])
    assert host.signals == []


def test_a_main_process_that_has_just_gone_is_nothing(tmp_path: Path) -> None:
    """What starts it again reads the file."""
    host = Host(tmp_path, "active", MainPID="50")
    host.refuse = "signal"
    assert host.reload(NGINX) == (Reload.NONE, [])


def test_a_process_of_another_user_gets_its_signal_from_systemd(tmp_path: Path) -> None:
    """The units may signal those of root alone. haproxy, which forks no worker, is told again."""
    host = Host(tmp_path, "active", MainPID="51")
    host.refuse = "signal"
    told = "systemctl kill --kill-who=main --signal=12 haproxy.service"
    assert host.reload("haproxy.service") == (Reload.DONE, [told, told])


def test_a_signal_may_be_forbidden(tmp_path: Path) -> None:
    """That is said, with what to do."""
    host = Host(tmp_path, "active", MainPID="51")
    host.refuse = "--signal=12"
    with pytest.raises(ReloadError) as caught:
        host.reload("haproxy.service")
    assert caught.value.problems == ("haproxy.service: may not signal its main process 51",)
    assert caught.value.hint == "run as root"


@pytest.mark.parametrize("changed", [True, False])
def test_an_inactive_unit_is_left_alone(tmp_path: Path, changed: bool) -> None:
    """Stopped by hand stays stopped."""
    host = Host(tmp_path, "inactive", UnitFileState="enabled")
    assert host.reload(APP, changed=changed) == (Reload.NONE, [])


@pytest.mark.parametrize("state", ["inactive", "failed"])
def test_a_program_that_its_unit_has_not_started(tmp_path: Path, state: str) -> None:
    """By hand, say: it runs as its pid file tells, and takes the files by the same signal."""
    host = Host(tmp_path, state, UnitFileState="enabled")
    (tmp_path / "run/nginx.pid").write_text("50\n")
    assert host.reload(NGINX) == (Reload.DONE, [])
    assert host.signals == [(50, signal.SIGHUP)]
    assert host.services.running(NGINX) == ("nginx", 50)
    # Another program has that number by now.
    (tmp_path / "proc/50/comm").write_text("sleep\n")
    assert host.reload(NGINX, changed=False) == (Reload.NONE, [])


@pytest.mark.parametrize("state", ["activating", "reloading", "deactivating"])
def test_a_unit_in_between_is_waited_for(tmp_path: Path, state: str) -> None:
    """Its job being run is no reason not to; then it is what it has become."""
    host = Host(tmp_path, state, state, "active", Job="3")
    assert host.reload(APP) == (Reload.QUEUED, [f"systemctl --no-block reload {APP}"])
    assert host.clock.now == pytest.approx(0.2)


@pytest.mark.parametrize("state", ["activating", "reloading", "deactivating"])
def test_a_unit_that_stays_in_between_is_owed(tmp_path: Path, state: str) -> None:
    """A reload now would return 0 and never happen."""
    host = Host(tmp_path, state)
    assert host.reload(APP) == (Reload.OWED, [])
    assert host.clock.now == pytest.approx(5.0, abs=0.2)


def test_a_failed_unit_is_started_if_our_file_changed(tmp_path: Path) -> None:
    """It may have failed for want of that file."""
    host = Host(tmp_path, "failed", UnitFileState="enabled")
    assert host.reload(APP) == (
        Reload.QUEUED,
        [f"systemctl reset-failed {APP}", f"systemctl --no-block start {APP}"],
    )


@pytest.mark.parametrize(("changed", "enabled"), [(False, "enabled"), (True, "disabled")])
def test_another_failed_unit_is_left_alone(tmp_path: Path, changed: bool, enabled: str) -> None:
    """Not ours to start: our file is not new to it, or nobody wants it started."""
    host = Host(tmp_path, "failed", UnitFileState=enabled)
    assert host.reload(APP, changed=changed) == (Reload.NONE, [])


def test_a_reload_that_systemd_refuses(tmp_path: Path) -> None:
    """The command, and what it said."""
    host = Host(tmp_path, "active")
    host.refuse = "reload"
    with pytest.raises(ReloadError) as caught:
        host.reload(APP)
    problem = f"`systemctl --no-block reload {APP}` ended with status 1\n  it is refused"
    assert caught.value.problems == (problem,)


@pytest.fixture
def bare(tmp_path: Path) -> Host:
    """A machine without systemd."""
    host = Host(tmp_path, "active")
    (tmp_path / "run/systemd/system").rmdir()
    return host


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50\n", Reload.DONE), ("52\n", Reload.NONE), ("", Reload.NONE), ("x", Reload.NONE)],
)
def test_without_systemd_a_pid_file_names_nginx(
    tmp_path: Path, bare: Host, text: str, expected: Reload
) -> None:
    """If that process is nginx; `nginx -t` leaves an empty file."""
    (tmp_path / "run/nginx.pid").write_text(text)
    assert bare.reload(NGINX) == (expected, [])


@pytest.mark.parametrize(("text", "expected"), [("53", Reload.DONE), ("50", Reload.NONE)])
def test_without_systemd_a_pid_file_tells_whether_firewalld_runs(
    tmp_path: Path, bare: Host, text: str, expected: Reload
) -> None:
    """Its command is run only if it does."""
    (tmp_path / "run/firewalld.pid").write_text(text)
    ran = ["firewall-cmd --reload"] if expected is Reload.DONE else []
    assert bare.reload(FIREWALLD) == (expected, ran)


def test_without_systemd_and_without_a_pid_file(bare: Host) -> None:
    """It does not run."""
    assert bare.reload(NGINX) == (Reload.NONE, [])


def test_without_systemd_there_are_no_units(bare: Host) -> None:
    """What to use instead is said."""
    with pytest.raises(ReloadError) as caught:
        bare.reload(APP)
    assert caught.value.problems == ("app.service: systemd does not run here",)
    assert caught.value.hint == "use `reload` instead"
