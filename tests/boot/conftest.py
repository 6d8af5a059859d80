"""A machine for each test: its disk is a layer on the root file system, its network the lab's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lab.hosts import require
from .azure import Azure, azure_of
from .machine import Machine
from .rootfs import MACHINES, rootfs

SHARES = pytest.StashKey[dict[str, str]]()


@pytest.fixture(scope="session", params=MACHINES)
def image(request: pytest.FixtureRequest) -> Path:
    """The root file system that all machines of a Debian release share."""
    require("systemd-nspawn", "debootstrap", "nsenter", "unshare")
    return rootfs(MACHINES[request.param])


@pytest.fixture
def azure() -> Iterator[Azure]:
    """The fabric around the machine, with the metadata service up."""
    with azure_of() as built:
        yield built


@pytest.fixture
def machine(
    request: pytest.FixtureRequest, image: Path, azure: Azure, tmp_path: Path
) -> Iterator[Machine]:
    """The machine as it is when lbhook has been installed; off."""
    built = Machine(image, tmp_path / "vm", azure.network)
    try:
        yield built
    finally:
        built.kill()
        shares = request.config.stash.setdefault(SHARES, {})
        name = request.node.name
        shares.update({f"{name}, boot {at}": one for at, one in enumerate(built.shares, 1)})


@pytest.fixture
def bare(image: Path, azure: Azure, tmp_path: Path) -> Iterator[Machine]:
    """The machine as it is before lbhook has been installed; off."""
    built = Machine(image, tmp_path / "vm", azure.network, bare=True)
    try:
        yield built
    finally:
        built.kill()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """What lbhook took of each boot."""
    shares = config.stash.get(SHARES, {})
    if shares:
        terminalreporter.section("lbhook's share of the boots")
    for boot, share in shares.items():
        terminalreporter.line(f"{boot}: {share}")
