"""What each process is and which has a socket, from a /proc that is made up."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from lbhook.system.process_table import ProcessTable

from ..conftest import lacking
from ..program import REPO

STATUS = "Name:\tnginx\nPPid:\t12\nUid:\t0\t33\t33\t33\n"


@pytest.fixture
def table(tmp_path: Path) -> ProcessTable:
    """One process, with two sockets."""
    files = {
        "comm": "nginx\n",
        "cgroup": "1:name=systemd:/system.slice/nginx.service/sub\n0::/\n",
        "cmdline": "nginx: master\0-c\0/etc/own.conf\0",
        "environ": "LANG=C\0EMPTY=\0broken\0",
        "status": STATUS,
        "limits": "Max open files            1024                 524288               files\n",
        "task/77/children": "78 79 ",
    }
    for name, content in files.items():
        (tmp_path / "proc/77" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/77" / name).write_text(content)
    (tmp_path / "proc/77/fd").mkdir()
    for number, target in enumerate(("socket:[11]", "/dev/null", "pipe:[12]", "socket:[13]")):
        (tmp_path / f"proc/77/fd/{number}").symlink_to(target)
    return ProcessTable(tmp_path)


def test_what_a_process_is(table: ProcessTable) -> None:
    """Its name, unit, command line, environment, limits, and who started it and whom it started."""
    assert (table.program(77), table.unit(77)) == ("nginx", "nginx.service")
    assert table.arguments(77) == ("nginx: master", "-c", "/etc/own.conf")
    assert table.environment(77) == {"LANG": "C", "EMPTY": ""}
    assert (table.open_files(77), table.most_files(77)) == (("1024", "524288"), 1024)
    assert (table.parent(77), table.user(77), table.children(77)) == (12, 33, (78, 79))
    assert table.running(["nginx", "haproxy"]) == (77,)


def test_a_process_that_is_gone(table: ProcessTable) -> None:
    """Nothing is known of it, and that is no error."""
    assert (table.program(7), table.unit(7), table.arguments(7)) == ("", "", ())
    assert (table.environment(7), table.open_files(7), table.most_files(7)) == ({}, ("", ""), 0)
    assert (table.parent(7), table.user(7), table.children(7)) == (0, -1, ())


def test_programs_that_hold_sockets(table: ProcessTable, tmp_path: Path) -> None:
    """By name; of a process that may not be looked at, and of the kernel, nothing is known."""
    (tmp_path / "proc/78").mkdir()
    assert table.holders({0, 11, 12, 13}) == {11: "nginx", 13: "nginx"}


def test_the_process_of_a_socket(table: ProcessTable, tmp_path: Path) -> None:
    """The oldest of several, and before all others one that is not systemd; with its unit."""
    for pid in (1, 5, 99):
        (tmp_path / f"proc/{pid}/fd").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/fd/0").symlink_to("socket:[13]")
        (tmp_path / f"proc/{pid}/fd/1").symlink_to(f"socket:[{pid}]")
    assert table.holding({1, 11, 13}) == {1: 1, 11: 77, 13: 5}
    assert (table.unit(77), table.unit(5)) == ("nginx.service", "")


SERVER = """
import os, socket, sys
made = socket.create_server(("127.0.0.1", 0))
print(os.fstat(made.fileno()).st_ino, flush=True)
sys.stdin.read()
"""
ASK = """
import json, sys
from lbhook.system.machine import Machine
from lbhook.system.netlink import Kernel
table = Machine(kernel=Kernel())
holding = table.holding({*map(int, sys.argv[2::2])})
print(json.dumps([
    [holding.get(inode) == pid, sorted(table.inodes(pid)) == [inode]]
    for pid, inode in zip(*(iter(map(int, sys.argv[1:])),) * 2)
]))
"""


@pytest.fixture
def groups() -> Iterator[tuple[Path, Path]]:
    """Two control groups, as those of two units."""
    if os.geteuid() != 0:
        lacking("not root")
    mounts = re.findall(r"(?m)^\S+ (\S+) cgroup2 ", Path("/proc/mounts").read_text())
    if not mounts:
        lacking("no control groups of version 2")
    names = (f"lbhook-test-{os.getpid()}-of-{name}" for name in ("one", "another"))
    one, another = places = [Path(mounts[0]) / name for name in names]
    try:
        for place in places:
            place.mkdir()
        yield one, another
    finally:
        for place in places:
            place.rmdir()


@pytest.mark.needs("setpriv")
def test_the_sockets_of_other_users(tmp_path: Path, groups: Sequence[Path]) -> None:
    """Root without CAP_DAC_READ_SEARCH, as in lbhook's units, can't look into their processes, and
    knows the control groups that their sockets were made in, of two units of one user's, too."""
    nobody_else = "--reuid=60123", "--regid=60123", "--clear-groups"
    serve = ["setpriv", *nobody_else, sys.executable, "-c", SERVER]
    limits = "--bounding-set=-all,+net_admin,+sys_ptrace", "--inh-caps=-all"
    ask = ["setpriv", *limits, sys.executable, "-c", ASK]
    with contextlib.ExitStack() as stack:
        for group in groups:
            enter = ["sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$@"', "sh"]
            started = subprocess.Popen(
                (*enter, *serve),
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            server = stack.enter_context(started)
            assert server.stdout
            ask += [str(server.pid), server.stdout.readline().strip()]
        said = subprocess.run(
            ask, cwd=REPO, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(REPO)}
        )
    assert json.loads(said.stdout) == [[True, True], [True, True]]
