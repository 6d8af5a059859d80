"""What a run leaves for others to read, whatever its end: status.json, and metrics."""

import contextlib
import time
from collections.abc import Callable

from .. import layout
from ..config.settings import Settings
from ..deployment.report import Report
from ..errors import BusyError, LbhookError, RightsError, WriteError
from ..imds.fetching import Reporter
from ..planning import orphans
from ..programs.host import Host


class Publisher:
    """Leaves word of what came to pass on one host. Another run that holds the lock leaves its
    own."""

    def __init__(
        self,
        host: Host,
        settings: Settings,
        reporter: Reporter,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.host = host
        self.settings = settings
        self.reporter = reporter
        self.now = now

    def leave_status(self, result: Report) -> None:
        """status.json, as well as it can be: what went wrong may be this very directory, and
        then an old one is not the last word."""
        file, content = self.host.state.status_file, layout.dump(result.to_json()).encode()
        try:
            with self._locked():
                self.host.tree.write(file, content)
        except BusyError as error:
            self.reporter.log(f"status.json: {error}")
        except (WriteError, RightsError) as error:
            self.reporter.log(f"status.json: {error}")
            with contextlib.suppress(LbhookError):
                self.host.tree.remove(file)

    def leave_metrics(self, command: str, result: Report, seconds: float) -> None:
        """The metrics of a command that took so many seconds, if they are wanted."""
        textfile = self.settings.metrics.textfile
        if textfile is None or not self.host.live:
            return
        # Imported only where they are wanted.
        from . import metrics

        file = metrics.files(textfile)[command]
        try:
            with self._locked():
                before = self.host.tree.read(file) or b""
                owed = self._owed() if command == "apply" else None
                measured = metrics.Measured(
                    command=command, report=result, now=self.now(), seconds=seconds, owed=owed
                )
                self.host.tree.write(
                    file, measured.text(before.decode("utf-8", "replace")).encode()
                )
        except BusyError as error:
            self.reporter.log(f"metrics: {error}")
        except LbhookError as error:
            self.reporter.warn(f"metrics: {error}")

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return self.host.locked(self.settings.paths.runtime, wait=0.0)

    def _owed(self) -> int:
        """How many installed files their programs have not loaded."""
        loaded, count = self.host.state.loaded(), 0
        for path, record in self.host.state.installed().items():
            with contextlib.suppress(LbhookError):  # what is in its way is said elsewhere
                count += orphans.owed(self.host, record, loaded.get(path)) is not None
        return count
