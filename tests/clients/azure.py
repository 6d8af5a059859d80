"""A VM with clients of the metadata service in it, and a service that plays what a test wants."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conftest import lacking
from tests.lab.fabric import Fabric
from tests.lab.hosts import REPO, Host
from tests.lab.vm import VM_LINKS, Vm

CLIENTS = REPO / ".cache" / "clients"
PACKAGES = CLIENTS / "tree" / "usr" / "lib" / "python3" / "dist-packages"
# The packages are built for the distribution's own interpreter.
PYTHON = Path("/usr/bin/python3")
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as the emulator logged it; `at` is in seconds."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    status: int | None
    at: float
    note: str


@dataclass(frozen=True)
class Azure:
    """The fabric that serves and the VM that asks."""

    fabric: Fabric
    vm: Vm

    def ask(
        self,
        script: str,
        *words: str,
        playbook: str = "",
        limit: int | None = 5,
        instance: object = None,
    ) -> tuple[Any, list[Seen]]:
        """Run a client in the VM; return what it says, and what the emulator was asked."""
        wanted = json.dumps({"playbook": playbook, "limit": limit, "instance": instance})
        argv = [sys.executable, str(HERE / "serve.py"), wanted]
        service = self.fabric.spawn(argv, env={"PYTHONPATH": str(REPO)})
        assert service.stdout
        assert service.stdout.readline() == "ready\n", "the emulator did not start"
        # Without `site` nothing but the unpacked packages is to be found.
        argv = [str(PYTHON), "-S", "-B", str(HERE / script), *words]
        done = self.vm.run(argv, env={"PYTHONPATH": str(PACKAGES)})
        log, _ = service.communicate("")
        said = json.loads(done.stdout.splitlines()[-1])
        return said, [Seen(**json.loads(line)) for line in log.splitlines()]


def statuses(log: Sequence[Seen]) -> list[int | None]:
    """Return what was answered, in order; None where nothing was."""
    return [seen.status for seen in log]


def waited(log: Sequence[Seen], *seconds: int) -> bool:
    """Say whether at least so many seconds lie between each request and the next."""
    gaps = [after.at - before.at for before, after in itertools.pairwise(log)]
    # The client counts from its own end of the connection, and the log may come a little later.
    return all(gap > least - 0.5 for gap, least in zip(gaps, seconds, strict=True))


@contextmanager
def azure() -> Iterator[Azure]:
    """Build fabric and VM; a test that finds no clients is skipped."""
    for path in (CLIENTS / "versions", PYTHON):
        if not path.exists():
            lacking(f"no {path.name} of the clients: tests/clients/fetch-clients gets them")
    with Host("client") as client, Fabric(client) as fabric, Vm(client) as vm:
        fabric.connect(client, vm)
        vm.links(VM_LINKS)
        yield Azure(fabric, vm)
