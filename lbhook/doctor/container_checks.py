"""The doctor's check of containers: whether what holds a published port can pass anything on.

Docker's docker-proxy and Podman's conmon have a socket at each published port. Rules of destination
NAT send packets on to the container before they come to it (seen with Docker 28.5, Podman 5.8).
"""

import re
from collections.abc import Iterator

from .findings import Check, Evidence, Finding, unsure
from .traffic_checks import PODMAN

# Without what sets hold: they may be huge, and nft takes half a minute for them.
_LIST = ("nft", "--stateless", "--terse", "list", "ruleset")
# A statement, and no chain that is called so.
_DNAT = re.compile(r"(?<![\w-])(xt_)?dnat\b", re.IGNORECASE)


def published(evidence: Evidence) -> Iterator[Finding]:
    """Whether there is any rule that sends a published port on, where an engine has published
    some: whoever flushes the ruleset takes them away."""
    held = _held(evidence)
    if not held or not _without_translation(evidence):
        return
    if PODMAN in held:
        yield Finding(
            text="nothing answers at ports that Podman publishes, because its rules are gone:"
            f" {', '.join(held[PODMAN])}",
            remedy="`sudo podman network reload --all` makes them again",
        )
    if "docker-proxy" in held:
        yield unsure(
            "Docker's rules are gone, so docker-proxy alone serves the ports that it publishes, and"
            f" containers have no way out: {', '.join(held['docker-proxy'])}",
            'if `"iptables": false` is not set, `sudo systemctl restart docker` makes them again',
        )


def _held(evidence: Evidence) -> dict[str, list[str]]:
    """The ports that stand for published ones, by the program that has their sockets."""
    machine = evidence.host.machine
    sockets = (*machine.listening(), *machine.bound())
    programs = machine.holders({one.inode for one in sockets})
    found: dict[str, list[str]] = {}
    for one in sorted(sockets, key=lambda one: (one.protocol, one.port)):
        ports = found.setdefault(programs.get(one.inode, ""), [])
        name = f"{one.protocol} {one.port}"
        if name not in ports:
            ports.append(name)
    return found


def _without_translation(evidence: Evidence) -> bool:
    """Whether no rule at all translates a destination, as far as nft lists them."""
    host = evidence.host
    if not (host.root and host.find("nft")) or "nat" in host.machine.legacy_tables():
        return False
    listed = host.run(_LIST)
    return listed.ok and not _DNAT.search(listed.output)


CHECKS: tuple[Check, ...] = (published,)
