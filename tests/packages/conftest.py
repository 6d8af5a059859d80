"""A root file system for each test."""

from pathlib import Path

import pytest

from ..boot.rootfs import MACHINES, rootfs
from ..lab.hosts import require
from .chroot import Chroot


@pytest.fixture
def chroot(tmp_path: Path) -> Chroot:
    """A Debian in which lbhook has never been."""
    require("debootstrap", "unshare")
    return Chroot(rootfs(MACHINES["bookworm"]), tmp_path / "chroot")
