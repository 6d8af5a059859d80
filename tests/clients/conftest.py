"""The clients' VM as a fixture: one for each module, since clients leave nothing behind in it."""

from collections.abc import Iterator

import pytest

from .azure import Azure, azure


@pytest.fixture(scope="module", name="azure")
def _azure() -> Iterator[Azure]:
    with azure() as built:
        yield built
