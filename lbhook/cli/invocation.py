"""One run of the program, as its commands see it."""

from typing import TYPE_CHECKING

from .console import Console

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..config.settings import Settings
    from ..deployment.report import Report


class Invocation:
    """One run of the program: what stands before and after the command's name."""

    def __init__(self) -> None:
        self.config: Path | None = None
        self.verbosity = 0
        self.console = Console()

    def settings(self, endpoint: str | None = None) -> "Settings":
        """The configuration, with an endpoint of the command line or environment in it."""
        from ..config import settings as config

        settings = config.load(self.config)
        if endpoint is None:
            return settings
        imds = settings.imds._replace(endpoint=endpoint)
        return settings._replace(imds=imds, endpoint_named=True)

    def json(self, value: object) -> None:
        """Print a value for programs."""
        from .. import layout

        self.console.out(layout.dump(value))

    def end(self, result: "Report", text: str, *, as_json: bool) -> int:
        """Say what a command came to; its status."""
        if as_json:
            self.json(result.to_json())
        elif self.console.as_json:
            for line in text.splitlines():
                self.console.note(line)
        elif self.verbosity >= 0:
            self.console.sum_up(text)
        self.console.problems(result.problems, result.hint)
        return result.status

    def decided(self, text: str, value: "Mapping[str, object]", *, as_json: bool) -> int:
        """Say what a person has decided; the status."""
        if as_json:
            self.json({"version": 1, **value})
        elif self.console.as_json:
            self.console.note(text)
        elif self.verbosity >= 0:
            self.console.out(f"{text}\n")
        return 0

    def undone(self, result: "Report", *, as_json: bool) -> int:
        """The same, of a command that took something back."""
        from ..deployment import report

        return self.end(result, report.undone_text(result), as_json=as_json)
