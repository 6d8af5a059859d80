"""The firewall's table given to the kernel so that what stays in it goes on counting."""

from collections.abc import Mapping

from ..firewall.kernel import Firewall, FirewallError
from ..memory.records import Loaded
from ..plan import Change, FileState
from ..planning.verification import places, still_loaded
from ..processes import Result
from ..programs.host import Host
from .table_file import Table, parsed

_NAME = "inet lbhook"


class TableLoader:
    """Loads the table of one host by what differs. `before` is, by path, what was loaded before
    this run, `held` what it has loaded itself."""

    def __init__(
        self, host: Host, before: Mapping[str, Loaded], firewall: Firewall | None = None
    ) -> None:
        self.host = host
        self.before = before
        self.firewall = firewall or Firewall()
        self.held: dict[str, FileState] = {}

    def load(self, change: Change) -> Result:
        """Have the kernel hold the file as it is expected. What can't be done by its difference is
        done as a whole, in the same run."""
        assert change.expected
        held, new = self._held(change), change.expected
        old = parsed(held.content, _NAME) if held else None
        table = parsed(new.content, _NAME)
        done = table and (
            self._difference(change, old, table) or self._counting(change, old, table)
        )
        done = done or self.host.command(
            change.target, change.reload_argv, places(self.host, change.target)
        )
        if done.ok:
            self.held[str(change.path)] = new
        return done

    def _held(self, change: Change) -> FileState | None:
        """The file that the kernel's table is known to be, if it is."""
        path = str(change.path)
        if path in self.held:
            return self.held[path]
        known, before = self.before.get(path), change.actual
        if not (known and before and _is_record_of(known, before)):
            return None
        return before if still_loaded(self.host, change.target, known) else None

    def _difference(self, change: Change, old: Table | None, new: Table) -> Result | None:
        """None if there is nothing to compare, or nft does not take the difference."""
        if not old:
            return None
        # Imported where there is something to compare: a boot has nothing.
        from .changes import Changes

        try:
            script = Changes(_NAME, old, new, self.firewall.rules()).script()
        except FirewallError:
            return None
        if script is None:
            return None
        return self._told(change, script.encode()) if script else Result(argv=(), status=0)

    def _counting(self, change: Change, old: Table | None, new: Table) -> Result | None:
        """The whole file, with what was counted; None if nothing was, or nft does not take it."""
        content = change.expected.content if change.expected else b""
        try:
            tally = self.firewall.tally()
        except FirewallError:
            return None
        if not tally.rules:
            return None
        from .changes import with_counts

        return self._told(change, with_counts(content, new, old, tally))

    def _told(self, change: Change, script: bytes) -> Result | None:
        result = self.host.run(("nft", "-f", "-"), timeout=change.target.timeout, stdin=script)
        return result if result.ok else None


def _is_record_of(known: Loaded, file: FileState) -> bool:
    return bool(known.digest == file.digest and known.observed and not known.held)
