"""A machine for each test: its disk is a layer on the root file system, its network the lab's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lab.hosts import require
from .azure import Azure, azure_of
from .machine import Machine
from .rootfs import rootfs


@pytest.fixture(scope="session")
def image() -> Path:
    """The root file system that all machines share."""
    require("systemd-nspawn", "debootstrap", "nsenter", "unshare")
    return rootfs()


@pytest.fixture
def azure() -> Iterator[Azure]:
    """The fabric around the machine, with the metadata service up."""
    with azure_of() as built:
        yield built


@pytest.fixture
def machine(image: Path, azure: Azure, tmp_path: Path) -> Iterator[Machine]:
    """The machine as it is when lbhook has been installed; off."""
    built = Machine(image, tmp_path / "vm", azure.network)
    try:
        yield built
    finally:
        built.kill()
