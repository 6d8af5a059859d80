"""A doctor that is ended while it asks the kernel: nothing is left of the copy that it made."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from .hosts import wait_for
from .lab import Lab
from .rules import ALL

# So many that their copy takes a while; a user namespace takes a hundred at once.
_RULES = [f"add rule inet own in tcp dport {port} drop\n" for port in range(10_000, 11_500)]
_STARTS = 50


def below(pid: int) -> Iterator[int]:
    """The processes that a process has started, and theirs."""
    with suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            yield int(child)
            yield from below(int(child))


def network(pid: int | str) -> str:
    """The network namespace of a process; empty if it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    """The process that has started a process; 0 if that has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def asking(lab: Lab) -> tuple[int, str]:
    """Start doctors until one is met while it asks: its process, and the namespace of the copy,
    which is made to wait."""
    known = {network(lab.vm.pid), network("self"), ""}
    for _ in range(_STARTS):
        argv = [sys.executable, "-m", "lbhook", "doctor", "--json"]
        started = lab.vm.spawn(argv, lab.vm.environment)
        while started.poll() is None:
            for pid in below(started.pid):
                place, parent = network(pid), parent_of(pid)
                if parent and place not in known:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                    place = network(pid)
                if parent and place not in known:
                    return parent, place
            time.sleep(0.001)
    raise AssertionError("no doctor was met while it asked")


def end_one(lab: Lab, number: signal.Signals) -> None:
    """Send a doctor that asks a signal; it and its copy are gone then."""
    doctor, place = asking(lab)
    os.kill(doctor, number)
    wait_for(lambda: not network(doctor), f"its end by {number.name}")
    wait_for(lambda: not left(place), f"the end of its copy after {number.name}")


def there(lab: Lab) -> list[str]:
    """What the machine has of tables, interfaces and mounts."""
    said = lab.vm.run(["sh", "-euc", "nft list tables; ip -o link; cat /proc/self/mountinfo"])
    return said.stdout.splitlines()


def left(place: str) -> list[Path]:
    """Who is in a network namespace, or holds it."""
    held = []
    for process in Path("/proc").glob("[0-9]*"):
        held += [process] if network(process.name) == place else []
        with suppress(OSError):
            held += [one for one in (process / "fd").iterdir() if str(one.readlink()) == place]
    return held


def test_nothing_is_left_behind(lab: Lab) -> None:
    """Whatever ends it: no process, no namespace, no table, no interface; and the next is well."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.run(["nft", "table inet own { chain in { type filter hook input priority -5; }; }"])
    for at in range(0, len(_RULES), 100):
        lab.vm.run(["nft", "-f", "-"], stdin="".join(_RULES[at : at + 100]))
    before = there(lab)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        end_one(lab, number)
        assert there(lab) == before
    assert '"wrong": 0' in lab.vm.lbhook("doctor", "--json").stdout
