"""The Ansible role of examples/: taken by its linter, and run for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import lacking
from ..program import REPO
from .built import pyz
from .chroot import Chroot

Play = Callable[[str], str]
EXAMPLE = REPO / "examples/ansible"
# Ansible's connection to this machine, below a directory.
CONNECTION = '''
import shlex
from ansible.plugins.connection.local import Connection as Local

DOCUMENTATION = """
name: below
short_description: run in a root file system
description: As local, in a root file system.
options: {}
"""

class Connection(Local):
    transport = "below"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        below = f"chroot {self._play_context.remote_addr} sh -c {shlex.quote(cmd)}"
        return super().exec_command(below, in_data=in_data, sudoable=sudoable)

    def put_file(self, in_path, out_path):
        return super().put_file(in_path, self._play_context.remote_addr + out_path)
'''
PLAYBOOK = """
- hosts: all
  roles: [lbhook]
"""
RUN = "cd {place}; HOME={place} PATH=$PATH:/usr/sbin exec {program} -i {root}, {words} site.yml"


def tool(name: str) -> str:
    """A program of Ansible's, which is beside this interpreter."""
    file = Path(sys.executable).with_name(name)
    if not file.exists():
        lacking(f"no {name}: it is among the packages for development")
    return str(file)


def test_the_linter_takes_it(tmp_path: Path) -> None:
    """Its strictest profile, and Ansible's own look at the playbook."""
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
    }
    for argv in (
        [tool("ansible-lint"), "--offline", "-q", "--profile", "production", "."],
        [tool("ansible-playbook"), "-i", "hosts.ini", "--syntax-check", "site.yml"],
    ):
        done = subprocess.run(
            argv, cwd=EXAMPLE, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def play(chroot: Chroot, tmp_path: Path) -> Play:
    """Runs the role in a Debian, with the single file."""
    place = tmp_path / "play"
    (place / "connection_plugins").mkdir(parents=True)
    (place / "connection_plugins/below.py").write_text(CONNECTION)
    (place / "site.yml").write_text(PLAYBOOK)
    (place / "roles").symlink_to(EXAMPLE / "roles")
    (place / "own.j2").write_text("{{ lb.listeners | length }}\n")
    program = tool("ansible-playbook")

    def run(settings: str) -> str:
        (place / "vars.yml").write_text(
            json.dumps(
                {
                    "lbhook_package": str(pyz()),
                    "lbhook_settings": settings,
                    "lbhook_templates": [str(place / "own.j2")],
                    "lbhook_now": False,
                }
            )
        )
        words = "-c below -e @vars.yml"
        root = chroot.place / "root"
        script = RUN.format(place=place, program=program, root=root, words=words)
        return chroot.run_outside(script, check=False)

    return run


def test_it_installs_and_configures(chroot: Chroot, play: Play) -> None:
    """The first run installs lbhook and its configuration, the second changes nothing, and a
    mistake in the configuration is refused, with its words."""
    settings = "[targets.nftables]\n[targets.nginx]\n"
    settings += '[targets.own]\ntemplate = "own.j2"\npath = "/etc/app/own"\n'
    first = play(settings)
    assert "failed=0" in first, first
    assert "enabled" in chroot.run("systemctl is-enabled lbhook.service")
    assert chroot.run("lbhook render nginx --metadata documented").endswith(":80\n")
    assert chroot.read("/etc/lbhook/templates/own.j2") == "{{ lb.listeners | length }}\n"
    limits = chroot.read("/etc/systemd/system/lbhook-refresh.service.d/targets.conf")
    assert "ReadWritePaths=-/etc/app\n" in limits
    again = play(settings)
    assert "changed=0 " in again, again
    refused = play("[targets.ngnix]\n")
    assert "failed=1" in refused, refused
    assert "did you mean" in refused
    assert "ngnix" not in chroot.read("/etc/lbhook/lbhook.toml.d/ansible.toml")
