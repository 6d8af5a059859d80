"""The main job from end to end, for a person to see: real parts, a throw-away directory."""

import json
import tempfile
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from ..config import settings as config
from ..context import Context
from ..deployment import plan_report, report
from ..emulator.server import Emulator
from ..errors import LbhookError
from ..metadata import facts
from ..metadata.model import Metadata
from ..programs.host import host
from ..runs.update import Update
from ..traffic import diagram
from . import colour
from .console import Console

_CONFIG = """
[imds]
endpoint = "{url}"

[targets.nftables]
[targets.nginx]
"""
_BODY = {
    "loadbalancer": {
        "publicIpAddresses": [
            {"frontendIpAddress": "51.0.0.1", "privateIpAddress": "10.1.0.4"},
        ],
        "inboundRules": [
            {
                "frontendIpAddress": "50.0.0.1",
                "protocol": "Tcp",
                "frontendPort": 443,
                "backendPort": 8443,
                "privateIpAddress": "10.1.0.4",
            },
            {
                "frontendIpAddress": "[2603:10e1:100:2::1:1]",
                "protocol": "Tcp",
                "frontendPort": 443,
                "backendPort": 8443,
                "privateIpAddress": "[fd00::4]",
            },
        ],
        "outboundRules": [{"frontendIpAddress": "50.0.0.1", "privateIpAddress": "10.1.0.4"}],
    }
}
_NEW_RULE = {
    "frontendIpAddress": "50.0.0.1",
    "protocol": "Udp",
    "frontendPort": 53,
    "backendPort": 53,
    "privateIpAddress": "10.1.0.4",
}


@dataclass(slots=True)
class Demo:
    """Plays the scenes of the demonstration on stdout."""

    console: Console
    _scene: int = field(default=0)

    def play(self) -> None:
        """All scenes, in order."""
        body = json.dumps(_BODY).encode()
        with (
            tempfile.TemporaryDirectory(prefix="lbhook-demo-") as place,
            Emulator(body, limit=None) as imds,
        ):
            root = Path(place)
            settings = config.parse(_CONFIG.format(url=imds.url), "demo.toml")
            update = Update(
                Context(host(settings, root), settings, reporter=self.console.reporter())
            )
            self._azure(update)
            self._files(update, root)
            self._again(update)
            self._rule_change(update, imds)

    def _azure(self, update: Update) -> None:
        self._title("What Azure says about this VM", "lbhook show")
        metadata = update.ask().answer.metadata or Metadata()
        self.console.out(f"{diagram.to_text(facts.derive(metadata), metadata)}\n")

    def _files(self, update: Update, root: Path) -> None:
        self._title("The files that lbhook writes", "lbhook apply")
        self.console.out(f"Written below {root}, which is removed at the end.\n\n")
        result = self._apply(update)
        for change in result.changes:
            file = root.joinpath(*change.path.parts[1:])
            if file.exists():
                self.console.out(colour.styled(f"{change.path}\n", bold=True))
                text = file.read_text(encoding="utf-8").expandtabs(4)
                self.console.out(f"{textwrap.indent(text, '  ')}\n")

    def _again(self, update: Update) -> None:
        self._title("A second run changes nothing", "lbhook apply")
        self._apply(update)

    def _rule_change(self, update: Update, imds: Emulator) -> None:
        more = json.loads(json.dumps(_BODY))
        more["loadbalancer"]["inboundRules"].append(_NEW_RULE)
        imds.body = json.dumps(more).encode()
        self._title("A rule for UDP port 53 is added in Azure", "lbhook plan")
        self.console.out(f"{colour.diff(plan_report.plan_text(update.plan()))}\n")
        self._title("lbhook applies it", "lbhook apply")
        self._apply(update)

    def _apply(self, update: Update) -> report.Report:
        """Raises what went wrong: here nothing may."""
        result = update.apply()
        if result.problems:
            error = LbhookError(*result.problems, hint=result.hint)
            error.status = result.status
            raise error
        self.console.out(f"{result.to_text()}\n")
        return result

    def _title(self, text: str, command: str) -> None:
        self._scene += 1
        self.console.out(colour.styled(f"{self._scene}. {text}", fg="cyan", bold=True))
        self.console.out(colour.styled(f"   $ {command}\n\n", dim=True))
