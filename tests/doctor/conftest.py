"""The machine that the doctor looks at."""

from pathlib import Path

import pytest

from ..stand import Stand


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine with systemd, which says of lbhook's units what a test wants."""
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    return Stand(tmp_path)
