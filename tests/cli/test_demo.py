"""`lbhook demo`: the main job for a person to see, on any machine, as any user."""

import contextlib
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import lacking
from ..program import ENVIRONMENT, REPO, Ended, argv, run_lbhook

_NOBODY = 65534
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def shown() -> Ended:
    """What the demonstration prints into a pipe."""
    return run_lbhook("demo")


def test_it_works(shown: Ended) -> None:
    """Status 0, nothing on stderr, and no colour in a pipe."""
    assert (shown.status, shown.err) == (0, "")
    assert "\x1b" not in shown.out


def test_it_fits_a_screen_and_a_sitting(shown: Ended) -> None:
    """At most 200 lines of at most 80 columns, none with blanks at its end."""
    lines = shown.out.splitlines()
    assert len(lines) <= 200
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line != line.rstrip() and line != " "] == []


def test_its_scenes(shown: Ended) -> None:
    """What Azure said, the files, a run that changes nothing, a rule that comes."""
    assert re.findall(r"^\d\..*$", shown.out, re.MULTILINE) == [
        "1. What Azure says about this VM   $ lbhook show",
        "2. The files that lbhook writes   $ lbhook apply",
        "3. A second run changes nothing   $ lbhook apply",
        "4. A rule for UDP port 53 is added in Azure   $ lbhook plan",
        "5. lbhook applies it   $ lbhook apply",
    ]
    _, azure, files, again, rule, brought = re.split(r"^\d\. ", shown.out, flags=re.MULTILINE)
    assert "  2603:10e1:100:2::1:1  →  fd00::4\n    tcp    443  →   8443\n" in azure
    for line in (
        "env              created    /run/lbhook/lb.env\n",
        "  LB_INBOUND_1=tcp,2603:10e1:100:2::1:1,443,fd00::4,8443\n",
        "          type filter hook input priority filter + 10; policy drop;\n",
        "  listen [::]:8443;",
    ):
        assert line in files
    assert again.endswith(
        "env              unchanged  /run/lbhook/lb.env\n"
        "nftables         unchanged  /etc/nftables.d/lbhook.nft\n"
        "nginx            unchanged  /etc/nginx/lbhook/listen.conf\n"
        "up to date with Azure: 2 inbound rules, 2 listeners here\n\n"
    )
    assert "\n-LB_UDP_PORTS=\n+LB_UDP_PORTS=53\n" in rule
    assert "changed: 3 inbound rules, 3 listeners here\n" in brought


def test_it_leaves_nothing_behind(shown: Ended) -> None:
    """The directory that it names is gone."""
    found = re.search(r"^Written below (/\S+), which is removed at the end\.$", shown.out, re.M)
    assert found
    assert not Path(found[1]).exists()


def test_colour_on_a_terminal(shown: Ended) -> None:
    """On a terminal titles and differences are coloured, and the words are the same."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(argv("demo"), stdout=theirs, env={**ENVIRONMENT, "TERM": "xterm"})
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
        while piece := os.read(ours, 4096):
            said += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0
    text = said.decode().replace("\r\n", "\n")
    assert "\x1b[32m+LB_UDP_PORTS=53\x1b[0m" in text
    assert "\x1b[31m-LB_UDP_PORTS=\x1b[0m" in text
    varying = re.compile(r"/tmp/\S+")
    assert varying.sub("TMP", _ANSI.sub("", text)) == varying.sub("TMP", shown.out)


@pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as an ordinary user")
@pytest.mark.needs("setpriv")
def test_as_an_ordinary_user(shown: Ended, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Without root and without a home it shows the same, but for what could not be checked."""
    place = tmp_path_factory.mktemp("public")
    for above in (place, *place.parents[: len(place.parts) - 3]):
        above.chmod(0o755)
    for name in ("lbhook", "templates"):
        shutil.copytree(REPO / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["chmod", "-R", "a+rX", place], check=True)
    modules = os.pathsep.join([str(place), *(path for path in sys.path if "-packages" in path)])
    ordinary = ["setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    probe = ["-c", "import click, jinja2, requests"]
    env = {**ENVIRONMENT, "PYTHONPATH": modules}
    for python in (sys.executable, "/usr/bin/python3"):
        tried = [*ordinary, python, *probe]
        with contextlib.suppress(OSError):
            if subprocess.run(tried, env=env, capture_output=True, check=False).returncode == 0:
                break
    else:
        lacking("no interpreter with lbhook's requirements that an ordinary user can read")
    done = subprocess.run(
        [*ordinary, python, "-m", "lbhook", "demo"],
        cwd=place,
        env=env,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for line in done.stderr.decode().splitlines():
        assert line.startswith("lbhook: warning: nftables: not checked: ")
    same = re.compile(r"/tmp/\S+")
    assert same.sub("TMP", done.stdout.decode()) == same.sub("TMP", shown.out)
