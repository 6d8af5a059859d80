"""Ansible on booted machines: its connection enters one, under whatever names a fleet has."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from ..conftest import lacking

# As Ansible's own connection to this machine, but inside another one.
CONNECTION = '''
import os
import shlex
import shutil
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: inside
short_description: run in a machine
description: As local, in a machine that was booted.
options: {}
"""

class Connection(Local):
    transport = "inside"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        inside = os.environ["ENTER"] + " sh -c " + shlex.quote(cmd)
        return super().exec_command(inside, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path, out_path):
        shutil.copyfile(in_path, os.environ["ROOT"] + out_path)
'''


def play(
    place: Path, playbook: str, names: list[str], enter: list[str], root: Path
) -> tuple[int, str]:
    """Play a playbook on one machine that stands in for several, as root; its status and what it
    printed. `enter` is what runs a command in the machine, `root` where its files are."""
    program = Path(sys.executable).with_name("ansible-playbook")
    if not program.exists():
        lacking("no ansible-playbook: it is among the packages for development")
    (place / "connection_plugins").mkdir(parents=True, exist_ok=True)
    (place / "connection_plugins/inside.py").write_text(CONNECTION)
    (place / "hosts.ini").write_text("\n".join(["[vms]", *names, ""]))
    (place / "restart.yml").write_text(playbook)
    own = {"HOME": str(place), "ENTER": shlex.join(enter), "ROOT": str(root)}
    words = ["-c", "inside", "-e", "ansible_become=false", "-e", "rotation_seconds=1"]
    done = subprocess.run(
        [str(program), "-i", "hosts.ini", *words, "restart.yml"],
        cwd=place,
        env={**os.environ, **own, "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    return done.returncode, done.stdout + done.stderr
