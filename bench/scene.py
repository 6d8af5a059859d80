"""Where runs are measured: a configuration, bodies of any size, and directories to apply to."""

import json
import random
import shutil
from pathlib import Path

from .measure import CHECKOUT

BODY = CHECKOUT / "tests/bodies/documented.json"
THREE = "import click, requests, jinja2"
TARGETS = "[targets.nftables]\n[targets.nginx]\n"
# All that an unchanged run writes is in the runtime directory, which is in memory on a machine.
_MEMORY = Path("/dev/shm")


class Bench:
    """A directory with a configuration, bodies and roots."""

    def __init__(self, place: Path, memory: Path = _MEMORY) -> None:
        self.place, self.memory = place, memory / place.name
        self.config = place / "lbhook.toml"
        self.config.write_text(TARGETS, encoding="utf-8")

    def root(self, name: str, *, disk: bool = False) -> Path:
        """An empty directory to apply to, in memory or on a disk."""
        root = (self.place if disk else self.memory) / name
        emptied(root)
        return root

    def close(self) -> None:
        """Take away what is not below `place`."""
        shutil.rmtree(self.memory, ignore_errors=True)

    def body(self, rules: int, order: int = 0) -> Path:
        """A body with so many rules, in an order of its own."""
        file = self.place / f"{rules}-{order}.json"
        entries = [
            {
                "frontendIpAddress": f"50.0.{number // 5000}.1",
                "protocol": "Tcp",
                "frontendPort": 1 + number % 5000,
                "backendPort": 10_001 + number,
                "privateIpAddress": "10.1.0.4",
            }
            for number in range(rules)
        ]
        random.Random(order).shuffle(entries)
        lists = {"publicIpAddresses": [], "inboundRules": entries, "outboundRules": []}
        file.write_text(json.dumps({"loadbalancer": lists}), encoding="utf-8")
        return file

    def apply(self, body: Path, root: Path) -> tuple[str | Path, ...]:
        """The words of an apply."""
        return ("apply", "-c", self.config, "--metadata", body, "--root", root)


def request(url: str) -> str:
    """A line of Python that imports two packages and asks."""
    asked = f"{url}/metadata/loadbalancer?api-version=2020-10-01"
    return f"import click, requests; requests.get({asked!r}, headers={{'Metadata': 'true'}})"


def emptied(root: Path) -> None:
    """A directory, with nothing in it."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
