"""The doctor's checks of the network where no laboratory has what is wrong."""

from dataclasses import replace

import pytest

from lbhook.doctor import traffic_checks
from lbhook.doctor.findings import unsure
from lbhook.traffic import paths
from lbhook.traffic.paths import Picture

from ..stand import Runner, Stand, altered
from ..traffic.test_diagram import way
from .evidence import case, said


@pytest.mark.parametrize(("count", "found"), [(900, 0), (901, 1), (None, 0)])
def test_conntrack_that_is_nearly_full(stand: Stand, count: int | None, found: int) -> None:
    """From nine tenths on; without connection tracking there is nothing to be full."""
    if count:
        place = stand.place / "machine/proc/sys/net/netfilter"
        place.mkdir(parents=True)
        (place / "nf_conntrack_count").write_text(f"{count}\n")
        (place / "nf_conntrack_max").write_text("1000\n")
    text = f"connection tracking is nearly full, {count} of 1000: new connections fail"
    assert [one.text for one in traffic_checks.tracked(case(stand))] == [text] * found


def legacy(stand: Stand, listed: str) -> list[str]:
    """What is said of tables of iptables-legacy; each of its programs is asked once."""
    names = stand.place / "machine/proc/self/net/ip_tables_names"
    names.parent.mkdir(parents=True)
    names.write_text("nat\nfilter\n")
    stand.runner = Runner(lambda _: (0, listed))
    one = case(stand)
    host = altered(one.host, tree=altered(one.host.tree, privileged=True), kernel=False)
    found = said(traffic_checks.legacy(replace(one, picture=paths.seen(one.lb, host))))
    taken = [line for line in stand.runner.taken() if "legacy" in line]
    assert taken == ["iptables-legacy -S INPUT", "ip6tables-legacy -S INPUT"]
    return found


def test_legacy_tables_without_rules(stand: Stand) -> None:
    """What iptables-legacy left behind and lets everything in is not worth a word."""
    assert legacy(stand, "-P INPUT ACCEPT\n") == []


def test_legacy_tables_with_rules(stand: Stand) -> None:
    """Nobody judges them, and that is said of each program."""
    assert legacy(stand, "-P INPUT DROP\n") == [
        f"{one} has rules, which are not judged here > `{one} -S`"
        for one in ("iptables-legacy", "ip6tables-legacy")
    ]


@pytest.mark.parametrize(("root", "remedy"), [(False, "run `sudo lbhook doctor`"), (True, "")])
def test_a_firewall_that_is_not_seen(stand: Stand, root: bool, remedy: str) -> None:
    """Is said once, and nothing is said to be wrong with any rule."""
    one = case(stand)
    why = "the firewall: it is not seen"
    picture = Picture(ways=(way(80, verdict=None), way(81, verdict=None)), unseen=(why,))
    host = altered(one.host, tree=altered(one.host.tree, privileged=root))
    assert [*traffic_checks.firewall(replace(one, host=host, picture=picture))] == [
        unsure(why, remedy)
    ]
