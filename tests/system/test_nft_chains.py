"""A chain by its name, from what the real nft lists."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lbhook.processes import Result, run
from lbhook.system import nft_chains

RULES = """table inet own {
	set many { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }
	chain input {
		type filter hook input priority filter - 5; policy drop;
		ip saddr @many counter accept
	}
	chain input_more { drop; }
}
table ip own {
	chain input { accept; }
}
"""
INPUT = "\tchain input {\n\t\ttype filter hook input priority {}; policy drop;\n{}\t}\n"
COUNTED = "\t\tip saddr @many counter accept"


@pytest.mark.needs("nft", "unshare")
@pytest.mark.parametrize(
    ("name", "options", "listed"),
    [
        ("inet own input", (), INPUT.replace("{}", "filter - 5", 1)),
        ("inet own input", ("--numeric-priority",), INPUT.replace("{}", "-5", 1)),
        ("ip own input", (), "\tchain input {\n\t\taccept\n\t}\n"),
        ("inet own none", (), ""),
        ("inet none input", (), ""),
    ],
)
def test_a_chain_is_found_by_its_name(
    tmp_path: Path, name: str, options: tuple[str, ...], listed: str
) -> None:
    """Of its own table alone, and nothing where there is none; in the words of nft's options."""
    file = tmp_path / "rules.nft"
    file.write_text(RULES)

    def inside(
        argv: Sequence[str],
        timeout: float = 30.0,
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
    ) -> Result:
        own = ("unshare", "--map-root-user", "--net", "sh", "-euc", 'nft -f "$0"; exec "$@"')
        return run((*own, str(file), *argv), timeout, env, stdin)

    assert nft_chains.chain(inside, name, *options) == listed.replace("{}", f"{COUNTED}\n")
