"""What lbhook's records say of targets, read once for a plan."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..config.targets import Target
from ..memory.records import Installed, Loaded
from ..memory.state import State
from ..plan import Change, FileState


class Recorded(NamedTuple):
    """By path: files that lbhook installed, and that others wrote where it put one back; what
    programs have loaded of either, and what each was made of. `skipped` are paths."""

    installed: Mapping[str, Installed] = {}
    foreign: Mapping[str, Installed] = {}
    loaded: Mapping[str, Loaded] = {}
    made_of: Mapping[str, str] = {}
    skipped: Sequence[str] = ()

    @classmethod
    def read(cls, state: State) -> "Recorded":
        """All of them, as they are now."""
        return cls(
            installed=state.installed(),
            foreign=state.foreign(),
            loaded=state.loaded(),
            made_of=state.made(),
            skipped=state.skipped(),
        )

    def of(self, target: Target) -> Installed | None:
        """What is recorded of a target's file, if lbhook installed it."""
        return self.installed.get(str(target.path))

    def is_ours(self, target: Target, actual: FileState | None) -> bool:
        """Whether a file is as lbhook wrote it."""
        record = self.of(target)
        return bool(record and actual and record.digest == actual.digest)

    def is_foreign(self, change: Change) -> bool:
        """Whether a file is as it was put back for somebody else."""
        record = self.foreign.get(str(change.path))
        return bool(record and change.actual and record.digest == change.actual.digest)
