"""Rules of iptables-legacy, which nft does not list and no copy of the kernel's rules has."""

import re

from ..programs.host import Host

_PROGRAMS = ("iptables-legacy", "ip6tables-legacy")
# What may keep packets from this machine, or its answers from leaving. Others translate, or are the
# Azure agent's, whose rules in `security` are about its own requests.
_FILTERING = ("filter", "mangle", "raw")
_FILTERS = re.compile(r"(?m)^(-A |:(?=\S+ DROP))(INPUT|OUTPUT|PREROUTING|POSTROUTING) ")


def programs(host: Host) -> tuple[str, ...]:
    """The programs that have rules for what comes here, or for its answers; root sees them."""
    if not set(_FILTERING) & {*host.machine.legacy_tables()}:
        return ()
    saved = {one: host.run((f"{one}-save",)) for one in _PROGRAMS}
    return tuple(one for one, said in saved.items() if said.ok and _filters(said.output))


def _filters(saved: str) -> bool:
    """Whether what iptables-save prints has any such rule."""
    tables = saved.split("\n*")
    return any(one.partition("\n")[0] in _FILTERING and _FILTERS.search(one) for one in tables)
