"""A plan carried out: what goes on, what is left out, and what the firewall leaves alone."""

import json
import os
import subprocess

import pytest

from lbhook.deployment.outcome import Done
from lbhook.deployment.transaction import Transaction
from lbhook.plan import Outcome, Plan, Reload

from ..conftest import lacking
from ..stand import GROUP, NO_ENV, USER, Runner, Stand, body, contents, outcomes, target

A, B = body(80, 443), body(80, 8443)


def test_a_blocked_target_does_not_freeze_the_others(stand: Stand) -> None:
    """Promise 2: not part of all or nothing, and said so: somebody else's mistake."""
    text = NO_ENV + target("app", check_live=["live"]) + target("one")
    stand.apply(stand.settings(text), A)
    stand.runner = Runner(lambda argv: (1, "broken") if argv[0] == "live" else None)
    report = stand.apply(stand.settings(text), B)
    assert (report.status, report.outcome) == (69, "changed")
    assert outcomes(report) == {"app": ("blocked", "none"), "one": ("changed", "done")}
    assert report.problems == (
        "app: blocked: its check fails with the file as it stands, too:\n"
        "`live` ended with status 1\n  broken",
    )
    assert (stand.text("/etc/app"), stand.text("/etc/one")) == ("80\n443\n", "80\n8443\n")
    assert list((stand.disk / "etc").glob(".*")) == []
    stand.runner = Runner()
    assert outcomes(stand.apply(stand.settings(text), B))["app"] == ("changed", "done")


def test_a_skipped_target_does_not_stop_the_others(stand: Stand) -> None:
    """Promise 2: its program is missing; it is not recorded, and comes when the program does."""
    text = NO_ENV + target("app", requires=["app"]) + target("one")
    stand.find = lambda name: None
    report = stand.apply(stand.settings(text), A)
    assert (report.status, outcomes(report)) == (
        0,
        {"app": ("skipped", "none"), "one": ("created", "done")},
    )
    stand.find = lambda name: name
    assert outcomes(stand.apply(stand.settings(text), A))["app"] == ("created", "done")


# What a run keeps for itself, whatever it came to.
OWN = ("run", "var/lib/lbhook/refused")


def test_nothing_is_replaced_before_the_last_check_has_passed(stand: Stand) -> None:
    """Promise 2: every candidate is staged and checked first; one refusal stops all."""
    text = NO_ENV + target("one", reload=["load"])
    text += target("two", reload=["load"], check=["check"])
    stand.apply(stand.settings(text), A)
    before = contents(stand.disk, without=OWN)
    stand.runner = Runner(lambda argv: (1, "no") if argv[0] == "check" else None)
    report = stand.apply(stand.settings(text), B)
    assert (report.status, stand.runner.taken()) == (78, ["check"])
    assert contents(stand.disk, without=OWN) == before
    assert outcomes(report) == {"one": ("unchanged", "none"), "two": ("unchanged", "none")}


def test_a_file_without_a_reload_is_only_written(stand: Stand) -> None:
    """Nothing is due, and nothing owed."""
    settings = stand.settings(NO_ENV + target("one", reload=None))
    assert outcomes(stand.apply(settings, A)) == {"one": ("created", "none")}
    assert stand.runner.taken() == []


def test_an_empty_plan_is_carried_out_without_a_trace(stand: Stand) -> None:
    """No journal, no record, no reload."""
    host = stand.host(stand.settings(NO_ENV))
    assert Transaction(host, Plan()).carry_out() == Done()
    assert contents(stand.disk) == {}


FIREWALL = f'[targets.nftables]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
LOADED_TWICE = """
set -e
nft add table inet other
nft add chain inet other input '{ type filter hook input priority 0; policy accept; }'
nft -f "$1"
nft -f "$1"
nft -j list ruleset
"""


@pytest.mark.needs("nft", "unshare")
def test_the_firewall_locks_nobody_out(stand: Stand) -> None:
    """Promise 4: SSH, probes, neighbours, DHCP, loopback and old connections pass; its table is
    its own, and another's stays as it is. Loaded twice by the real nft, in a network of its own."""
    stand.live = False
    assert stand.apply(stand.settings(NO_ENV + FIREWALL), A).status == 0
    unshare = ["unshare", "--net"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    file = str(stand.disk / "etc/nftables.d/lbhook.nft")
    words = [*unshare, "sh", "-c", LOADED_TWICE, "load", file]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    if done.stderr.startswith("unshare:"):
        lacking("no network of one's own here")
    assert done.returncode == 0, done.stderr
    rules = json.loads(done.stdout)["nftables"]
    tables = sorted(one["table"]["name"] for one in rules if "table" in one)
    assert tables == ["lbhook", "other"]
    chains = {(one["chain"]["table"], one["chain"]["policy"]) for one in rules if "chain" in one}
    assert chains == {("lbhook", "drop"), ("other", "accept")}
    accepted = json.dumps([one for one in rules if "rule" in one])
    for passes in ("established", '"lo"', "icmp", '"comment": "ssh"', "@probes4", "wildcard"):
        assert passes in accepted


def test_a_put_back_restores_an_owner(stand: Stand) -> None:
    """Content, mode and owner, as they were before lbhook."""
    if os.geteuid() != 0:
        pytest.skip("not root: can't give a file away")
    stand.put("/etc/one", "mine\n", 0o600)
    os.chown(stand.disk / "etc/one", 65534, 65533)
    stand.runner = Runner(lambda argv: (1, "no"))
    assert stand.apply(stand.settings(NO_ENV + target("one")), A).status == 69
    found = (stand.disk / "etc/one").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o600)
    stand.runner = Runner()
    stand.apply(stand.settings(NO_ENV + target("one")), A)
    stand.apply(stand.settings(NO_ENV), A)
    found = (stand.disk / "etc/one").stat()
    assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (65534, 65533, 0o600)


def test_a_deployment_says_what_it_came_to_even_if_it_fails(stand: Stand) -> None:
    """`done` is there after an error, too."""
    settings = stand.settings(NO_ENV + target("one"))
    plan = stand.plan(settings, A)
    stand.runner = Runner(lambda argv: (1, "no"))
    transaction = Transaction(stand.host(settings), plan)
    with pytest.raises(Exception, match="ended with status 1"):
        transaction.carry_out()
    [change] = transaction.done.changes
    assert (change.outcome, change.reload) == (Outcome.UNCHANGED, Reload.FAILED)
    assert transaction.done._replace(changes=()) == Done()


def test_what_can_not_be_put_back_is_not_said_to_be(stand: Stand) -> None:
    """The journal can't be read when a reload fails: the new file stays, and the run says so; the
    next one, which can read it, puts it back before anything else."""
    settings = stand.settings(NO_ENV + target("one"))
    stand.apply(settings, A)
    journal = stand.disk / "var/lib/lbhook/journal/journal.json"
    kept: list[bytes] = []

    def fail(_: tuple[str, ...]) -> tuple[int, str]:
        if journal.exists() and not kept:
            kept.append(journal.read_bytes())
            journal.write_bytes(b"")
        return 1, "no"

    stand.runner = Runner(fail)
    report = stand.apply(settings, B)
    assert (report.status, outcomes(report)["one"][0]) == (73, "changed")
    assert any("could not be put back: " in one for one in report.problems)
    assert stand.text("/etc/one") == "80\n8443\n"
    journal.write_bytes(kept[0])
    stand.runner = Runner()
    assert stand.apply(settings, A).status == 0
    assert stand.text("/etc/one") == "80\n443\n"
    assert not journal.exists()


def test_nor_is_what_stands_beside_it(stand: Stand) -> None:
    """One can't go back, and of another nothing is known: neither is said to be as it was."""
    both = "".join(target(name, reload=["load"]) for name in ("one", "two"))
    settings = stand.settings(NO_ENV + both)
    stand.apply(settings, A)
    place = stand.disk / "var/lib/lbhook/journal"

    def fail(_: tuple[str, ...]) -> tuple[int, str]:
        if (place / "journal.json").exists() and (stand.disk / "etc/two").is_file():
            listed = json.loads((place / "journal.json").read_bytes())["entries"]
            paths = [one["path"] for one in listed]
            (place / str(paths.index("/etc/one"))).unlink()
            for file in (stand.disk / "etc").glob(".one.*"):
                file.unlink()
            (stand.disk / "etc/two").unlink()
            (stand.disk / "etc/two").mkdir()
        return 1, "no"

    stand.runner = Runner(fail)
    report = stand.apply(settings, B)
    found = outcomes(report)
    assert (report.status, found["one"][0], found["two"][0]) == (73, "changed", "changed")
