"""Debian root file systems, built once and kept below .cache by a hash of what goes in."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from ..conftest import lacking
from ..lab.hosts import PATH, REPO
from ..shared import alone

CACHE = REPO / ".cache" / "boot"
SCRIPTS = Path("/usr/share/debootstrap/scripts")


@dataclass(frozen=True)
class Recipe:
    """What goes in: `base` by debootstrap, `packages` by apt; `asleep` are units that would be
    started at each boot. Of what has `kept` in its name the packages stay, as a source for apt."""

    suite: str
    base: tuple[str, ...]
    packages: tuple[str, ...] = ()
    asleep: tuple[str, ...] = ()
    kept: str = ""


def _machine(
    suite: str, *asleep: str, also: tuple[str, ...], units: tuple[str, ...] = ()
) -> Recipe:
    """A machine that is booted: what lbhook depends on, what its targets are for, and more, with
    those of its `units` that are not to be started."""
    asleep = ("vsftpd", "ssh", *asleep)
    packages = (*also, "curl", "haproxy", "iproute2", "nftables")
    nginx = ("nginx-light", "libnginx-mod-stream")
    depends = ("python3-click", "python3-jinja2", "python3-requests")
    return Recipe(
        suite=suite,
        base=("systemd", "systemd-sysv", "dbus"),
        packages=(*packages, *nginx, *depends, *asleep),
        asleep=(*asleep, *units),
        kept="nginx",
    )


# Since Debian 13 cloud-init conflicts with firewalld.
MACHINES = {
    "bookworm": _machine("bookworm", "firewalld", also=("cloud-init",)),
    "trixie": _machine("trixie", also=("autopkgtest", "cloud-init")),
    "forky": _machine("forky", also=("cloud-init", "systemd-imds")),
}
OTHERS = {
    "forky-firewalld": _machine("forky", "firewalld", also=()),
    # busybox is all that a container needs.
    "forky-containers": _machine(
        "forky",
        also=("podman", "aardvark-dns", "crun", "docker.io", "docker-cli", "busybox-static"),
        units=("docker.service", "docker.socket", "containerd"),
    ),
    # With an ACME server for tests.
    "trixie-certbot": _machine("trixie", also=("certbot", "pebble")),
}
# For its nft.
BULLSEYE = Recipe("bullseye", ("nftables",))
# debootstrap can't resolve virtual packages: the rest comes by apt. RUNLEVEL=1 keeps what is
# installed from being started in the chroot, which has the network of the machine.
BUILD = """
debootstrap --variant=minbase --include="$3" "$2" "$1" ${6:+"$6"}
mount -t proc proc "$1/proc"
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
[ -z "$4" ] || chroot "$1" apt-get install -y -qq --no-install-recommends $4
[ -z "$5" ] || chroot "$1" systemctl disable $5
[ -z "$7" ] || chroot "$1" sh -euc "$8" keep "$7"
chroot "$1" apt-get clean
umount "$1/proc"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/log/apt
rm -f "$1/etc/nginx/sites-enabled/default" "$1/etc/machine-id" "$1/etc/resolv.conf"
"""
# A machine has no other source for apt.
KEEP = """
mkdir /srv/debs
mv /var/cache/apt/archives/*"$1"*.deb /srv/debs
cd /srv/debs
for deb in *.deb; do
    dpkg-deb --field "$deb"
    echo "Filename: ./$deb"
    echo "Size: $(stat --format=%s "$deb")"
    echo "SHA256: $(sha256sum "$deb" | cut -d " " -f 1)"
    echo
done >Packages
rm -f /etc/apt/sources.list.d/*
echo "deb [trusted=yes] file:/srv/debs ./" >/etc/apt/sources.list
"""
# Whatever it mounts and starts ends with it.
APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
_SECONDS = 1800


def rootfs(recipe: Recipe) -> Path:
    """A root file system; built if it is not there. Skips the test where it can't be."""
    if os.geteuid() != 0:
        lacking("not root, which a root file system needs")
    wanted = repr((recipe, BUILD, KEEP))
    place = CACHE / f"{recipe.suite}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with alone(CACHE / f".{place.name}.lock"):
        if not place.is_dir():
            _build(recipe, place)
    return place


def _build(recipe: Recipe, place: Path) -> None:
    said = []
    for mirror in ("", _mirror()):
        with _scratch() as scratch:
            built = _debootstrap(recipe, scratch, mirror)
            if built.returncode == 0:
                (scratch / "root").chmod(0o755)
                (scratch / "root").rename(place)
                return
            said += built.stdout.splitlines()[-5:]
    lacking(
        f"debootstrap could not build a root file system of {recipe.suite}: " + " | ".join(said)
    )


@contextmanager
def _scratch() -> Iterator[Path]:
    """A directory beside the place where the result is to be, so that it can be renamed."""
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=CACHE))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _debootstrap(recipe: Recipe, scratch: Path, mirror: str) -> subprocess.CompletedProcess[str]:
    root = scratch / "root"
    chosen = (recipe.suite, ",".join(recipe.base), " ".join(recipe.packages))
    words = [str(root), *chosen, " ".join(recipe.asleep), mirror, recipe.kept, KEEP]
    return subprocess.run(
        [*APART, "sh", "-euc", BUILD, "build", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
        check=False,
        env={**os.environ, "PATH": PATH, "LC_ALL": "C.UTF-8", **_scripts(recipe.suite, scratch)},
    )


def _scripts(suite: str, scratch: Path) -> dict[str, str]:
    """debootstrap's own files, with a script for a release that is younger than it: sid's."""
    if not SCRIPTS.is_dir() or (SCRIPTS / suite).exists():
        return {}
    copy = scratch / "debootstrap"
    shutil.copytree(SCRIPTS.parent, copy, symlinks=True)
    (copy / "scripts" / suite).symlink_to("sid")
    return {"DEBOOTSTRAP_DIR": str(copy)}


def _mirror() -> str:
    """Where this machine gets its own packages, if the default mirror is out of reach."""
    argv = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    try:
        told = subprocess.run(argv, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return next((line for line in told.stdout.splitlines() if line.endswith("/debian")), "")


def _build_all() -> None:
    """Build all that the tests take, side by side; what can't be built they say."""
    with ThreadPoolExecutor() as pool, suppress(pytest.skip.Exception, pytest.fail.Exception):
        list(pool.map(rootfs, (*MACHINES.values(), BULLSEYE)))


if __name__ == "__main__":
    _build_all()
