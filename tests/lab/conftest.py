"""The laboratory as a fixture, new for each test: a fraction of a second buys isolation."""

from collections.abc import Iterator

import pytest

from .lab import Lab, laboratory
from .neighbours import POLICIES, choose


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Client, fabric and VM, with nothing applied yet."""
    with laboratory() as built:
        yield built


@pytest.fixture(params=POLICIES)
def policy(lab: Lab, request: pytest.FixtureRequest) -> str:
    """Each policy of the firewall, configured in the VM; still nothing is applied."""
    choose(lab.vm, request.param)
    return str(request.param)
