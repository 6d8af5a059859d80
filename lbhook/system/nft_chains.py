"""Chains of nftables as `nft` prints them.

It takes many seconds for one chain of a table in which a set has 400,000 networks, and next to
nothing for the whole ruleset without what sets hold.
"""

import re

from ..processes import Run


def chain(run: Run, name: str, *options: str) -> str:
    """A chain, by its family, table and name; empty if there is none. `options` are nft's."""
    words = ("nft", *options, "--stateless", "--terse", "list", "ruleset")
    table, _, own = name.rpartition(" ")
    listed = run(words).output
    found = re.search(rf"(?ms)^table {re.escape(table)} \{{.*?^\}}$", listed)
    chains = found[0] if found else ""
    found = re.search(rf"(?ms)^\tchain {re.escape(own)} \{{.*?^\t\}}$", chains)
    return f"{found[0]}\n" if found else ""
