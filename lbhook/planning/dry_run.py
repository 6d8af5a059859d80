"""What an apply would do, found out without changing anything."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..config import permissions
from ..context import Context
from ..imds.fetching import Fetched, Fetcher
from ..metadata.facts import Facts
from ..plan import Change, Closed, Plan
from ..programs import floating_ip
from ..programs.host import UNFINISHED
from ..storage import lock
from . import closing, validation
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
        with tempfile.TemporaryDirectory(prefix="lbhook-") as scratch:
            staged = validation.scratch(plan, Path(scratch))
            verdict = validation.examine(self.context.host, plan.changes, staged)
            coming = floating_ip.coming(self.context.host, plan.changes)
            verdict = validation.examine_live(self.context.host, verdict, staged, coming)
        closes = self._closes(verdict.changes, lb)
        unfinished = (UNFINISHED,) if self._is_unfinished() else ()
        warnings = (*unfinished, *plan.warnings, *verdict.warnings)
        return plan._replace(
            changes=verdict.changes,
            closes=closes,
            warnings=warnings,
            planned=fetched.planned,
        )

    def _is_unfinished(self) -> bool:
        """Whether a run was cut short; the journal of one that is under way is no news."""
        busy = lock.is_held(
            self.context.host.tree.outside(self.context.settings.paths.runtime / "lock")
        )
        return not busy and bool(self.context.host.journal.unfinished())

    def _closes(self, changes: Sequence[Change], lb: Facts | None) -> tuple[Closed, ...]:
        """Without an answer there is no firewall, only its resting form."""
        if lb is None or not self.context.host.live:
            return ()
        return closing.closes(changes, lb, self.context.host)
