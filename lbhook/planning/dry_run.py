"""What an apply would do, found out without changing anything."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from ..config import permissions
from ..context import Context
from ..errors import LbhookError
from ..imds.answer import Fetched
from ..imds.fetching import Fetcher
from ..metadata.facts import Facts
from ..plan import Change, Closed, Plan
from ..programs import floating_ip
from ..programs.host import UNFINISHED
from ..storage import lock, scratch
from . import closing, groups, validation
from .planner import Planner
from .scope import scoped


class DryRun:
    """Plans for one host."""

    def __init__(self, context: Context, fetcher: Fetcher) -> None:
        self.context = context
        self.fetcher = fetcher

    def plan(self, fetched: Fetched | None = None) -> Plan:
        """What `apply` would do, as a value, with an answer that is known or asked for. Nothing
        is changed."""
        permissions.demand(self.context.settings)
        fetched = fetched or self.fetcher.ask()
        scope, lb = scoped(fetched.answer, self.fetcher.last_good)
        planner = Planner(
            self.context.host,
            self.context.settings,
            self.context.options.only,
            self.context.options.reload,
        )
        plan = planner.plan(scope, lb, fetched.vm)
        examined = self._examine(plan)
        closes = self._closes(examined.changes, lb)
        unfinished = (UNFINISHED,) if self._is_unfinished() else ()
        warnings = (*unfinished, *plan.warnings, *examined.warnings)
        return plan._replace(
            changes=examined.changes,
            closes=closes,
            warnings=warnings,
            planned=fetched.planned,
        )

    def _examine(self, plan: Plan) -> validation.Examined:
        """What the checks say of each group by itself."""
        coming = floating_ip.coming(self.context.host, plan.changes)
        found: dict[PurePosixPath, Change] = {}
        warnings: tuple[str, ...] = ()
        with scratch.directory() as place:
            staged = validation.laid(plan, place)
            for group in groups.divided(plan.changes)[1]:
                try:
                    examined = validation.examine(self.context.host, group, staged)
                    examined = validation.examine_live(self.context.host, examined, staged, coming)
                except LbhookError as error:
                    refused = [one.failed(error) if one.touches_file else one for one in group]
                    examined = validation.Examined(changes=tuple(refused))
                found.update({one.path: one for one in examined.changes})
                warnings += examined.warnings
        return validation.Examined(
            changes=tuple(found.get(one.path, one) for one in plan.changes), warnings=warnings
        )

    def _is_unfinished(self) -> bool:
        """Whether a run was cut short; the journal of one that is under way is no news."""
        busy = lock.is_held(self.context.host.lock_file(self.context.settings.paths.runtime))
        return not busy and self.context.host.journal.is_open()

    def _closes(self, changes: Sequence[Change], lb: Facts | None) -> tuple[Closed, ...]:
        """Without an answer there is no firewall, only its resting form."""
        if lb is None or not self.context.host.live:
            return ()
        return closing.closes(changes, lb, self.context.host)
