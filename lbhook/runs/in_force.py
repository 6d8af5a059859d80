"""What is written down, and told, of an answer that is in force from now on."""

from ..context import Context
from ..errors import BusyError, LbhookError
from ..imds.answer import Fetched
from ..memory.records import Applied
from ..plan import Outcome
from ..telling.history import LAST_GONE, History
from ..telling.hooks import Hook
from .progress import Progress


class InForce:
    """Keeps on one host what an apply came to; adds the rules that came and went to its
    `progress`."""

    def __init__(self, context: Context, progress: Progress) -> None:
        self.context = context
        self.progress = progress
        self.hook = Hook(context.host, context.settings.hooks)

    def keep(self, fetched: Fetched, *, new: bool) -> None:
        """Write it down. Everything is in force by now: what fails is a warning."""
        try:
            self._keep(fetched)
            whole = fetched.answer.whole
            if whole is not None:
                self.hook.note(whole)
                self._note_rules(fetched, new=new)
        except LbhookError as error:
            self.context.reporter.warn(str(error))

    def _keep(self, fetched: Fetched) -> None:
        host, changes = self.context.host, self.progress.done.changes
        made = {str(one.path): one.made_of for one in changes if one.made_of}
        host.state.keep_made_of(made)
        host.state.keep_applied(
            Applied(
                read=fetched.read,
                made=made,
                proofs=host.proofs,
                skipped={str(one.path): one.outcome is Outcome.SKIPPED for one in changes},
                judged=host.judged,
                rested=tuple(sorted(host.rested)),
            )
        )
        if host.ports is not None:
            host.state.keep_ports(host.ports)

    def _note_rules(self, fetched: Fetched, *, new: bool) -> None:
        """Say which rules came and went, and write it down. A run that found nothing to do does
        not look: its rules are those of the run before."""
        progress = self.progress
        if not (progress.acted or new):
            return
        outcome = "failed" if progress.errors else "changed"
        progress.rules = History(self.context.host).note(
            progress.lb.inbound_rules, fetched.answer.source, outcome
        )
        if progress.rules and not progress.lb.inbound_rules:
            self.context.reporter.warn(LAST_GONE)

    def tell(self) -> LbhookError | None:
        """Tell the neighbours, or tell again what was owed. That it fails undoes nothing."""
        if not (self.hook.wanted and self.context.options.load):
            return None
        try:
            with self.context.host.locked(self.context.settings.paths.runtime, wait=0.0):
                self.hook.pay()
        except BusyError as error:
            self.context.reporter.log(f"hooks: {error}; the next apply runs the hook")
        except LbhookError as error:
            return error
        return None
