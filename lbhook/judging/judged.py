"""What comes of judging a target's listeners."""

from collections.abc import Sequence
from typing import NamedTuple

from ..config.targets import Target
from ..metadata.facts import Facts

_SHOWN = 8


class Judged(NamedTuple):
    """What a target's file is rendered from, and what is to be said of what it has not. `mark`
    stands for the listeners in a digest."""

    target: Target
    lb: Facts
    notes: tuple[str, ...] = ()
    mark: str = ""


def shown(target: Target, notes: Sequence[str]) -> tuple[str, ...]:
    """The first few of what may be thousands, with the name of the target."""
    more = [f"{len(notes) - _SHOWN} more ports are left out"] if len(notes) > _SHOWN else []
    return tuple(f"{target.name}: {one}" for one in (*notes[:_SHOWN], *more))
