"""Say what the kernel's rules make of packets: run inside a host, called from outside."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import sys
from typing import TYPE_CHECKING

from lbhook.firewall.kernel import Firewall
from lbhook.firewall.verdict import PROTOCOLS, Door, Verdict

from .hosts import REPO
from .knock import Target

if TYPE_CHECKING:
    from .hosts import Host


def judge(host: Host, *targets: Target, source: str = "") -> dict[Target, Verdict]:
    """The verdict on each target: on packets from `source`, or from nobody in particular."""
    order = json.dumps({"source": source, "targets": targets})
    argv = [sys.executable, "-m", "tests.lab.judge"]
    said = host.run(argv, stdin=order, env={"PYTHONPATH": str(REPO)}).stdout
    return dict(zip(targets, (Verdict(**one) for one in json.loads(said)), strict=True))


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
    verdicts = Firewall().judge(doors, {})
    json.dump([dataclasses.asdict(one) for one in verdicts], sys.stdout)


if __name__ == "__main__":
    _main()
