"""The record of a drain: in the runtime directory that of this boot, in the state directory one
that outlasts it."""

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import NamedTuple

from .. import layout
from ..storage import forms
from . import record_forms, records
from .state import State

_FILE = "drain.json"
_BY_COMMAND = "`sudo lbhook undrain` ends it"
_BY_TAG = "take the tag from the VM in Azure: the next run ends it"


class Drained(NamedTuple):
    """Since when this VM is drained, by whom and why.

    `since` and `until` are seconds since 1970, `until` 0 for no end. In the boot `boot` it ends
    at `ends`, in seconds of that boot, whatever becomes of the clock; in another one after at
    most `lasts` seconds. `uuid` and `machine_id` say which VM it was.
    """

    since: float
    by: str
    reason: str = ""
    until: float = 0.0
    ends: float = 0.0
    lasts: float = 0.0
    persist: bool = False
    boot: str = ""
    uuid: str = ""
    machine_id: str = ""
    source: str = records.SOURCES[0]
    events: tuple[str, ...] = ()

    @property
    def azures(self) -> bool:
        """Whether it is Azure's word, which ends it."""
        return self.source != records.SOURCES[0]

    @property
    def remedy(self) -> str:
        """What ends it."""
        return _BY_TAG if self.source == "tag" else _BY_COMMAND

    @property
    def text(self) -> str:
        """In a line."""
        until = f" until {layout.minute(self.until)}" if self.until else ""
        why = f": {self.reason}" if self.reason else ""
        return f"drained since {layout.minute(self.since)} by {self.by}{until}{why}"

    def to_json(self) -> dict[str, object]:
        """The value in status.json and in the JSON of commands."""
        until = layout.utc(self.until) if self.until else None
        value = {"since": layout.utc(self.since), "until": until, "by": self.by}
        return {**value, "reason": self.reason, "persist": self.persist, "source": self.source}


class Drains:
    """The records of one machine; those that can't be read are in the state's `damaged`."""

    def __init__(self, state: State) -> None:
        self.state = state

    @property
    def file(self) -> PurePosixPath:
        """Where that of this boot is."""
        return self.state.paths.runtime / _FILE

    @property
    def kept_file(self) -> PurePosixPath:
        """Where one is that outlasts a boot."""
        return self.state.paths.state / _FILE

    @property
    def table_file(self) -> PurePosixPath:
        """Where its table is, for nftables.service, which flushes all of them."""
        return self.state.paths.runtime / "drain.nft"

    def found(self) -> Drained | None:
        """That of this boot, over or not."""
        found = self._read(self.file)
        return found if found and found.boot == self.state.boot_id else None

    def of_earlier_boot(self) -> Drained | None:
        """One that outlasts the boot that it was made in. Of this boot only `found` counts."""
        found = self._read(self.kept_file)
        return found if found and found.boot != self.state.boot_id else None

    def any(self) -> bool:
        """Whether there is something to be looked at."""
        files = (self.file, self.kept_file)
        return any(self.state.tree.read(file) is not None for file in files)

    def leave_table(self, table: str) -> None:
        """Write its table."""
        self.state.tree.write(self.table_file, table.encode())

    def write(self, drained: Drained) -> None:
        """Record it for this boot."""
        self.state.tree.write(self.file, self._content(drained))

    def keep(self, drained: Drained) -> None:
        """Record it for boots to come."""
        self.state.tree.write(self.kept_file, self._content(drained))

    def forget(self) -> None:
        """Remove what is recorded for this boot."""
        self.state.tree.remove(self.table_file)
        self.state.tree.remove(self.file)

    def drop(self) -> bool:
        """Remove what is recorded for boots to come, and say whether there was any."""
        known = self.state.tree.read(self.kept_file) is not None
        if known:
            self.state.tree.remove(self.kept_file)
        return known

    def waived(self) -> tuple[str, ...]:
        """Azure's ids of events that this VM is not drained for again."""
        return tuple(self.state.read(self._waived_file, record_forms.WAIVED)["events"])

    def waive(self, events: Collection[str]) -> None:
        """Note such events, in place of all others."""
        if set(events) != set(self.waived()):
            content = forms.written({"events": sorted(events)})
            self.state.tree.write(self._waived_file, content)

    @property
    def _waived_file(self) -> PurePosixPath:
        return self.state.paths.state / "waived.json"

    @staticmethod
    def _content(drained: Drained) -> bytes:
        return forms.written(drained._asdict())

    def _read(self, path: PurePosixPath) -> Drained | None:
        values = self.state.read(path, record_forms.DRAIN)
        return None if None in values.values() else Drained(**values)
