"""A machine for each test: its disk is a layer on the root file system, its network the lab's."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from ..lab.hosts import require
from .azure import Azure, azure_of
from .machine import Machine
from .rootfs import MACHINES, OTHERS, rootfs

# What `make test` boots on the newest release, too: one of each kind. All else there is booted by
# `make boot-test RELEASE=forky`, and on the older ones always.
NEWEST = "forky"
KINDS = (
    *("boot.py", "nginx_page.py", "configured.py", "containers.py", "guarded.py", "haproxy.py"),
    *(f"reloads.py::test_{one}" for one in ("active[", "failed[", "the_port_of_another")),
)


@pytest.fixture(scope="session", params=MACHINES)
def image(request: pytest.FixtureRequest) -> Path:
    """The root file system that all machines of a Debian release share."""
    require("systemd-nspawn", "debootstrap", "nsenter", "unshare")
    return rootfs((MACHINES | OTHERS)[request.param])


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


@pytest.fixture
def bare(image: Path, azure: Azure, tmp_path: Path) -> Iterator[Machine]:
    """The machine as it is before lbhook has been installed; off."""
    built = Machine(image, tmp_path / "vm", azure.network, bare=True)
    try:
        yield built
    finally:
        built.kill()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the releases that are not to be booted."""
    left = [item for item in items if not _wanted(item, config.getoption("release"))]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


def _wanted(item: pytest.Item, release: str | None) -> bool:
    """Whether a test is run on the release that it would boot, if it boots one."""
    of: str | None = item.callspec.params.get("image") if hasattr(item, "callspec") else None
    if of is None:
        return True
    if release:
        return of.startswith(release)
    kinds = tuple(f"tests/boot/test_{one}" for one in KINDS)
    return not of.startswith(NEWEST) or item.nodeid.startswith(kinds)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that failed shows how the machine's units have ended."""
    report = yield
    if call.when == "call" and report.failed:
        machines = {id(one): one for one in item.funcargs.values() if isinstance(one, Machine)}
        for one in machines.values():
            report.sections.append(("the machine's units", one.results()))
    return report
