"""Plans and outcomes in words and in JSON, to the letter."""

import json
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Any

import pytest

from lbhook import layout
from lbhook.config.targets import Target
from lbhook.deployment import plan_report, report
from lbhook.deployment.report import Report
from lbhook.metadata import facts, model
from lbhook.metadata.body import parse
from lbhook.metadata.facts import Facts
from lbhook.metadata.model import Metadata
from lbhook.plan import Change, Closed, FileState, Outcome, Plan, Reload
from lbhook.traffic import model_json

Body = Callable[[str], bytes]
ENV = Target(name="env", template="lb.env.j2", path=PurePosixPath("/run/lbhook/lb.env"))
FIREWALL = Target(
    name="nftables",
    template="lbhook.nft.j2",
    path=PurePosixPath("/etc/nftables.d/lbhook.nft"),
    reload=("nft", "-f", "{path}"),
)
WEB = Target(
    name="nginx",
    template="listen.conf.j2",
    path=PurePosixPath("/etc/nginx/lbhook/listen.conf"),
    reload_unit="nginx.service",
)
NEW = FileState(content=b"a=1\n", mode=0o644)
OLD = FileState(content=b"a=0\n", mode=0o600)


def change(target: Target, outcome: Outcome, **more: Any) -> Change:
    """A change from OLD to NEW."""
    return Change(**{"target": target, "expected": NEW, "actual": OLD, "outcome": outcome, **more})


@pytest.fixture
def lb(body: Body) -> Facts:
    """The facts of the documented body."""
    return facts.derive(parse(body("documented")))


@pytest.fixture(autouse=True)
def _eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_json_of_an_apply_is_the_contracts(lb: Facts) -> None:
    """The keys of the contract, in its order, and no other."""
    result = Report(
        outcome="changed",
        attempts=1,
        waited=0.0123,
        lb=lb,
        changes=(change(ENV, Outcome.CREATED, actual=None),),
    )
    assert json.dumps(result.to_json()) == (
        '{"version": 1, "outcome": "changed", "status": 0, "source": "imds", "attempts": 1,'
        ' "waited_seconds": 0.0, "counts": {"public_ips": 1, "inbound_rules": 2,'
        ' "outbound_rules": 2, "listeners": 2}, "targets": [{"name": "env",'
        ' "path": "/run/lbhook/lb.env", "outcome": "created", "reload": "none"}],'
        ' "rules": [], "problems": []}'
    )


@pytest.mark.parametrize("guarded", [True, False, None])
def test_whether_metadata_is_guarded(guarded: bool | None) -> None:
    """As IMDS told; where it did not, nothing is said of it."""
    value = Report(outcome="failed", guarded=guarded).to_json()
    assert value.get("guarded", None) is guarded
    assert ("guarded" in value) is (guarded is not None)


def test_json_of_a_failure() -> None:
    """Status and problems of what went wrong; nothing is counted that is not known."""
    result = Report(outcome="failed", status=75, attempts=3, waited=4.26, problems=("a", "b"))
    assert result.to_json() == {
        "version": 1,
        "outcome": "failed",
        "status": 75,
        "source": "imds",
        "attempts": 3,
        "waited_seconds": 4.3,
        "counts": {"public_ips": 0, "inbound_rules": 0, "outbound_rules": 0, "listeners": 0},
        "targets": [],
        "rules": [],
        "problems": ["a", "b"],
    }


@pytest.mark.parametrize("outcome", [Outcome.SKIPPED, Outcome.BLOCKED])
def test_json_says_why_a_target_was_left_out(outcome: Outcome) -> None:
    """The reason is a further key, only where something was left undone."""
    assert report.change_json(change(WEB, outcome, reason="nginx not installed")) == {
        "name": "nginx",
        "path": "/etc/nginx/lbhook/listen.conf",
        "outcome": outcome.value,
        "reload": "none",
        "reason": "nginx not installed",
    }


def test_text_of_an_apply(lb: Facts) -> None:
    """A line for each target, its reload behind it, and the sum."""
    result = Report(
        outcome="changed",
        attempts=4,
        waited=12.4,
        lb=lb,
        changes=(
            change(ENV, Outcome.CREATED),
            change(FIREWALL, Outcome.CHANGED, reload=Reload.DONE),
            change(WEB, Outcome.UNCHANGED),
        ),
    )
    assert result.to_text() == (
        "env              created    /run/lbhook/lb.env\n"
        "nftables         changed    /etc/nftables.d/lbhook.nft  (reload done)\n"
        "nginx            unchanged  /etc/nginx/lbhook/listen.conf\n"
        "changed: 2 inbound rules, 2 listeners here after 4 requests in 12 s\n"
    )


def test_reasons_fit_the_terminal() -> None:
    """A reason is wrapped below its target; what a command printed stays as it is."""
    long = "no nginx configuration includes it; put `include /etc/nginx/lbhook/listen.conf;` into"
    result = Report(
        outcome="unchanged",
        changes=(
            change(WEB, Outcome.SKIPPED, reason=f"{long} a server block"),
            change(FIREWALL, Outcome.BLOCKED, reason=f"refused:\n`nft` ended\n  {'x' * 90}"),
        ),
    )
    assert result.to_text() == (
        "nginx            skipped    /etc/nginx/lbhook/listen.conf\n"
        "  no nginx configuration includes it; put `include\n"
        "  /etc/nginx/lbhook/listen.conf;` into a server block\n"
        "nftables         blocked    /etc/nftables.d/lbhook.nft\n"
        "  refused:\n"
        "  `nft` ended\n"
        f"    {'x' * 90}\n"
        "up to date with Azure: 0 inbound rules, 0 listeners here\n"
    )


@pytest.mark.parametrize(
    ("outcome", "line"),
    [
        ("changed", "changed: 0 inbound rules, 0 listeners here\n"),
        ("unchanged", "up to date with Azure: 0 inbound rules, 0 listeners here\n"),
        ("kept", "kept: a later answer is in force\n"),
        ("absent", f"absent: {model.ABSENT}; existing files stay\n"),
        ("failed", "failed: no change was applied\n"),
    ],
)
def test_every_outcome_has_a_sentence(outcome: str, line: str) -> None:
    """The five words of the contract, each with what it means."""
    assert Report(outcome=outcome).to_text() == line


def test_without_an_answer_the_last_good_one_is_kept() -> None:
    """The same word, with the status of an answer that did not come."""
    line = "kept: no usable answer; the last good answer stays in force\n"
    assert Report(outcome="kept", status=75).to_text() == line


def test_another_run_is_no_lack_of_an_answer() -> None:
    """They have a status in common."""
    failed = Report(outcome="failed", status=75)
    assert failed.summary() == "failed: no usable answer, and no last good answer"
    assert failed._replace(busy=True).summary() == "failed: another run has not ended"


def test_one_is_singular(body: Body) -> None:
    """One rule is not rules."""
    whole = parse(body("documented"))
    lb = facts.derive(Metadata(inbound_rules=whole.inbound_rules[:1]))
    assert (
        Report(outcome="changed", lb=lb).to_text() == "changed: 1 inbound rule, 1 listener here\n"
    )


def test_plan_in_words() -> None:
    """A diff for each file, then what will be kept and reloaded."""
    plan = Plan(
        changes=(
            change(ENV, Outcome.CREATED, actual=None),
            change(FIREWALL, Outcome.CHANGED, reload=Reload.DUE, original=True),
            change(
                WEB, Outcome.UNCHANGED, reload=Reload.DUE, reason="still due from an earlier run"
            ),
        )
    )
    assert plan_report.plan_text(plan) == (
        "--- /dev/null\n"
        "+++ /run/lbhook/lb.env\n"
        "@@ -0,0 +1 @@\n"
        "+a=1\n"
        "\n"
        "old mode 600\n"
        "new mode 644\n"
        "--- /etc/nftables.d/lbhook.nft\n"
        "+++ /etc/nftables.d/lbhook.nft\n"
        "@@ -1 +1 @@\n"
        "-a=0\n"
        "+a=1\n"
        "\n"
        "# nftables: /etc/nftables.d/lbhook.nft was there before lbhook;"
        " it will be kept and given back\n"
        "# nftables: reload: nft -f /etc/nftables.d/lbhook.nft\n"
        "\n"
        "# nginx: reload: nginx.service (still due from an earlier run)\n"
    )


def test_plan_names_the_sockets_that_it_closes() -> None:
    """After the files, in columns; a socket of the kernel has no program."""
    closes = (
        Closed(protocol="tcp", port=9000, ip="0.0.0.0", program="python3"),
        Closed(protocol="udp", port=8472, ip="::"),
    )
    assert plan_report.plan_text(
        Plan(changes=(change(WEB, Outcome.REMOVED),), closes=closes)
    ).endswith(
        "\n\n# the firewall will close these, because no rule or setting opens them:\n"
        "#   tcp  9000  0.0.0.0  python3\n"
        "#   udp  8472  ::\n"
    )


def test_plan_without_anything_to_do() -> None:
    """A plan in step says so; what it leaves out is not in step."""
    assert plan_report.plan_text(Plan()) == "Nothing to do: this machine is up to date.\n"
    for outcome in (Outcome.SKIPPED, Outcome.BLOCKED):
        left_out = change(WEB, outcome, reason="nginx not installed")
        assert plan_report.plan_text(Plan(changes=(left_out,))) == (
            f"# nginx: {outcome.value}: nginx not installed\n\n"
            "Nothing to do, but for what is left out.\n"
        )


def test_json_of_a_plan(lb: Facts) -> None:
    """What an apply would do, with the diff as text."""
    closed = Closed(protocol="tcp", port=9000, ip="::", program="python3")
    plan = Plan(changes=(change(ENV, Outcome.CHANGED),), closes=(closed,), warnings=("odd",), lb=lb)
    assert plan_report.plan_json(plan) == {
        "version": 1,
        "to_do": True,
        "counts": {"public_ips": 1, "inbound_rules": 2, "outbound_rules": 2, "listeners": 2},
        "targets": [
            {
                "name": "env",
                "path": "/run/lbhook/lb.env",
                "outcome": "changed",
                "reload": "none",
                "original": False,
                "diff": plan_report.diff(change(ENV, Outcome.CHANGED)),
            }
        ],
        "closes": [{"protocol": "tcp", "port": 9000, "ip": "::", "program": "python3"}],
        "warnings": ["odd"],
    }


def test_json_of_show(body: Body) -> None:
    """The normalised model of a gateway's backend, whole."""
    metadata = parse(body("gateway-ha-ports"))
    rules = [
        {
            "frontend_ip": "10.1.0.7",
            "frontend_port": 0,
            "protocol": "all",
            "private_ip": ip,
            "backend_port": 0,
            "floating_ip": False,
            "ha_ports": True,
        }
        for ip in ("10.1.0.8", "10.1.0.9")
    ]
    tunnels = [
        {
            "gateway_ip_address": "10.1.0.7",
            "gateway_port": port,
            "identifier": identifier,
            "type": kind,
            "protocol": "vxlan",
            "local_ip_address": ip,
            "local_port": port,
        }
        for ip, port, identifier, kind in (
            ("10.1.0.8", 2666, 800, "internal"),
            ("10.1.0.9", 2667, 801, "external"),
        )
    ]
    value = model_json.model(facts.derive(metadata), metadata)
    assert value == {
        "version": 1,
        "public_ips": [],
        "inbound_rules": rules,
        "outbound_rules": [],
        "tunnel_interfaces": tunnels,
        "listeners": [
            {"ip": "10.1.0.8", "protocol": "udp", "port": 2666},
            {"ip": "10.1.0.9", "protocol": "udp", "port": 2667},
        ],
        "ha_ports": ["10.1.0.8", "10.1.0.9"],
        "floating_ips": [],
        "frontend_ips": ["10.1.0.7"],
        "warnings": list(metadata.warnings),
    }
    assert list(value) == [
        *("version", "public_ips", "inbound_rules", "outbound_rules", "tunnel_interfaces"),
        *("listeners", "ha_ports", "floating_ips", "frontend_ips", "warnings"),
    ]
    assert layout.dump({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}\n'


def test_a_file_at_rest_is_not_called_removed() -> None:
    """It is there, and holds its resting form."""
    shown = Report(outcome="changed", changes=(change(WEB, Outcome.REMOVED),)).to_text()
    assert shown.startswith("nginx            at rest    /etc/nginx/lbhook/listen.conf")
    gone = Report(outcome="changed", changes=(change(ENV, Outcome.REMOVED, expected=None),))
    assert gone.to_text().startswith("env              removed    /run/lbhook/lb.env")


def test_a_run_that_only_reloaded_does_not_say_changed() -> None:
    """The first run after a boot: the files are as they were, their programs take them."""
    loaded = change(WEB, Outcome.UNCHANGED, actual=NEW, reload=Reload.DONE)
    shown = Report(outcome="changed", changes=(loaded,)).summary()
    assert shown.startswith("no file changed, reloaded: 0 inbound rules")
    failed = loaded._replace(reload=Reload.FAILED)
    shown = Report(outcome="changed", changes=(loaded, failed)).summary()
    assert shown.startswith("no file changed, not all reloaded: 0 inbound rules")


def test_why_a_target_is_blocked_is_said_once() -> None:
    """As a problem, with what the program printed; not beside its line as well."""
    blocked = change(WEB, Outcome.BLOCKED, reason="nginx refuses what is there")
    problem = "nginx: blocked: nginx refuses what is there"
    report = Report(outcome="changed", status=69, changes=(blocked,), problems=(problem,))
    assert "refuses" not in report.to_text()
    assert "refuses" in report._replace(problems=()).to_text()


def test_many_addresses_of_one_port_are_counted() -> None:
    """A machine may have hundreds."""
    many = [Closed(protocol="tcp", port=80, ip=f"10.0.0.{n}", program="nginx") for n in range(6)]
    other = Closed(protocol="udp", port=53, ip="::")
    said = "tcp 80 on 10.0.0.0 (nginx) and 5 more addresses, udp 53 on ::"
    assert report.named([*many, other]) == said
    assert report.named(many[:4]).count("tcp 80 on") == 4
