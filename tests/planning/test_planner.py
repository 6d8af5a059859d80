"""From an answer to a plan, for each aim."""

import re
import shutil
from pathlib import Path

import pytest

from lbhook.errors import ConfigError, WriteError, together
from lbhook.metadata import facts
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.plan import Outcome, Reload
from lbhook.planning.planner import Planner
from lbhook.planning.scope import Scope

from ..programs.test_sshd import process, socket
from ..stand import GROUP, NO_ENV, USER, Runner, Stand, body, target

TEXT = NO_ENV + target("one") + target("two")
A = body(80, 443)


@pytest.fixture
def stand(stand: Stand) -> Stand:
    """A machine on which `one` is installed, and `two` is somebody else's file."""
    stand.apply(stand.settings(NO_ENV + target("one")), A)
    stand.put("/etc/two", "mine\n")
    return stand


def planned(
    stand: Stand, scope: Scope, lb: Facts | None = None
) -> dict[str, tuple[str, str, bool]]:
    """Outcome and reload of each target, and whether it was rendered."""
    settings = stand.settings(TEXT)
    plan = Planner(stand.host(settings), settings).plan(scope, lb)
    return {
        one.target.name: (one.outcome.value, one.reload.value, one.rendered) for one in plan.changes
    }


def test_a_whole_plan(stand: Stand) -> None:
    """Every file as the answer has it."""
    assert planned(stand, Scope.WHOLE, facts.derive(parse(body(80)))) == {
        "one": ("changed", "due", True),
        "two": ("changed", "due", True),
    }


def test_a_plan_for_what_is_missing(stand: Stand) -> None:
    """What is there stays, whoever wrote it."""
    assert planned(stand, Scope.MISSING) == {
        "one": ("unchanged", "none", False),
        "two": ("unchanged", "none", False),
    }
    (stand.disk / "etc/one").unlink()
    assert planned(stand, Scope.MISSING)["one"] == ("restored", "due", True)


def test_a_plan_for_rest(stand: Stand) -> None:
    """Only what lbhook wrote is put to rest."""
    assert planned(stand, Scope.REST) == {
        "one": ("changed", "due", True),
        "two": ("unchanged", "none", False),
    }


def test_a_plan_for_what_is_owed(stand: Stand) -> None:
    """No file; only reloads of what lbhook wrote and nobody edited."""
    stand.boot_id = "boot-2"
    assert planned(stand, Scope.LOAD) == {
        "one": ("unchanged", "due", False),
        "two": ("unchanged", "none", False),
    }
    stand.put("/etc/one", "edited\n")
    assert planned(stand, Scope.LOAD)["one"] == ("unchanged", "none", False)


def test_all_problems_of_all_targets_come_together(stand: Stand) -> None:
    """What can't be written outweighs what is wrong."""
    wrong = target("three", template="gone.j2") + target("four", owner="nobody-here")
    settings = stand.settings(NO_ENV + wrong)
    error = together(Planner(stand.host(settings), settings).plan(Scope.WHOLE, Facts()).failures)
    assert isinstance(error, WriteError)
    assert len(error.problems) == 2
    settings = stand.settings(NO_ENV + target("three", template="gone.j2"))
    error = together(Planner(stand.host(settings), settings).plan(Scope.WHOLE, Facts()).failures)
    assert isinstance(error, ConfigError)


def test_listeners_on_other_machines_addresses_are_left_out(stand: Stand) -> None:
    """On a live machine, with a warning; what must rest is known beforehand."""
    stand.runner = Runner(lambda _: (0, "# configuration file /etc/nginx/lbhook/listen.conf:\n"))
    nginx = f'[targets.nginx]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
    settings = stand.settings(NO_ENV + nginx)
    plan = Planner(stand.host(settings), settings).plan(Scope.WHOLE, facts.derive(parse(A)))
    change = next(one for one in plan.changes if one.target.name == "nginx")
    assert change.expected
    assert b"\nlisten 127.0.0.127:10009;\n" in change.expected.content
    assert "\nlisten 127.0.0.127:10009;\n" in change.resting
    assert plan.warnings == (
        "nginx: 10.0.0.4 is not an address of this machine; its listeners are left out",
    )


@pytest.mark.parametrize("how", ["kernel", "transparent"])
def test_an_address_that_moves_keeps_its_listeners(stand: Stand, how: str) -> None:
    """Where programs may listen at it before it comes: by ip_nonlocal_bind, or haproxy's own."""
    parameters = "transparent" if how == "transparent" else ""
    if how == "kernel":
        place = stand.place / "machine/proc/sys/net/ipv4"
        place.mkdir(parents=True)
        (place / "ip_nonlocal_bind").write_text("1\n")
    haproxy = f'[targets.haproxy]\nowner = "{USER}"\ngroup = "{GROUP}"\n'
    settings = stand.settings(f'{NO_ENV}{haproxy}vars = {{ parameters = "{parameters}" }}\n')
    plan = Planner(stand.host(settings), settings).plan(Scope.WHOLE, facts.derive(parse(A)))
    change = next(one for one in plan.changes if one.target.name == "haproxy")
    assert change.expected
    assert b"bind 10.0.0.4:80" in change.expected.content
    assert plan.warnings == ()


def test_dropped_files_are_not_a_matter_of_one_target(stand: Stand) -> None:
    """With --only nothing is undone; nor without an answer."""
    settings = stand.settings(NO_ENV + target("two"))
    lb = facts.derive(parse(A))
    host = stand.host(settings)
    whole = Planner(host, settings).plan(Scope.WHOLE, lb)
    assert [one.outcome for one in whole.changes] == [Outcome.CHANGED, Outcome.REMOVED]
    for plan in (
        Planner(host, settings, ("two",)).plan(Scope.WHOLE, lb),
        Planner(host, settings).plan(Scope.MISSING, None),
    ):
        assert [one.target.name for one in plan.changes] == ["two"]


def test_a_job_that_nobody_can_tell_of_is_still_queued(stand: Stand) -> None:
    """systemctl fails: that is no reason to reload again."""
    (stand.place / "machine/run/systemd/system").mkdir(parents=True)
    settings = stand.settings(NO_ENV + target("app", reload=None, reload_unit="app.service"))
    stand.runner = Runner(lambda argv: (0, "ActiveState=active\n"))
    stand.apply(settings, A)
    stand.runner = Runner(lambda argv: (1, "no bus"))
    plan = Planner(stand.host(settings), settings).plan(Scope.WHOLE, facts.derive(parse(A)))
    app = next(one for one in plan.changes if one.target.name == "app")
    assert (app.reload, app.outcome) == (Reload.QUEUED, Outcome.UNCHANGED)


SSHD = f"{NO_ENV}[targets.nftables]\nowner = '{USER}'\ngroup = '{GROUP}'\n"
NFT = "/etc/nftables.d/lbhook.nft"


def listens(stand: Stand, port: int) -> None:
    """sshd starts to listen at a port of any IPv4 address, and nowhere else."""
    place = stand.place / "machine"
    shutil.rmtree(place / "proc", ignore_errors=True)
    socket(place, f"0.0.0.0 {port}", 7)
    process(place, 50, "sshd", 7)


def opened(stand: Stand) -> list[str]:
    """The ports of sshd in the firewall."""
    return re.findall(r'dport (\d+) counter accept comment "sshd"', stand.text(NFT) or "")


def test_sshd_is_part_of_what_a_firewall_is_made_of(tmp_path: Path) -> None:
    """A run without a difference knows it again; one that moved is another firewall."""
    stand = Stand(tmp_path)
    settings = stand.settings(SSHD)
    listens(stand, 2222)
    assert stand.apply(settings, body(80)).outcome == "changed"
    assert opened(stand) == ["2222"]
    (change,) = stand.plan(settings, body(80)).changes
    assert (change.outcome, change.made_of != "") == (Outcome.UNCHANGED, True)
    listens(stand, 2223)
    assert stand.apply(settings, body(80)).outcome == "changed"
    assert opened(stand) == ["2223"]


def test_without_an_answer_sshd_is_followed_all_the_same(tmp_path: Path) -> None:
    """Nothing else of the file changes, and nothing is closed; what somebody edited stays."""
    stand = Stand(tmp_path)
    settings = stand.settings(SSHD)
    listens(stand, 2222)
    stand.apply(settings, body(80))
    before = stand.text(NFT) or ""

    def expected() -> str:
        planner = Planner(stand.host(settings), settings)
        (change,) = planner.plan(Scope.MISSING, facts.derive(parse(body(80)))).changes
        return change.expected.content.decode() if change.expected else ""

    assert expected() == before
    listens(stand, 2223)
    line = '\t\ttcp dport 2222 counter accept comment "sshd"\n'.replace(
        "tcp", "meta nfproto ipv4 tcp"
    )
    assert expected() == before.replace(line, line + line.replace("2222", "2223"))
    stand.put(NFT, f"{before}# mine\n")
    assert expected() == f"{before}# mine\n"


def test_a_template_that_is_edited_while_the_plan_is_made(stand: Stand) -> None:
    """Nobody knows what the files were made of, and the next plan renders again."""
    settings = stand.settings(NO_ENV + target("one", verify=["verify"]) + target("two"))
    lb = facts.derive(parse(A))
    stand.apply(settings, A)

    def made_of() -> list[bool]:
        plan = Planner(stand.host(settings), settings).plan(Scope.WHOLE, lb)
        return [bool(one.made_of) for one in plan.changes]

    assert made_of() == [True, True]
    (stand.disk / "etc/two").unlink()
    stand.runner = Runner(lambda _: stand.template("ports.j2", "edited\n"))
    assert made_of() == [False, False]
