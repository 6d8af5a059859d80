"""What a host hands out."""

from pathlib import Path

import pytest

from lbhook.config.shipped import SHIPPED
from lbhook.programs.systemd import PROGRAMS

from ..stand import Stand

# Those of shipped targets, and those that a target of one's own may reload.
NAMES = {
    *(kind.daemon for kind in SHIPPED.values() if kind.daemon),
    *(program.name for program in PROGRAMS.values()),
}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_program_has_its_own_module(tmp_path: Path, name: str) -> None:
    """Every program that a target can be for is asked by the module of that name."""
    stand = Stand(tmp_path)
    daemon = stand.host(stand.settings("")).daemon(name)
    assert type(daemon).__module__ == f"lbhook.programs.{name}"


@pytest.mark.parametrize("name", ["", "caddy", "nginx.service"])
def test_no_program_is_taken_for_another(tmp_path: Path, name: str) -> None:
    """A program without a module is a mistake in lbhook's tables, and is not taken for nginx."""
    stand = Stand(tmp_path)
    host = stand.host(stand.settings(""))
    with pytest.raises(KeyError, match=f"'{name}'"):
        host.daemon(name)
