"""The table that refuses Azure's health probes while this VM is drained.

It stands before every other table, so it does not matter which firewall is on the machine. A probe
is refused by a reset, so that it fails at once. Answers of the same address to this VM's own
requests (DHCP, DNS, the guest agent; Microsoft: "What is IP address 168.63.129.16?") pass.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence

from ..metadata.reader import Address
from ..processes import Result, Run

NAME = "inet lbhook_drain"
_ENDED = f"add table {NAME}; delete table {NAME}\n"
_LOAD, _LIST = ("nft", "-f", "-"), ("nft", "--stateless", "--numeric", "list", "table")
# Before those of iptables' raw tables, -300, which are the first that others have.
_PRIORITY = -310
_NEW = "tcp flags & (syn | ack) == syn"
_RESET = "reject with tcp reset"


def text(
    sources: Iterable[Address], ports: Iterable[int], *, seconds: float = 0.0, tracked: bool = False
) -> str:
    """The table. `sources` are where probes come from; `ports` are those where something listens
    here: what comes there from them is of a probe that is open already, and no answer. After so
    many `seconds` the kernel itself forgets the sources; 0 is never. `tracked` says that the kernel
    tracks connections, by which the open probes of containers are known."""
    known = tuple(dict.fromkeys(sources))
    by_family = [("ip", 4), ("ip6", 6)]
    used = [name for name, version in by_family if any(one.version == version for one in known)]
    return "\n".join(
        [
            "# Written by lbhook: this VM is drained. `lbhook undrain` ends it.",
            f"table {NAME}",
            f"delete table {NAME}",
            "",
            f"table {NAME} {{",
            *(line for name in used for line in _sources(name, known, seconds)),
            *_set("refused", "inet_service", ("size 65535", "flags dynamic")),
            *_set("ports", "inet_service", (), sorted(set(ports))),
            *_chain("input", used),
            *_chain("forward", used),
            *_refusing("input", f"tcp dport @ports {_RESET}"),
            *_refusing("forward", f"ct direction original ct status dnat {_RESET}" * tracked),
            "}",
            "",
        ]
    )


def load(run: Run, table: str) -> Result:
    """Load the table, in place of an earlier one."""
    return run(_LOAD, stdin=table.encode())


def remove(run: Run) -> Result:
    """Remove it, if it is there."""
    return run(_LOAD, stdin=_ENDED.encode())


def stands(run: Run, sources: Iterable[Address] = ()) -> bool:
    """Whether the table is loaded and refuses what comes from these sources."""
    listed = run((*_LIST, *NAME.split()))
    words = set(re.split(r"[\s,]+", listed.output))
    return listed.ok and _RESET in listed.output and {str(one) for one in sources} <= words


def _sources(family: str, known: Sequence[Address], seconds: float) -> Iterator[str]:
    version, kind = {"ip": (4, "ipv4_addr"), "ip6": (6, "ipv6_addr")}[family]
    timed = f" timeout {math.ceil(seconds)}s" if seconds else ""
    elements = [f"{one}{timed}" for one in known if one.version == version]
    yield from _set(f"probes_{family}", kind, ("flags timeout",) * bool(seconds), elements)


def _set(
    name: str, kind: str, flags: Sequence[str], elements: Sequence[object] = ()
) -> Iterator[str]:
    yield f"\tset {name} {{"
    yield from (f"\t\t{line}" for line in (f"type {kind}", *flags))
    if elements:
        yield f"\t\telements = {{ {', '.join(map(str, elements))} }}"
    yield from ("\t}", "")


def _chain(hook: str, families: Sequence[str]) -> Iterator[str]:
    yield f"\tchain {hook} {{"
    yield f"\t\ttype filter hook {hook} priority {_PRIORITY}; policy accept;"
    for family in families:
        yield f"\t\t{family} saddr @probes_{family} meta l4proto tcp jump {hook}_probe"
    yield from ("\t}", "")


def _refusing(hook: str, opened: str) -> Iterator[str]:
    """What refuses a new probe, and one that is open already."""
    yield f"\tchain {hook}_probe {{"
    yield f"\t\t{_NEW} add @refused {{ tcp dport counter }}"
    yield f"\t\t{_NEW} {_RESET}"
    yield from ([f"\t\t{opened}"] if opened else [])
    yield "\t}"
