"""haproxy itself, in namespaces of its own; and how it was started, from files that are made up."""

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lbhook.config.targets import Target
from lbhook.processes import Result, run
from lbhook.programs.haproxy import Haproxy
from lbhook.system.machine import Machine

from ..conftest import lacking
from ..stand import Answers, Runner

needs_haproxy = pytest.mark.needs("haproxy")
REPOSITORY = Path(__file__).parents[2]
LIVE = "/etc/haproxy/conf.d/lbhook.cfg"
HAPROXY = Target(
    name="haproxy",
    kind="haproxy",
    template="lbhook.cfg.j2",
    path=PurePosixPath(LIVE),
    reload_unit="haproxy.service",
    vars={"backend": "servers", "mode": None},
)
GOOD = "frontend lbhook\n    default_backend servers\n    bind 10.0.0.4:443\n"


# A file by itself


def checked(place: Path, content: str, target: Target = HAPROXY) -> Result:
    """What haproxy says to a candidate."""
    candidate = place / ".lbhook.cfg.lbhook"
    candidate.write_text(content)
    return Haproxy(run).check(target, candidate)


@needs_haproxy
def test_a_file_is_checked_by_itself(tmp_path: Path) -> None:
    """Good syntax is good, on addresses of other machines too; bad syntax is named with a line,
    without what changes from run to run."""
    assert checked(tmp_path, GOOD).ok
    result = checked(tmp_path, f"{GOOD}    bind 10.0.0.4:99999\n")
    assert result.status == 1
    assert result.output.splitlines()[0] == (
        f"[ALERT] parsing [{tmp_path}/.lbhook.cfg.lbhook:4] : 'bind' : invalid port '99999'"
    )
    assert not checked(tmp_path, GOOD.replace("servers", "others")).ok


@needs_haproxy
def test_a_file_is_checked_beside_the_backend_that_it_names(tmp_path: Path) -> None:
    """Of the same mode: a frontend for http can't lead to a backend for tcp."""
    target = HAPROXY._replace(vars={"backend": "web", "mode": "http"})
    content = GOOD.replace("servers", "web").replace("lbhook\n", "lbhook\n    mode http\n")
    assert checked(tmp_path, content, target).ok
    assert not checked(tmp_path, content).ok


@needs_haproxy
def test_a_certificate_may_be_elsewhere(tmp_path: Path) -> None:
    """Or be nothing that this user may see; but that hides no mistake."""
    certificate = f"    bind 10.0.0.4:444 ssl crt {tmp_path}/none.pem\n"
    assert checked(tmp_path, GOOD + certificate).ok
    assert not checked(tmp_path, f"{GOOD}{certificate}    bind nonsense\n").ok


# How it was started


def machine(place: Path, words: str = "", **files: str) -> Machine:
    """A machine with a haproxy that runs, if `words` are its command line."""
    made = {"run/haproxy.pid": "77\n", "proc/77/comm": "haproxy\n" if words else ""}
    made["proc/77/cmdline"] = words.replace(" ", "\0") + "\0"
    made["proc/77/environ"] = "HOST=a.example\0HAPROXY_MWORKER=1\0NOTIFY_SOCKET=/run/n\0"
    made.update({name.replace("__", "/"): text for name, text in files.items()})
    for name, text in made.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return Machine(place)


ADVICE = (
    "haproxy does not read it; create /etc/haproxy/conf.d, put "
    '`EXTRAOPTS="-S /run/haproxy-master.sock -f /etc/haproxy/conf.d"` '
    "into /etc/default/haproxy, and restart haproxy"
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("haproxy -Ws -f /etc/haproxy/haproxy.cfg", ADVICE),
        (f"haproxy -Ws -f /etc/haproxy/haproxy.cfg -f {LIVE}", ""),
        ("haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d", ""),
        ("haproxy -sf 78 -x sockpair@3 -Ws -f /etc/haproxy/conf.d/ -p /run/haproxy.pid", ""),
        ("haproxy -Ws -f /etc/haproxy", ADVICE),
        ("haproxy -Ws -f haproxy.cfg -f conf.d -C /etc/haproxy", ""),
        ("haproxy -Ws -f /etc/haproxy/haproxy.cfg -- /etc/other /etc/haproxy/conf.d", ""),
        ("", ""),
    ],
)
def test_whether_a_running_haproxy_reads_a_file(tmp_path: Path, words: str, said: str) -> None:
    """By its name, or that of its directory; of one that does not run nobody knows."""
    found = Haproxy(Runner(), machine(tmp_path, words))
    assert found.unread(HAPROXY) == said


def test_one_that_is_about_to_be_gone_does_not_run(tmp_path: Path) -> None:
    """Its process is there until its parent has heard of its end, without a command line."""
    gone = machine(tmp_path, "haproxy", proc__77__cmdline="")
    found = Haproxy(Runner(), gone)
    assert found.check_present(5.0).ok
    assert (found.unread(HAPROXY), found.others(())) == ("", "")


def test_advice_for_a_file_beside_the_main_one(tmp_path: Path) -> None:
    """Its directory would bring the main file in twice."""
    found = Haproxy(Runner(), machine(tmp_path, "haproxy -f /etc/haproxy/haproxy.cfg"))
    target = HAPROXY._replace(path=PurePosixPath("/etc/haproxy/lbhook.cfg"))
    assert " -f /etc/haproxy/lbhook.cfg" in found.unread(target)


def test_another_unit_is_somebody_elses(tmp_path: Path) -> None:
    """How that one is started nobody can tell without systemd."""
    there = machine(tmp_path, "haproxy -f /etc/haproxy/haproxy.cfg")
    edge = HAPROXY._replace(reload_unit="haproxy@edge.service")
    assert Haproxy(Runner(), there, unit=edge.reload_unit).unread(edge) == ""
    assert Haproxy(Runner(), there).unread(edge) == ""


def systemd(active: str, command: str, environment: str = "") -> Answers:
    """A systemd with a haproxy.service, as `systemctl show` prints it."""
    argv = f"/usr/sbin/haproxy ; argv[]={command} ; ignore_errors=no ; start_time=[n/a] "
    lines = [
        f"ExecStart={{ path={argv}}}",
        f"Environment={environment}",
        "EnvironmentFiles=/etc/default/haproxy (ignore_errors=yes)",
        "EnvironmentFiles=/etc/sysconfig/haproxy (ignore_errors=yes)",
        f"ActiveState={active}",
        f"MainPID={77 if active == 'active' else 0}",
    ]

    def answer(argv: tuple[str, ...]) -> tuple[int, str] | None:
        return (0, "\n".join(lines)) if argv[0] == "systemctl" else None

    return answer


DEBIAN = (
    "/usr/sbin/haproxy -Ws -f $CONFIG -p $PIDFILE $EXTRAOPTS",
    'CONFIG=/etc/haproxy/haproxy.cfg PIDFILE=/run/haproxy.pid "EXTRAOPTS=-S /run/master.sock"',
)
FEDORA = (
    "/usr/sbin/haproxy -Ws -f $CONFIG -f ${CFGDIR} -p $PIDFILE $OPTIONS",
    "CONFIG=/etc/haproxy/haproxy.cfg PIDFILE=/run/haproxy.pid CFGDIR=/etc/haproxy/conf.d",
)
DEFAULTS = "# Defaults\n\n  EXTRAOPTS='-S /run/x -f /etc/haproxy/conf.d'\n#CONFIG=no\n"


@pytest.mark.parametrize(
    ("unit", "defaults", "said"),
    [
        (DEBIAN, "", ADVICE.replace("haproxy-master", "master")),
        (DEBIAN, DEFAULTS, ""),
        (DEBIAN, DEFAULTS.replace("'", ""), ""),
        (FEDORA, "", ""),
    ],
)
def test_whether_haproxy_would_read_a_file(
    tmp_path: Path, unit: tuple[str, str], defaults: str, said: str
) -> None:
    """While it is stopped, its unit tells, with the files of variables that it names."""
    there = machine(tmp_path, etc__default__haproxy=defaults, run__systemd__system__x="")
    assert Haproxy(Runner(systemd("inactive", *unit)), there).unread(HAPROXY) == said


def test_a_unit_without_the_word_for_more_options(tmp_path: Path) -> None:
    """A drop-in of its owner's may have left it out: what stands in the file is then never read."""
    there = machine(tmp_path, run__systemd__system__x="")
    unit = (DEBIAN[0].replace(" $EXTRAOPTS", ""), DEBIAN[1])
    said = (
        "haproxy does not read it; create /etc/haproxy/conf.d, put `-f /etc/haproxy/conf.d` into"
        " the command line of haproxy, and restart haproxy"
    )
    assert Haproxy(Runner(systemd("inactive", *unit)), there).unread(HAPROXY) == said


def test_what_is_read_from_where_it_goes_first(tmp_path: Path) -> None:
    """Names of files are those of `-C`, and what is behind `--` is a file, too."""
    words = "haproxy -C /etc/haproxy -f a.cfg -sf 78 -- /etc/b.cfg /etc/none.cfg c.d d.d empty.d"
    files = {"a.cfg": "80", "c.d/c.cfg": "82", "d.d/notes": "83"}
    there = machine(
        tmp_path,
        words,
        **{f"etc__haproxy__{name}": f"bind :{port}" for name, port in files.items()},
    )
    (tmp_path / "etc/b.cfg").write_text("bind :81")
    (tmp_path / "etc/haproxy/empty.d").mkdir()
    found = Haproxy(Runner(), there)
    assert [one.first for one in found.binds(())] == [80, 81, 82]
    names = ("/etc/haproxy/a.cfg", "/etc/b.cfg", "/etc/none.cfg", "/etc/haproxy/c.d/c.cfg")
    argv = found.check_present(5.0).argv
    read = (word for name in names for word in ("-f", name))
    assert argv == ("haproxy", "-c", *read, "-C", "/etc/haproxy", "-sf", "78")


EDGE = HAPROXY._replace(reload_unit="haproxy@edge.service")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("/usr/sbin/haproxy -Ws -f /etc/haproxy/edge.cfg -f /etc/haproxy/conf.d", ""),
        (
            "/usr/sbin/haproxy -Ws -f /etc/haproxy/edge.cfg",
            "haproxy does not read it; create /etc/haproxy/conf.d, put `-f /etc/haproxy/conf.d`"
            " into the command line of haproxy@edge, and restart haproxy@edge",
        ),
        ("/usr/bin/docker run haproxy -f /etc/haproxy/edge.cfg", ""),
        ("/usr/local/bin/start-edge", ""),
    ],
)
def test_a_unit_of_another_name(tmp_path: Path, command: str, said: str) -> None:
    """It is asked how it starts haproxy; haproxy.service, which runs beside it, is another one. A
    container or a script tells nothing."""
    beside = machine(tmp_path, "haproxy -f /etc/haproxy/haproxy.cfg", run__systemd__system__x="")
    runner = Runner(systemd("inactive", command))
    found = Haproxy(runner, beside, unit=EDGE.reload_unit)
    assert found.unread(EDGE) == said
    assert {call[2] for call in runner.calls} == {EDGE.reload_unit}
    tested, read = found.check_live({LIVE: Path("/tmp/new")}, 1.0)
    checked = tested.argv[:3] == ("/usr/sbin/haproxy", "-c", "-f")
    assert checked is command.startswith("/usr/sbin")
    assert (LIVE in read) is not bool(said)


def test_the_process_of_a_unit_of_another_name(tmp_path: Path) -> None:
    """It runs, beside haproxy.service: what it was started with counts."""
    files = {
        "proc__78__comm": "haproxy\n",
        "proc__78__cmdline": "haproxy\0-Ws\0-f\0/etc/haproxy/conf.d\0",
        "proc__78__environ": "",
        "run__systemd__system__x": "",
    }
    there = machine(tmp_path, "haproxy -Ws -f /etc/haproxy/haproxy.cfg", **files)
    shown = Runner(lambda argv: (0, "ActiveState=active\nMainPID=78\n"))
    assert Haproxy(shown, there, unit=EDGE.reload_unit).unread(EDGE) == ""
    assert Haproxy(shown, there).unread(HAPROXY) == ADVICE


def test_a_running_haproxy_has_to_be_restarted_for_a_new_option(tmp_path: Path) -> None:
    """It keeps the command line that it was started with, whatever its unit says by now."""
    words = "haproxy -Ws -f /etc/haproxy/haproxy.cfg"
    files = {"etc__default__haproxy": DEFAULTS, "run__systemd__system__x": ""}
    found = Haproxy(Runner(systemd("active", *DEBIAN)), machine(tmp_path, words, **files))
    said = "haproxy was started before its command line named this file; restart haproxy"
    assert found.unread(HAPROXY) == said


def test_the_check_is_of_what_was_started(tmp_path: Path) -> None:
    """Its options and files, a directory's in the order of their names, the candidate in place
    of the live file whether that is there or not; its variables, but those of its own."""
    words = "/usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d -C /etc"
    names = ("a.cfg", ".hidden.cfg", "z.cfg", "notes.txt")
    there = machine(tmp_path, words, **{f"etc__haproxy__conf.d__{name}": "" for name in names})
    asked: list[dict[str, str] | None] = []

    def answering(argv: Any, timeout: float = 30.0, env: Any = None, stdin: Any = b"") -> Result:
        asked.append(env)
        return Result(argv=tuple(argv), status=0)

    result, read = Haproxy(answering, there).check_live({LIVE: Path("/tmp/new")}, 1.0)
    files = ("haproxy.cfg", "conf.d/a.cfg", None, "conf.d/z.cfg")
    named = [f"/etc/haproxy/{name}" if name else "/tmp/new" for name in files]
    options = [word for name in named for word in ("-f", name)]
    assert result.argv == ("/usr/sbin/haproxy", "-c", *options, "-W", "-C", "/etc")
    assert ([*read], asked) == ([LIVE], [{"HOST": "a.example"}])


def test_an_empty_line_is_no_variable(tmp_path: Path) -> None:
    """systemd, which may run the check, refuses one without a name."""
    there = machine(tmp_path, etc__default__haproxy=DEFAULTS, run__systemd__system__x="")
    systemctl, asked = systemd("inactive", *DEBIAN), list[Any]()

    def answering(argv: Any, timeout: float = 30.0, env: Any = None, stdin: Any = b"") -> Result:
        asked.append(env)
        _, output = systemctl(argv) or (0, "")
        return Result(argv=tuple(argv), status=0, output=output)

    Haproxy(answering, there).check_live({LIVE: Path("/tmp/new")}, 1.0)
    assert sorted(asked[-1]) == ["CONFIG", "EXTRAOPTS", "PIDFILE"]


def test_a_variable_that_is_not_set_is_no_word(tmp_path: Path) -> None:
    """As Fedora's `$OPTIONS` where nobody made /etc/sysconfig/haproxy: haproxy would refuse it."""
    there = machine(tmp_path, run__systemd__system__x="")
    result, _ = Haproxy(Runner(systemd("inactive", *FEDORA)), there).check_live({}, 1.0)
    words = ("-f", "/etc/haproxy/haproxy.cfg", "-f", "/etc/haproxy/conf.d")
    assert result.argv == ("/usr/sbin/haproxy", "-c", *words, "-Ws", "-p", "/run/haproxy.pid")


def test_what_its_lines_bind_on_this_machine(tmp_path: Path) -> None:
    """A name is what /etc/hosts has for it, and the kernel may give a socket of IPv6 no IPv4."""
    words = "haproxy -Ws -f /etc/haproxy/haproxy.cfg"
    text = "listen web\n bind web.example:443\n bind :::80\n"
    files = {"etc__haproxy__haproxy.cfg": text, "etc__hosts": "10.1.0.4 web.example\n"}
    for v6only, more in (("0\n", ["0.0.0.0 80"]), ("1\n", [])):
        there = machine(tmp_path, words, **files, proc__sys__net__ipv6__bindv6only=v6only)
        found = [f"{one.ip} {one.first}" for one in Haproxy(Runner(), there).binds(())]
        assert found == ["10.1.0.4 443", ":: 80", *more]


def unreadable(root: Path, name: str, asked: str) -> str:
    """What is `asked` of a running haproxy by somebody who may not read a file or directory."""
    code = (
        "import pathlib; from lbhook.programs.haproxy import Haproxy;"
        "from lbhook.system.machine import Machine; from tests.stand import Runner;"
        f"there = Haproxy(Runner(), Machine(pathlib.Path({str(root)!r}))); print(*there.{asked})"
    )
    # Root can look anywhere, unless that is taken from it.
    alone = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    argv = [*(alone if os.geteuid() == 0 else ()), sys.executable, "-c", code]
    place = root / "etc/haproxy" / name
    mode = place.stat().st_mode
    place.chmod(0)
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    place.chmod(mode)
    assert not done.stderr
    return done.stdout.strip()


@pytest.mark.needs("setpriv")
def test_what_is_not_for_everybody(tmp_path: Path) -> None:
    """Who may not look into a directory can plan all the same; and a file that is haproxy's alone,
    as for the units, which are no root there, is checked with the others."""
    words = "haproxy -Ws -f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d"
    machine(tmp_path, words, **{"etc__haproxy__haproxy.cfg": "", "etc__haproxy__conf.d__a.cfg": ""})
    for name in ("conf.d", ""):
        assert not unreadable(tmp_path, name, "binds(())")
    found = unreadable(tmp_path, "haproxy.cfg", "check_live({}, 1)[0].argv")
    files = "-f /etc/haproxy/haproxy.cfg -f /etc/haproxy/conf.d/a.cfg"
    assert found == f"haproxy -c {files} -Ws"


def test_half_a_quote_in_a_variable(tmp_path: Path) -> None:
    """An owner's word, which is no shell's."""
    there = machine(tmp_path, run__systemd__system__x="")
    runner = Runner(systemd("inactive", DEBIAN[0], "CONFIG=/etc/haproxy/a.cfg MOTTO=it's"))
    result, _ = Haproxy(runner, there).check_live({}, 1.0)
    assert result.argv[2:4] == ("-f", "/etc/haproxy/a.cfg")


def test_what_nobody_knows_is_not_tested(tmp_path: Path) -> None:
    """Without systemd and while it does not run."""
    runner = Runner()
    result, read = Haproxy(runner, machine(tmp_path)).check_live({LIVE: Path("/tmp/new")}, 1.0)
    assert (result.ok, [*read], runner.calls) == (True, [LIVE], [])


# The program itself

MAIN = """
defaults
    mode http
    timeout connect 1s
    timeout client 1s
    timeout server 1s

backend servers
    server one "${HOST}":80
"""
SETUP = """
set -e
ip link set lo up
mount -t tmpfs run /run
exec "$@"
"""
SCRIPT = """
import json, subprocess, time
from pathlib import Path
from lbhook.processes import PATH, run
from lbhook.programs.haproxy import Haproxy
from lbhook.programs.systemd import Services
place = Path("{place}")
live, main = place / "conf.d/lbhook.cfg", place / "haproxy.cfg"
def candidate(content):
    (place / "candidate").write_text(content)
    result, read = haproxy.check_live({{str(live): place / "candidate"}}, 30)
    return [result.ok, sorted(read), result.output]
def reload(content):
    live.write_text(content)
    Services(run).reload("haproxy.service", timeout=9, file_changed=True)
    return haproxy.missing(content.encode(), pid)
def answer(value):
    print(json.dumps(value))
words = ["haproxy", "-W", "-p", "/run/haproxy.pid", "-f", main, "-f", live.parent]
log = open(place / "log", "w")
started = subprocess.Popen(words, env={{"HOST": "127.0.0.1", "PATH": PATH}}, stderr=log)
haproxy, pid = Haproxy(run), started.pid
while not Path("/run/haproxy.pid").exists() or not haproxy.machine.children(pid):
    time.sleep(0.01)
assert haproxy.missing(live.read_bytes(), pid) == ()
{script}
started.kill()
"""
BIND = "frontend lbhook\n    default_backend servers\n    bind {}\n"


def inside(place: Path, script: str) -> Any:
    """What a script answers in a machine of its own, where haproxy runs."""
    (place / "conf.d").mkdir()
    (place / "haproxy.cfg").write_text(MAIN)
    (place / "conf.d/lbhook.cfg").write_text(BIND.format("127.0.0.1:81"))
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    unshare += [] if os.geteuid() == 0 else ["--map-root-user"]
    text = SCRIPT.format(script=script, place=place)
    argv = [*unshare, "sh", "-c", SETUP, "setup", sys.executable, "-c", text]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    if done.stderr.startswith(("unshare:", "mount:")):
        lacking("no namespaces of one's own here")
    assert done.returncode == 0, done.stderr + (place / "log").read_text()
    return json.loads(done.stdout)


@needs_haproxy
@pytest.mark.needs("unshare", "ip")
def test_a_candidate_is_tested_in_place_of_the_live_file(tmp_path: Path) -> None:
    """Verdicts of the whole configuration, with the variables of the running haproxy, while the
    live file stays as it is."""
    good, bad, elsewhere, there = inside(
        tmp_path,
        f"""
good = {BIND!r}.format("127.0.0.1:82")
verdicts = [candidate(good), candidate(good + "    bind x\\n")]
main.write_text(main.read_text() + "nonsense\\n")
answer([*verdicts, candidate(good), live.read_text()])
""",
    )
    live = str(tmp_path / "conf.d/lbhook.cfg")
    assert good[:2] == [True, [live]]
    assert good[2] in ("Configuration file is valid", "")  # haproxy 3.2 says nothing
    assert (bad[0], elsewhere[0], there) == (False, False, BIND.format("127.0.0.1:81"))
    assert f"parsing [{tmp_path}/candidate:4] : 'bind'" in bad[2]
    assert f"parsing [{tmp_path}/haproxy.cfg:10] : unknown keyword 'nonsense'" in elsewhere[2]


@needs_haproxy
@pytest.mark.needs("unshare", "ip")
def test_after_a_reload_the_workers_sockets_are_looked_at(tmp_path: Path) -> None:
    """haproxy takes the signal and says nothing to anybody when it then can't bind."""
    found = inside(
        tmp_path,
        f"""
bind = {BIND!r}.format
said = [reload(bind("127.0.0.1:82")),
        reload(bind("127.0.0.1:82") + "    bind 203.0.113.9:83\\n"),
        haproxy.missing(b"bind 127.0.0.1:82\\n", pid),
        reload(bind("127.0.0.1:84"))]
while any(one.port == 82 for one in haproxy.machine.listening()):  # by the worker before
    time.sleep(0.01)
gone = Haproxy(run, clock=iter(range(9)).__next__).missing(b"bind 127.0.0.1:82\\n", pid)
answer([*said, gone])
""",
    )
    foreign, gone = ["203.0.113.9 port 83"], ["127.0.0.1 port 82"]
    assert found == [[], foreign, [], [], gone]
