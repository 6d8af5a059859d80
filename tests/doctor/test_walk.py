"""The doctor's questions where no laboratory has what is wrong, and how findings are told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lbhook.doctor import imds_checks, target_checks, traffic_checks, walk
from lbhook.doctor.findings import Evidence, Finding, Level, note, unsure
from lbhook.doctor.walk import Diagnosis
from lbhook.errors import ProtocolError
from lbhook.traffic.paths import Picture

from ..program import BODIES, run_lbhook
from ..stand import NO_ENV, Runner, Stand, altered, body, target
from ..traffic.test_diagram import way


def case(stand: Stand, text: str = "") -> Evidence:
    """What the doctor knows of a stand, with nothing asked yet."""
    settings = stand.settings(text)
    return Evidence(host=stand.host(settings), settings=settings)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine with systemd, which says of lbhook's units what a test wants."""
    (tmp_path / "machine/run/systemd/system").mkdir(parents=True)
    return Stand(tmp_path)


def said(findings: Iterator[Finding]) -> list[str]:
    """What is said, with what is to be done."""
    return [f"{one.text} > {one.remedy}" for one in findings]


# Units


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("enabled", ""),
        ("static", ""),
        ("disabled", "is not enabled > `systemctl enable --now NAME`"),
        ("enabled-runtime", "is not enabled > `systemctl enable --now NAME`"),
        ("masked", "is masked > `systemctl unmask NAME`"),
        ("not-found", "is not installed > `sudo lbhook install`, or lbhook's package"),
    ],
)
def test_units_that_are_not(stand: Stand, state: str, found: str) -> None:
    """Each with what it is for, and what to do."""
    stand.runner = Runner(lambda argv: (0, state if argv[-1].endswith(".timer") else "enabled"))
    name = "lbhook-refresh.timer"
    problem, _, remedy = found.replace("NAME", name).partition(" > ")
    missed = "a rule that comes later in Azure is not seen"
    expected = [f"{name} {problem}: {missed} > {remedy}"] if found else []
    assert said(target_checks.installed(case(stand))) == expected


@pytest.mark.parametrize(
    ("states", "found"),
    [
        (("active", "active"), []),
        (("inactive", "activating"), []),
        (
            ("failed", "inactive"),
            [
                "lbhook.service has failed > `journalctl -u lbhook.service` says why",
                "lbhook-refresh.timer does not run: a rule that comes later in Azure is not seen >"
                " `systemctl start lbhook-refresh.timer`",
            ],
        ),
    ],
)
def test_units_that_do_not_run(stand: Stand, states: tuple[str, str], found: list[str]) -> None:
    """Failed in this boot; or a timer that somebody stopped."""
    names = ("lbhook.service", "lbhook-refresh.timer")
    shown = (f"Id={name}\nActiveState={state}\n" for name, state in zip(names, states, strict=True))
    text = "\n".join(shown)
    stand.runner = Runner(lambda _: (0, text))
    assert said(target_checks.running(case(stand))) == found


@pytest.mark.parametrize(("applied", "healed"), [(5.0, True), (50.0, False), (0.0, False)])
def test_a_failure_that_a_later_run_has_healed_is_history(
    stand: Stand, applied: float, healed: bool
) -> None:
    """The unit failed 10 seconds ago; an answer was put in force so many seconds ago, or never."""
    since = int((stand.time - 10.0) * 1e6)
    shown = f"Id=lbhook.service\nActiveState=failed\nStateChangeTimestampMonotonic={since}\n"
    stand.runner = Runner(lambda _: (0, shown))
    evidence = replace(case(stand), since_applied=applied)
    (found,) = target_checks.running(evidence)
    assert (found.level is Level.NOTE) == healed
    assert found.text.endswith("has put Azure's answer in force") == healed


def test_without_systemd_there_are_no_units(tmp_path: Path) -> None:
    """Nor is anybody asked."""
    stand = Stand(tmp_path)
    assert [one for question in target_checks.OF_UNITS for one in question(case(stand))] == []
    assert stand.runner.calls == []


# Targets


def test_a_label_that_is_not_its_place_s(stand: Stand) -> None:
    """restorecon is asked what it would do, where SELinux is in force."""
    text = f"{NO_ENV}{target('app')}"
    labels = "unconfined_u:object_r:tmp_t:s0", "system_u:object_r:etc_t:s0"
    says = f"Would relabel /etc/app from {labels[0]} to {labels[1]}\n"
    stand.runner = Runner(lambda _: (0, says))
    assert said(target_checks.label(case(stand, text))) == []
    enforce = stand.place / "machine/sys/fs/selinux/enforce"
    enforce.parent.mkdir(parents=True)
    enforce.write_text("1")
    assert said(target_checks.label(case(stand, text))) == [
        f"app: /etc/app has the label {labels[0]}, its place {labels[1]} > `restorecon -v /etc/app`"
    ]
    assert stand.runner.taken() == ["restorecon -n -v /etc/app"]
    stand.runner = Runner()
    assert said(target_checks.label(case(stand, text))) == []


ON, OFF = (
    "ActiveState=active\nUnitFileState=enabled",
    "ActiveState=inactive\nUnitFileState=disabled",
)
MARK = 'vars = { policy = "mark" }'


@pytest.mark.parametrize(
    ("shown", "more", "text", "levels", "what"),
    [
        (ON, "ExecReload=nft -f x", "", [Level.WRONG], "a reload of nftables.service opens this"),
        ("UnitFileState=enabled", "", "", [Level.WRONG], "nftables.service opens this machine"),
        (ON, "", MARK, [Level.WRONG], "a reload of nftables.service leaves nothing marked"),
        (OFF, "ExecReload=nft -f x", "", [], ""),
        (ON, "ExecReload=nft -f lbhook.nft", "", [Level.UNSURE], "loading it by hand opens this"),
    ],
)
def test_nftables_service_that_nobody_reloads(
    stand: Stand, shown: str, more: str, text: str, levels: list[Level], what: str
) -> None:
    """One that is off flushes nothing, and one that loads lbhook's file does harm by hand alone."""
    conf = stand.place / "machine/etc/nftables.conf"
    conf.parent.mkdir(parents=True)
    conf.write_text("flush ruleset\n")
    drop_in = stand.place / "machine/usr/lib/systemd/system/nftables.service.d/x.conf"
    drop_in.parent.mkdir(parents=True)
    drop_in.write_text(f"[Service]\n{more}\n")
    stand.runner = Runner(lambda _: (0, shown))
    findings = list(target_checks.flushed(case(stand, f"[targets.nftables]\n{text}")))
    assert [one.level for one in findings] == levels
    assert all(what in one.text for one in findings)


# Network


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


def test_legacy_tables_without_rules(stand: Stand) -> None:
    """What iptables-legacy left behind and lets everything in is not worth a word."""
    names = stand.place / "machine/proc/self/net/ip_tables_names"
    names.parent.mkdir(parents=True)
    names.write_text("nat\nfilter\n")
    stand.runner = Runner(lambda _: (0, "-P INPUT ACCEPT\n"))
    one = case(stand)
    if one.host.root:
        assert said(traffic_checks.legacy(one)) == []
        assert len(stand.runner.taken()) == 2


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


# Azure


def test_an_answer_that_can_t_be_gone_by(stand: Stand) -> None:
    """All that was wrong with it, and the hint that goes with it."""
    error = ProtocolError("not IMDS", "it redirects", hint="ask somebody")
    settings = stand.settings("")
    one = Evidence(host=stand.host(settings), settings=settings, error=error)
    assert said(imds_checks.answer(one)) == ["not IMDS; it redirects > ask somebody"]
    assert said(imds_checks.route(one)) == []


# The report

PLACES = {
    "Azure": (),
    "Rules": (
        Finding(text=f"it is wrong in a way that {'takes many words ' * 4}to say", remedy="fix it"),
        Finding(text="a command said\n  so:  much", remedy=""),
        unsure("nobody can tell"),
    ),
    "Network": (note("good to know"),),
}


def test_a_report_for_people() -> None:
    """Each place with its findings; what is wrong first in its line; never wider than 80."""
    found = Diagnosis(places=PLACES)
    assert found.to_text(notes=False) == (
        "Azure    ok\n"
        "Rules\n"
        "! it is wrong in a way that takes many words takes many words takes many words\n"
        "  takes many words to say\n"
        "    fix it\n"
        "! a command said\n"
        "    so:  much\n"
        "? nobody can tell\n"
        "Network  ok\n"
        "\n"
        "2 things are wrong.\n"
    )
    assert "Network  ok\n- good to know\n" in found.to_text(notes=True)


def test_a_report_for_programs() -> None:
    """All of it, whether or not -v is given."""
    value = Diagnosis(places=PLACES).to_json()
    assert (value["version"], value["wrong"], len(value["findings"])) == (1, 2, 4)
    last = {"place": "network", "level": "note", "text": "good to know", "remedy": ""}
    assert value["findings"][-1] == last
    assert {one["level"] for one in value["findings"]} == {one.value for one in Level}


def test_below_a_root_the_machine_is_not_looked_at(tmp_path: Path) -> None:
    """Only what Azure says, and the files that are there."""
    argv = ("doctor", "--metadata", BODIES / "documented.json", "--root", tmp_path)
    ended = run_lbhook(*argv)
    assert ended.status == 1
    assert ended.out.startswith(
        "Azure    ok\nTargets\n! env: /run/lbhook/lb.env is not there yet\n"
    )
    assert run_lbhook("apply", *argv[1:]).status == 0
    assert run_lbhook(*argv).out == "Azure    ok\nTargets  ok\n\nNothing is wrong.\n"


def test_without_any_answer_the_machine_is_looked_at(stand: Stand) -> None:
    """Why there is none comes first; nothing is planned."""
    stand.runner = Runner(lambda _: (0, "enabled"))
    found = walk.examine(stand.update(stand.settings(NO_ENV), None))
    assert list(found.places) == ["Azure", "Targets", "Units", "Traffic"]
    assert found.wrong == 1
    assert found.places["Azure"][0].text.startswith("no usable answer from the metadata service")


def test_what_is_wrong_with_the_answer_is_no_plan_s_fault(stand: Stand) -> None:
    """A body that must not be acted on is one finding, with its problems."""
    wrong = body(70000)
    found = walk.examine(stand.update(stand.settings(NO_ENV), wrong))
    assert "loadbalancer.inboundRules[0].frontendPort" in found.places["Azure"][0].text
    assert found.places["Targets"] == ()


def test_an_unreadable_file_is_a_usage_error() -> None:
    """As with every other command."""
    assert run_lbhook("doctor", "--metadata", "/no/such/file").status == 2
