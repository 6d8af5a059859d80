"""nginx itself, in namespaces of its own with a configuration of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from lbhook.config.targets import Target
from lbhook.processes import Result, run
from lbhook.programs.nginx import Nginx
from lbhook.system.machine import Machine

from ..conftest import lacking
from ..stand import Runner

needs_nginx = pytest.mark.needs("nginx", "unshare")
REPOSITORY = Path(__file__).parents[2]
LIVE = "/etc/nginx/lbhook/listen.conf"
NGINX = Target(name="nginx", kind="nginx", template="listen.conf.j2", path=PurePosixPath(LIVE))
STREAM = NGINX._replace(
    name="nginx-stream",
    kind="nginx-stream",
    path=PurePosixPath("/etc/nginx/lbhook/stream.conf"),
    vars={"upstream": "servers"},
)
# A machine of its own: what nginx writes goes to memory, what it reads is the test's.
SETUP = """
set -e
ip link set lo up
mount --bind "$1" /etc/nginx
mount -t tmpfs run /run
for place in /var/log/nginx /var/lib/nginx; do
    [ -d "$place" ] || mkdir -p "$place"
    mount -t tmpfs nginx "$place"
done
shift
exec "$@"
"""
SCRIPT = """
import json, sys
from pathlib import Path
from lbhook.processes import run
from lbhook.system.machine import Machine
from lbhook.programs.nginx import Nginx
nginx = Nginx(run)
LIVE, place = "{live}", Path("{place}")
def live(content, where=LIVE):
    candidate = place / "candidate"
    candidate.write_text(content)
    result, included = nginx.check_live({{where: candidate}}, 30)
    return [result.ok, sorted(included), result.output]
def answer(value):
    print(json.dumps(value))
{script}
"""
CONF = """
user root;
error_log /var/log/nginx/error.log;
events {}
http {
    access_log off;
    server { %s location / { return 204; } }
}
"""


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """What will be /etc/nginx, with a server that includes the file of lbhook by name."""
    etc = tmp_path / "etc"
    (etc / "lbhook").mkdir(parents=True)
    write(etc, f"include {LIVE};")
    return etc


def write(etc: Path, words: str) -> None:
    """Put words into the one server of the configuration."""
    (etc / "nginx.conf").write_text(CONF % words)


def inside(etc: Path, script: str) -> Any:
    """What a script answers in a machine of its own."""
    unshare = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    unshare += [] if os.geteuid() == 0 else ["--map-root-user"]
    text = SCRIPT.format(script=script, live=LIVE, place=etc.parent)
    argv = [*unshare, "sh", "-c", SETUP, "setup", str(etc), sys.executable, "-c", text]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=REPOSITORY, timeout=60)
    if done.stderr.startswith(("unshare:", "mount:")):
        lacking("no namespaces of one's own here")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_nginx
def test_a_file_is_checked_by_itself(tmp_path: Path) -> None:
    """Good syntax is good, on addresses of other machines too; bad syntax is named with a line."""
    good = tmp_path / "good"
    good.write_text("listen 203.0.113.9:443;\nlisten [2001:db8::9]:80;\n")
    assert Nginx(run).check(NGINX, good).ok
    bad = tmp_path / "bad"
    bad.write_text("\nlisten 10.0.0.4:99999;\n")
    result = Nginx(run).check(NGINX, bad)
    assert result.status == 1
    assert f"in {bad}:2" in result.output


@pytest.mark.parametrize("running", [False, True])
def test_where_its_own_lines_have_it_listen(tmp_path: Path, running: bool) -> None:
    """By TCP, in the configuration that it runs with or would start with, without lbhook's files;
    a socket for both families counts for each."""
    place = "etc/other/own.conf" if running else "etc/nginx/nginx.conf"
    for name, text in {
        "run/nginx.pid": "7\n",
        "proc/7/comm": "nginx\n" if running else "bash\n",
        "proc/7/cmdline": f"nginx: master process nginx -c /{place}\0",
        place: f"""http {{
server {{ listen 80; listen [::]:8080 ipv6only=off; listen 10.0.0.4:443 quic; }}
server {{ include {LIVE}; }} }}
stream {{ server {{ listen 10.0.0.4:53 udp; listen 10.0.0.4:54; }} }}""",
        LIVE[1:]: "listen 8443;\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = Nginx(Runner(), Machine(root=tmp_path)).binds({LIVE})
    assert [(str(one.ip), one.first, one.line) for one in found] == [
        ("0.0.0.0", 80, f"/{place}:2"),
        ("::", 8080, f"/{place}:2"),
        ("0.0.0.0", 8080, f"/{place}:2"),
        ("10.0.0.4", 54, f"/{place}:4"),
    ]


@needs_nginx
def test_the_configuration_that_it_was_started_with(etc: Path) -> None:
    """nginx itself puts its command line into a title of one word."""
    (etc / "other.conf").write_text(CONF % "listen 127.0.0.1:82;")
    script = """
assert run(("nginx", "-c", "/etc/nginx/other.conf")).ok
answer([one.line for one in nginx.binds(set())])
"""
    assert inside(etc, script) == ["/etc/nginx/other.conf:7"]


@needs_nginx
def test_it_is_asked_about_the_configuration_that_it_was_started_with(etc: Path) -> None:
    """Whether it reads the file, and what it says of a candidate; the usual file is none of it."""
    text = (etc / "nginx.conf").read_text()
    (etc / "other.conf").write_text(text)
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:82;")
    write(etc, "listen 127.0.0.1:81;")
    script = """
assert run(("nginx", "-c", "other.conf", "-p", "/etc/nginx")).ok
answer([nginx.includes(LIVE), live("listen 127.0.0.1:83;"), nginx.check_present(30).argv])
"""
    includes, (good, included, said), argv = inside(etc, script)
    assert (includes, good, included) == (True, True, [LIVE])
    assert "/etc/nginx/other.conf test is successful" in said
    assert argv == ["nginx", "-t", "-c", "other.conf", "-p", "/etc/nginx"]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("/usr/sbin/nginx -g daemon on; -c /etc/other/own.conf ;", ["/etc/other/own.conf:1"]),
        ("/usr/sbin/nginx -p/etc/other -cown.conf ;", ["/etc/other/own.conf:1"]),
        ("/usr/sbin/nginx -c ${CONF} ;", []),
        ("/usr/bin/docker run -c /etc/other/own.conf nginx ;", []),
    ],
)
def test_the_configuration_that_its_unit_names(
    tmp_path: Path, command: str, expected: list[str]
) -> None:
    """Where it does not run yet, as at a boot."""
    for name, text in {
        "run/systemd/system/x": "",
        "etc/other/own.conf": "http { server { listen 81; } }",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    shown = f"MainPID=0\nExecStart={{ path=/usr/sbin/nginx ; argv[]={command} ignore_errors=no }}\n"
    nginx = Nginx(Runner(lambda _: (0, shown)), Machine(root=tmp_path))
    assert [one.line for one in nginx.binds(())] == expected


@needs_nginx
def test_a_check_by_itself_leaves_the_running_nginx_its_directories(etc: Path) -> None:
    """What it has no memory for is there: whoever sends much would get a 500 from then on."""
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:82;")
    target = f"Target(name='nginx', kind='nginx', template='', path=PurePosixPath({LIVE!r}))"
    script = f"""
from pathlib import PurePosixPath
from lbhook.config.targets import Target
assert run(("nginx",)).ok
def owners():
    return sorted((str(one), one.stat().st_uid) for one in Path("/var/lib/nginx").iterdir())
before = owners()
candidate = place / "by-itself"
candidate.write_text("listen 127.0.0.1:83;")
answer([nginx.check({target}, candidate).ok, len(before), owners() == before])
"""
    good, directories, same = inside(etc, script)
    assert (good, same) == (True, True)
    assert directories


@needs_nginx
@pytest.mark.needs("setpriv")
def test_one_that_is_not_roots_is_tested_with_its_own_rights(etc: Path) -> None:
    """Root's test would give its directories and logs away, and it could not start again."""
    if os.geteuid() != 0:
        lacking("not root")
    text = (etc / "nginx.conf").read_text().replace("user root;", "pid /run/web/pid;")
    kept = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    own = " ".join(f"{one}_temp_path /run/web/{one};" for one in kept)
    text = text.replace("/var/log/nginx", "/run/web").replace("access_log off;", own)
    (etc / "nginx.conf").write_text(text)
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:8082;")
    script = """
import shutil
web = Path("/run/web")
web.mkdir()
shutil.chown(web, 33, 33)
user = ("setpriv", "--reuid=33", "--regid=33", "--clear-groups")
assert run((*user, "nginx", "-e", "/run/web/first.log")).ok
Path("/run/nginx.pid").symlink_to("/run/web/pid")
def owners():
    return {one.stat().st_uid for one in web.iterdir()}
(web / "error.log").unlink()
answer([live("listen 127.0.0.1:8083;")[0], nginx.includes(LIVE), sorted(owners()), *(
    live("listen 127.0.0.1:83;")[0:3:2])])
"""
    good, includes, owners, low, said = inside(etc, script)
    assert (good, includes, owners, low) == (True, True, [33], False)
    assert "bind() to 127.0.0.1:83 failed (13: Permission denied)" in said


@needs_nginx
@pytest.mark.parametrize(
    "line", ["pid {}/pid;", "error_log {}/log;", "env X; pid {}/pid; nonsense;"]
)
def test_a_directory_that_its_unit_makes(etc: Path, line: str) -> None:
    """Before it runs that is not there, as at a boot: the file is good all the same, but for what
    is no directory's fault."""
    text = (etc / "nginx.conf").read_text().replace("error_log /var/log/nginx/error.log;", "")
    (etc / "nginx.conf").write_text(line.format("/run/web") + text)
    script = """
candidate = place / "candidate"
candidate.write_text("listen 127.0.0.1:83;")
result, _ = nginx.check_live({LIVE: candidate}, 30)
here = nginx.lacks_only(result, ())
Path("/run/nginx.pid").write_text(str(__import__("os").getpid()))
Path("/proc/self/comm").write_text("nginx")
answer([result.ok, here, nginx.lacks_only(result, ())])
"""
    assert inside(etc, script) == [False, "nonsense" not in line, False]


@needs_nginx
def test_a_check_by_itself_leaves_nothing_of_another_users(etc: Path) -> None:
    """A unit that may give files away (a target with an `owner`) may not remove another's."""
    target = f"Target(name='nginx', kind='nginx', template='', path=PurePosixPath({LIVE!r}))"
    script = f"""
from pathlib import PurePosixPath
from lbhook.config.targets import Target
from lbhook.processes import run as really
seen = set()
def looked(argv, **options):
    done = really(argv, **options)
    if "-p" in argv:
        seen.update(one.stat().st_uid for one in Path(argv[argv.index("-p") + 1]).iterdir())
    return done
candidate = place / "by-itself"
candidate.write_text("listen 127.0.0.1:83;")
answer([Nginx(looked).check({target}, candidate).ok, [*seen]])
"""
    assert inside(etc, script) == [True, [0]]


@needs_nginx
@pytest.mark.needs("nginx-stream")
def test_a_stream_is_checked_by_itself(tmp_path: Path) -> None:
    """In a stream block, beside the upstream that it names."""
    good = tmp_path / "good"
    good.write_text("server { proxy_pass servers; listen 203.0.113.9:53 udp reuseport; }\n")
    assert Nginx(run).check(STREAM, good).ok
    assert not Nginx(run).check(NGINX, good).ok
    bad = tmp_path / "bad"
    bad.write_text("server {\n    proxy_pass others;\n    listen 10.0.0.4:443;\n}\n")
    result = Nginx(run).check(STREAM, bad)
    assert f'no port in upstream "others" in {bad}:2' in result.output


@pytest.mark.parametrize(
    ("built", "there", "said"),
    [
        ("--with-stream --with-stream_ssl_module", False, True),
        ("--with-stream", False, True),
        ("--modules-path={}/modules --with-stream=dynamic", True, True),
        ("--modules-path={}/modules --with-stream=dynamic", False, False),
        ("--with-http_ssl_module --with-stream_ssl_module", False, False),
    ],
)
def test_the_stream_module_is_built_in_or_a_package(
    tmp_path: Path, built: str, there: bool, said: bool
) -> None:
    """Without it the target is skipped, with the name of the package; and nothing is checked."""
    if there:
        (tmp_path / "modules").mkdir()
        (tmp_path / "modules/ngx_stream_module.so").touch()
    answers = {"-V": f"configure arguments: {built.format(tmp_path)}", "-t": "syntax is ok"}
    included = f"# configuration file {STREAM.path}:\n"
    nginx = Nginx(Runner(lambda argv: (0, answers.get(argv[1], included))), Machine(tmp_path))
    lacking = "nginx has no stream module here; Debian and Ubuntu have it in libnginx-mod-stream"
    assert nginx.unread(STREAM) == ("" if said else lacking)
    result = nginx.check(STREAM, tmp_path / "candidate")
    assert (result.status, result.output) == ((0, "syntax is ok") if said else (127, lacking))


def test_what_to_do_where_a_file_is_not_included(tmp_path: Path) -> None:
    """The line, and the block that it belongs in."""
    answers = {"-V": "--with-stream", "-T": "# configuration file /etc/nginx/nginx.conf:\n"}
    nginx = Nginx(Runner(lambda argv: (0, answers[argv[1]])), Machine(tmp_path))
    said = "no nginx configuration includes it; put `include {};` into {}".format
    assert nginx.unread(NGINX) == said(LIVE, "a server block")
    assert nginx.unread(STREAM) == said(STREAM.path, "a stream block")


@needs_nginx
def test_a_candidate_is_tested_in_place_of_the_live_file(etc: Path) -> None:
    """Verdicts of the whole configuration, while the live file and its directory stay as they
    are."""
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:8080;\n")
    good, bad, twice, there = inside(
        etc,
        """
there = Path(LIVE).read_text
answer([live("listen 127.0.0.1:81;\\n"), live("nonsense;\\n"),
        live("listen 127.0.0.1:81;\\nlisten 127.0.0.1:81;\\n"), there()])
""",
    )
    assert good[:2] == [True, [LIVE]]
    assert (bad[0], twice[0], there) == (False, False, "listen 127.0.0.1:8080;\n")
    assert f'unknown directive "nonsense" in {LIVE}:1' in bad[2]
    assert f"a duplicate listen 127.0.0.1:81 in {LIVE}:2" in twice[2]


@needs_nginx
@pytest.mark.parametrize("made", [True, False])
def test_a_candidate_is_tested_where_there_is_no_file_yet(etc: Path, made: bool) -> None:
    """The directory, or the nearest above it, is covered with one that has the same in it; links
    and modes among it; nothing of that is seen outside."""
    (etc / "site.inc").write_text("server_name example.com;\n")
    (etc / "linked.inc").symlink_to("site.inc")
    (etc / "parts").mkdir()
    (etc / "parts/up.inc").symlink_to("../site.inc")
    write(etc, f"include {LIVE}; include linked.inc; include parts/up.inc;")
    if not made:
        (etc / "lbhook").rmdir()
    before = sorted(path.name for path in etc.rglob("*"))
    result = inside(etc, 'answer(live("listen 127.0.0.1:81;\\n"))')
    assert result == [True, [LIVE], result[2]]
    assert sorted(path.name for path in etc.rglob("*")) == before


@needs_nginx
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (f"include {LIVE};", True),
        ("include lbhook/listen.conf;", True),
        ("include lbhook/*.conf;", True),
        ("include other/*.conf; include lbhook/*.conf;", True),
        ('include "/etc/nginx/*/listen.conf";', True),
        (f"listen 81; # include {LIVE};\n#include {LIVE};\n", False),
        ("listen 81; include *.conf2;", False),
        ("include lbhook/*.conf; nonsense;", None),
    ],
)
def test_whether_a_file_is_included_although_it_is_not_there(
    etc: Path, words: str, expected: bool | None
) -> None:
    """By name, relative or with a glob; a broken configuration is no verdict."""
    write(etc, words)
    assert inside(etc, "answer(nginx.includes(LIVE))") is expected


@needs_nginx
def test_includes_of_this_configuration(etc: Path) -> None:
    """A glob without a match includes the file all the same, and the candidate test agrees."""
    write(etc, "listen 127.0.0.1:82; include lbhook/*.conf;")
    script = 'answer([nginx.includes(LIVE), *live("listen 127.0.0.1:81;\\n")])'
    assert inside(etc, script)[:3] == [True, True, [LIVE]]
    write(etc, "listen 127.0.0.1:82; include other/*.conf;")
    assert inside(etc, script)[:3] == [False, True, []]


@needs_nginx
def test_after_a_reload_the_sockets_are_looked_at(etc: Path) -> None:
    """nginx reports success when it could not bind: only its sockets tell."""
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:8080;\nlisten 8081;\n")
    found = inside(
        etc,
        """
assert run(("nginx",)).ok
pid = int(Path("/run/nginx.pid").read_text())
nginx = Nginx(run, clock=iter(range(0, 1000, 4)).__next__)
answer([nginx.missing(text, pid) for text in (
    b"listen 127.0.0.1:8080;\\nlisten 127.0.0.2:8081;\\n",
    b"listen 127.0.0.1:9;\\nlisten [::1]:8081;\\n")])
""",
    )
    assert found == [[], ["127.0.0.1 port 9", "::1 port 8081"]]


def test_a_program_that_has_gone_misses_nothing(tmp_path: Path) -> None:
    """What starts nginx again reads the new file."""
    assert Nginx(Runner(), Machine(tmp_path)).missing(b"listen 127.0.0.1:9;\n", 77) == ()


def test_a_missing_include_is_no_unknown(tmp_path: Path) -> None:
    """A configuration that only lacks our file does include it."""
    said = f'nginx: [emerg] open() "{LIVE}" failed (2: No such file or directory) in x:1'
    nginx = Nginx(Runner(lambda _: (1, said)), Machine(tmp_path))
    assert nginx.includes(LIVE) is True
    assert nginx.check_present(1.0) == Result(
        argv=("nginx", "-t"), status=1, output=said, seconds=1.0
    )


@pytest.mark.parametrize("systemd", [True, False])
@pytest.mark.parametrize("confined", [True, False])
def test_a_confined_process_lets_pid_1_test(tmp_path: Path, confined: bool, systemd: bool) -> None:
    """A hardened unit may neither bind nor mount; elsewhere nobody else is asked. What is said
    names nginx, whoever runs it."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text(f"Name:\tlbhook\nNoNewPrivs:\t{confined:d}\n")
    if systemd:
        (tmp_path / "run/systemd/system").mkdir(parents=True)
    runner = Runner()
    nginx = Nginx(runner, Machine(tmp_path))
    candidate = tmp_path / "candidate"
    assert nginx.check_present(5.0).argv == ("nginx", "-t")
    assert nginx.check_live({LIVE: candidate}, 5.0)[0].argv == ("nginx", "-t")
    nginx.includes(LIVE)
    calls = [argv for argv in runner.calls if argv[0] != "systemctl"]
    first = [argv[0] for argv in calls]
    through = confined and systemd
    assert first == ["systemd-run"] * 3 if through else ["nginx", "unshare", "nginx"]
    assert not through or ("unshare" in calls[1] and "$$1" in " ".join(calls[1]))


LIMITS = """
import resource
def limits(soft):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
many = "".join(f"listen 127.0.0.1:{port};\\n" for port in range(1000, 1300))
limits(%d)
assert run(("nginx",)).ok
limits(%d)
answer([*live(many), resource.getrlimit(resource.RLIMIT_NOFILE)[0]])
"""


@needs_nginx
@pytest.mark.parametrize(("nginx", "lbhook"), [(2048, 200), (200, 2048)])
def test_the_limits_are_those_of_the_program(etc: Path, nginx: int, lbhook: int) -> None:
    """As many listeners as nginx can open are good, whoever asks; more are not, and what to raise
    is said."""
    (etc / "lbhook/listen.conf").write_text("listen 127.0.0.1:81;\n")
    good, included, said, own = inside(etc, LIMITS % (nginx, lbhook))
    assert (good, own) == (nginx > lbhook, lbhook)
    raised = "nginx may have 200 files open; raise LimitNOFILE of nginx.service and restart it"
    assert included == [LIVE] if good else said.splitlines()[-1] == raised, said


def test_the_limits_of_a_unit_that_does_not_run(tmp_path: Path) -> None:
    """systemd says what nginx would have; without systemd nobody does."""
    shown = "LimitNOFILE=524288\nLimitNOFILESoft=512\n"
    runner = Runner(lambda argv: (0, shown if argv[0] == "systemctl" else ""))
    nginx = Nginx(runner, Machine(tmp_path))
    assert nginx.check_present(5.0).argv == ("nginx", "-t")
    assert runner.calls == [("nginx", "-t")]
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    assert nginx.check_present(5.0).argv == ("nginx", "-t")
    assert runner.calls[-1] == ("prlimit", "--nofile=512:", "nginx", "-t")


MAIN_FILE = "/etc/nginx/nginx.conf"


def configured(place: Path, **files: str) -> Machine:
    """A machine whose nginx has these files beside its main one and lbhook's."""
    texts = {MAIN_FILE: f"events {{}}\ninclude {LIVE};\ninclude conf.d/*.conf;\n", LIVE: "own\n"}
    for name, text in {
        **texts,
        **{f"/etc/nginx/conf.d/{one}": files[one] for one in files},
    }.items():
        file = place / name.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Machine(place)


def test_what_else_is_loaded_is_read_without_a_command(tmp_path: Path) -> None:
    """Another file makes a difference, lbhook's own does not."""
    runner = Runner()
    machine = configured(tmp_path, **{"a.conf": "one;\n"})
    before = Nginx(runner, machine).others({LIVE})
    (tmp_path / LIVE.lstrip("/")).write_text("other\n", encoding="utf-8")
    assert Nginx(runner, machine).others({LIVE}) == before
    configured(tmp_path, **{"a.conf": "two;\n"})
    assert Nginx(runner, machine).others({LIVE}) not in (before, "")
    assert not runner.taken()


def test_what_may_not_be_read_here_is_asked_of_nginx(tmp_path: Path) -> None:
    """As in a unit with few rights: its edit is not to pass unseen. The same files are the same,
    whoever has read them, so that the timer knows what was loaded by hand."""
    machine = configured(tmp_path, **{"a.conf": "one;\n"})
    by_hand = Nginx(Runner(), machine).others({LIVE})
    hidden = tmp_path / "etc/nginx/conf.d/a.conf"
    hidden.unlink()
    hidden.symlink_to(hidden)  # not even root can read that

    def printed(line: str) -> Runner:
        main = (tmp_path / MAIN_FILE.lstrip("/")).read_text(encoding="utf-8")
        texts = {MAIN_FILE: main, LIVE: "own\n", "/etc/nginx/conf.d/a.conf": f"{line}\n"}
        said = (f"# configuration file {path}:\n{text}\n" for path, text in texts.items())
        return Runner(lambda _: (0, "".join(said) if line else ""))

    assert Nginx(printed("one;"), machine).others({LIVE}) == by_hand
    assert Nginx(printed("two;"), machine).others({LIVE}) not in (by_hand, "")
    assert Nginx(Runner(lambda _: (1, "broken")), machine).others({LIVE}) == ""


def test_an_nginx_with_another_prefix_says_itself_what_it_reads(tmp_path: Path) -> None:
    """Built from source, it has nothing in /etc/nginx."""
    said = "# configuration file /usr/local/nginx/conf/nginx.conf:\nevents {}\n\n"
    runner = Runner(lambda _: (0, said))
    assert Nginx(runner, Machine(tmp_path)).others({LIVE})
    assert runner.taken() == ["nginx -V", "nginx -T"]
