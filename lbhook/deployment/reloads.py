"""What programs have loaded: reloads, each once, and what shows that they worked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..config.shipped import kind_of
from ..config.targets import Argv, Target
from ..errors import ReloadError
from ..memory.records import Loaded
from ..plan import Change, FileState, Outcome, Reload
from ..planning.verification import main_pid, observe, places, verify
from ..processes import filled
from ..programs import floating_ip
from ..programs.host import Host, unit_of
from . import others

if TYPE_CHECKING:
    from ..tables.loading import TableLoader


class Loader:
    """Makes the programs of one host take their files. `results` are by path; `before` is what was
    loaded before any file was replaced; `reloaded` is what was, or was tried, group by group."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.results: dict[str, Reload] = {}
        self.reloaded: list[list[Change]] = []
        self._workers: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._others: dict[str, str] = {}
        self._own: frozenset[str] = frozenset()
        self._kept: frozenset[Argv] = frozenset()
        self.before: Mapping[str, Loaded] = {}
        self._tables: TableLoader | None = None

    @property
    def acted(self) -> bool:
        """Whether anything was reloaded."""
        return bool(self.reloaded)

    def leave_owed(self, changes: Sequence[Change]) -> None:
        """Reload nothing, and say that it is owed."""
        self.results.update({str(one.path): Reload.OWED for one in _due(changes)})

    def load(self, changes: Sequence[Change]) -> None:
        """Each reload that is due, equal ones once; then what shows that they worked.

        Raises `ReloadError` at the first that fails.
        """
        for step in self._steps(changes):
            step()

    def pay(self, changes: Sequence[Change]) -> None:
        """As `load`, but where one fails the others go on: they have nothing to do with it.

        Raises `ReloadError` with all that failed.
        """
        problems: list[str] = []
        for step in self._steps(changes):
            try:
                step()
            except ReloadError as error:
                problems += error.problems
        if problems:
            raise ReloadError(*problems)

    def loaded(self, changes: Sequence[Change]) -> dict[str, Loaded]:
        """The record of what is loaded, brought up to date after `changes`."""
        loaded = self.host.state.loaded()
        for change in changes:
            path, result = str(change.path), self.results.get(str(change.path), change.reload)
            known = loaded.get(path)
            if known and known.held and result is Reload.OWED:
                continue  # until the next answer
            if change.dropped or result in (Reload.OWED, Reload.FAILED):
                loaded.pop(path, None)
            elif change.expected and self._is_news(path, result):
                loaded[path] = self.record(change, change.expected, result)
        return loaded

    def load_one(self, change: Change) -> Reload:
        """One reload, in which the firewall's table goes on counting what stays. Raises
        `ReloadError` with the command and its output."""
        usual = kind_of(change.target).defaults.get("reload")
        table = change.target.kind == "nftables" and change.reload_argv == usual
        if not (table and change.expected and self.host.kernel):
            return reload(self.host, change)
        from ..tables.loading import TableLoader

        self._tables = self._tables or TableLoader(self.host, self.before)
        result = self._tables.load(change)
        if not result.ok:
            raise ReloadError(f"{change.target.name}: {result.report()}")
        return Reload.DONE

    def goes_on(self, change: Change, timeout: float) -> bool:
        """Whether a program that is signalled has not taken its new configuration within `timeout`
        seconds: its workers are the old ones."""
        pid, workers = self._workers.get(str(change.path), (0, ()))
        if not (pid and workers):
            return False
        services, unit = self.host.services, unit_of(change.target)
        renewed = services.renewed(pid, workers, timeout)
        if renewed and unit == "haproxy.service":
            renewed = services.stays_renewed(unit, workers, change.target.timeout)
        return not renewed

    def record(self, change: Change, file: FileState, result: Reload) -> Loaded:
        """What is to be kept of a file that a program has loaded."""
        queued = result is Reload.QUEUED
        # Before its job has run, the program shows what it had before.
        observed = "" if queued else observe(self.host, change.target)
        seen = self._others.get(str(change.path), "")
        return Loaded(digest=file.digest, observed=observed, queued=queued, others=seen)

    def _is_news(self, path: str, result: Reload) -> bool:
        known = (Reload.DONE, Reload.QUEUED)
        return result in known or (result is Reload.NONE and path in self.results)

    def _steps(self, changes: Sequence[Change]) -> Iterator[Callable[[], None]]:
        # What goes, goes first: it may be replaced by what comes.
        groups = grouped(sorted(_due(changes), key=lambda one: not one.dropped))
        self._own = others.own(self.host, changes)
        self._kept = frozenset(one.target.remove for one in changes if _stays(one))
        yield from (partial(self._reload, group) for group in groups)
        yield from (partial(self._verify, one) for group in groups for one in group)

    def _reload(self, group: list[Change]) -> None:
        paths = [str(one.path) for one in group]
        self.results.update(dict.fromkeys(paths, Reload.FAILED))
        self.host.units.look_again()  # a check may have taken long
        for change in group:
            self._prepare(change)
        self.reloaded.append(group)
        first = next((one for one in group if one.touches_file), group[0])
        done = Reload.DONE if self._is_replaced(first) else self.load_one(first)
        self.results.update(dict.fromkeys(paths, done))

    def _is_replaced(self, change: Change) -> bool:
        """Whether another file takes over what a dropped one has loaded: the firewall's table,
        after it was given another path."""
        return change.dropped and change.target.remove in self._kept

    def _verify(self, change: Change) -> None:
        path = str(change.path)
        result = self.results.get(path)
        alone = result is Reload.NONE and not change.target.reload_unit
        if not change.expected or not (result is Reload.DONE or alone):
            return
        problem = verify(self.host, change.target, change.expected) or self._stale(change)
        if problem:
            self.results[path] = Reload.FAILED
            raise ReloadError(f"{change.target.name}: {problem}")

    def _prepare(self, change: Change) -> None:
        """Make a running program ready for its reload, and note what it has until then."""
        path, pid = str(change.path), main_pid(self.host, change.target)
        if pid and change.expected:
            self.host.daemon_of(change.target).prepare(change.expected.content, pid)
        self._others[path] = others.seen(self.host, change.target, self._own)
        signalled = _signalled(self.host, change.target)
        self._workers[path] = (signalled, self.host.machine.children(signalled))

    def _stale(self, change: Change) -> str:
        """What shows that a program has not taken a configuration that adds no listener."""
        if not self.goes_on(change, change.target.timeout):
            return ""
        name = kind_of(change.target).daemon or others.program(change.target)
        return f"{name} goes on with its old configuration; its log says why"


def reload(host: Host, change: Change) -> Reload:
    """Make the program take the file, or give up what it had of it when the file is gone.

    Raises `ReloadError` with the command and its output.
    """
    target = change.target
    if kind_of(target).addresses:
        floating_ip.load(host, target, change.expected.content if change.expected else b"")
        return Reload.DONE
    if change.reload_argv:
        result = host.command(target, change.reload_argv, places(host, target))
        host.units.look_again()  # it may have been a restart
        if not result.ok:
            raise ReloadError(f"{target.name}: {result.report()}")
        return Reload.DONE
    if target.reload_unit:
        changed = change.touches_file
        return host.services.reload(
            target.reload_unit, timeout=target.timeout, file_changed=changed
        )
    return Reload.NONE


def _signalled(host: Host, target: Target) -> int:
    """The main process of a running program that renews its workers on a signal; 0 if none."""
    from ..programs.systemd import PROGRAMS

    known = PROGRAMS.get(unit_of(target))
    program, pid = host.services.running(unit_of(target)) if known and known.signal else ("", 0)
    return pid if known and program == known.name else 0


def _stays(change: Change) -> bool:
    """Whether a program goes on with a file; only of one that can be told to give it up."""
    left_out = change.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)
    return bool(change.target.remove and change.expected) and not (change.dropped or left_out)


def _due(changes: Sequence[Change]) -> list[Change]:
    return [one for one in changes if one.reload is Reload.DUE]


def grouped(changes: Sequence[Change]) -> list[list[Change]]:
    """Those whose reloads are the same, together; in the order of the reloads."""
    groups: dict[object, list[Change]] = {}
    # What one program gives up one that binds but once may be about to take.
    for change in sorted(changes, key=lambda one: kind_of(one.target).binds_once):
        groups.setdefault(_key(change), []).append(change)
    return list(groups.values())


def _key(change: Change) -> object:
    """Reloads that are the same are done once."""
    if change.reload_argv:
        return filled(change.reload_argv, {"path": change.target.path})
    return change.target.reload_unit or change.path
