"""From one file of the firewall to another, by what differs and as a whole: run where nft may load
what it is given. Prints pairs whose tables are not the same, and how many there were."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections import Counter
from itertools import pairwise

from lbhook.config import settings
from lbhook.firewall.kernel import Firewall
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.rendering.render import renderer
from lbhook.tables.changes import Changes, with_counts
from lbhook.tables.table_file import parsed

NAME = "inet lbhook"
_IPS = ("10.1.0.4", "10.1.0.5", "ace:cab:deca:deed::1", "ace:cab::2")
_OWN = """table inet lbhook
delete table inet lbhook
define web = { 80, 443 }
table inet lbhook {
	map ways {
		type inet_service : verdict
		elements = { 80 : accept, 443 : jump count }
	}
	set offices {
		type ipv4_addr; flags interval; elements = { 192.0.2.0/24, 198.51.100.7 }
	}
	set many { type ipv4_addr . inet_service; counter; }
	counter every { }
	chain count { counter name "every" accept comment "a; {b} # c"; }
	chain input {
		type filter hook input priority 0; policy drop; # the end
		ct state { established, \\
			related } accept
		tcp dport $web counter ip saddr @offices tcp dport vmap @ways
		limit rate 3/minute log prefix "dropped: "
	}
}
"""


def _templated(chance: random.Random) -> bytes:
    allow = ['{ protocol = "tcp", port = 9100 }', '{ protocol = "esp" }', '{ from = "10.0.0.0/8" }']
    values = {
        "policy": repr(chance.choice(["enforce"] * 3 + ["mark", "prerouting"])),
        "ssh_ports": chance.choice(["[22]", "[22, 2222]", "[]"]),
        "ssh_from": chance.choice(["[]", '["10.0.0.0/8", "fd00::/8"]']),
        "allow": f"[{', '.join(chance.sample(allow, chance.randrange(4)))}]",
        "trusted_interfaces": chance.choice(["[]", '["docker0"]']),
        "probe_sources": chance.choice(['["168.63.129.16"]', '["fe80::1", "168.63.129.16"]', "[]"]),
        "restrict_imds": chance.choice(["false", "true"]),
        "log_dropped": chance.choice(["false", "true"]),
    }
    lines = [f"{key} = {value}" for key, value in values.items()]
    if chance.random() < 0.4:
        sources = chance.sample(["10.0.0.0/8", "192.0.2.7", "fd00::/8", "2001:db8::/32"], 2)
        port = chance.choice(["443", '"2-4"'])
        lines += ["[[targets.nftables.restrict]]", f"port = {port}", f"sources = {sources}"]
    found = settings.parse("\n".join(["[targets.nftables.vars]", *lines])).targets
    target = next(one for one in found if one.name == "nftables")
    return renderer([]).render(target, facts.derive(parse(_body(chance))))


def _body(chance: random.Random) -> bytes:
    rules = []
    for _ in range(chance.randrange(8)):
        ip = chance.choice(_IPS)
        every = chance.random() < 0.1
        rules.append(
            {
                "frontendIpAddress": "50.0.0.1" if "." in ip else "2603:10e1::1",
                "protocol": "All" if every else chance.choice(["Tcp", "Udp"]),
                "frontendPort": 0 if every else chance.randrange(1, 9),
                "backendPort": 0 if every else chance.randrange(1, 9),
                "privateIpAddress": ip,
            }
        )
    unique = {
        (one["frontendIpAddress"], one["protocol"], one["frontendPort"]): one for one in rules
    }
    lb = {"publicIpAddresses": [], "inboundRules": [*unique.values()], "outboundRules": []}
    return json.dumps({"loadbalancer": lb}).encode()


def _own(chance: random.Random) -> bytes:
    text = _OWN
    for old, new in [
        ("443 : jump count", "8443 : drop"),
        (", 198.51.100.7", ", 203.0.113.0/25, 198.51.100.7"),
        ("192.0.2.0/24", "192.0.2.0/25, 192.0.2.192/26"),
        ("limit rate 3/minute", "limit rate 5/minute"),
        ("\t\tlimit", '\t\tudp dport { 53, # dns\n 123 } counter comment "x"\n\t\tlimit'),
        ("tcp dport $web counter ip", "tcp dport $web ip"),
        ("counter; }\n\tcounter", "counter; elements = { 192.0.2.1 . 80 } }\n\tcounter"),
        ("\tset many { type ipv4_addr . inet_service; counter; }\n", ""),
        ("\tcounter every { }", "\tcounter every { }\n\tchain later { drop; }"),
        ("80, 443 }\ntable", "80, 444 }\ntable"),
    ]:
        if chance.random() < 0.2:
            text = text.replace(old, new)
    return text.encode()


def _nft(*words: str, stdin: bytes = b"") -> str:
    done = subprocess.run(["nft", *words], input=stdin, capture_output=True, check=False)
    return done.stdout.decode() if not done.returncode else f"refused: {done.stderr.decode()}"


def _listed() -> list[str]:
    """The table, whatever the order of its sets and chains."""
    text = _nft("--stateless", "--numeric", "list", "table", "inet", "lbhook")
    return sorted(re.split(r"\n(?=\t(?:set|map|chain|counter) )|\n\}", text.replace("\n\n", "\n")))


def _compare(before: bytes, after: bytes, tally: Counter[str]) -> None:
    assert not (said := _nft("-f", "-", stdin=before)), said + before.decode()
    old, new = parsed(before, NAME), parsed(after, NAME)
    assert old, before
    assert new, after
    script = Changes(NAME, old, new, Firewall().rules()).script()
    counted = with_counts(after, new, old, Firewall().tally())
    assert not (said := _nft("-c", "-f", "-", stdin=counted)), said + counted.decode()
    refused = script and _nft("-f", "-", stdin=script.encode())
    found = _listed()
    assert not _nft("-f", "-", stdin=after), after
    tally[
        "refused" if refused else "none" if script is None else "differ" if script else "same"
    ] += 1
    if refused:
        print("refused:", refused, script)
    elif script is not None and found != _listed():
        tally["wrong"] += 1
        print("wrong:", before.decode(), after.decode(), script, *found, sep="\n")


def _main() -> None:
    chance = random.Random(int(sys.argv[1]))
    tally: Counter[str] = Counter(wrong=0)
    for make in (_templated, _own):
        files = [make(chance) for _ in range(int(sys.argv[2]))]
        for before, after in pairwise(files):
            _compare(before, after, tally)
    print(json.dumps(tally))


if __name__ == "__main__":
    _main()
