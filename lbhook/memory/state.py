"""What lbhook remembers between runs.

What is installed is kept in the state directory. What is loaded is kept in the runtime
directory and belongs to one boot: a reload is owed whenever the two differ, so that neither a
kill nor a reboot can make a debt disappear. Both go by the path of a file: a target's name may
change its meaning from one configuration to the next.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..errors import LbhookError
from ..paths import Paths
from ..plan import FileState
from ..storage import forms
from ..storage.files import Tree
from . import record_forms
from .record_files import RecordFiles
from .records import Applied, Installed, Loaded, Port, Refused, Standstill

_BY_PATH = ("made", "proofs", "skipped", "judged")
# In memory.
_TAKEN = PurePosixPath("/run")


class State(RecordFiles):
    """What the records of one machine say."""

    def __init__(self, tree: Tree, paths: Paths, boot_id: str) -> None:
        super().__init__(tree, paths)
        self.boot_id = boot_id

    def installed(self, path: PurePosixPath | None = None) -> dict[str, Installed]:
        """What is installed, by path; with `path`, what another copy of the record says."""
        return dict(self.read(path or self.installed_file, record_forms.INSTALLED)["files"])

    def keep_installed(self, installed: Mapping[str, Installed]) -> None:
        """Record what is installed, if that is not what the record says."""
        if installed != self.installed():
            self._write(self.installed_file, {"files": installed})

    def keep_made_of(self, made: Mapping[str, str]) -> None:
        """Record what files were made of, by path: another answer may come to the same file. Where
        that can't be written, a later run renders."""
        installed = self.installed()
        news = {
            path: one._replace(made_of=made[path])
            for path, one in installed.items()
            if made.get(path, one.made_of) != one.made_of
        }
        if news:
            with contextlib.suppress(LbhookError):
                self._write(self.installed_file, {"files": {**installed, **news}})

    def loaded(self) -> dict[str, Loaded]:
        """What has been loaded since the machine booted, by path."""
        return dict(self._since_boot()["files"])

    def keep_loaded(self, loaded: Mapping[str, Loaded], settled: Iterable[str] = ()) -> None:
        """Record what is loaded, if that is not what the record says. Of the `settled` paths
        nothing is owed that `keep_debts` has written down."""
        before = self.foreign()
        foreign = {path: one for path, one in before.items() if path not in set(settled)}
        if (loaded, foreign) != (self.loaded(), before):
            self._write_loaded(files=loaded, foreign=foreign)

    def keep_debts(
        self,
        loaded: Mapping[str, Loaded],
        foreign: Mapping[str, Installed],
        before: Mapping[str, Loaded],
    ) -> None:
        """Record what is loaded for certain while files are replaced, and what was `before`;
        `foreign` are targets whose file was not lbhook's, should it be put back and never be
        installed."""
        owing = {**self.foreign(), **foreign}
        self._write_loaded(files=loaded, foreign=owing, before=before)

    def before(self) -> dict[str, Loaded]:
        """What was loaded of the files that a run replaced last, by path."""
        return dict(self._since_boot()["before"])

    def foreign(self) -> dict[str, Installed]:
        """Targets that were about to be installed over somebody else's file in this boot."""
        return dict(self._since_boot()["foreign"])

    def own_addresses(self) -> dict[str, Sequence[str]]:
        """The addresses that lbhook gave the loopback interface in this boot, by the path of the
        file that lists them; some it may only have been about to add."""
        return dict(self._since_boot()["addresses"])

    def keep_own_addresses(self, own: Mapping[str, Sequence[str]]) -> None:
        """Record the addresses of the loopback interface that are lbhook's."""
        self._write_loaded(addresses=own)

    def applied(self, now: float) -> float:
        """When the answer that was applied last was read: seconds of this boot, which is `now` so
        old; 0 if none was. A time that is still to come is of a clock that has gone back since, as
        of a snapshot or a container's: it is no reason to wait for it."""
        read = float(self._since_boot()["applied"])
        return read if read <= now else 0.0

    def made(self) -> dict[str, str]:
        """By path, the digest of what each file was made of and came to in this boot."""
        return dict(self._since_boot()["made"])

    def proofs(self) -> dict[str, str]:
        """By path, what tells that nothing has changed since a program was verified."""
        return dict(self._since_boot()["proofs"])

    def judged(self) -> dict[str, Mapping[str, Any]]:
        """By path, how the listeners of each file were judged in this boot."""
        return dict(self._since_boot()["judged"])

    def rested(self) -> tuple[str, ...]:
        """The paths of files that were put to rest since their program had failed with them."""
        return tuple(self._since_boot()["rested"])

    def ports(self) -> tuple[Port, ...]:
        """The ports that other programs had when lbhook looked last, before this boot too."""
        return tuple(self.read(self.ports_file, record_forms.PORTS)["ports"])

    def keep_ports(self, ports: Sequence[Port]) -> None:
        """Record the ports of other programs, if that is not what the record says."""
        if tuple(ports) != self.ports():
            self._write(self.ports_file, {"ports": ports})

    def skipped(self) -> tuple[str, ...]:
        """The paths of the targets that were skipped when they were looked at last."""
        return tuple(path for path, is_so in self._since_boot()["skipped"].items() if is_so)

    def closed(self) -> frozenset[str]:
        """What a firewall that was loaded in this boot was said to have closed."""
        return frozenset(self._since_boot()["closed"])

    def keep_closed(self, closed: Iterable[str]) -> None:
        """Record what was said to be closed, beside what was said before."""
        self._write_loaded(closed=sorted({*self.closed(), *closed}))

    def keep_applied(self, applied: Applied) -> None:
        """Record what an apply has left."""
        known, news = self._since_boot(), applied._asdict()
        by_path = {name: {**known[name], **news[name]} for name in _BY_PATH}
        self._write_loaded(applied=applied.read, rested=applied.rested, **by_path)

    def refused(self) -> dict[str, Refused]:
        """The groups of targets that were refused, by the digest of all that it hung on."""
        return dict(self.read(self.refused_file, record_forms.REFUSED)["groups"])

    def keep_refused(self, refused: Mapping[str, Refused]) -> None:
        """Record what was refused, if that is not what the record says."""
        if not refused:
            self.tree.remove(self.refused_file)
        elif refused != self.refused():
            self._write(self.refused_file, {"groups": refused})

    def told(self) -> Mapping[str, Any]:
        """What the hook was `told` last, and what it is `owed`; None where there is none."""
        return self.read(self.told_file, record_forms.TOLD)

    def keep_told(self, **told: object) -> None:
        """Record what the hook was told, and what it is owed."""
        self._write(self.told_file, told)

    def history(self) -> Mapping[str, Any]:
        """Which `rules` are in force, and the `changes`: which came and went."""
        return self.read(self.history_file, record_forms.HISTORY)

    def keep_history(self, **history: object) -> None:
        """Record which rules are in force, and which came and went."""
        self._write(self.history_file, history)

    def standstill(self, path: PurePosixPath) -> Standstill | None:
        """The hold, or the apply that nobody has confirmed."""
        values = self.read(path, record_forms.STANDSTILL)
        return Standstill(**values) if values["kind"] else None

    def keep_standstill(self, path: PurePosixPath, standstill: Standstill | None) -> None:
        """Record it, or that there is none."""
        if standstill is None:
            self.tree.remove(path)
        else:
            self._write(path, standstill._asdict())

    def copy(self, path: PurePosixPath) -> bytes | None:
        """What was in a file that a reboot has taken, if it was kept and can be read."""
        try:
            return self.tree.read(self.copy_file(path))
        except LbhookError:
            return None

    def keep_copy(self, path: PurePosixPath, content: bytes | None) -> None:
        """Keep the content of a file, if a reboot takes that; None if there is no such file. Where
        that can't be done, a later boot renders."""
        if not path.is_relative_to(_TAKEN) or content == self.copy(path):
            return
        with contextlib.suppress(LbhookError):
            if content is None:
                self.tree.remove(self.copy_file(path))
            else:  # the file may be for few to read
                self.tree.write(self.copy_file(path), content, mode=0o600)

    def original(self, path: PurePosixPath) -> FileState | None:
        """The file that was there before lbhook, if it was kept."""
        kept = self.tree.state(self.original_file(path))
        return kept if not kept or self.tree.privileged else kept._replace(uid=-1, gid=-1)

    def put_aside(self, path: PurePosixPath) -> None:
        """Keep the original of a file that lbhook leaves alone, out of the way of another."""
        if self._is_there(self.original_file(path)):
            self.tree.move(self.original_file(path), self.aside_file(path))

    def _since_boot(self) -> Mapping[str, Any]:
        found = self._read_once(self.loaded_file, record_forms.LOADED)
        ours = found["boot"] == self.boot_id
        return found if ours else forms.nothing(record_forms.LOADED).values

    def _write_loaded(self, **news: object) -> None:
        self._write(self.loaded_file, {**self._since_boot(), "boot": self.boot_id, **news})
