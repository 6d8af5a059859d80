"""What lbhook remembers between runs.

What is installed is kept in the state directory. What is loaded is kept in the runtime
directory and belongs to one boot: a reload is owed whenever the two differ, so that neither a
kill nor a reboot can make a debt disappear. Both go by the path of a file: a target's name may
change its meaning from one configuration to the next.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, TypeVar

from ..config.settings import Paths
from ..plan import FileState
from .files import Tree
from .records import Applied, Installed, Loaded, Port, Refused, Standstill

VERSION = 1
_ASIDE = ".aside"
_BY_PATH = ("made", "proofs", "skipped", "judged")
R = TypeVar("R", Installed, Loaded, Port, Refused, Standstill)


class State:
    """The records of one machine. `damaged` names those that could not be read."""

    def __init__(self, tree: Tree, paths: Paths, boot_id: str) -> None:
        self.tree = tree
        self.paths = paths
        self.boot_id = boot_id
        self.damaged: list[str] = []
        self._known: dict[str, Any] | None = None

    def look_again(self) -> None:
        """Forget what was read of this boot: while the lock was free another run may have written
        it."""
        self._known = None

    @property
    def installed_file(self) -> PurePosixPath:
        """Where the installed targets are recorded."""
        return self.paths.state / "installed.json"

    @property
    def status_file(self) -> PurePosixPath:
        """Where the outcome of each apply is left for others."""
        return self.paths.runtime / "status.json"

    @property
    def told_file(self) -> PurePosixPath:
        """Where it is kept what the hook was told."""
        return self.paths.state / "told.json"

    @property
    def history_file(self) -> PurePosixPath:
        """Where it is kept which rules came and went."""
        return self.paths.state / "history.json"

    @property
    def hold_file(self) -> PurePosixPath:
        """Where a hold is kept."""
        return self.paths.state / "hold.json"

    @property
    def unconfirmed_file(self) -> PurePosixPath:
        """Where an apply is kept that waits for its confirmation, or was put back without."""
        return self.paths.state / "unconfirmed.json"

    @property
    def waiting_file(self) -> PurePosixPath:
        """There for as long as the boot lasts in which an apply began to wait."""
        return self.paths.runtime / "unconfirmed"

    @property
    def standstill_files(self) -> tuple[PurePosixPath, ...]:
        """Where it is kept what makes this machine stand still."""
        return self.hold_file, self.unconfirmed_file

    def original_file(self, path: PurePosixPath) -> PurePosixPath:
        """Where the file that was at a path before lbhook is kept, with its mode and owner."""
        digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
        return self.paths.state / "originals" / f"{path.name[:100]}-{digest}"

    def aside_file(self, path: PurePosixPath) -> PurePosixPath:
        """Where an original goes when the file that took its place is somebody else's by now."""
        original = self.original_file(path)
        return original.with_name(f"{original.name}{_ASIDE}")

    def installed(self, path: PurePosixPath | None = None) -> dict[str, Installed]:
        """What is installed, by path; with `path`, what another copy of the record says."""
        file = path or self.installed_file
        return self._records(self._read(file).get("files", {}), Installed, file)

    def forget(self) -> tuple[PurePosixPath, ...]:
        """Remove every record, and say which there were. The lock stays: it is held; so do
        originals that were put aside, which nobody else has."""
        state = self.paths.state
        records = [self.installed_file, self.told_file, state / "answer.json", self.status_file]
        records += [self._loaded_file, self._refused_file, self.paths.handover]
        records += [self.history_file, self._ports_file, *self.standstill_files, self.waiting_file]
        gone = [path for path in records if self._is_there(path)]
        journals = [name for name in self.tree.names(state) if name.startswith("previous")]
        places = [state / name for name in ("originals", *journals)]
        for place in places:
            found = [name for name in self.tree.names(place) if not name.endswith(_ASIDE)]
            records += [place / name for name in found]
            gone += [place] if found else []
        self.look_again()
        for path in records:
            self.tree.remove(path)
        for place in (*places, state):
            if not self.tree.names(place):
                self.tree.remove_directory(place)
        return tuple(gone)

    def put_aside(self, path: PurePosixPath) -> None:
        """Keep the original of a file that lbhook leaves alone, out of the way of another."""
        if self._is_there(self.original_file(path)):
            self.tree.move(self.original_file(path), self.aside_file(path))

    def keep_installed(self, installed: Mapping[str, Installed]) -> None:
        """Record what is installed, if that is not what the record says."""
        if installed != self.installed():
            self._write(self.installed_file, {"files": _dicts(installed)})

    def loaded(self) -> dict[str, Loaded]:
        """What has been loaded since the machine booted, by path."""
        return self._records(self._since_boot().get("files", {}), Loaded)

    def keep_loaded(self, loaded: Mapping[str, Loaded], settled: Iterable[str] = ()) -> None:
        """Record what is loaded, if that is not what the record says. Of the `settled` paths
        nothing is owed that `keep_debts` has written down."""
        before = self.foreign()
        foreign = {path: one for path, one in before.items() if path not in set(settled)}
        if (loaded, foreign) != (self.loaded(), before):
            self._write_loaded(files=_dicts(loaded), foreign=_dicts(foreign))

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
        self._write_loaded(files=_dicts(loaded), foreign=_dicts(owing), before=_dicts(before))

    def before(self) -> dict[str, Loaded]:
        """What was loaded of the files that a run replaced last, by path."""
        return self._records(self._since_boot().get("before", {}), Loaded)

    def foreign(self) -> dict[str, Installed]:
        """Targets that were about to be installed over somebody else's file in this boot."""
        return self._records(self._since_boot().get("foreign", {}), Installed)

    def own_addresses(self) -> dict[str, list[str]]:
        """The addresses that lbhook gave the loopback interface in this boot, by the path of the
        file that lists them; some it may only have been about to add."""
        return dict(self._since_boot().get("addresses", {}))

    def keep_own_addresses(self, own: Mapping[str, Sequence[str]]) -> None:
        """Record the addresses of the loopback interface that are lbhook's."""
        self._write_loaded(addresses=own)

    def applied(self) -> float:
        """When the answer that was applied last was read: seconds of this boot, 0 if none was."""
        return float(self._since_boot().get("applied", 0.0))

    def made(self) -> dict[str, str]:
        """By path, the digest of what each file was made of and came to in this boot."""
        return dict(self._since_boot().get("made", {}))

    def proofs(self) -> dict[str, str]:
        """By path, what tells that nothing has changed since a program was verified."""
        return dict(self._since_boot().get("proofs", {}))

    def judged(self) -> dict[str, dict[str, Any]]:
        """By path, how the listeners of each file were judged in this boot."""
        return dict(self._since_boot().get("judged", {}))

    def rested(self) -> tuple[str, ...]:
        """The paths of files that were put to rest since their program had failed with them."""
        return tuple(self._since_boot().get("rested", ()))

    def ports(self) -> tuple[Port, ...]:
        """The ports that other programs had when lbhook looked last, before this boot too."""
        listed = self._read(self._ports_file).get("ports", [])
        found = (self._record(self._ports_file, Port, raw) for raw in listed)
        return tuple(one for one in found if one)

    def keep_ports(self, ports: Sequence[Port]) -> None:
        """Record the ports of other programs, if that is not what the record says."""
        if tuple(ports) != self.ports():
            self._write(self._ports_file, {"ports": [one._asdict() for one in ports]})

    def skipped(self) -> tuple[str, ...]:
        """The paths of the targets that were skipped when they were looked at last."""
        return tuple(path for path, is_so in self._since_boot().get("skipped", {}).items() if is_so)

    def closed(self) -> frozenset[str]:
        """What a firewall that was loaded in this boot was said to have closed."""
        return frozenset(self._since_boot().get("closed", ()))

    def keep_closed(self, closed: Iterable[str]) -> None:
        """Record what was said to be closed, beside what was said before."""
        self._write_loaded(closed=sorted({*self.closed(), *closed}))

    def keep_applied(self, applied: Applied) -> None:
        """Record what an apply has left."""
        known, news = self._since_boot(), applied._asdict()
        by_path = {name: {**known.get(name, {}), **news[name]} for name in _BY_PATH}
        self._write_loaded(applied=applied.read, rested=applied.rested, **by_path)

    def refused(self) -> dict[str, Refused]:
        """The groups of targets that were refused, by the digest of all that it hung on."""
        file = self._refused_file
        return self._records(self._read(file).get("groups", {}), Refused, file)

    def keep_refused(self, refused: Mapping[str, Refused]) -> None:
        """Record what was refused, if that is not what the record says."""
        if not refused:
            self.tree.remove(self._refused_file)
        elif refused != self.refused():
            self._write(self._refused_file, {"groups": _dicts(refused)})

    def told(self) -> dict[str, Any]:
        """What the hook was `told` last, and what it is `owed`, as far as there is any."""
        return self._read(self.told_file)

    def keep_told(self, **told: object) -> None:
        """Record what the hook was told, and what it is owed."""
        self._write(self.told_file, told)

    def history(self) -> dict[str, Any]:
        """Which rules are in force, and which came and went."""
        return self._read(self.history_file)

    def keep_history(self, **history: object) -> None:
        """Record which rules are in force, and which came and went."""
        self._write(self.history_file, history)

    def standstill(self, path: PurePosixPath) -> Standstill | None:
        """The hold, or the apply that nobody has confirmed."""
        known = self._read(path)
        return self._record(path, Standstill, known) if known else None

    def keep_standstill(self, path: PurePosixPath, standstill: Standstill | None) -> None:
        """Record it, or that there is none."""
        if standstill is None:
            self.tree.remove(path)
        else:
            self.tree.write(path, encoded(standstill._asdict()))

    def original(self, path: PurePosixPath) -> FileState | None:
        """The file that was there before lbhook, if it was kept."""
        kept = self.tree.state(self.original_file(path))
        return kept if not kept or self.tree.privileged else kept._replace(uid=-1, gid=-1)

    def _is_there(self, path: PurePosixPath) -> bool:
        return self.tree.read(path) is not None

    @property
    def _loaded_file(self) -> PurePosixPath:
        return self.paths.runtime / "loaded.json"

    @property
    def _ports_file(self) -> PurePosixPath:
        return self.paths.state / "ports.json"

    @property
    def _refused_file(self) -> PurePosixPath:
        return self.paths.runtime / "refused.json"

    def _since_boot(self) -> dict[str, Any]:
        if self._known is None:
            found = self._read(self._loaded_file)
            self._known = found if found.get("boot") == self.boot_id else {}
        return self._known

    def _write_loaded(self, **news: object) -> None:
        known = {**self._since_boot(), "boot": self.boot_id, **news}
        self._known = None  # what is on the disk is not known while it is written
        self._write(self._loaded_file, known)

    def _records(
        self, listed: Mapping[str, Any], kind: type[R], path: PurePosixPath | None = None
    ) -> dict[str, R]:
        file = path or self._loaded_file
        records = {name: self._record(file, kind, raw) for name, raw in listed.items()}
        return {name: record for name, record in records.items() if record}

    def _record(self, path: PurePosixPath, kind: type[R], raw: Mapping[str, Any]) -> R | None:
        """A record from its JSON; None if it is not one."""
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in raw.items()
            if key in kind._fields
        }
        if not values:
            return None
        try:
            return kind(**values)
        except TypeError:
            self._damage(path)
            return None

    def _read(self, path: PurePosixPath) -> dict[str, Any]:
        content = self.tree.read(path)
        if content is None:
            return {}
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict) or value.get("version") != VERSION:
            self._damage(path)
            return {}
        return value

    def _damage(self, path: PurePosixPath) -> None:
        text = f"{self.tree.outside(path)}: damaged, or of another version; it is ignored"
        if text not in self.damaged:
            self.damaged.append(text)

    def _write(self, path: PurePosixPath, content: Mapping[str, object]) -> None:
        self.tree.write(path, encoded(content))


def encoded(content: Mapping[str, object]) -> bytes:
    """A record as it is kept."""
    text = json.dumps({**content, "version": VERSION}, indent=1, sort_keys=True)
    return f"{text}\n".encode()


def _dicts(records: Mapping[str, Any]) -> dict[str, Any]:
    return {name: record._asdict() for name, record in records.items()}
