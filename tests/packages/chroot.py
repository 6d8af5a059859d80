"""A root file system to install packages in: a throw-away layer on the one that is booted."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..lab.hosts import PATH

# Each command in mounts of its own, which end with it. No /run of the real machine in it: no
# systemd runs here.
_MOUNTED = """
mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount -t proc proc "$2/root/proc"
cd "$2/root"
exec sh -euc "$3" in . "$4"
"""


@dataclass(frozen=True)
class Chroot:
    """One such root file system, on the layer at `place`."""

    image: Path
    place: Path

    def __post_init__(self) -> None:
        for name in ("upper", "work", "root"):
            (self.place / name).mkdir(parents=True)
        (self.place / "upper").chmod(0o755)

    def run(self, script: str, *, check: bool = True) -> str:
        """Run a shell script as root in it; what it prints, errors too."""
        return self.run_outside('exec chroot "$1" sh -euc "$2"', script, check=check)

    def run_outside(self, script: str, word: str = "", *, check: bool = True) -> str:
        """Run a script of this machine, in the directory that is the root, which is `$1`."""
        apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", _MOUNTED]
        done = subprocess.run(
            [*apart, "mounted", str(self.image), str(self.place), script, word],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
        )
        assert done.returncode == 0 or not check, f"{script}\n{done.stdout}"
        return done.stdout

    def write(self, path: str, text: str | bytes) -> None:
        """Write a file, and the directories above it."""
        file = self.place / "upper" / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())

    def read(self, path: str) -> str:
        """The text of a file."""
        return self.run(f"cat {path}")

    def files(self) -> dict[str, str]:
        """Everything in it, with a digest of each file, but for what dpkg keeps of every package
        that there was, and what `nginx -t` makes."""
        kept = "-path /proc -o -path /var/lib/dpkg -o -path /var/log -o -path /var/lib/nginx"
        listed = self.run(
            f"find / \\( {kept} \\) -prune -o -type f -exec sha256sum {{}} + -o -printf 'd  %p\\n'"
        )
        pairs = (line.split("  ", 1) for line in listed.splitlines())
        return {path: digest for digest, path in pairs}
