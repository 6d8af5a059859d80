"""What an earlier run left: files put back, another VM's files to rest, debts paid."""

from collections.abc import Callable

from ..config import permissions
from ..context import Context
from ..errors import LbhookError, WriteError, together
from ..imds.last_good import LastGood
from ..memory import salvage
from ..memory.records import Loaded
from ..metadata.facts import Facts
from ..planning.planner import Planner
from ..planning.scope import Scope
from ..programs.host import UNFINISHED, Host
from . import closures, others
from .deployment import Deployment
from .outcome import Done
from .report import Report


class Recovery:
    """Settles one host, before anything else is done there.

    None of it is a matter of `--only`, and a program that fails again keeps no answer away.
    """

    def __init__(self, context: Context, last_good: LastGood) -> None:
        self.context = context
        self.last_good = last_good

    def carry_out(self, *, load: bool) -> Done:
        """Settle; with `load` false, reloads stay owed. Raises `WriteError` if a file can't be
        put back."""
        try:
            settle(self.context.host, self.context.reporter.warn)
        except BaseException:
            # The others are back, and their programs want to know.
            self._pay(load)
            raise
        if self.last_good.foreign():
            self.context.reporter.warn(
                "this disk was captured from another VM: its files go back to their resting forms"
            )
            state = self.context.host.state
            for theirs in (state.told_file, state.history_file):
                self.context.host.tree.remove(theirs)
            return self._deploy(Scope.REST)
        return self._pay(load)

    def _pay(self, load: bool) -> Done:
        return self._deploy(Scope.LOAD) if self.context.host.live and load else Done()

    def _deploy(self, scope: Scope) -> Done:
        plan = Planner(self.context.host, self.context.settings).plan(scope, None)
        closed = closures.coming(self.context, plan.changes, self._facts)
        done = Deployment(self.context.host, plan).carry_out()
        done = closures.said(self.context, done, closed)
        # What can't be planned is said by the plan that follows, which has the same.
        failures = [one for one in done.failures if one not in plan.failures]
        for warning in (*done.warnings, *together(failures).problems):
            self.context.reporter.warn(warning)
        for error in failures:
            if isinstance(error, WriteError):
                raise error
        return done._replace(failures=())

    def _facts(self) -> Facts | None:
        """What the last good answer asks for."""
        last = self.last_good.find()
        return last and last.lb


def settle(host: Host, warn: Callable[[str], None]) -> None:
    """Put back what a run that did not come to its end left half done, and set aside what of the
    state is damaged. Raises `WriteError` if there is more to put back."""
    state, entries = host.state, host.journal.unfinished()
    was_open = host.journal.is_open()
    given_up = host.journal.settle().given_up
    if was_open:
        warn(UNFINISHED)
    for text in (*given_up, *state.set_aside(lambda: salvage.installed(state, host.journal))):
        warn(text)
    if not (host.live and entries):
        return
    loaded, before, records = (
        state.loaded(),
        state.before(),
        {**state.foreign(), **state.installed()},
    )
    held = {}
    for path in (str(one.path) for one in entries if one.target):
        if path in records and path not in loaded:
            target = records[path].target()
            if not others.same(others.seen(host, target), before.get(path)):
                held[path] = Loaded(digest="", held=True)
    if held:
        state.keep_loaded({**loaded, **held})


def settled(context: Context, work: Callable[[], Report]) -> Report:
    """What some work comes to that asks nobody, under the lock and with an unfinished run put
    back first. Never raises a `LbhookError`: the report has it."""
    host, settings = context.host, context.settings
    try:
        host.demand_rights(settings)
        permissions.demand(settings)
        with host.locked(settings.paths.runtime):
            settle(host, context.reporter.warn)
            return work()
    except LbhookError as error:
        return Report(
            outcome="failed",
            status=error.status,
            source="cache",
            problems=error.problems,
            hint=error.hint,
        )
