"""The RPM, as far as a Debian can tell: it is built, and runs where its files are put."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lbhook import __version__

from ..program import BODIES, REPO
from .built import rpm
from .chroot import Chroot

LISTEN = "/etc/nginx/lbhook/listen.conf"
CONFIGURATION = "/etc/lbhook/lbhook.toml"
UNITS = {one.name for one in (REPO / "systemd").glob("lbhook*") if one.suffix != ".sysusers"}
OF_THIS_ROOT = 'rpm --root "$PWD" --dbpath /var/lib/rpm --nosignature --nodeps'
# Whoever has rpm has macros of systemd's: these only tell that they are used.
MACROS = """
%systemd_post() post-macro %{?*}
%systemd_preun() preun-macro %{?*}
%systemd_postun() postun-macro %{?*}
%systemd_requires Requires(post): of-the-macro
%sysusers_create_compat() pre-macro %(cat %1)
%_unitdir /units
%_presetdir /presets
"""


def query(*words: str) -> list[str]:
    """What rpm says of it, in lines."""
    argv = ["rpm", "--query", "--package", *words, str(rpm())]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.mark.needs("rpm", "rpmbuild")
def test_what_is_in_it() -> None:
    """Program, each unit, completion, man page, and a configuration that upgrades leave alone."""
    files = query("--list")
    assert len(UNITS) == 7
    for unit in UNITS:
        assert f"/usr/lib/systemd/system/{unit}" in files
    for file in (
        "/usr/bin/lbhook",
        "/usr/share/man/man8/lbhook.8",
        "/usr/share/man/man5/lbhook.toml.5",
        "/usr/lib/sysusers.d/lbhook.conf",
        "/usr/share/doc/lbhook/docs/start.md",
        "/usr/share/doc/lbhook/examples/cloud-init.yaml",
        "/usr/lib/systemd/system-preset/50-lbhook.preset",
        "/usr/lib/systemd/system/nftables.service.d/lbhook.conf",
        "/etc/lbhook/lbhook.toml.d",
    ):
        assert file in files
    assert query("--configfiles") == [CONFIGURATION]


@pytest.mark.needs("rpm", "rpmbuild")
def test_what_it_asks_for() -> None:
    """The Python that lbhook needs, and packages of the distribution."""
    wanted = {"python3 >= 3.10", "python3-click >= 8.0", "python3-jinja2 >= 3.0"}
    assert {*wanted, "python3-requests >= 2.25", "systemd"} <= set(query("--requires"))


@pytest.mark.needs("rpm", "rpmspec")
def test_the_macros_of_a_distribution(tmp_path: Path) -> None:
    """Where rpm has macros of systemd's, they enable, stop and forget the units, each of them, and
    make the user; the directories are the distribution's."""
    macros = tmp_path / "macros"
    macros.write_text(MACROS)
    argv = ["rpmspec", "--parse", f"--load={macros}", f"--define=_sourcedir {REPO / 'systemd'}"]
    spec = subprocess.run(
        [*argv, REPO / "packaging/lbhook.spec"], capture_output=True, text=True, check=True
    ).stdout
    for when in ("post", "preun", "postun"):
        (named,) = re.findall(rf"^{when}-macro (.+)$", spec, re.M)
        assert set(named.split()) == UNITS
        assert f"\n%{when}\n" in spec
    assert re.search(r"^%pre\npre-macro [^%]*^u lbhook ", spec, re.M)
    assert "Requires(post): of-the-macro" in spec
    assert re.search(r"^/presets/50-lbhook\.preset$", spec, re.M)
    assert re.search(r"packaging/stage\.py \S+ /units ", spec)
    assert "systemctl --no-reload" not in spec


def enabled(chroot: Chroot, unit: str) -> str:
    """What systemd says of a unit."""
    return chroot.run(f"systemctl is-enabled {unit}", check=False).strip()


@pytest.mark.needs("rpm", "rpmbuild")
def test_installed_and_erased(chroot: Chroot) -> None:
    """Its scripts enable the units, make the user and put down nginx's resting form; erased, the
    rules are gone and the configuration is not."""
    chroot.write("/body.json", (BODIES / "documented.json").read_bytes())
    chroot.run_outside(f"{OF_THIS_ROOT} --install '{rpm()}'")
    assert chroot.run("lbhook --version") == f"lbhook {__version__}\n"
    assert {unit: enabled(chroot, unit) for unit in UNITS} == {
        **dict.fromkeys(UNITS, "static"),
        **dict.fromkeys(("lbhook.service", "lbhook-restore.service"), "enabled"),
        "lbhook-refresh.timer": "enabled",
        **dict.fromkeys(("lbhook-drain.service", "lbhook-refresh.path"), "disabled"),
    }
    assert "lbhook" in chroot.run("getent passwd lbhook")
    assert "127.0.0.127:10009" in chroot.read(LISTEN)
    chroot.write(CONFIGURATION, "[targets.nginx]\n")
    chroot.run("lbhook apply --root / --metadata /body.json")
    assert "listen 443;" in chroot.read(LISTEN)
    chroot.run_outside(f"{OF_THIS_ROOT} --erase lbhook")
    assert "10.1.0.4" not in chroot.read(LISTEN)
    left = {path for path in chroot.files() if "lbhook" in path and not path.startswith("/run")}
    left -= {"/etc/nginx/lbhook", LISTEN, "/etc/nginx/lbhook/stream.conf"}
    assert left == {"/etc/lbhook", "/etc/lbhook/lbhook.toml.rpmsave"}


@pytest.mark.needs("rpm", "rpmbuild")
def test_erased_with_a_mistake_in_the_configuration(chroot: Chroot) -> None:
    """It is named, and nothing is erased: without the program nobody could take the rules away."""
    chroot.run_outside(f"{OF_THIS_ROOT} --install '{rpm()}'")
    chroot.write(CONFIGURATION, "[targets.nginxx]\n")
    said = chroot.run_outside(f"{OF_THIS_ROOT} --erase lbhook", check=False)
    assert "targets.nginxx" in said
    assert chroot.run("lbhook --version") == f"lbhook {__version__}\n"
    assert enabled(chroot, "lbhook.service") == "enabled"
    chroot.write(CONFIGURATION, "[targets.nginx]\n")
    chroot.run_outside(f"{OF_THIS_ROOT} --erase lbhook")
    assert not [path for path in chroot.files() if path == "/usr/bin/lbhook"]
