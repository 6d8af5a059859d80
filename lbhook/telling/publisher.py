"""What a run leaves for others to read, whatever its end: status.json, and metrics."""

import contextlib
import json
import time
from collections.abc import Callable

from .. import layout
from ..context import Context
from ..deployment.report import Report, drained_json
from ..errors import BusyError, LbhookError, RightsError, WriteError
from ..levers import standstill
from ..levers.drain import Drain
from ..memory.drains import Drained
from ..planning import orphans


class Publisher:
    """Leaves word of what came to pass on one host. Another run that holds the lock leaves its
    own."""

    def __init__(self, context: Context, now: Callable[[], float] = time.time) -> None:
        self.context = context
        self.now = now

    def leave_status(self, result: Report) -> None:
        """status.json, as well as it can be: what went wrong may be this very directory, and
        then an old one is not the last word."""
        file = self.context.host.state.status_file
        content = layout.dump({**result.to_json(), "time": layout.utc(self.now())}).encode()
        try:
            with self._locked():
                self.context.host.tree.write(file, content)
        except BusyError as error:
            self.context.reporter.log(f"status.json: {error}")
        except (WriteError, RightsError) as error:
            self.context.reporter.log(f"status.json: {error}")
            with contextlib.suppress(LbhookError):
                self.context.host.tree.remove(file)

    def leave_drained(self, drained: Drained | None) -> None:
        """The same status.json, with a drain that has begun or ended since."""
        file = self.context.host.state.status_file
        try:
            with self._locked():
                known = json.loads(self.context.host.tree.read(file) or b"{}")
                known.pop("drained", None)
                if known:
                    news = {**known, **drained_json(drained)}
                    self.context.host.tree.write(file, layout.dump(news).encode())
        except (LbhookError, ValueError, AttributeError) as error:
            self.context.reporter.log(f"status.json: {error}")

    def leave_metrics(self, command: str, result: Report, seconds: float) -> None:
        """The metrics of a command that took so many seconds, if they are wanted."""
        textfile = self.context.settings.metrics.textfile
        if textfile is None or not self.context.host.live:
            return
        # Imported only where they are wanted.
        from . import metrics, traffic_metrics

        file = metrics.files(textfile)[command]
        try:
            with self._locked():
                before = self.context.host.tree.read(file) or b""
                owed = self._owed() if command == "apply" else None
                # Also of a run that could not begin.
                told = result._replace(drained=Drain(self.context).known())
                measured = metrics.Measured(
                    command=command,
                    report=told,
                    now=self.now(),
                    seconds=seconds,
                    owed=owed,
                    standstill=standstill.in_force(self.context.host.state, self.now),
                    traffic=traffic_metrics.seen(self.context.host) if owed is not None else None,
                )
                self.context.host.tree.write(
                    file, measured.text(before.decode("utf-8", "replace")).encode()
                )
        except BusyError as error:
            self.context.reporter.log(f"metrics: {error}")
        except LbhookError as error:
            self.context.reporter.warn(f"metrics: {error}")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return self.context.host.locked(self.context.settings.paths.runtime, wait=0.0)

    def _owed(self) -> int:
        """How many installed files their programs have not loaded."""
        loaded, count = self.context.host.state.loaded(), 0
        for path, record in self.context.host.state.installed().items():
            with contextlib.suppress(LbhookError):  # what is in its way is said elsewhere
                count += orphans.owed(self.context.host, record, loaded.get(path)) is not None
        return count
