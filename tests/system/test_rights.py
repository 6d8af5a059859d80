"""Whose rights a program has, as proc(5) and systemd say."""

import os
import pwd
import struct
import subprocess
from pathlib import Path

import pytest

from lbhook.system import rights
from lbhook.system.rights import Rights

from ..conftest import lacking

STATUS = (
    "Name:\tnginx\nUid:\t{0}\t{0}\t{0}\t{0}\nGid:\t{1}\t{1}\t{1}\t{1}\nGroups:\t{2} \n"
    "CapEff:\t{3}\n"
)


GROUP = pwd.getpwnam("nobody").pw_gid


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("", Rights()),
        (STATUS.format(0, 0, "", "000001ffffffffff"), Rights()),
        (STATUS.format(0, 0, "", "0000000000000000"), Rights("", binds=False)),
        (
            STATUS.format(33, 34, "4 33", "0000000000000000"),
            Rights("33", ("--regid=34", "--groups=4,33"), binds=False),
        ),
        (
            STATUS.format(33, 34, "", "0000000000000400"),
            Rights("33", ("--regid=34", "--clear-groups"), binds=True),
        ),
    ],
)
def test_those_of_a_process(status: str, expected: Rights) -> None:
    """By numbers; root's own groups are of no use to anybody."""
    found = rights.of_process(status)
    assert (found.user, found.binds) == (expected.user, expected.binds)
    assert found.groups == expected.groups or not found.user


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, Rights()),
        ({"User": "root"}, Rights()),
        ({"User": "made-by-its-start", "Group": "made-by-its-start"}, Rights()),
        ({"User": "nobody"}, Rights("nobody", (f"--regid={GROUP}", "--init-groups"), binds=False)),
        (
            {"User": "nobody", "Group": "www", "AmbientCapabilities": "cap_net_bind_service"},
            Rights("nobody", ("--regid=www", "--init-groups"), binds=True),
        ),
    ],
)
def test_those_of_a_unit(values: dict[str, str], expected: Rights) -> None:
    """By names; the group of a user may have another one."""
    assert rights.of_unit(values) == expected


def test_a_program_that_has_rights_by_its_file(tmp_path: Path) -> None:
    """As by `setcap cap_net_bind_service=+ep`; without them its user decides."""
    if os.geteuid() != 0:
        lacking("not root")
    program = tmp_path / "nginx"
    program.touch()
    assert not rights.of_unit({"User": "nobody"}, program).binds
    # struct vfs_cap_data of linux/capability.h, revision 2.
    os.setxattr(program, "security.capability", struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0))
    assert rights.of_unit({"User": "nobody"}, program).binds


@pytest.mark.needs("setpriv")
@pytest.mark.parametrize("binds", [False, True])
def test_a_command_with_them(binds: bool) -> None:
    """What it runs has the same, as the kernel tells."""
    if os.geteuid() != 0:
        lacking("not root")
    wanted = Rights("33", ("--regid=33", "--groups=4,33"), binds)
    argv = wanted.command(("cat", "/proc/self/status"))
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert rights.of_process(said) == wanted
    assert Rights().command(("cat",)) == ("cat",)
    assert rights.of_process(Path("/proc/self/status").read_text()).user == ""
