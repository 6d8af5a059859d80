"""A plan carried out, each group of targets by itself: one that fails holds no other back."""

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from ..errors import LbhookError
from ..plan import Change, Plan
from ..planning import groups
from ..planning.groups import Group
from ..programs.host import Host
from . import candidates, refusals
from .outcome import Done
from .transaction import Transaction


class Deployment:
    """Carries out one plan on one host. With `load` false, reloads are left owed; with `checked`
    false, nothing is checked. `records` are files of lbhook's own that are in force when what a
    boot wants is: the answer that the plan was made from. With `skip_refused`, what was refused
    and is the same is not tried again.

    `done` is what it came to, also if it was interrupted; `failed` are the groups that are as they
    were.
    """

    def __init__(
        self,
        host: Host,
        plan: Plan,
        load: bool = True,
        checked: bool = True,
        records: Mapping[PurePosixPath, bytes] | None = None,
        skip_refused: bool = False,
    ) -> None:
        self.host = host
        self.plan = plan
        self.load = load
        self.checked = checked
        self.skip_refused = skip_refused
        self.done = Done()
        self.failed: list[Group] = []
        self._records = records or {}
        self._idle, self._busy = groups.divided(plan.changes)

    def carry_out(self) -> Done:
        """Do what the plan says, group by group. What fails is put back, and in `done.failures`."""
        left = list(self._busy)
        try:
            self._pay()
            # A file that could not be put back is settled first, by the next run.
            while left and not self.host.journal.is_open():
                self._follow(left.pop(0), left)
            self._keep_records()
            if self.checked:
                candidates.drop(self.host, self.done.changes, self.failed)
        finally:
            for group in left:
                self._leave(group)
            self.done = self.done._replace(changes=self._in_order())
        if self._busy:
            self.host.journal.end()
        return self.done

    def _pay(self) -> None:
        """What is owed where no file differs."""
        if self._idle or not self._busy:
            records = {} if self._busy else self._records
            self._carry_out(self._transaction(self._idle, records))

    def _follow(self, group: Group, rest: Sequence[Group]) -> None:
        refusal = refusals.known(self.host, group) if self.skip_refused else None
        errors = (*(one.failure for one in group if one.failure), *filter(None, [refusal]))
        if errors:
            self._leave(group, *errors)
            return
        early = any(map(groups.is_early, (*rest, *self.failed)))
        records = {} if early else self._records
        transaction = self._transaction(group, records, last=not rest)
        if not self._carry_out(transaction):
            self.failed.append(group)
            return
        if records:
            self._records = {}

    def _transaction(
        self, changes: Group, records: Mapping[PurePosixPath, bytes], last: bool = True
    ) -> Transaction:
        return Transaction(
            self.host,
            self.plan._replace(changes=changes),
            load=self.load,
            checked=self.checked,
            records=records,
            last=last,
        )

    def _carry_out(self, transaction: Transaction) -> bool:
        """Whether it came to its end; what it came to, in any case."""
        errors: tuple[LbhookError, ...] = ()
        try:
            transaction.carry_out()
        except LbhookError as error:
            errors = (error,)
        finally:
            done = transaction.done
            self._add(done._replace(failures=errors))
        return not errors

    def _leave(self, group: Group, *errors: LbhookError) -> None:
        """A group that is not even tried."""
        self.failed.append(group)
        self._add(Done(self._transaction(group, {}).undone(), failures=errors))

    def _add(self, done: Done) -> None:
        self.done = Done(
            changes=(*self.done.changes, *done.changes),
            warnings=(*self.done.warnings, *done.warnings),
            failures=(*self.done.failures, *done.failures),
            blocked=(*self.done.blocked, *done.blocked),
            acted=self.done.acted or done.acted,
        )

    def _in_order(self) -> tuple[Change, ...]:
        """What became of each change, as the plan has them."""
        known = {one.path: one for one in self.done.changes}
        return tuple(known.get(one.path, one) for one in self.plan.changes)

    def _keep_records(self) -> None:
        """Those that no group has carried: everything that a boot wants was in force before."""
        settled = groups.is_early(self._idle) and not any(map(groups.is_early, self.failed))
        if self._busy and settled:
            for path, content in self._records.items():
                self.host.tree.write(path, content)
