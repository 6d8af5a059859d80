"""The Debian package: installed, upgraded, removed and purged in a Debian in which no systemd
runs, as in the building of an image. What it does where one runs is for tests/boot."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from lbhook import __version__

from ..program import BODIES, REPO
from .built import deb
from .chroot import Chroot

LISTEN = "/etc/nginx/lbhook/listen.conf"
NFT = "/etc/nftables.d/lbhook.nft"
SITE = "/etc/nginx/conf.d/site.conf"
CONFIGURATION = "/etc/lbhook/lbhook.toml"
SETTINGS = """
[targets.nginx]
[targets.nftables]
[targets.motd]
template = "motd.j2"
path = "/etc/motd"
"""
# Users stay when a package goes, and what systemd-sysusers leaves beside them.
_USERS = re.compile(r"/etc/(passwd|group|shadow|gshadow)-?|/etc/\.pwd\.lock")


@pytest.fixture
def bare(chroot: Chroot) -> Chroot:
    """Before the installation."""
    chroot.write("/lbhook.deb", deb().read_bytes())
    chroot.write("/body.json", (BODIES / "documented.json").read_bytes())
    return chroot


@pytest.fixture
def installed(bare: Chroot) -> Chroot:
    """After it."""
    bare.run("dpkg --install /lbhook.deb")
    return bare


@pytest.fixture
def applied(installed: Chroot) -> Chroot:
    """With rules in force, over a file that was there before."""
    installed.write(CONFIGURATION, SETTINGS)
    installed.write("/etc/lbhook/templates/motd.j2", "{{ lb.listeners | length }}\n")
    installed.write("/etc/motd", "mine\n")
    installed.run("lbhook apply --root / --metadata /body.json")
    assert "listen 443;" in installed.read(LISTEN)
    return installed


def unpacked(place: Path, version: str) -> Path:
    """The package's files, as those of another version."""
    subprocess.run(["dpkg-deb", "--raw-extract", str(deb()), str(place)], check=True)
    control = place / "DEBIAN/control"
    ours = f"Version: {__version__}-1"
    assert ours in control.read_text()
    control.write_text(control.read_text().replace(ours, f"Version: {version}"))
    return place


def packed(place: Path) -> bytes:
    """A package of such files."""
    built = place.with_suffix(".deb")
    argv = ["dpkg-deb", "--root-owner-group", "--build", str(place), str(built)]
    subprocess.run(argv, check=True, capture_output=True)
    return built.read_bytes()


def next_version(place: Path, edited: str = "") -> bytes:
    """The package again, as a later version that renders nginx's lines in another way, and has
    another text in a file of its own."""
    unpacked(place, "99-1")
    template = place / "usr/lib/python3/dist-packages/lbhook/templates/listen.conf.j2"
    template.write_text("listen 127.0.0.1:1;\n")
    if edited:
        file = place / edited.lstrip("/")
        file.write_text("# Of the next version.\n" + file.read_text())
    return packed(place)


def version_with_lib(place: Path) -> bytes:
    """The package as it was built on Debian 12 before: an older version, its units below /lib."""
    unpacked(place, "0.0.1")
    (place / "lib").mkdir()
    (place / "usr/lib/systemd").rename(place / "lib/systemd")
    sums = place / "DEBIAN/md5sums"
    sums.write_text(sums.read_text().replace("usr/lib/systemd", "lib/systemd"))
    return packed(place)


def test_installation(installed: Chroot) -> None:
    """The program runs, with nothing but the distribution's packages; units are enabled, the
    user is there, and no target is on."""
    assert installed.run("lbhook --version") == f"lbhook {__version__}\n"
    for unit in (REPO / "systemd").glob("*.*"):
        if unit.is_file() and "[Install]" in unit.read_text():
            optional = unit.suffix == ".path" or unit.name == "lbhook-drain.service"
            wanted = "disabled" if optional else "enabled"
            said = installed.run(f"systemctl is-enabled {unit.name}", check=False)
            assert said.strip() == wanted
    assert ":/usr/sbin/nologin" in installed.run("getent passwd lbhook")
    assert installed.run("dpkg --verify lbhook") == ""
    assert installed.read(CONFIGURATION) == (REPO / "lbhook/lbhook.toml").read_text()
    assert "lbhook.service" in installed.run("zcat /usr/share/man/man8/lbhook.8.gz")
    assert "stale_after" in installed.run("zcat /usr/share/man/man5/lbhook.toml.5.gz")


def test_documentation(installed: Chroot, tmp_path: Path) -> None:
    """Pages and examples as they are in a checkout, readable where they are; what a page links to
    is there."""
    subprocess.run(["dpkg-deb", "--extract", str(deb()), str(tmp_path)], check=True)
    place = tmp_path / "usr/share/doc/lbhook"
    for name in ("README.md", "docs/start.md", "examples/terraform/main.tf"):
        assert (place / name).read_text() == (REPO / name).read_text()
    links = 0
    for page in place.rglob("*.md"):
        for link in re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text()):
            links += 1
            assert (page.parent / link).exists(), f"{page}: {link}"
    assert links > 50
    assert "lbhook plan" in installed.run("cat /usr/share/doc/lbhook/README.md")


def test_an_upgrade_asks_nothing(installed: Chroot, tmp_path: Path) -> None:
    """Configured as the README has it, without a terminal, by a package whose `lbhook.toml` is
    another one."""
    page = (REPO / "README.md").read_text()
    (line,) = re.findall(r"^# (install -D .*)$", page, re.M)
    installed.write("/checkout/examples/vm.toml", (REPO / "examples/vm.toml").read_bytes())
    installed.run(f"cd /checkout && {line}")
    installed.write("/next.deb", next_version(tmp_path / "next", CONFIGURATION))
    installed.run("dpkg --install /next.deb")
    assert installed.read(CONFIGURATION).startswith("# Of the next version.\n")
    assert "nginx" in installed.run("lbhook plan --root / --metadata /body.json")


def test_dependencies() -> None:
    """Packages of the distribution, and no more of them than lbhook imports."""
    argv = ["dpkg-deb", "--field", str(deb()), "Depends"]
    depends = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    names = {re.split(r"[ :]", one)[0] for one in depends.strip().split(", ")}
    python = {"python3-click", "python3-jinja2", "python3-requests", "python3-tomli", "python3"}
    assert names == {*python, "systemd"}
    assert re.search(r"python3-tomli \| python3 \(>+=? 3\.11\)", depends)


def test_nginx_can_start_before_the_first_answer(installed: Chroot) -> None:
    """Its listeners are included by name, and are there at rest; nothing else was rendered."""
    installed.write(SITE, f"server {{ include {LISTEN}; }}\n")
    assert "is successful" in installed.run("nginx -t")
    assert "\nlisten 127.0.0.127:10009;\n" in installed.read(LISTEN)
    assert NFT not in installed.files()


def test_installation_over_a_configuration(bare: Chroot) -> None:
    """Where cloud-init has written one before, in the directory that is meant for that, nothing is
    asked; its targets are at rest."""
    bare.write(f"{CONFIGURATION}.d/vm.toml", "[targets.nftables]\n")
    bare.run("dpkg --install /lbhook.deb")
    assert "no table, and no filter" in bare.read(NFT)


def test_a_configuration_with_a_mistake(bare: Chroot) -> None:
    """It is named, and does not keep the package from being installed."""
    bare.write(f"{CONFIGURATION}.d/vm.toml", "[targets.nginxx]\n")
    assert "vm.toml: targets.nginxx" in bare.run("dpkg --install /lbhook.deb")
    assert bare.run("dpkg-query --show --showformat '${Status}' lbhook") == "install ok installed"


def test_upgrade(applied: Chroot, tmp_path: Path) -> None:
    """What is in force stays in force, byte for byte, and so does the configuration; `plan` shows
    what the new template would change."""
    before = {path: applied.run(f"stat -c %i-%Y {path}; cat {path}") for path in (LISTEN, NFT)}
    applied.write("/next.deb", next_version(tmp_path / "next"))
    applied.run("dpkg --install /next.deb")
    assert before == {path: applied.run(f"stat -c %i-%Y {path}; cat {path}") for path in before}
    assert applied.read(CONFIGURATION) == SETTINGS
    plan = applied.run("lbhook plan --root / --metadata /body.json")
    assert "+listen 127.0.0.1:1;" in plan
    assert NFT not in plan


def test_upgrade_from_units_below_lib(bare: Chroot, tmp_path: Path) -> None:
    """/lib is a link to /usr/lib: no unit is lost when dpkg removes the old names, and each stays
    enabled."""
    bare.write("/old.deb", version_with_lib(tmp_path / "old"))
    bare.run("dpkg --install /old.deb")
    assert "/lib/systemd/system/lbhook.service" in bare.run("dpkg --listfiles lbhook").split()
    enabled = bare.run("cd /etc/systemd/system && find . -name 'lbhook*' | sort")
    assert enabled
    bare.run("dpkg --install /lbhook.deb")
    owned = bare.run("dpkg --listfiles lbhook").split()
    assert not [path for path in owned if path.startswith("/lib")]
    assert bare.run("dpkg --verify lbhook") == ""
    assert bare.run("cd /etc/systemd/system && find . -name 'lbhook*' | sort") == enabled


def test_disabled_stays_disabled(installed: Chroot, tmp_path: Path) -> None:
    """An upgrade enables no unit that somebody has disabled."""
    installed.run("systemctl disable lbhook-refresh.timer")
    installed.write("/next.deb", next_version(tmp_path / "next"))
    installed.run("dpkg --install /next.deb")
    assert "disabled" in installed.run("systemctl is-enabled lbhook-refresh.timer", check=False)


def test_removal(applied: Chroot) -> None:
    """Files go to rest, what was there before lbhook comes back, the configuration stays; so
    does nothing of the program."""
    applied.run("dpkg --remove lbhook")
    assert "\nlisten 127.0.0.127:10009;\n" in applied.read(LISTEN)
    assert "delete table inet lbhook" in applied.read(NFT)
    assert "10.1.0.4" not in applied.read(LISTEN) + applied.read(NFT)
    assert applied.read("/etc/motd") == "mine\n"
    assert applied.read(CONFIGURATION) == SETTINGS
    left = [path for path in applied.files() if "lbhook" in path and path.startswith("/usr")]
    assert left == []


def test_removal_with_a_mistake_in_the_configuration(applied: Chroot) -> None:
    """It is named, and nothing is removed: without the program nobody could take the rules away."""
    applied.write(CONFIGURATION, "[targets.nginxx]\n")
    assert "targets.nginxx" in applied.run("dpkg --remove lbhook", check=False)
    assert applied.run("lbhook --version")
    applied.write(CONFIGURATION, SETTINGS)
    applied.run("dpkg --remove lbhook")


@pytest.mark.parametrize("first", ["", "dpkg --remove lbhook && "], ids=["at once", "later"])
def test_purge_leaves_nothing(bare: Chroot, first: str) -> None:
    """Every file and directory is as it was before the installation, but for the user; what
    `install` has written for the targets is gone, too."""
    bare.write("/etc/motd", "mine\n")
    before = bare.files()
    bare.run("dpkg --install /lbhook.deb")
    bare.write(CONFIGURATION, SETTINGS)
    bare.write("/etc/lbhook/templates/motd.j2", "{{ lb.listeners | length }}\n")
    bare.run("lbhook apply --root / --metadata /body.json")
    bare.run("lbhook install")
    assert "ReadWritePaths=-/etc\n" in bare.read(
        "/etc/systemd/system/lbhook.service.d/targets.conf"
    )
    assert bare.read("/etc/motd") == "2\n"
    bare.run(f"{first}dpkg --purge lbhook")
    after = bare.files()
    differing = {path for path in {*before, *after} if before.get(path) != after.get(path)}
    assert {path for path in differing if not _USERS.fullmatch(path)} == set()


def test_purge_leaves_what_nginx_includes(applied: Chroot) -> None:
    """nginx would fail at its next start over a missing include, and that is said."""
    applied.write(SITE, f"server {{ include {LISTEN}; }}\n")
    assert f"{LISTEN} stays" in applied.run("dpkg --purge lbhook")
    assert "is successful" in applied.run("nginx -t")
    assert [path for path in applied.files() if "lbhook" in path] == [
        *("/etc/nginx/lbhook", LISTEN, "/lbhook.deb")
    ]


def test_purge_leaves_what_somebody_edited(applied: Chroot) -> None:
    """A file that is not as lbhook left it is somebody's, and what was there before it is kept."""
    applied.write("/etc/motd", "edited\n")
    applied.run("dpkg --remove lbhook")
    applied.write(LISTEN, "listen 8080;\n")
    said = applied.run("dpkg --purge lbhook")
    assert (applied.read("/etc/motd"), applied.read(LISTEN)) == ("edited\n", "listen 8080;\n")
    (kept,) = re.findall(r"lbhook: (\S+) stays: it was there before lbhook", said)
    assert applied.read(kept) == "mine\n"


def test_installed_again_after_a_removal(applied: Chroot) -> None:
    """The configuration is there, and what was at rest is taken up again."""
    applied.run("dpkg --remove lbhook && dpkg --install /lbhook.deb")
    applied.run("lbhook apply --root / --metadata /body.json")
    assert "listen 443;" in applied.read(LISTEN)
    assert applied.read("/etc/motd") == "2\n"
