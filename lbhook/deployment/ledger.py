"""What lbhook writes down of a transaction: what is owed, installed and loaded."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ..memory.records import Installed, Loaded
from ..plan import Change, Outcome, Reload
from ..programs.host import Host
from .reloads import Loader


class Ledger:
    """The records of one transaction. With `recorded` false, the plan has the record of what is
    installed among its files; `files` are further files of lbhook's own, and their contents;
    `before` is what was loaded before it began."""

    def __init__(
        self, host: Host, loader: Loader, recorded: bool, files: Mapping[PurePosixPath, bytes]
    ) -> None:
        self.host = host
        self.loader = loader
        self.recorded = recorded
        self.files = files
        self.before: Mapping[str, Loaded] = {}

    def open(self) -> None:
        """Take down what is loaded now."""
        self.before = self.loader.before = self.host.state.loaded()

    @property
    def own(self) -> Sequence[PurePosixPath]:
        """lbhook's own files that change with the targets'."""
        return (self.host.state.installed_file, *self.files) if self.recorded else ()

    def owe(self, going: Sequence[Change]) -> None:
        """Before a file is replaced, what is loaded of it is no longer known to be right."""
        if self.host.live:
            paths = {str(one.path) for one in going}
            loaded = {path: one for path, one in self.before.items() if path not in paths}
            foreign = {str(one.path): Installed.foreign(one) for one in going if one.original}
            before = {path: one for path, one in self.before.items() if path in paths}
            self.host.state.keep_debts(loaded, foreign, before)

    def keep_original(self, change: Change) -> None:
        """A copy of what was there before lbhook."""
        tree, original = self.host.tree, self.host.state.original_file(change.path)
        # Should the record have been lost, the copy that is there is the original still.
        if change.original and change.actual and tree.state(original) is None:
            tree.stage(original, change.actual)
            tree.replace(original)

    def settle(self, changes: Sequence[Change]) -> None:
        """What is installed and what is loaded from now on."""
        state = self.host.state
        going = [one for one in changes if one.outcome not in (Outcome.SKIPPED, Outcome.BLOCKED)]
        if self.recorded:
            for change in going:
                self.keep_original(change)
                self._keep_copy(change)
                if change.left:
                    state.put_aside(change.path)
            state.keep_installed(self._installed(going))
        for path, content in self.files.items():
            self.host.tree.write(path, content)
        if self.host.live:
            undone = [str(one.path) for one in going if one.dropped]
            state.keep_loaded(self.loader.loaded(going), undone)

    def _keep_copy(self, change: Change) -> None:
        """Of a file that a reboot takes: the next boot need not render it."""
        if change.dropped:
            self.host.state.keep_copy(change.path, None)
        elif change.rendered and change.expected:
            self.host.state.keep_copy(change.path, change.expected.content)

    def _installed(self, going: Sequence[Change]) -> Mapping[str, Installed]:
        installed = self.host.state.installed()
        for change in going:
            path = str(change.path)
            if change.dropped:
                record = installed.pop(path)
                if self.loader.results.get(path) in (Reload.OWED, Reload.FAILED):
                    # The debt is paid from its record.
                    installed[path] = record._replace(undone=True)
            elif change.rendered and change.expected:
                installed[path] = Installed.of(change, installed.get(path))
        return installed
