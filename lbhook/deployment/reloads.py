"""What programs have loaded: reloads, each once, and what shows that they worked."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..config.shipped import kind_of
from ..config.targets import Argv, Target
from ..errors import LbhookError, ReloadError
from ..plan import Change, FileState, Outcome, Reload
from ..planning.verification import main_pid, observe, places, unit_of, verify
from ..processes import filled
from ..programs import floating_ip
from ..programs.host import Host
from ..storage.records import Loaded
from . import others

if TYPE_CHECKING:
    from ..tables.loading import TableLoader

# A signal may come late.
_SETTLE = 3.0


class Loader:
    """Makes the programs of one host take their files. `results` are by path; `before` is what was
    loaded before any file was replaced."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.results: dict[str, Reload] = {}
        self._reloaded: list[list[Change]] = []
        self._workers: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._others: dict[str, str] = {}
        self._own: frozenset[str] = frozenset()
        self._left: set[str] = set()
        self._kept: frozenset[Argv] = frozenset()
        self.before: Mapping[str, Loaded] = {}
        self._tables: TableLoader | None = None

    @property
    def acted(self) -> bool:
        """Whether anything was reloaded."""
        return bool(self._reloaded)

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
                loaded[path] = self._record(change, change.expected, result)
        return loaded

    def load_old(self, before: Mapping[str, Loaded]) -> tuple[str, ...]:
        """Have the programs run what they ran `before`, with the files as they are now; says how
        that is: a program that went on with what it had is left alone, and one that would load
        more than that is not reloaded."""
        olds = [self._old(one) for group in reversed(self._reloaded) for one in group]
        return tuple(self._load_old(group, before) for group in _grouped(olds))

    @property
    def reloaded(self) -> frozenset[str]:
        """The paths of what has not, or not for certain, what it had before."""
        return frozenset(str(one.path) for group in self._reloaded for one in group) - self._left

    def loaded_again(self, before: Mapping[str, Loaded]) -> dict[str, Loaded]:
        """After a put-back: what was not reloaded is still loaded as it was `before`."""
        kept = {path: one for path, one in before.items() if path not in self.reloaded}
        return {**self.host.state.loaded(), **kept}

    def _is_news(self, path: str, result: Reload) -> bool:
        known = (Reload.DONE, Reload.QUEUED)
        return result in known or (result is Reload.NONE and path in self.results)

    def _steps(self, changes: Sequence[Change]) -> Iterator[Callable[[], None]]:
        # What goes, goes first: it may be replaced by what comes.
        groups = _grouped(sorted(_due(changes), key=lambda one: not one.dropped))
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
        self._reloaded.append(group)
        first = next((one for one in group if one.touches_file), group[0])
        done = Reload.DONE if self._is_replaced(first) else self._loaded(first)
        self.results.update(dict.fromkeys(paths, done))

    def _loaded(self, change: Change) -> Reload:
        """The firewall's table goes on counting what stays; all else is reloaded. Raises
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
            daemon = self.host.daemon(kind_of(change.target).daemon)
            daemon.prepare(change.expected.content, pid)
        self._others[path] = others.seen(self.host, change.target, self._own)
        signalled = _signalled(self.host, change.target)
        self._workers[path] = (signalled, self.host.machine.children(signalled))

    def _goes_on(self, change: Change, timeout: float) -> bool:
        """Whether a program that is signalled has not taken its new configuration: its workers
        are the old ones."""
        pid, workers = self._workers.get(str(change.path), (0, ()))
        if not (pid and workers):
            return False
        services, unit = self.host.services, unit_of(change.target)
        renewed = services.renewed(pid, workers, timeout)
        if renewed and unit == "haproxy.service":
            renewed = services.stays_renewed(unit, workers, change.target.timeout)
        return not renewed

    def _stale(self, change: Change) -> str:
        """What shows that a program has not taken a configuration that adds no listener."""
        if not self._goes_on(change, change.target.timeout):
            return ""
        name = kind_of(change.target).daemon or others.program(change.target)
        return f"{name} goes on with its old configuration; its log says why"

    def _load_old(self, olds: Sequence[Change], before: Mapping[str, Loaded]) -> str:
        names, state = ", ".join(one.target.name for one in olds), self.host.state
        paths = [str(one.path) for one in olds]
        failed = self.results.get(paths[0]) is Reload.FAILED
        if self._goes_on(olds[0], 0.0 if failed else _SETTLE):
            self._left |= {*paths}
            state.keep_loaded({**state.loaded(), **_those(before, paths)})
            return f"not reloaded: {names}: its program still runs with the old file"
        if not all(self._knows(one, before) for one in olds):
            held = {path: Loaded(digest="", held=True) for path in paths}
            state.keep_loaded({**state.loaded(), **held})
            return (
                f"not reloaded: {names}: its program may still run with the new file, and a"
                " reload would also load other changes in its configuration"
            )
        return self._reload_old(olds, names)

    def _knows(self, change: Change, before: Mapping[str, Loaded]) -> bool:
        now = others.seen(self.host, change.target)
        return others.same(now, before.get(str(change.path)))

    def _reload_old(self, olds: Sequence[Change], names: str) -> str:
        self.host.units.look_again()
        try:
            result = self._loaded(olds[0])
        except LbhookError as failure:
            return f"{names}: the reload with the old file failed too: {failure}"
        loaded = self.host.state.loaded()
        for old in olds:
            if old.actual and result is not Reload.OWED:
                loaded[str(old.path)] = self._record(old, old.actual, result)
        self.host.state.keep_loaded(loaded)
        return f"reloaded with the old files: {names}"

    def _old(self, change: Change) -> Change:
        actual = self.host.tree.state(change.path)
        return change._replace(expected=actual, actual=actual, outcome=Outcome.RESTORED)

    def _record(self, change: Change, file: FileState, result: Reload) -> Loaded:
        queued = result is Reload.QUEUED
        # Before its job has run, the program shows what it had before.
        observed = "" if queued else observe(self.host, change.target)
        seen = self._others.get(str(change.path), "")
        return Loaded(digest=file.digest, observed=observed, queued=queued, others=seen)


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
    from ..programs.systemd import PROGRAMS, RUNNING

    program = PROGRAMS.get(unit_of(target))
    if not program or not program.signal:
        return 0
    unit = host.services.unit(unit_of(target))
    there = unit.active in RUNNING and host.machine.program(unit.main_pid) == program.name
    return unit.main_pid if there else 0


def _those(loaded: Mapping[str, Loaded], paths: Sequence[str]) -> Mapping[str, Loaded]:
    return {path: loaded[path] for path in paths if path in loaded}


def _stays(change: Change) -> bool:
    """Whether a program goes on with a file; only of one that can be told to give it up."""
    left_out = change.outcome in (Outcome.SKIPPED, Outcome.BLOCKED)
    return bool(change.target.remove and change.expected) and not (change.dropped or left_out)


def _due(changes: Sequence[Change]) -> list[Change]:
    return [one for one in changes if one.reload is Reload.DUE]


def _grouped(changes: Sequence[Change]) -> list[list[Change]]:
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
