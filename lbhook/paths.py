"""Where lbhook keeps things on this machine."""

from pathlib import PurePosixPath
from typing import NamedTuple

# What lbhook keeps in the runtime directory; the state directory is its own altogether.
_KEPT = (
    *("lock", "status.json", "loaded.json", "refused.json", "drain.json", "drain.nft"),
    *("unconfirmed", "booted"),
)


class Paths(NamedTuple):
    """Where things are on this machine."""

    state: PurePosixPath = PurePosixPath("/var/lib/lbhook")
    runtime: PurePosixPath = PurePosixPath("/run/lbhook")
    templates: tuple[PurePosixPath, ...] = (PurePosixPath("/etc/lbhook/templates"),)
    identity: PurePosixPath = PurePosixPath("/sys/class/dmi/id/product_uuid")
    snippets: PurePosixPath = PurePosixPath("/etc/lbhook/nftables.d")

    @property
    def handover(self) -> PurePosixPath:
        """Where the process that asks leaves an answer, in a directory of its own."""
        return self.runtime.with_name(f"{self.runtime.name}-fetch") / "answer.json"

    def are_at(self, path: PurePosixPath) -> bool:
        """Whether a path is that of lbhook's memory, or of one of the directories it is in."""
        if path.parent == self.runtime:
            return path.name in _KEPT
        return self.state in path.parents or path in (self.state, self.runtime)
