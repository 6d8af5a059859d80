"""What an apply would do, found out without changing anything."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..config import permissions
from ..config.settings import Settings
from ..imds.fetching import Fetched, Fetcher, Options
from ..metadata.facts import Facts
from ..plan import Change, Closed, Plan
from ..programs import floating_ip, nftables
from ..programs.host import UNFINISHED, Host
from ..storage import lock
from . import validation
from .planner import Planner
from .scope import scoped


class DryRun:
    """Plans for one host."""

    def __init__(self, host: Host, settings: Settings, options: Options, fetcher: Fetcher) -> None:
        self.host = host
        self.settings = settings
        self.options = options
        self.fetcher = fetcher

    def plan(self, fetched: Fetched | None = None) -> Plan:
        """What `apply` would do, as a value, with an answer that is known or asked for. Nothing
        is changed."""
        permissions.demand(self.settings)
        fetched = fetched or self.fetcher.ask()
        scope, lb = scoped(fetched.answer, self.fetcher.last_good)
        planner = Planner(self.host, self.settings, self.options.only, self.options.reload)
        plan = planner.plan(scope, lb, fetched.vm)
        with tempfile.TemporaryDirectory(prefix="lbhook-") as scratch:
            staged = validation.scratch(plan, Path(scratch))
            verdict = validation.examine(self.host, plan.changes, staged)
            coming = floating_ip.coming(self.host, plan.changes)
            verdict = validation.examine_live(self.host, verdict, staged, coming)
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
        busy = lock.is_held(self.host.tree.outside(self.settings.paths.runtime / "lock"))
        return not busy and bool(self.host.journal.unfinished())

    def _closes(self, changes: Sequence[Change], lb: Facts | None) -> tuple[Closed, ...]:
        """Without an answer there is no firewall, only its resting form."""
        if lb is None or not self.host.live:
            return ()
        return nftables.closes(changes, lb, self.host.machine)
