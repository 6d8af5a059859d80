"""Counters of the firewall across changes of its rules: asked by packets that are counted twice, by
who sends them and by the kernel."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping

import pytest

from .counted import Counted
from .fabric import VM4, VM6, Body, body, rule
from .hosts import REPO
from .knock import one
from .lab import Lab
from .neighbours import configure
from .rules import FRONT4, FRONT6, NAMES, OWN, PAIRS

CHANGES = 200
VERSIONS = ("", "trixie", "testing")
PLACES = (("udp", FRONT4, 53), ("udp", FRONT6, 53), ("tcp", OWN, 22), ("tcp", VM6, 22))
SEEN = {"listeners4": (VM4, 17, 5353), "listeners6": (VM6, 17, 5353)}


def bodies() -> list[Body]:
    """Answers that differ, each from the one before: rules before and behind those that stay, of
    one family or both, and a tunnel of none."""
    more = [rule(FRONT4, 1000 + n, VM4, 1000 + n) for n in range(3)]
    some = [rule(FRONT6, 7000 + n, VM6, 7000 + n, "Udp") for n in range(3)]
    return [
        body(*NAMES, **PAIRS),
        body(*more, *NAMES, **PAIRS),
        body(*NAMES, *some, **PAIRS),
        body(*more[:1], *NAMES, *some, **PAIRS),
        body(*NAMES, rule(FRONT4, 0, "10.1.0.5", 0, "All"), **PAIRS),
    ]


def use(lab: Lab, version: str) -> None:
    """Have the VM's nft be the one that tests/fetch-nft has fetched."""
    if not version:
        return
    program = REPO / ".cache" / "nft" / version / "nft"
    if not program.exists():
        pytest.skip(f"nft of Debian {version} is not fetched: tests/fetch-nft")
    lab.vm.write("/run/nft", f'#!/bin/sh\nexec {program} "$@"\n')
    lab.vm.path("/run/nft").chmod(0o755)
    lab.vm.run(["mount", "--bind", "/run/nft", "/usr/sbin/nft"])


def listed(lab: Lab) -> str:
    """The kernel's table, with what it counts."""
    return lab.vm.run(["nft", "-n", "list", "table", "inet", "lbhook"]).stdout


def element(lab: Lab, ip: str, protocol: int, port: int) -> int:
    """Packets that an element of the table has counted."""
    found = re.search(rf"{ip} \. {protocol} \. {port} counter packets (\d+)", listed(lab))
    return int(found[1]) if found else -1


def named(lab: Lab, comment: str) -> int:
    """Packets that a rule of the table has counted."""
    found = re.search(rf'packets (\d+) bytes \d+ (?:\w+ )?comment "{comment}"', listed(lab))
    return int(found[1]) if found else -1


def handles(lab: Lab) -> Mapping[str, str]:
    """The rules of the table by what the kernel calls them."""
    rows = lab.vm.run(["nft", "-a", "-s", "list", "table", "inet", "lbhook"]).stdout
    return {it[2]: it[1].strip() for it in re.finditer(r"(.*) # handle (\d+)", rows)}


@pytest.mark.parametrize("version", VERSIONS)
def test_what_differs_makes_the_table_of_the_whole_file(lab: Lab, version: str) -> None:
    """Pair after pair of files, lbhook's and one of somebody's own: no difference is refused, and
    what comes of it is what the whole file would be."""
    use(lab, version)
    lab.vm.run(["nft", "flush", "ruleset"])
    words = [sys.executable, "-m", "tests.lab.compared", "1", "40"]
    *wrong, told = lab.vm.run(words, env=lab.vm.environment).stdout.splitlines()
    assert not wrong
    found = json.loads(told)
    assert found["wrong"] == 0
    assert min(found["differ"], found["none"]) > 10


@pytest.mark.parametrize("version", VERSIONS)
def test_200_changes_lose_no_count_and_no_packet(lab: Lab, version: str) -> None:
    """Both families, a listener's elements and a rule: what came in, was answered and counted. The
    other versions have it with fewer changes, unless LBHOOK_CHANGES says how many."""
    count = int(os.environ.get("LBHOOK_CHANGES", "0")) or (CHANGES // 10 if version else CHANGES)
    use(lab, version)
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    lab.balance(body(*NAMES, **PAIRS))
    lab.vm.apply()
    for at, answer in enumerate(bodies()):
        lab.vm.write(f"/run/bodies/{at}", json.dumps(answer))
    answers = [f"/run/bodies/{at}" for at in range(len(bodies()))]
    asking = Counted(lab.client, *PLACES)
    outcomes = lab.vm.run(
        [sys.executable, "-m", "tests.lab.changing", str(count), *answers],
        env=lab.vm.environment,
        timeout=600,
    )
    asked, failures = asking.stop()
    assert json.loads(outcomes.stdout) == ["changed"] * count
    assert failures == []
    assert [element(lab, *place) for place in SEEN.values()] == asked[:2]
    assert named(lab, "ssh") == asked[2] + asked[3]


def calls(lab: Lab) -> None:
    """Two to a listener, three to SSH."""
    for place in [PLACES[0]] * 2 + [PLACES[2]] * 3:
        assert one(lab.client, *place).state == "open"


def test_another_shape_takes_the_counts_along(lab: Lab) -> None:
    """Another policy is another table: elements, and rules that have a name, go on counting."""
    lab.balance(body(*NAMES, **PAIRS))
    configure(lab.vm, "enforce")
    lab.vm.apply()
    calls(lab)
    configure(lab.vm, "prerouting")
    assert lab.vm.apply()["outcome"] == "changed"
    assert "chain prerouting" in listed(lab)
    assert (element(lab, *SEEN["listeners4"]), named(lab, "ssh")) == (2, 3)
    calls(lab)
    assert (element(lab, *SEEN["listeners4"]), named(lab, "ssh")) == (4, 6)


def test_a_table_that_somebody_has_changed_is_replaced(lab: Lab) -> None:
    """A rule that was added by hand goes with the next change, an element comes back; what has
    counted goes on."""
    lab.balance(body(*NAMES, **PAIRS))
    lab.vm.apply()
    calls(lab)
    lab.vm.run(["nft", "insert rule inet lbhook input tcp dport 9999 accept"])
    lab.vm.run(["nft", f"delete element inet lbhook listeners6 {{ {VM6} . udp . 5353 }}"])
    lab.balance(body(*NAMES, rule(FRONT4, 1000, VM4, 1000), **PAIRS))
    lab.vm.apply()
    assert "9999" not in listed(lab)
    assert element(lab, *SEEN["listeners6"]) == 0
    assert (element(lab, *SEEN["listeners4"]), named(lab, "ssh")) == (2, 3)


def test_what_is_put_back_goes_on_counting(lab: Lab) -> None:
    """What was loaded does not verify: the old rules are back, with their counts, and none of them
    was away."""
    lab.balance(body(*NAMES, **PAIRS))
    refuses = "! nft list table inet lbhook | grep -q '10.1.0.4 . tcp . 1000'"
    verify = json.dumps(["sh", "-c", refuses])
    lab.vm.write("/etc/lbhook/lbhook.toml", f"[targets.nftables]\nverify = {verify}\n")
    lab.vm.apply()
    calls(lab)
    before = handles(lab)
    lab.balance(body(*NAMES, rule(FRONT4, 1000, VM4, 1000), **PAIRS))
    assert lab.vm.lbhook("apply", check=False).returncode == 69
    assert element(lab, VM4, 6, 1000) == -1
    assert handles(lab) == before
    assert (element(lab, *SEEN["listeners4"]), named(lab, "ssh")) == (2, 3)


def test_a_counter_that_is_full_is_taken_along(lab: Lab) -> None:
    """As much as a counter of the kernel holds; what comes after begins at nought there."""
    most = (1 << 64) - 1
    lab.balance(body(*NAMES, **PAIRS))
    configure(lab.vm, "enforce")
    lab.vm.apply()
    whole = listed(lab).replace("packets 0 bytes 0", f"packets {most} bytes {most}")
    lab.vm.run(["nft", "-f", "-"], stdin=f"delete table inet lbhook\n{whole}")
    configure(lab.vm, "prerouting")
    lab.vm.apply()
    assert element(lab, *SEEN["listeners4"]) == most
    assert one(lab.client, *PLACES[0]).state == "open"
    assert element(lab, *SEEN["listeners4"]) == 0


def test_boot_and_verification_know_the_file(lab: Lab) -> None:
    """The file is the whole table, and loads as one; a run after the change has nothing to do."""
    lab.balance(body(*NAMES, **PAIRS))
    lab.vm.apply()
    lab.balance(body(*NAMES, rule(FRONT4, 1000, VM4, 1000), **PAIRS))
    assert lab.vm.apply()["outcome"] == "changed"
    assert lab.vm.lbhook("plan", "--exit-code").returncode == 0
    report = lab.vm.apply()
    assert (report["outcome"], {it["reload"] for it in report["targets"]}) == (
        "unchanged",
        {"none"},
    )
    made = lab.vm.run(["nft", "-s", "list", "table", "inet", "lbhook"]).stdout
    lab.vm.run(["nft", "-f", "/etc/nftables.d/lbhook.nft"])
    loaded = lab.vm.run(["nft", "-s", "list", "table", "inet", "lbhook"]).stdout
    assert sorted(made.splitlines()) == sorted(loaded.splitlines())
