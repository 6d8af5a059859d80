"""Where lbhook keeps what it remembers, and the form of each record."""

import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from ..paths import Paths
from ..storage.forms import Form
from . import record_forms

# The end of the name of an original that was put aside.
ASIDE = ".aside"
# What leaves room for what is added to the name of an original: in a name are 255 bytes.
_LONGEST = 230


class Places:
    """Files in the state directory, which outlive a boot, and in the runtime directory."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    @property
    def installed_file(self) -> PurePosixPath:
        """Where the installed targets are recorded."""
        return self.paths.state / "installed.json"

    @property
    def status_file(self) -> PurePosixPath:
        """Where the outcome of each apply is left for others."""
        return self.paths.runtime / "status.json"

    @property
    def answer_file(self) -> PurePosixPath:
        """Where the last good answer is."""
        return self.paths.state / "answer.json"

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
    def tag_file(self) -> PurePosixPath:
        """Where it is kept that a tag of the VM holds this machine."""
        return self.paths.state / "tag.json"

    @property
    def waiting_file(self) -> PurePosixPath:
        """There for as long as the boot lasts in which an apply began to wait."""
        return self.paths.runtime / "unconfirmed"

    @property
    def standstill_files(self) -> tuple[PurePosixPath, ...]:
        """Where it is kept what makes this machine stand still."""
        return self.hold_file, self.unconfirmed_file, self.tag_file

    def original_file(self, path: PurePosixPath) -> PurePosixPath:
        """Where the file that was at a path before lbhook is kept, with its mode and owner."""
        return self.paths.state / "originals" / _flat(path)

    def copy_file(self, path: PurePosixPath) -> PurePosixPath:
        """Where the content of a file is kept that a reboot takes away."""
        return self.paths.state / "copies" / _flat(path)

    @property
    def refused_candidates(self) -> PurePosixPath:
        """The directory of rendered files that their checks have refused, by name of target."""
        return self.paths.state / "refused"

    def aside_file(self, path: PurePosixPath) -> PurePosixPath:
        """Where an original goes when the file that took its place is somebody else's by now."""
        original = self.original_file(path)
        return original.with_name(f"{original.name}{ASIDE}")

    @property
    def loaded_file(self) -> PurePosixPath:
        """Where it is kept what is loaded in this boot."""
        return self.paths.runtime / "loaded.json"

    @property
    def ports_file(self) -> PurePosixPath:
        """Where the ports of other programs are kept."""
        return self.paths.state / "ports.json"

    @property
    def refused_file(self) -> PurePosixPath:
        """Where it is kept what a program refused in this boot."""
        return self.paths.runtime / "refused.json"

    def forms(self) -> Mapping[PurePosixPath, Form]:
        """Each record's form."""
        return {
            self.installed_file: record_forms.INSTALLED,
            self.answer_file: record_forms.ANSWER,
            self.told_file: record_forms.TOLD,
            self.history_file: record_forms.HISTORY,
            self.ports_file: record_forms.PORTS,
            self.hold_file: record_forms.STANDSTILL,
            self.unconfirmed_file: record_forms.STANDSTILL,
            self.tag_file: record_forms.STANDSTILL,
            self.paths.state / "waived.json": record_forms.WAIVED,
            self.paths.state / "drain.json": record_forms.DRAIN,
            self.paths.runtime / "drain.json": record_forms.DRAIN,
            self.loaded_file: record_forms.LOADED,
            self.refused_file: record_forms.REFUSED,
        }


def _flat(path: PurePosixPath) -> str:
    """A name for a path, in one directory with those of all others."""
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = path.name[:100].encode()[:_LONGEST].decode(errors="ignore")
    return f"{name}-{digest}"
