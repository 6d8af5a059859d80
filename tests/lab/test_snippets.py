"""Lines of one's own in the firewall, where packets tell whether they stand at the right place."""

from __future__ import annotations

import re

import pytest

from .fabric import CLIENT4, CLIENT6, PROBE4, VM4, VM6, body
from .hosts import REPO
from .knock import Target, one, states
from .lab import Lab
from .rules import ALL, FRONT4, FRONT6, PAIRS, WEB
from .vm import NFT

PLACE = "/etc/lbhook/nftables.d"
FRONTS = (Target("tcp", FRONT4, 80), Target("tcp", FRONT6, 80))
OPENS = "tcp dport 9000 counter accept\n"
KEEPS_OUT = f"ip saddr {CLIENT4} counter drop\nip6 saddr {CLIENT6} counter drop\n"
OTHER = "table ip other {\n\tchain x {\n\t\tcounter\n\t}\n}\n"


def put(lab: Lab, name: str, text: str) -> str:
    """Write a snippet, and return its path."""
    lab.vm.path(PLACE).mkdir(exist_ok=True)
    lab.vm.write(f"{PLACE}/{name}", text)
    return f"{PLACE}/{name}"


def ruleset(lab: Lab) -> str:
    """All that the kernel has, without counts."""
    return lab.vm.run(["nft", "-s", "list", "ruleset"]).stdout


@pytest.mark.parametrize(
    ("policy", "place"), [("enforce", "input"), ("prerouting", "prerouting")], indirect=["policy"]
)
def test_it_opens_what_no_rule_opens(lab: Lab, policy: str, place: str) -> None:
    """In the chain that has the policy, in both families; and a run without a difference is one. A
    new line is a change of the next run, and so is none."""
    lab.balance(ALL)
    lab.vm.apply()
    doors = [Target("tcp", VM4, 9000), Target("tcp", VM6, 9000)]
    assert states(lab.client, *doors) == {"filtered"}
    file = put(lab, f"{place}-10-admin.nft", OPENS)
    assert "+\t\ttcp dport 9000 counter accept" in lab.vm.lbhook("plan").stdout
    assert lab.vm.apply()["outcome"] == "changed"
    assert states(lab.client, *doors) == {"open"}
    assert lab.vm.apply()["outcome"] == "unchanged"
    # What is on the disk stands by itself.
    lab.vm.path(file).rename(lab.vm.path(f"{file}~"))
    before = ruleset(lab)
    lab.vm.run(["nft", "flush", "ruleset"])
    lab.vm.run(["nft", "-f", NFT])
    assert ruleset(lab) == before
    assert lab.vm.apply()["outcome"] == "changed"
    assert states(lab.client, *doors) == {"filtered"}


@pytest.mark.parametrize("place", ["input", "prerouting"])
def test_it_keeps_out_before_rules_are_asked(lab: Lab, policy: str, place: str) -> None:
    """Under each policy and at each place; under none is the operator locked out where the policy
    is lbhook's."""
    lab.balance(ALL)
    lab.vm.apply()
    assert states(lab.client, *FRONTS) == {"open"}
    put(lab, f"{place}-block.nft", KEEPS_OUT)
    lab.vm.apply()
    assert states(lab.client, *FRONTS) == {"filtered"}
    if (policy, place) in (("enforce", "input"), ("prerouting", "prerouting")):
        assert one(lab.client, "tcp", VM4, 22).state == "open"
    assert one(lab.fabric, "tcp", VM4, 443, PROBE4).state == "open"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("accept\ntcp dport 80 acept\n", 2, "tcp dport 80 acept"),
        ("# one\n\njump nowhere\n", 3, "jump nowhere"),
        ("ip saddr { 10.0.0.0/8, 300.1.1.1 } drop\n", 1, "300.1.1.1"),
    ],
)
def test_what_nft_refuses_is_named(lab: Lab, text: str, line: int, said: str) -> None:
    """With its file and line; the firewall stays as it was, and the next good one comes."""
    lab.balance(body(*WEB, **PAIRS))
    lab.vm.apply()
    before, file = ruleset(lab), put(lab, "input-slip.nft", text)
    lab.balance(ALL)
    for command in ("plan", "apply"):
        done = lab.vm.lbhook(command, check=False)
        assert done.returncode == 78
        assert f"{file}:{line}:" in done.stderr
        assert said in done.stderr
    assert ruleset(lab) == before
    put(lab, "input-slip.nft", OPENS)
    assert lab.vm.apply()["outcome"] == "changed"


@pytest.mark.parametrize(
    "text",
    [
        "}\n}\nflush ruleset\ntable ip other {\nchain x {\ndrop\n",
        "accept }\n}\ndelete table ip other\ntable inet lbhook {\nchain input {\n",
        'accept comment "\n}\n}\ndelete table ip other\n"\n',
        'include "/run/other.nft"\n',
        "policy accept\n",
        "flush ruleset\n",
        "accept\nadd rule ip other x drop\n",
        "delete table ip other;\n",
        "jump { drop }\n}\n",
        "table ip other { chain y { }; }\n",
        "chain y { drop; }\n",
    ],
)
def test_no_other_table_is_touched(lab: Lab, text: str) -> None:
    """Whatever it says: it is refused, by lbhook or by nft, and all tables are as they were."""
    lab.vm.write("/run/other.nft", "}\n}\nflush ruleset\ntable ip other {\nchain x {\ndrop\n")
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.write("/run/mine.nft", OTHER)
    lab.vm.run(["nft", "-f", "/run/mine.nft"])
    before = ruleset(lab)
    for name in ("input-bad.nft", "prerouting-bad.nft"):
        file = put(lab, name, text)
        done = lab.vm.lbhook("apply", check=False)
        assert done.returncode == 78, done.stderr
        assert file in done.stderr
        assert ruleset(lab) == before
        lab.vm.path(file).unlink()


def test_a_bad_one_does_not_open_a_boot(lab: Lab) -> None:
    """What was loaded is loaded again when the machine comes up, whatever was edited since."""
    lab.balance(ALL)
    lab.vm.apply()
    before = ruleset(lab)
    put(lab, "input-bad.nft", "}\n")
    lab.vm.run(["nft", "flush", "ruleset"])
    lab.vm.run(["rm", "-rf", "/run/lbhook"])
    lab.vm.lbhook("restore", check=False)
    assert ruleset(lab) == before


@pytest.mark.parametrize(
    "text",
    [
        "tcp dport 9000 counter accept; tcp dport 9001 counter accept\n",
        "tcp dport { 9000,\n  9001 } counter accept # }\n",
        "define office = { 203.0.113.0/24, 198.51.100.9 }\nip saddr $office counter accept\n",
        "tcp dport 9000 \\\n  counter \\\n  accept\n",
        'counter comment "a } { ; # b"\n',
        "tcp dport vmap { 9000 : accept, 9001 : drop }\n",
        "tcp dport 9000 jump {\n  ip saddr 192.0.2.1 drop\n  counter accept\n}\n",
    ],
)
def test_the_kernel_has_what_the_file_says(lab: Lab, text: str) -> None:
    """However a line is written, and however the next change is told to the kernel."""
    put(lab, "input-odd.nft", text)
    for rules in (ALL, body(*WEB, **PAIRS)):
        lab.balance(rules)
        assert lab.vm.apply()["status"] == 0
        told = ruleset(lab)
        lab.vm.run(["nft", "flush", "ruleset"])
        lab.vm.run(["nft", "-f", NFT])
        assert ruleset(lab) == told
        assert lab.vm.apply()["outcome"] == "unchanged"


def test_clean_leaves_them(lab: Lab) -> None:
    """They are their owner's."""
    file = put(lab, "input-admin.nft", OPENS)
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.lbhook("clean")
    assert lab.vm.read(file) == OPENS
    assert ruleset(lab) == ""


def test_the_page_is_followed(lab: Lab) -> None:
    """Each snippet that docs/targets.md shows does what it is shown for."""
    page = (REPO / "docs/targets.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"^`/etc/lbhook/nftables.d/([\w.-]+)`:\n\n```nft\n(.*?)^```$", page, re.M | re.S
    )
    assert [name for name, _ in shown] == ["input-monitoring.nft", "prerouting-blocked.nft"]
    for name, text in shown:
        put(lab, name, text)
    lab.balance(ALL)
    assert lab.vm.apply()["status"] == 0
    listed = ruleset(lab)
    assert all(line.strip() in lab.vm.read(NFT) for _, text in shown for line in text.splitlines())
    assert "203.0.113.0/24" in listed
    assert "192.0.2.66" in listed
