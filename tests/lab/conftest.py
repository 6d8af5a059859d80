"""The laboratory as a fixture, new for each test: a fraction of a second buys isolation."""

from collections.abc import Iterator

import pytest

from .lab import Lab, laboratory


@pytest.fixture
def lab() -> Iterator[Lab]:
    """Client, fabric and VM, with nothing applied yet."""
    with laboratory() as built:
        yield built
