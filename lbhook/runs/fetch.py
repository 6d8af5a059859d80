"""One fetch: Azure is asked, and the answer kept. Nothing else is done, and little is needed."""

import contextlib

from ..context import Context
from ..deployment.report import Report
from ..errors import RightsError
from ..imds.answer import Fetched
from ..imds.fetching import Fetcher
from ..metadata import facts
from .progress import Progress


class Fetch:
    """Asks for one host."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.fetcher = Fetcher(context)
        self._progress = Progress()

    def carry_out(self) -> Report:
        """Only ask, and keep the answer. Raises `LbhookError` if there is none to believe."""
        begun = self.context.clock()
        try:
            result = self._fetch()
        except BaseException as error:
            result = self._progress.ended(error)
            raise
        finally:
            self._measure(result, self.context.clock() - begun)
        return result

    def _fetch(self) -> Report:
        self._progress = Progress()
        before = self.fetcher.last_good.find(self.context.reporter.warn)
        fetched = self.fetcher.ask()
        self._progress.answer = fetched.answer
        self._keep(fetched)
        if fetched.answer.metadata is None:
            return self._progress.report("absent")
        self._progress.lb = facts.derive(fetched.answer.metadata)
        same = before is not None and before.metadata == fetched.answer.metadata
        return self._progress.report("unchanged" if same else "changed")

    def _measure(self, result: Report, seconds: float) -> None:
        """Where the answer is handed over, whoever takes it measures."""
        if not self.context.options.hand_over:
            from ..telling.publisher import Publisher

            Publisher(self.context).leave_metrics("fetch", result, seconds)

    def _keep(self, fetched: Fetched) -> None:
        """As the last good answer, or for a run that has more rights."""
        if self.context.options.hand_over:
            self.fetcher.hand_over(fetched)
        elif fetched.body is not None:
            with contextlib.ExitStack() as stack:
                # The lock may be root's. What is kept is replaced in one step, without it too.
                with contextlib.suppress(RightsError):
                    stack.enter_context(
                        self.context.host.locked(self.context.settings.paths.runtime)
                    )
                self.fetcher.last_good.keep(fetched.body, fetched.answer.instance)
