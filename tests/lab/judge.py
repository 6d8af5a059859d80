"""Say what the kernel's rules make of packets: run inside a host, called from outside."""

from __future__ import annotations

import ipaddress
import json
import sys
from typing import TYPE_CHECKING

from lbhook.firewall.decisions import Knock
from lbhook.firewall.kernel import Firewall
from lbhook.firewall.trial import Trial
from lbhook.firewall.verdict import PROTOCOLS, Door, Verdict

from .hosts import REPO
from .knock import Target

if TYPE_CHECKING:
    from .hosts import Host


def judge(host: Host, *targets: Target, source: str = "", lost: int = 0) -> dict[Target, Verdict]:
    """The verdict on each target: on packets from `source`, or from nobody in particular. So many
    of those packets are lost first."""
    order = json.dumps({"source": source, "targets": targets, "lost": lost})
    argv = [sys.executable, "-m", "tests.lab.judge"]
    said = host.run(argv, stdin=order, env={"PYTHONPATH": str(REPO)}).stdout
    return dict(zip(targets, (Verdict(**one) for one in json.loads(said)), strict=True))


class Lossy(Trial):
    """A copy whose cables drop the first packets."""

    lost = 0

    def _out(self, knock: Knock, packet: bytes = b"") -> None:
        if self.lost:
            self.lost -= 1
        else:
            super()._out(knock, packet)


def _main() -> None:
    order = json.load(sys.stdin)
    source = ipaddress.ip_address(order["source"]) if order["source"] else None
    doors = [
        Door(
            destination=ipaddress.ip_address(ip),
            protocol=PROTOCOLS[protocol],
            port=port,
            device="eth0",
            source=source,
        )
        for protocol, ip, port in order["targets"]
    ]
    Lossy.lost = order["lost"]
    verdicts = Lossy(["eth0"], {}).judge(doors) if Lossy.lost else Firewall().judge(doors, {})
    json.dump([one._asdict() for one in verdicts], sys.stdout)


if __name__ == "__main__":
    _main()
