"""What an apply would do, found out without changing anything."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..config import rights
from ..config.config import Settings
from ..imds.inquiry import Heard, Inquiry, Wish
from ..metadata.facts import Facts
from ..plan import Change, Closed, Plan
from ..programs import firewall, floating
from ..programs.host import UNFINISHED, Host
from ..storage import lock
from . import checks
from .aim import aimed
from .survey import Survey


class Foresight:
    """Plans for one host."""

    def __init__(self, host: Host, settings: Settings, wish: Wish, inquiry: Inquiry) -> None:
        self.host = host
        self.settings = settings
        self.wish = wish
        self.inquiry = inquiry

    def plan(self, heard: Heard | None = None) -> Plan:
        """What `apply` would do, as a value, with an answer that is known or asked for. Nothing
        is changed."""
        rights.demand(self.settings)
        heard = heard or self.inquiry.ask()
        aim, lb = aimed(heard.answer, self.inquiry.last_good)
        survey = Survey(self.host, self.settings, self.wish.only, self.wish.reload)
        plan = survey.plan(aim, lb, heard.vm)
        with tempfile.TemporaryDirectory(prefix="lbhook-") as scratch:
            staged = checks.scratch(plan, Path(scratch))
            verdict = checks.examine(self.host, plan.changes, staged)
            coming = floating.coming(self.host, plan.changes)
            verdict = checks.examine_live(self.host, verdict, staged, coming)
        closes = self._closes(verdict.changes, lb)
        unfinished = (UNFINISHED,) if self._is_unfinished() else ()
        warnings = (*unfinished, *plan.warnings, *verdict.warnings)
        return plan._replace(
            changes=verdict.changes,
            closes=closes,
            warnings=warnings,
            planned=heard.planned,
        )

    def _is_unfinished(self) -> bool:
        """Whether a run was cut short; the journal of one that is under way is no news."""
        busy = lock.is_held(self.host.tree.outside(self.settings.paths.runtime / "lock"))
        return not busy and bool(self.host.journal.unfinished())

    def _closes(self, changes: Sequence[Change], lb: Facts | None) -> tuple[Closed, ...]:
        """Without an answer there is no firewall, only its resting form."""
        if lb is None or not self.host.live:
            return ()
        return firewall.closes(changes, lb, self.host.machine)
