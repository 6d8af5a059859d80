"""lbhook run after run: what a second one leaves alone, what is put right, what is kept."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from .fabric import IMDS, PROBE4, VM4, body, rule
from .hosts import REPO, wait_for
from .knock import Target, one, states
from .lab import Lab
from .rules import ALL, FRONT4, FRONT6, OWN, PAIRS, WEB
from .vm import ENV, LISTEN, NFT, RESTING

OURS = ("inet", "lbhook")


def reloads(report: dict[str, Any]) -> dict[str, str]:
    """Return what became of each target's reload."""
    return {target["name"]: target["reload"] for target in report["targets"]}


def table_handle(lab: Lab) -> int:
    """Return the number that the kernel gave to lbhook's table: a new table has a new one."""
    listed = json.loads(lab.vm.run(["nft", "-j", "list", "tables"]).stdout)["nftables"]
    tables = [item["table"] for item in listed if "table" in item]
    return next(int(it["handle"]) for it in tables if (it["family"], it["name"]) == OURS)


def applied(lab: Lab, runs: int) -> None:
    """So many runs: the second verifies what the first has loaded, the third asks the kernel
    whether anything has changed since."""
    for _ in range(runs):
        lab.vm.apply()


def reboot(lab: Lab) -> None:
    """Lose what a machine loses: processes, /run and the kernel's tables."""
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.listens("tcp", 443), "nginx has stopped")
    lab.vm.run(["find", "/run", "-mindepth", "1", "-delete"])
    lab.vm.run(["nft", "flush ruleset"])
    lab.vm.run(["nginx"])


def test_first_apply_reports_what_it_did(lab: Lab) -> None:
    """Created files, reloads done, and the counts of what Azure said."""
    lab.balance(ALL)
    report = lab.vm.apply()
    assert (report["outcome"], report["status"], report["source"]) == ("changed", 0, "imds")
    counts = {"public_ips": 1, "inbound_rules": 6, "outbound_rules": 2, "listeners": 6}
    assert report["counts"] == counts
    assert [(one["name"], one["path"], one["outcome"]) for one in report["targets"]] == [
        ("env", ENV, "created"),
        ("nftables", NFT, "created"),
        ("nginx", LISTEN, "changed"),
    ]
    assert reloads(report) == {"env": "none", "nftables": "done", "nginx": "done"}
    assert report["problems"] == []


def test_second_apply_changes_nothing(lab: Lab) -> None:
    """Neither a file nor the kernel's table nor nginx notices a run without a difference."""

    def seen() -> tuple[object, ...]:
        stats = [lab.vm.path(name).stat() for name in (ENV, NFT, LISTEN)]
        files = [(stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats]
        return files, lab.vm.workers(), table_handle(lab)

    lab.balance(ALL)
    old = lab.vm.workers()
    lab.vm.apply()
    wait_for(lambda: not lab.vm.workers() & old, "nginx's old workers are gone")
    before = seen()
    report = lab.vm.apply()
    assert report["outcome"] == "unchanged"
    assert {target["outcome"] for target in report["targets"]} == {"unchanged"}
    assert set(reloads(report).values()) == {"none"}
    assert seen() == before


def test_an_unchanged_run_starts_no_program(lab: Lab) -> None:
    """Once it has been verified, the kernel says that nothing has changed; then that it has."""

    def started() -> str:
        tracer = ["strace", "-f", "-qq", "-e", "trace=execve", "-o", "/run/trace"]
        lab.vm.run([*tracer, sys.executable, "-m", "lbhook", "apply"], env=lab.vm.environment)
        return lab.vm.read("/run/trace")

    lab.balance(ALL)
    applied(lab, 2)
    assert "nft" not in started()
    lab.vm.run(["nft", "add table inet somebodys"])
    assert '"list", "table", "inet", "lbhook"' in started()
    assert "nft" not in started()


def test_a_file_that_nginx_does_not_read_is_left_out_of_each_run(lab: Lab) -> None:
    """Skipped with what to do; the second run stages nothing of it, and a later one that finds it
    included installs it."""
    nginx = lab.vm.read("/etc/nginx/nginx.conf")
    lab.vm.write(
        "/etc/nginx/nginx.conf", nginx.replace(f"include {LISTEN};", "listen 127.0.0.1:8;")
    )
    lab.balance(ALL)
    journals = lab.vm.path("/var/lib/lbhook")
    for outcome in ("changed", "unchanged", "unchanged"):
        before = journals.stat().st_mtime_ns if journals.exists() else 0
        report = lab.vm.apply()
        [skipped] = [one for one in report["targets"] if one["outcome"] == "skipped"]
        assert (report["outcome"], skipped["path"]) == (outcome, LISTEN)
        assert "no nginx configuration includes it" in skipped["reason"]
        assert (journals.stat().st_mtime_ns == before) == (outcome == "unchanged")
    lab.vm.write("/etc/nginx/nginx.conf", nginx)
    assert reloads(lab.vm.apply()) == {"env": "none", "nftables": "none", "nginx": "done"}
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


@pytest.mark.parametrize("dropped", [True, False])
def test_a_target_whose_include_has_gone(lab: Lab, dropped: bool) -> None:
    """nginx reads the file no more, and so has nothing of it to show: a target that is dropped is
    undone, another one is skipped, and no run fails."""
    lab.balance(ALL)
    lab.vm.apply()
    nginx = lab.vm.read("/etc/nginx/nginx.conf")
    own = nginx.replace(f"include {LISTEN};", "listen 127.0.0.1:8;")
    lab.vm.write("/etc/nginx/nginx.conf", own)
    old = lab.vm.workers()
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: not lab.vm.workers() & old, "nginx's old workers are gone")
    if dropped:
        lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nftables]\n")
    for outcomes in [["restored", "removed"], []] if dropped else [["skipped"]] * 2:
        found = [one for one in lab.vm.apply()["targets"] if one["name"] == "nginx"]
        assert [one["outcome"] in outcomes for one in found] == [True] * bool(outcomes)


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("damage", ["delete table inet lbhook", "flush ruleset"])
def test_table_that_somebody_removed_comes_back(lab: Lab, damage: str, runs: int) -> None:
    """The file is as it was, the kernel is not: a run compares with both."""
    lab.balance(ALL)
    applied(lab, runs)
    lab.vm.run(["nft", damage])
    report = lab.vm.apply()
    assert reloads(report) == {"env": "none", "nftables": "done", "nginx": "none"}
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
    assert states(lab.client, Target("tcp", FRONT4, 80), Target("udp", FRONT6, 53)) == {"open"}


@pytest.mark.parametrize("damage", ["flush table inet lbhook", "flush chain inet lbhook input"])
def test_table_that_cuts_the_vm_off_is_put_right_before_imds_is_asked(
    lab: Lab, damage: str
) -> None:
    """A policy of drop without its rules drops IMDS's answers too: waiting for one is futile."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.run(["nft", damage])
    report = lab.vm.apply()
    assert (report["source"], report["attempts"]) == ("imds", 1)
    assert reloads(report) == {"env": "none", "nftables": "done", "nginx": "none"}
    assert states(lab.client, Target("tcp", FRONT4, 80), Target("tcp", OWN, 22)) == {"open"}


@pytest.mark.parametrize("runs", [1, 3])
def test_port_that_somebody_opened_is_closed_again(lab: Lab, runs: int) -> None:
    """What an answer does not ask for does not stay in lbhook's own table."""
    lab.balance(ALL)
    applied(lab, runs)
    lab.vm.run(["nft", "insert rule inet lbhook input tcp dport 9000 accept"])
    assert one(lab.client, "tcp", OWN, 9000).state == "open"
    lab.vm.apply()
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"


def test_nginx_that_lost_a_listener_is_reloaded(lab: Lab) -> None:
    """Somebody gave it another configuration meanwhile, and took that back again."""
    lab.balance(ALL)
    applied(lab, 3)
    listeners, old = lab.vm.read(LISTEN), lab.vm.workers()
    lab.vm.write(LISTEN, RESTING)
    lab.vm.run(["nginx", "-s", "reload"])
    wait_for(lambda: not lab.vm.workers() & old, "nginx's old workers are gone")
    lab.vm.write(LISTEN, listeners)
    assert one(lab.client, "tcp", FRONT4, 80).state == "refused"
    assert reloads(lab.vm.apply()) == {"env": "none", "nftables": "none", "nginx": "done"}
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


def test_other_tables_are_left_alone(lab: Lab) -> None:
    """The Azure agent and the operator have tables too, and lbhook does not touch them."""
    others = (
        "table ip walinuxagent { chain output { type filter hook output priority 0;"
        " ip daddr 168.63.129.16 tcp dport 80 meta skuid 0 counter accept; }; };"
        "table inet filter { set known { type ipv4_addr; elements = { 192.0.2.1 }; }; }"
    )
    lab.vm.run(["nft", others])

    def listing() -> list[str]:
        tables = (["ip", "walinuxagent"], ["inet", "filter"])
        return [lab.vm.run(["nft", "-a", "list", "table", *table]).stdout for table in tables]

    before = listing()
    lab.balance(ALL)
    lab.vm.apply()
    lab.balance(body(*WEB))
    lab.vm.apply()
    assert listing() == before


def test_first_apply_after_a_reboot_loads_everything(lab: Lab) -> None:
    """Files outlive a boot, the kernel's rules do not: the same bytes are loaded again."""
    lab.balance(ALL)
    lab.vm.apply()
    kept = [lab.vm.path(name).stat().st_ino for name in (NFT, LISTEN)]
    reboot(lab)
    assert one(lab.client, "tcp", OWN, 9000).state == "open"
    report = lab.vm.apply()
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert lab.vm.path(ENV).exists()
    assert [lab.vm.path(name).stat().st_ino for name in (NFT, LISTEN)] == kept
    assert reloads(report) == {"env": "none", "nftables": "done", "nginx": "done"}


@pytest.mark.parametrize("damage", ["nothing", "delete table inet lbhook"])
def test_no_answer_leaves_the_last_good_one_in_force(lab: Lab, damage: str) -> None:
    """Failed is not empty: without IMDS the rules stay, and what is missing is put right."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.fabric.links(f"addr del {IMDS}/32 dev lo")
    if damage != "nothing":
        lab.vm.run(["nft", damage])
    done = lab.vm.lbhook("apply", "--json", "--wait", "1s", check=False)
    report = json.loads(done.stdout)
    assert (done.returncode, report["outcome"], report["source"]) == (75, "kept", "cache")
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
    assert states(lab.client, Target("tcp", FRONT4, 80), Target("tcp", FRONT6, 81)) == {"open"}
    assert report["attempts"] >= 1
    assert report["waited_seconds"] >= 1


def test_body_that_makes_no_sense_changes_nothing(lab: Lab) -> None:
    """One wrong port and the whole answer is refused: the old rules go on."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.fabric.answer(body(*WEB, rule(FRONT4, 70000, VM4, 8081)))
    done = lab.vm.lbhook("apply", "--json", check=False)
    assert done.returncode == 65
    assert states(lab.client, Target("tcp", FRONT4, 81), Target("udp", FRONT4, 53)) == {"open"}


def test_no_load_balancer_keeps_what_is_there(lab: Lab) -> None:
    """Absent may mean not yet, or not now: by default nothing is taken away."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.fabric.serve_metadata("absent")
    wait_for(lab.fabric.serves_metadata, "metadata service")
    report = lab.vm.apply()
    assert (report["outcome"], report["status"]) == ("absent", 0)
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
    assert states(lab.client, Target("tcp", FRONT4, 80), Target("udp", FRONT6, 53)) == {"open"}


def test_empty_answer_is_believed_when_it_stays(lab: Lab) -> None:
    """Rules that are gone three times in a row are gone; SSH and probes are not."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.fabric.answer(body(**PAIRS))
    report = lab.vm.apply()
    assert (report["outcome"], report["attempts"]) == ("changed", 3)
    targets = [Target("tcp", FRONT4, 80), Target("tcp", FRONT6, 81), Target("udp", FRONT4, 53)]
    assert states(lab.client, *targets) == {"filtered"}
    assert one(lab.client, "tcp", OWN, 22).state == "open"
    assert one(lab.fabric, "tcp", VM4, 9000, PROBE4).state == "open"
    assert not lab.vm.listens("tcp", 443)


def test_a_port_that_another_program_holds_is_left_out(lab: Lab) -> None:
    """nginx reports success when it can't bind; lbhook looks before it asks, leaves that port to
    whoever has it, and everything else follows."""
    lab.balance(body(*WEB))
    lab.vm.apply()
    lab.balance(body(*WEB, rule(FRONT4, 90, VM4, 9000)))
    done = lab.vm.lbhook("apply", check=False)
    assert "nginx: port 9000 is left out: python" in done.stderr
    assert ["9000" in lab.vm.read(name) for name in (ENV, NFT, LISTEN)] == [True, True, False]
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert one(lab.client, "tcp", FRONT4, 90).state == "open"


def test_boot_order_is_lbhook_first_then_nginx(lab: Lab) -> None:
    """With nginx not started yet there is nothing to reload, and it starts with the listeners."""
    lab.vm.run(["nginx", "-s", "stop"])
    wait_for(lambda: not lab.vm.path("/run/nginx.pid").exists(), "nginx has stopped")
    lab.balance(ALL)
    assert reloads(lab.vm.apply()) == {"env": "none", "nftables": "done", "nginx": "none"}
    lab.vm.run(["nginx"])
    assert states(lab.client, Target("tcp", FRONT4, 80), Target("tcp", FRONT6, 81)) == {"open"}


def test_reload_that_was_left_out_is_made_up_for(lab: Lab) -> None:
    """With --no-reload the files are new and traffic is not, until the next run."""
    lab.balance(ALL)
    report = lab.vm.apply("--no-reload")
    assert reloads(report) == {"env": "none", "nftables": "owed", "nginx": "owed"}
    assert one(lab.client, "tcp", FRONT4, 80).state == "refused"
    report = lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
    assert reloads(report) == {"env": "none", "nftables": "done", "nginx": "done"}


def test_plan_and_render_and_show_touch_nothing(lab: Lab) -> None:
    """Commands that only look leave files, firewall and nginx as they are."""
    lab.balance(ALL)
    before = lab.vm.workers()
    assert lab.vm.lbhook("plan", "--exit-code", check=False).returncode == 1
    for words in (["render", "nftables"], ["render", "nginx"], ["show"]):
        lab.vm.lbhook(*words)
    assert not any(lab.vm.path(name).exists() for name in (ENV, NFT))
    assert lab.vm.workers() == before
    assert lab.vm.run(["nft", "list", "ruleset"]).stdout == ""


def test_target_that_is_dropped_takes_its_rules_along(lab: Lab) -> None:
    """Without [targets.nftables] lbhook's table goes; other targets stay."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    lab.vm.apply()
    assert lab.vm.run(["nft", "list", "tables"]).stdout == ""
    assert one(lab.client, "tcp", OWN, 9000).state == "open"
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


def test_a_firewall_with_another_path_stays_closed(lab: Lab) -> None:
    """What the old file had loaded is taken over by the new one, for good."""
    lab.balance(ALL)
    lab.vm.apply()
    moved = '[targets.nftables]\npath = "/etc/nftables.d/other.nft"\n[targets.nginx]\n'
    lab.vm.write("/etc/lbhook/lbhook.toml", moved)
    for outcome in ("changed", "unchanged"):
        assert lab.vm.apply()["outcome"] == outcome
        assert one(lab.client, "tcp", OWN, 9000).state == "filtered"
        assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert "table inet lbhook {" not in lab.vm.read(NFT)  # at rest


def test_a_dropped_firewall_is_gone(lab: Lab) -> None:
    """Its file rests, since nftables.conf may include it by name, and the table is gone."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    lab.vm.apply()
    assert lab.vm.run(["nft", "list", "tables"]).stdout == ""
    assert "table inet lbhook {" not in lab.vm.read(NFT)
    assert one(lab.client, "tcp", OWN, 9000).state == "open"


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        ("{{ nobody }}\n", '"nobody" is not defined'),
        ("table inet lbhook {\n", "refused by its check"),
    ],
    ids=["template", "refused"],
)
def test_nginx_follows_a_rule_that_the_firewall_can_not(lab: Lab, mistake: str, said: str) -> None:
    """A mistake in a template of one's own holds nginx back from nothing; `show` and `doctor` name
    the port that the firewall keeps closed, until the mistake is gone."""
    lab.balance(body(*WEB, **PAIRS))
    lab.vm.apply()
    own = "/etc/lbhook/templates/lbhook.nft.j2"
    lab.vm.write(own, mistake)
    lab.balance(ALL)
    done = lab.vm.lbhook("apply", check=False)
    assert (done.returncode, said in done.stderr) == (78, True), done.stderr
    assert lab.vm.listens("tcp", 8081)
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert one(lab.client, "tcp", FRONT4, 81).state == "filtered"
    shown = " ".join(lab.vm.lbhook("show").stdout.split())
    assert "! tcp 81 → 8081 nginx dropped by inet lbhook input" in shown
    assert "! something is wrong with 4 of 6 inbound rules" in shown
    found = " ".join(lab.vm.lbhook("doctor", check=False).stdout.split())
    assert f"! {VM4} tcp 8081 (frontend {FRONT4}:81) is dropped by chain inet lbhook input" in found
    lab.vm.path(own).unlink()
    lab.vm.apply()
    assert one(lab.client, "tcp", FRONT4, 81).state == "open"
    assert "dropped" not in lab.vm.lbhook("show").stdout


def test_a_rollback_says_who_takes_it_back(lab: Lab) -> None:
    """The timer, and how to stop that; until the next run the rule is gone, and then it is back."""
    lab.balance(body(*WEB, **PAIRS))
    lab.vm.apply()
    lab.balance(ALL)
    lab.vm.apply()
    done = lab.vm.lbhook("rollback")
    assert done.stderr.splitlines() == [
        "The timer will put Azure's rules in force again. To keep what was put back:",
        "`lbhook hold`",
    ]
    assert (REPO / "systemd/lbhook-refresh.timer").exists()
    assert states(lab.client, Target("tcp", FRONT4, 81), Target("udp", FRONT4, 53)) == {"filtered"}
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"
    assert lab.vm.apply("--skip-refused")["outcome"] == "changed"
    assert states(lab.client, Target("tcp", FRONT4, 81), Target("udp", FRONT4, 53)) == {"open"}


def test_a_target_that_is_put_to_rest_is_said_to_rest(lab: Lab) -> None:
    """Its file is there, since others name it: that is not "removed"."""
    lab.balance(ALL)
    lab.vm.apply()
    lab.vm.write("/etc/lbhook/lbhook.toml", "[targets.nginx]\n")
    out = lab.vm.lbhook("apply").stdout
    assert f"nftables         at rest    {NFT}" in out
    assert "removed" not in out
    assert lab.vm.path(NFT).exists()


def test_a_boot_that_changes_no_file_says_so(lab: Lab) -> None:
    """What a boot has lost is loaded again: no line says "changed", and the last neither."""
    lab.balance(ALL)
    lab.vm.apply()
    reboot(lab)
    lab.vm.lbhook("restore")
    lab.vm.run(["nft", "flush ruleset"])
    *lines, last = lab.vm.lbhook("apply").stdout.splitlines()
    assert last == "no file changed, reloaded: 6 inbound rules, 6 listeners here"
    assert not [line for line in lines if "changed" in line.replace("unchanged", "")]
    assert any(line.startswith("nftables         unchanged ") for line in lines)
    assert lab.vm.lbhook("apply").stdout.endswith(
        "up to date with Azure: 6 inbound rules, 6 listeners here\n"
    )
