"""Serve metadata at Azure's address until standard input ends; a line of JSON per request.

The argument is an object: `playbook` (TOML), `limit`, `instance`.
"""

import json
import sys
from dataclasses import asdict

from lbhook.emulator.http import Request
from lbhook.emulator.playbook import parse
from lbhook.emulator.server import Emulator


def _tell(request: Request) -> None:
    print(json.dumps(asdict(request)), flush=True)


def _main() -> None:
    wanted = json.loads(sys.argv[1])
    playbook, instance = wanted["playbook"], wanted["instance"]
    emulator = Emulator(
        playbook=parse(playbook) if playbook else None,
        listen=("169.254.169.254", 80),
        limit=wanted["limit"],
        on_request=_tell,
        instance=json.dumps(instance).encode() if instance else None,
    )
    with emulator:
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    _main()
