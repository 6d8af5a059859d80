"""The RPM, as far as a Debian can tell: it is built, and runs where its files are put."""

from __future__ import annotations

import subprocess

import pytest

from lbhook import __version__

from ..program import BODIES, REPO
from .built import rpm
from .chroot import Chroot

LISTEN = "/etc/nginx/lbhook/listen.conf"


def query(*words: str) -> list[str]:
    """What rpm says of it, in lines."""
    argv = ["rpm", "--query", "--package", *words, str(rpm())]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.needs("rpm", "rpmbuild")
def test_what_is_in_it() -> None:
    """Program, each unit, completion, man page, and a configuration that upgrades leave alone."""
    files = query("--list")
    for unit in (REPO / "systemd").glob("*.[stp]*[!s]"):
        assert f"/usr/lib/systemd/system/{unit.name}" in files
    for file in (
        "/usr/bin/lbhook",
        "/usr/share/man/man8/lbhook.8",
        "/usr/share/man/man5/lbhook.toml.5",
        "/usr/lib/sysusers.d/lbhook.conf",
        "/usr/share/doc/lbhook/docs/start.md",
        "/usr/share/doc/lbhook/examples/cloud-init.yaml",
        "/etc/lbhook/lbhook.toml.d",
    ):
        assert file in files
    assert query("--configfiles") == ["/etc/lbhook/lbhook.toml"]


@pytest.mark.needs("rpm", "rpmbuild")
def test_what_it_asks_for() -> None:
    """The Python that lbhook needs, and packages of the distribution."""
    wanted = {"python3 >= 3.10", "python3-click >= 8.0", "python3-jinja2 >= 3.0"}
    assert {*wanted, "python3-requests >= 2.25", "systemd"} <= set(query("--requires"))


@pytest.mark.needs("rpm", "rpmbuild")
def test_installed_and_erased(chroot: Chroot) -> None:
    """Its scripts enable the units, make the user and put down nginx's resting form; erased, the
    rules are gone and the configuration is not."""
    chroot.write("/body.json", (BODIES / "documented.json").read_bytes())
    of_this_root = 'rpm --root "$PWD" --dbpath /var/lib/rpm --nosignature --nodeps'
    chroot.run_outside(f"{of_this_root} --install '{rpm()}'")
    assert chroot.run("lbhook --version") == f"lbhook {__version__}\n"
    assert chroot.run("systemctl is-enabled lbhook.service lbhook-refresh.timer").split() == [
        *("enabled", "enabled")
    ]
    assert "lbhook" in chroot.run("getent passwd lbhook")
    assert "127.0.0.127:9" in chroot.read(LISTEN)
    chroot.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    chroot.run("lbhook apply --root / --metadata /body.json")
    assert "listen 443;" in chroot.read(LISTEN)
    chroot.run_outside(f"{of_this_root} --erase lbhook")
    assert "10.1.0.4" not in chroot.read(LISTEN)
    left = {path for path in chroot.files() if "lbhook" in path and not path.startswith("/run")}
    left -= {"/etc/nginx/lbhook", LISTEN, "/etc/nginx/lbhook/stream.conf"}
    assert left == {"/etc/lbhook", "/etc/lbhook/lbhook.toml.rpmsave"}
