"""The program as a user starts it: help, options, statuses, bad input, signals, pipes."""

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.server import Emulator

from ..conftest import lacking
from ..program import BODIES, ENVIRONMENT, NOBODY_THERE, Desk, Ended, argv, run_lbhook

COMMANDS = (
    *("show", "plan", "apply", "doctor", "trace", "fetch", "history", "restore", "rollback"),
    "clean",
    *("drain", "undrain", "hold", "resume", "confirm"),
    *("render", "explain", "install", "uninstall", "emulate", "demo"),
)
DOCUMENTED = BODIES / "documented.json"
ABSENT = (
    "this VM is not in a backend pool of a Standard load balancer and has no Standard public IP,"
    " or not yet"
)
NOTHING_CHANGED = "  hint: nothing was changed; fix the configuration\n"
each_command = pytest.mark.parametrize("command", COMMANDS)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A configuration without targets of its own, and the documented body."""
    return Desk(tmp_path)


def body_with(**rule: Any) -> bytes:
    """A body with one inbound rule, some of whose values are given."""
    good = {
        "frontendIpAddress": "50.0.0.1",
        "privateIpAddress": "10.1.0.4",
        "protocol": "tcp",
        "frontendPort": 80,
        "backendPort": 443,
    }
    lists = {"publicIpAddresses": [], "inboundRules": [{**good, **rule}], "outboundRules": []}
    return json.dumps({"loadbalancer": lists}).encode()


def refused(desk: Desk, status: int, err: str, *args: str | Path) -> None:
    """An apply must end with this status, this whole stderr, and no file changed."""
    before = desk.files()
    ended = desk.apply(*args)
    assert (ended.err, ended.status) == (err, status)
    assert desk.files() == before


KEPT = "  hint: its file was not changed; what was refused is in TMP/root/var/lib/lbhook/refused"


def held_back(desk: Desk, status: int, err: str, path: str = "etc/motd") -> None:
    """An apply must end with this status and this whole stderr; one target's file is as it was,
    and the others follow."""
    before = desk.files().get(path)
    ended = desk.apply()
    assert (ended.err, ended.status) == (err, status)
    assert desk.files().get(path) == before
    others = {"run/lbhook/lb.env", "etc/motd"} - {path, "etc/motd" if "nft" in path else ""}
    assert others <= {*desk.files()}


# Help


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str) -> None:
    """Every command explains itself with an example of its own options, within 80 columns."""
    ended = run_lbhook(command, "-h")
    assert (ended.err, ended.status) == ("", 0)
    text, options = ended.out.split("\nOptions:\n")
    assert max(map(len, ended.out.splitlines())) <= 80
    heading, *lines = text.split("\n\n")[-1].splitlines()
    examples = [line.strip() for line in lines]
    assert heading in ("  Example:", "  Examples:")
    own = [example for example in examples if re.match(rf"(sudo )?lbhook {command}\b", example)]
    assert own
    for example in own:
        for option in re.findall(r"--[\w-]+", example):
            assert option in options


def test_commands_are_listed_whole() -> None:
    """One line for each command, none of them cut, in the order of a first day."""
    out = run_lbhook("--help").out
    assert out == run_lbhook("-h").out
    assert max(map(len, out.splitlines())) <= 80
    listed = out.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in listed] == list(COMMANDS)
    assert not any(line.endswith("...") for line in listed)


def test_without_arguments() -> None:
    """lbhook alone shows its help; whether that is a failure is click's to say."""
    ended = run_lbhook()
    assert ended.out + ended.err == run_lbhook("--help").out
    assert ended.status in (0, 2)


def test_version() -> None:
    """Name and version, for a bug report."""
    ended = run_lbhook("--version")
    assert re.fullmatch(r"lbhook \d+\.\d+\.\d+\S*\n", ended.out)
    assert (ended.err, ended.status) == ("", 0)


# The command line


@pytest.mark.parametrize(
    ("args", "problem", "path"),
    [
        (["aply"], 'no such command: aply; did you mean "apply"?', "lbhook"),
        (["x"], f"no such command: x; known: {', '.join(COMMANDS)}", "lbhook"),
        (["apply", "--rot"], 'no such option: --rot; did you mean "--root"?', "lbhook apply"),
        (["show", "--zzz"], "no such option: --zzz", "lbhook show"),
        (["--zzz"], "no such option: --zzz", "lbhook"),
        (["render"], "missing argument 'TARGET|FILE.j2'", "lbhook render"),
        (["show", "here"], "got unexpected extra argument (here)", "lbhook show"),
        (
            ["show", "--wait", "90"],
            '--wait: "90" is not a duration such as "90s" or "5m"',
            "lbhook show",
        ),
        (
            ["show", "--json", "--html", "-"],
            "--html and --json can't both be meant",
            "lbhook show",
        ),
        (["show", "--here"], "--here goes with --json", "lbhook show"),
        (
            ["apply", "--reload", "--no-reload"],
            "--reload and --no-reload can't both be meant",
            "lbhook apply",
        ),
    ],
)
def test_usage(args: list[str], problem: str, path: str) -> None:
    """A mistake on the command line: what it is, the nearest word, where to read on."""
    assert run_lbhook(*args) == Ended(
        2, "", f"lbhook: {problem}\n  hint: `{path} --help` shows what there is\n"
    )


_NO_ENDPOINT = "is not http:// with an IP address or localhost, and perhaps a port"
_EXTRA = ": no user, path or query; give http://ADDRESS[:PORT]"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://me@127.0.0.1", _EXTRA),
        ("http://127.0.0.1/metadata", _EXTRA),
        (
            "https://127.0.0.1",
            ": only http, as the metadata service has it; give http://ADDRESS[:PORT]",
        ),
        ("http://imds.example", f" {_NO_ENDPOINT}"),
        ("http://127.0.0.1:70000", f" {_NO_ENDPOINT}"),
        ("http://[::1", f" {_NO_ENDPOINT}"),
    ],
)
def test_wrong_endpoints(url: str, problem: str) -> None:
    """An endpoint that is no plain address is refused."""
    assert run_lbhook("show", "--endpoint", url) == Ended(
        2,
        "",
        f'lbhook: --endpoint (or LBHOOK_ENDPOINT): "{url}"{problem}\n'
        "  hint: `lbhook show --help` shows what there is\n",
    )


def test_wrong_endpoint_in_the_environment() -> None:
    """The variable is read as the option is."""
    assert run_lbhook("show", env={"LBHOOK_ENDPOINT": "localhost"}).err == (
        'lbhook: --endpoint (or LBHOOK_ENDPOINT): "localhost": only http, as the metadata service'
        " has it; give http://ADDRESS[:PORT]\n  hint: `lbhook show --help` shows what there is\n"
    )


def test_verbosity_before_or_after() -> None:
    """-v and -q count on both sides of the command; the later one wins."""
    body = ("--metadata", BODIES / "documented-2021-typo.json")
    warning = (
        "lbhook: warning: loadbalancer.outboundRules[1].frontendIpAddress: missing;"
        " the entry is left out\n"
    )
    ignored = "lbhook: loadbalancer.outboundRules[1].frotendIpAddress: unknown key;"
    ignored += " it is ignored\n"
    said = {"": warning, "-q": "", "-v": warning + ignored}
    for line, last in (
        ("show", ""),
        ("-q show", "-q"),
        ("-v show", "-v"),
        ("-q show -v", "-v"),
        ("show -v -q -v", "-v"),
        ("show -q -v -q", "-q"),
    ):
        assert run_lbhook(*line.split(), *body).err == said[last]


def test_config_before_or_after(tmp_path: Path) -> None:
    """-c counts on both sides; the later one wins, and the other is not even read."""
    good, bad = tmp_path / "good.toml", tmp_path / "bad.toml"
    good.write_text("[targets.nginx]\n")
    body = ("--metadata", DOCUMENTED)
    for line, named in (
        (("-c", good, "show"), good),
        (("-c", bad, "show", "-c", good), good),
        (("-c", good, "show", "-c", bad), bad),
    ):
        ended = run_lbhook(*line, *body)
        err = f"lbhook: {bad}: No such file or directory\n{NOTHING_CHANGED}"
        assert (ended.status, ended.err) == ((0, "") if named is good else (78, err))


def test_targets_that_are_not_on(desk: Desk) -> None:
    """--only names a target that is on."""
    desk.configure("[targets.nginx]\n")
    hint = "  hint: a shipped target is on when its table is in the configuration\n"
    near = 'lbhook: --only ngnix: no such target is on; did you mean "nginx"?\n'
    refused(desk, 2, near + hint, "--only", "ngnix")
    off = "lbhook: --only nftables: no such target is on; known: env, nginx\n"
    refused(desk, 2, off + hint, "--only", "nftables")


def test_two_sources(desk: Desk) -> None:
    """A body from a file and the last good answer can't both be meant."""
    err = "lbhook: --metadata and --cached can't both be meant\n  hint: leave one of them out\n"
    refused(desk, 2, err, "--cached")


def test_a_root_that_is_not_there(tmp_path: Path) -> None:
    """--root is a directory that somebody made."""
    root = tmp_path / "nowhere"
    ended = run_lbhook("apply", "--metadata", DOCUMENTED, "--root", root)
    assert ended == Ended(
        2, "", f"lbhook: --root {root}: no such directory\n  hint: make it first\n"
    )
    root.touch()
    ended = run_lbhook("apply", "--metadata", DOCUMENTED, "--root", root)
    hint = "  hint: give the one to install below\n"
    assert ended == Ended(2, "", f"lbhook: --root {root}: not a directory\n{hint}")


# What the commands do


def test_show(desk: Desk) -> None:
    """A picture for people, and the normalised model with --json."""
    ended = desk.run("show")
    assert ended == Ended(
        0,
        "Public addresses of this VM\n"
        "  51.0.0.1  →  10.1.0.4\n"
        "\n"
        "Inbound rules\n"
        "  50.0.0.1  →  10.1.0.4\n"
        "    tcp     80  →    443\n"
        "  2603:10e1:100:2::1:1  →  ace:cab:deca:deed::1\n"
        "    tcp     80  →    443\n"
        "\n"
        "Outbound rules\n"
        "  50.0.0.1              →  10.1.0.4\n"
        "  2603:10e1:100:2::1:1  →  ace:cab:deca:deed::1\n",
        "",
    )
    value = json.loads(run_lbhook("show", "--json", "--metadata", DOCUMENTED).out)
    assert value["listeners"] == [
        {"ip": "10.1.0.4", "protocol": "tcp", "port": 443},
        {"ip": "ace:cab:deca:deed::1", "protocol": "tcp", "port": 443},
    ]
    assert "here" not in value


def test_show_on_this_machine() -> None:
    """Whatever the rights, it looks at the machine: here the addresses are not its own."""
    ended = run_lbhook("show", "--metadata", DOCUMENTED)
    assert (ended.status, ended.err) == (0, "")
    assert "! 50.0.0.1  →  10.1.0.4  not an address of this machine\n" in ended.out
    assert "! something is wrong with 2 of 2 inbound rules\n" in ended.out
    here = json.loads(run_lbhook("show", "--json", "--here", "--metadata", DOCUMENTED).out)["here"]
    assert [one["local"] for one in here["inbound_rules"]] == [False, False]


def test_show_many(desk: Desk) -> None:
    """300 rules are a screenful, and a long list with --all."""
    rule = json.loads(body_with())["loadbalancer"]["inboundRules"][0]
    rules = [{**rule, "frontendPort": port, "backendPort": port} for port in range(1, 301)]
    lists = {"publicIpAddresses": [], "inboundRules": rules, "outboundRules": []}
    desk.body = json.dumps({"loadbalancer": lists}).encode()
    assert len(desk.run("show").out.splitlines()) < 24
    assert "    and 290 more rules; --all shows all\n" in desk.run("show").out
    assert "    tcp    300  →    300\n" in desk.run("show", "--all").out


def test_show_from_standard_input() -> None:
    """`-` is standard input. As JSON: what is here, and text shows, other tests change."""
    body = DOCUMENTED.read_bytes()
    assert run_lbhook("show", "--json", "--metadata", "-", stdin=body).out == (
        run_lbhook("show", "--json", "--metadata", DOCUMENTED).out
    )


def test_show_without_a_load_balancer() -> None:
    """That there is none is said, and is no failure unless one is required."""
    with Emulator(None) as imds:
        asked = ("show", "--endpoint", imds.url)
        none = "Public addresses of this VM\n  none\n\nInbound rules\n  none\n\n"
        assert run_lbhook(*asked) == Ended(
            0,
            f"{none}Outbound rules\n  none\n",
            f"lbhook: warning: no load balancer: {ABSENT}\n",
        )
        assert run_lbhook(*asked, "--require-lb") == Ended(
            66,
            "",
            f"lbhook: no load balancer, and --require-lb is set: {ABSENT}\n"
            "  hint: put its NIC into a backend pool of a Standard load balancer\n",
        )


def test_every_command_says_what_absence_means(desk: Desk) -> None:
    """In the same words: what the VM lacks, and that it may come."""
    with Emulator(None) as imds:
        desk.body, desk.endpoint = "", imds.url
        assert f"absent: {ABSENT}; existing files stay\n" in desk.apply().out
        assert desk.run("fetch") == Ended(0, f"absent: {ABSENT}\n", "")


@pytest.mark.parametrize(
    ("name", "suffix"), [("env", "env"), ("nftables", "nft"), ("nginx", "conf")]
)
def test_render(name: str, suffix: str) -> None:
    """One file on stdout, of a target that is on or off."""
    ended = run_lbhook("render", name, "--metadata", DOCUMENTED)
    golden = BODIES.parent / "golden" / f"documented.{suffix}"
    assert ended == Ended(0, golden.read_text(), "")


def test_render_a_file(tmp_path: Path) -> None:
    """A template of one's own needs no configuration, and may include its neighbours."""
    (tmp_path / "part.j2").write_text("{{ lb.listeners | length }}")
    file = tmp_path / "own.j2"
    file.write_text("{% include 'part.j2' %} listeners\n")
    assert run_lbhook("render", file, "--metadata", DOCUMENTED) == Ended(0, "2 listeners\n", "")


def test_render_what_is_not_there(tmp_path: Path) -> None:
    """A name that is no target, and a file that is not there."""
    assert run_lbhook("render", "ngnix", "--metadata", DOCUMENTED) == Ended(
        2,
        "",
        'lbhook: ngnix: no such target; did you mean "nginx"?\n'
        "  hint: or give a file that ends in .j2\n",
    )
    assert run_lbhook("render", tmp_path / "own.j2", "--metadata", DOCUMENTED) == Ended(
        78,
        "",
        f"lbhook: own.j2: no such template in {tmp_path}, /etc/lbhook/templates or among the"
        " shipped ones\n  hint: its file was not changed; fix the template of target own\n",
    )


def test_plan_of_a_planned_rule(desk: Desk) -> None:
    """What a rule that Azure does not have yet would change here, and nothing else."""
    assert desk.apply().status == 0
    before = desk.files()
    ended = desk.run("plan", "--with", "tcp/8443:443", "--without", "tcp/80@50.0.0.1")
    assert (ended.status, ended.err, desk.files()) == (0, "", before)
    assert ended.out.startswith(
        "# with what is planned in Azure:\n"
        "# - tcp 50.0.0.1:80 → 10.1.0.4:443\n"
        "# + tcp 50.0.0.1:8443 → 10.1.0.4:443\n"
        "\n--- /run/lbhook/lb.env\n"
    )
    changed = [line for line in ended.out.splitlines() if re.match(r"[+-][^+-]", line)]
    assert changed == [
        "-LB_INBOUND_0=tcp,50.0.0.1,80,10.1.0.4,443",
        "+LB_INBOUND_0=tcp,50.0.0.1,8443,10.1.0.4,443",
    ]
    value = json.loads(desk.run("plan", "--json", "--with", "udp/53").out)
    assert value["planned"] == ["+ udp 50.0.0.1:53 → 10.1.0.4:53"]
    assert "planned" not in json.loads(desk.run("plan", "--json").out)
    assert "    udp     53  →     53\n" in desk.run("show", "--with", "udp/53").out
    assert "LB_UDP_PORTS=53\n" in desk.run("render", "env", "--with", "udp/53").out


def test_planned_rules_are_not_kept(desk: Desk) -> None:
    """A plan leaves no last good answer behind, and no rule in it."""
    with Emulator() as imds:
        desk.body, desk.endpoint = "", imds.url
        assert desk.run("plan", "--with", "udp/53").status == 0
        assert desk.files() == {}
    with Emulator(None) as imds:
        desk.endpoint = imds.url
        ended = desk.run("plan", "--with", "udp/53@50.0.0.1=10.1.0.4")
        assert "+LB_INBOUND_0=udp,50.0.0.1,53,10.1.0.4,53\n" in ended.out


def test_plan_exit_code(desk: Desk) -> None:
    """1 while there is something to do, 0 when it is done, and nothing is written by it."""
    ended = desk.run("plan", "--exit-code")
    assert (ended.status, ended.err, desk.files()) == (1, "", {})
    assert ended.out.startswith("--- /dev/null\n+++ /run/lbhook/lb.env\n@@ ")
    assert desk.run("plan").status == 0
    assert desk.apply().status == 0
    assert desk.run("plan", "--exit-code") == Ended(
        0, "Nothing to do: this machine is up to date.\n", ""
    )


def test_apply_twice(desk: Desk) -> None:
    """The second apply changes nothing, and says so."""
    assert desk.apply() == Ended(
        0,
        "+ tcp 50.0.0.1:80 → 10.1.0.4:443\n"
        "+ tcp [2603:10e1:100:2::1:1]:80 → [ace:cab:deca:deed::1]:443\n"
        "env              created    /run/lbhook/lb.env\n"
        "changed: 2 inbound rules, 2 listeners here\n",
        "",
    )
    before = desk.files()
    assert desk.apply() == Ended(
        0,
        "env              unchanged  /run/lbhook/lb.env\n"
        "up to date with Azure: 2 inbound rules, 2 listeners here\n",
        "",
    )
    assert desk.apply("-q") == Ended(0, "", "")
    assert desk.files() == before


def test_the_last_good_answer(desk: Desk) -> None:
    """What apply keeps below a root serves every other command there, without network."""
    with Emulator() as imds:
        desk.body, desk.endpoint = "", imds.url
        assert desk.apply().status == 0
    desk.endpoint = NOBODY_THERE
    machine = Path("/etc/machine-id")
    if not (machine.exists() and re.fullmatch(r"[0-9a-f]{32}\n?", machine.read_text())):
        lacking("no machine id, and without an identity the last good answer is never used")
    assert desk.run("plan", "--cached").out == "Nothing to do: this machine is up to date.\n"
    assert "50.0.0.1  →  10.1.0.4" in desk.run("show", "--cached").out
    assert "LB_TCP_PORTS=443\n" in desk.run("render", "env", "--cached").out


def test_apply_json(desk: Desk) -> None:
    """The contract's example, and the same in status.json."""
    ended = desk.apply("--json")
    expected = {
        "version": 1,
        "outcome": "changed",
        "status": 0,
        "source": "file",
        "attempts": 0,
        "waited_seconds": 0.0,
        "counts": {"public_ips": 1, "inbound_rules": 2, "outbound_rules": 2, "listeners": 2},
        "targets": [
            {"name": "env", "path": "/run/lbhook/lb.env", "outcome": "created", "reload": "none"}
        ],
        "rules": [
            "+ tcp 50.0.0.1:80 → 10.1.0.4:443",
            "+ tcp [2603:10e1:100:2::1:1]:80 → [ace:cab:deca:deed::1]:443",
        ],
        "problems": [],
    }
    assert (json.loads(ended.out), ended.err, ended.status) == (expected, "", 0)
    left = json.loads((desk.root / "run/lbhook/status.json").read_text())
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", left.pop("time"))
    assert left == expected


def test_apply_json_of_a_wrong_configuration(desk: Desk) -> None:
    """A program that reads the JSON learns of a failure before the apply began, too."""
    desk.configure("[targets.nginx]\nmode = 5\n")
    ended = desk.apply("--json")
    problem = 'TMP/lbhook.toml: targets.nginx.mode: 5 is not a mode such as "0644"'
    assert json.loads(ended.out) == {
        "version": 1,
        "outcome": "failed",
        "status": 78,
        "source": "imds",
        "attempts": 0,
        "waited_seconds": 0.0,
        "counts": {"public_ips": 0, "inbound_rules": 0, "outbound_rules": 0, "listeners": 0},
        "targets": [],
        "rules": [],
        "problems": [problem],
    }
    assert (ended.err, ended.status) == (f"lbhook: {problem}\n{NOTHING_CHANGED}", 78)


@pytest.mark.parametrize(
    ("text", "args", "status"),
    [
        ("[targets.nginx]\nmode = 5\n", (), 78),
        ("", ("--only", "ngnix"), 2),
        ("", ("--cached",), 2),
    ],
)
def test_an_apply_that_can_not_begin_leaves_a_status(
    desk: Desk, text: str, args: tuple[str, ...], status: int
) -> None:
    """status.json is what --json prints, and not what an earlier apply came to."""
    assert desk.apply().status == 0
    desk.configure(text)
    ended = desk.apply("--json", *args)
    left = json.loads(
        (desk.root / "run/lbhook/status.json").read_text().replace(str(desk.place), "TMP")
    )
    assert left.pop("time")
    assert left == json.loads(ended.out)
    assert (left["outcome"], left["status"], ended.status) == ("failed", status, status)


def test_a_status_is_left_in_the_directory_that_was_set(desk: Desk) -> None:
    """The configuration is right, the command line is not: the place is known."""
    desk.configure('[paths]\nruntime = "/run/own"\n')
    assert desk.apply("--only", "ngnix").status == 2
    assert json.loads((desk.root / "run/own/status.json").read_text())["status"] == 2


def test_apply_asks_once(desk: Desk) -> None:
    """One request when all is well."""
    with Emulator() as imds:
        desk.body, desk.endpoint = "", imds.url
        value = json.loads(desk.apply("--json").out)
        assert (value["source"], value["attempts"], value["outcome"]) == ("imds", 1, "changed")
        assert len(imds.requests) == 1


@pytest.mark.parametrize("args", [[], ["--reload"], ["--no-reload"]])
def test_nothing_is_run_below_a_root(desk: Desk, args: list[str]) -> None:
    """Neither reload nor verify nor check_live belongs to a directory; check does."""
    marks = [desk.place / name for name in ("check", "live", "reload", "verify", "observe")]
    more = "".join(
        f'{key} = ["touch", "{mark}"]\n'
        for key, mark in zip(
            ("check", "check_live", "reload", "verify", "observe"), marks, strict=True
        )
    )
    desk.own_target("hello\n", more)
    for _ in range(2):
        assert desk.apply(*args).status == 0
    desk.configure("")
    assert desk.apply(*args).status == 0
    assert "etc/motd" not in desk.files()
    assert [mark.name for mark in marks if mark.exists()] == ["check"]


# Bad input


def test_no_such_config(desk: Desk) -> None:
    """A file that somebody named must be there."""
    desk.config.unlink()
    refused(desk, 78, f"lbhook: TMP/lbhook.toml: No such file or directory\n{NOTHING_CHANGED}")


def test_unreadable_toml(desk: Desk) -> None:
    """The place in the file, in the parser's words."""
    desk.config.write_text("[imds]\nwait =\n")
    problem = "not TOML: Invalid value (at line 2, column 7)"
    refused(desk, 78, f"lbhook: TMP/lbhook.toml: {problem}\n{NOTHING_CHANGED}")


def test_unknown_keys_and_wrong_types(desk: Desk) -> None:
    """All at once, each with its key and what was probably meant."""
    desk.configure('[imds]\nwiat = "5m"\nwait = 5\n[target.nginx]\n')
    err = (
        'lbhook: TMP/lbhook.toml: target: unknown key; did you mean "targets"?\n'
        'lbhook: TMP/lbhook.toml: imds.wiat: unknown key; did you mean "wait"?\n'
        'lbhook: TMP/lbhook.toml: imds.wait: 5 is not a duration such as "90s" or "5m"\n'
    )
    refused(desk, 78, err + NOTHING_CHANGED)


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        (
            "hello\n{% fro x in lb.listeners %}\n",
            "TMP/templates/motd.j2:2: Encountered unknown tag 'fro'; did you mean \"from\"?\n"
            "      2 | {% fro x in lb.listeners %}\n"
            "        |    ^^^",
        ),
        (
            "hello\n{{ lb.listners }}\n",
            'TMP/templates/motd.j2:2: lb has no "listners"; did you mean "listeners"?\n'
            "      2 | {{ lb.listners }}\n"
            "        |       ^^^^^^^^",
        ),
        (
            "hello\n{{ 1 / 0 }}\n",
            "TMP/templates/motd.j2:2: ZeroDivisionError: division by zero\n      2 | {{ 1 / 0 }}",
        ),
        (
            "\n",
            "TMP/templates/motd.j2: renders to an empty file; write at least a comment",
        ),
    ],
)
def test_bad_templates(desk: Desk, template: str, problem: str) -> None:
    """Template and line, what is wrong, and which target it is for."""
    desk.own_target(template)
    hint = "  hint: its file was not changed; fix the template of target motd\n"
    held_back(desk, 78, f"lbhook: {problem}\n{hint}")


def test_no_such_template(desk: Desk) -> None:
    """The name, and where it was looked for."""
    desk.own_target("hello\n")
    (desk.templates / "motd.j2").unlink()
    err = (
        "lbhook: motd.j2: no such template in TMP/templates or among the shipped ones\n"
        "  hint: its file was not changed; fix the template of target motd\n"
    )
    held_back(desk, 78, err)


@pytest.mark.needs("nft")
def test_a_file_that_its_check_refuses(desk: Desk) -> None:
    """The command, its output, and the line of the file that it names; the other targets follow."""
    desk.configure("[targets.nftables]\n")
    (desk.templates / "lbhook.nft.j2").write_text(
        "table inet lbhook {\n\tchain input {\n\t\ttcp dport 99999 accept\n\t}\n}\n"
    )
    if os.geteuid() != 0:
        lacking("not root: the command would be another one")
    err = (
        "lbhook: nftables: /etc/nftables.d/lbhook.nft: refused by its check\n"
        "`nft -c -f /etc/nftables.d/lbhook.nft` ended with status 1\n"
        "  /etc/nftables.d/lbhook.nft:3:13-17: Error: Service out of range\n"
        "  \t\ttcp dport 99999 accept\n"
        "  \t\t          ^^^^^\n"
        "      3 | \t\ttcp dport 99999 accept\n"
        f"{KEPT}/nftables\n"
    )
    held_back(desk, 78, err, "etc/nftables.d/lbhook.nft")


def test_an_own_check_that_refuses(desk: Desk) -> None:
    """Any program can be a check; what it printed is shown."""
    desk.own_target("hello\n", 'check = ["grep", "-q", "goodbye", "{staged}"]\n')
    err = (
        "lbhook: motd: /etc/motd: refused by its check\n"
        "`grep -q goodbye /etc/motd` ended with status 1\n"
        f"{KEPT}/motd\n"
    )
    held_back(desk, 78, err)


_BODY_HINT = "  hint: nothing was changed; if Azure goes on sending this, tell its support\n"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            b"{",
            "body: not JSON: Expecting property name enclosed in double quotes, line 1, column 2;"
            " 1 bytes that begin with '{'",
        ),
        (
            body_with(privateIpAddress="10.1.0.400"),
            "loadbalancer.inboundRules[0].privateIpAddress: '10.1.0.400' is not an address",
        ),
        (
            body_with(backendPort=70000),
            "loadbalancer.inboundRules[0].backendPort: 70000 is not a port",
        ),
    ],
)
def test_bad_bodies(desk: Desk, body: bytes, problem: str) -> None:
    """The path in the body and the value that can't be acted on."""
    desk.body = body
    refused(desk, 65, f"lbhook: {problem}\n{_BODY_HINT}")


def test_no_such_body(desk: Desk) -> None:
    """An unreadable --metadata is a mistake on the command line."""
    desk.body = ""
    err = "lbhook: --metadata TMP: Is a directory\n  hint: give a file, or - for standard input\n"
    refused(desk, 2, err, "--metadata", desk.place)


PRIMARY = "it answers the primary NIC and its primary address only"


def no_answer(desk: Desk, reason: str, asked: str, wait: str, hint: str = PRIMARY) -> None:
    """An apply that gets no answer must say why, and change nothing that is there."""
    # Files that are there stay; what is missing would be put at rest.
    assert desk.apply().status == 0
    desk.body = ""
    begin = time.monotonic()
    refused(
        desk,
        75,
        f"lbhook: no usable answer from the metadata service: asked {asked}\n"
        f"lbhook: the last reason: {desk.endpoint}: {reason}\n  hint: {hint}\n",
        "--wait",
        wait,
    )
    assert time.monotonic() - begin < 30


def test_an_endpoint_that_refuses(desk: Desk) -> None:
    """Nobody listens."""
    no_answer(desk, "connection refused", "once in 0 s", wait="0")


@pytest.mark.parametrize("fault", ["hang", "drip", "drip-headers"])
def test_an_endpoint_that_takes_its_time(desk: Desk, fault: str) -> None:
    """Whatever drips or hangs, the budget holds."""
    with Emulator(playbook=Playbook(steps=(Step(fault=fault, rate=5.0),))) as imds:
        desk.endpoint = imds.url
        hint = PRIMARY if fault == "hang" else "try again, or with a longer --wait"
        no_answer(desk, "response timed out", "once in 1 s", wait="1s", hint=hint)


@pytest.mark.parametrize("path", ["run/lbhook/lb.env", "etc/motd"])
def test_a_destination_that_is_a_directory(desk: Desk, path: str) -> None:
    """A directory in the way is not removed, and the other targets follow."""
    desk.own_target("hello\n")
    (desk.root / path).mkdir(parents=True)
    err = (
        f"lbhook: TMP/root/{path}: is not a regular file\n"
        "  hint: remove what is there, or give the target another path\n"
    )
    held_back(desk, 73, err, path)
    assert (desk.root / path).is_dir()


_READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'


def test_a_destination_that_is_read_only(desk: Desk) -> None:
    """What can't be written holds nothing else back; root meets a read-only file system."""
    desk.own_target("hello\n")
    folder = desk.root / "etc"
    folder.mkdir()
    command = argv(*("-c", desk.config, "apply", "--root", desk.root, "--metadata", DOCUMENTED))
    if os.geteuid() == 0:
        command = ["unshare", "--mount", "sh", "-c", _READ_ONLY, "sh", str(folder), *command]
        status, reason = 73, "Read-only file system"
        hint = f"mount it writable; if lbhook's units can't write {desk.root}/etc, "
        hint += "run `sudo lbhook install`, see docs/units.md"
    else:
        folder.chmod(0o555)
        status, reason, hint = 77, "Permission denied", "run as root, or use --root DIR"
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=False)
    folder.chmod(0o755)
    err = done.stderr.decode()
    if "unshare" in err or err.startswith("mount"):
        lacking("root, but not allowed to mount")
    expected = f"lbhook: {desk.root}/etc/motd: {reason}\n  hint: {hint}\n"
    assert (err, done.returncode) == (expected, status)
    assert "etc/motd" not in desk.files()
    assert "run/lbhook/lb.env" in desk.files()


@pytest.mark.skipif(os.geteuid() != 0, reason="concerns root alone")
def test_a_configuration_that_others_can_write(desk: Desk) -> None:
    """What root obeys must be root's; the message has the command that fixes it."""
    desk.config.chmod(0o666)
    err = (
        "lbhook: TMP/lbhook.toml: can be written by others; run `chmod go-w TMP/lbhook.toml`\n"
        "  hint: whoever can write these files could make root run them\n"
    )
    refused(desk, 77, err)


def test_an_answer_that_is_not_imds(desk: Desk) -> None:
    """Waiting does not help where something else answers: at once, and with its own status."""
    with Emulator(playbook=Playbook(steps=(Step(fault="redirect"),))) as imds:
        desk.body, desk.endpoint = "", imds.url
        begin = time.monotonic()
        ended = desk.apply("--wait", "100s")
        assert ended.status == 76
        assert ended.err.startswith("lbhook: what answered is not IMDS: it redirects (")
        assert ended.err.endswith("\n  hint: waiting will not help; nothing was changed\n")
        assert time.monotonic() - begin < 60
    assert desk.files() == {}


@pytest.mark.parametrize(
    ("args", "err"),
    [
        (
            ["--listen", "127.0.0.1"],
            "--listen 127.0.0.1: not ADDRESS:PORT\n  hint: such as 127.0.0.1:8169",
        ),
        (
            ["--listen", "127.0.0.1:70000"],
            "--listen 127.0.0.1:70000: not ADDRESS:PORT\n  hint: such as 127.0.0.1:8169",
        ),
        (
            ["--listen", "0.0.0.0:8169"],
            'will not listen on "0.0.0.0": only a loopback address or 169.254.169.254 will do\n'
            "  hint: it answers anybody who can reach it",
        ),
    ],
)
def test_emulate_where_it_must_not(args: list[str], err: str) -> None:
    """The emulator listens on loopback, at a port that there is."""
    assert run_lbhook("emulate", *args) == Ended(2, "", f"lbhook: {err}\n")


# Signals, pipes and terminals


@contextlib.contextmanager
def started(
    *args: str | Path, env: Mapping[str, str] = ENVIRONMENT, **pipes: Any
) -> Iterator[subprocess.Popen[bytes]]:
    """lbhook while it runs; ended at the latest with the test."""
    process = subprocess.Popen(
        argv(*args),
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **pipes},
        env={**ENVIRONMENT, **env},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[bytes]) -> str:
    """The first line on stderr: by then it does what it is for."""
    assert process.stderr
    return process.stderr.readline().decode()


@pytest.mark.parametrize(
    ("number", "status", "err"),
    [
        (signal.SIGINT, 130, "\nlbhook: interrupted; nothing is left half done\n"),
        (signal.SIGTERM, 143, "lbhook: terminated; nothing is left half done\n"),
        (signal.SIGHUP, 143, "lbhook: terminated; nothing is left half done\n"),
    ],
)
def test_signals_while_waiting(desk: Desk, number: signal.Signals, status: int, err: str) -> None:
    """Interrupted while it waits for IMDS: at once, with its status, without a traceback."""
    with started(
        *("-c", desk.config, "apply", "--root", desk.root, "--endpoint", NOBODY_THERE),
        *("--wait", "100s"),
    ) as process:
        line = first_line(process)
        assert re.fullmatch(
            rf"lbhook: waiting up to \d+ s: {NOBODY_THERE}: connection refused\n", line
        )
        begin = time.monotonic()
        process.send_signal(number)
        out, rest = process.communicate(timeout=60)
        assert (out, rest.decode(), process.returncode) == (b"", err, status)
        assert time.monotonic() - begin < 15
    assert desk.files() == {}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_emulate_until_it_is_ended(number: signal.Signals, status: int) -> None:
    """Serves, says each request on stdout, and ends when it is told to."""
    with started("emulate", "--listen", "127.0.0.1:0") as process:
        line = first_line(process)
        found = re.fullmatch(
            r"Serving (http://127\.0\.0\.1:\d+)/metadata/loadbalancer; end with Ctrl-C\.\n", line
        )
        assert found
        assert run_lbhook("show", "--endpoint", found[1]).status == 0
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (out, err, process.returncode) == (
            b"GET /metadata/loadbalancer 200 documented\n",
            b"",
            status,
        )


@pytest.mark.parametrize(
    ("args", "status"),
    [
        (["show"], 0),
        (["render", "nftables"], 0),
        (["plan", "--exit-code"], 1),
        (["apply"], 0),
        (["--help"], 0),
    ],
)
def test_closed_pipe(desk: Desk, args: list[str], status: int) -> None:
    """That the reader has gone is no failure and no traceback: the status is the work's."""
    reader, writer = os.pipe()
    os.close(reader)
    root: list[str | Path] = ["--root", desk.root] if args[0] in ("plan", "apply") else []
    body: list[str | Path] = ["--metadata", DOCUMENTED] if args[0] != "--help" else []
    with started("-c", desk.config, *args, *root, *body, stdout=writer) as process:
        os.close(writer)
        _, err = process.communicate(timeout=60)
        assert (err, process.returncode) == (b"", status)


def test_nobody_reads_the_messages(desk: Desk) -> None:
    """A message that nobody reads stops no apply: the warning is lost, the work is done."""
    reader, writer = os.pipe()
    os.close(reader)
    typo = BODIES / "documented-2021-typo.json"
    with started(
        *("-c", desk.config, "apply", "--root", desk.root, "--metadata", typo), stderr=writer
    ) as process:
        os.close(writer)
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
    assert "env              created    /run/lbhook/lb.env\n" in out.decode()
    assert "run/lbhook/lb.env" in desk.files()


def test_full_disk_behind_stdout() -> None:
    """Output that can't be written is a failure, unlike output that nobody reads."""
    with (
        Path("/dev/full").open("wb") as full,
        started("show", "--metadata", DOCUMENTED, stdout=full) as process,
    ):
        _, err = process.communicate(timeout=60)
        assert (err.decode(), process.returncode) == (
            "lbhook: standard output: No space left on device\n",
            73,
        )


def test_no_stdout_at_all() -> None:
    """A service may close it; the work is done all the same."""
    command = ["sh", "-c", 'exec "$@" >&-', "sh", *argv("show", "--metadata", DOCUMENTED)]
    done = subprocess.run(command, env=ENVIRONMENT, stderr=subprocess.PIPE, check=False)
    assert (done.stderr, done.returncode) == (b"", 0)


def closed_stdin(*args: str | Path) -> tuple[int, str]:
    """Status and messages of a run without standard input."""
    command = ["sh", "-c", 'exec "$@" <&-', "sh", *argv(*args)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=False)
    return done.returncode, done.stderr.decode()


@pytest.mark.parametrize("command", ["show", "plan", "apply", "fetch", "render"])
def test_no_stdin_at_all(desk: Desk, command: str) -> None:
    """It is missed only where a body was to be read from it."""
    with Emulator() as imds:
        source = ("--endpoint", imds.url) if command == "fetch" else ("--metadata", DOCUMENTED)
        place = () if command in ("show", "render") else ("--root", desk.root)
        target = ("env",) if command == "render" else ()
        assert closed_stdin("-c", desk.config, command, *target, *place, *source) == (0, "")
    assert closed_stdin("show", "--metadata", "-") == (
        2,
        "lbhook: --metadata -: standard input is closed\n"
        "  hint: give a file, or - for standard input\n",
    )


def test_a_body_without_an_end() -> None:
    """No more of it is read than is allowed."""
    with (
        Path("/dev/zero").open("rb") as zeros,
        started("show", "--metadata", "-", stdin=zeros) as it,
    ):
        _, err = it.communicate(timeout=60)
        assert (err.decode(), it.returncode) == ("lbhook: --metadata -: longer than 4 MiB\n", 2)


def test_a_locale_without_arrows() -> None:
    """What the terminal's encoding lacks is replaced, not a crash."""
    env = {"PYTHONIOENCODING": "latin-1"}
    ended = run_lbhook("show", "--metadata", DOCUMENTED, env=env)
    assert (ended.err, ended.status) == ("", 0)
    assert "  51.0.0.1  ?  10.1.0.4\n" in ended.out


def on_a_terminal(
    *args: str | Path, streams: Sequence[str], env: Mapping[str, str] = ENVIRONMENT
) -> tuple[str, int | None]:
    """What a run of lbhook writes to a terminal that is these streams, and its status."""
    ours, theirs = pty.openpty()
    with started(*args, env=env, **dict.fromkeys(streams, theirs)) as process:
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while piece := os.read(ours, 4096):
                said += piece
        os.close(ours)
        process.wait(timeout=60)
        return said.decode(), process.returncode


def test_no_colour() -> None:
    """A terminal gets colours, unless NO_COLOR says that nobody wants them."""
    show = ("show", "--metadata", DOCUMENTED)
    coloured, _ = on_a_terminal(*show, streams=["stdout"])
    assert "\x1b[1mInbound rules\x1b[0m" in coloured
    plain, _ = on_a_terminal(*show, streams=["stdout"], env={"NO_COLOR": "1"})
    assert "\x1b" not in plain
    for text in (plain, re.sub(r"\x1b\[\d*m", "", coloured)):
        assert text.replace("\r\n", "\n") == run_lbhook(*show).out


def test_live_line_on_a_terminal(desk: Desk) -> None:
    """While it waits on a terminal, one line says for what and how long still, and goes away."""
    text, status = on_a_terminal(
        *("-c", desk.config, "apply", "--root", desk.root, "--endpoint", NOBODY_THERE),
        *("--wait", "2s"),
        streams=["stderr"],
    )
    live = f"waiting for Azure, 0:01 left: {NOBODY_THERE}: connection refused"
    assert text.startswith(f"\r\x1b[K{live}")
    assert "\r\x1b[K\x1b[31mlbhook: no usable answer from the metadata service" in text
    assert status == 75


def test_the_live_line_goes_before_a_result() -> None:
    """Where results and messages are on one terminal, a result begins on a line of its own."""
    steps = (Step(requests=1, answer="enabling"),)
    with Emulator(playbook=Playbook(steps=steps)) as imds:
        text, status = on_a_terminal(
            "show", "--endpoint", imds.url, "--wait", "5s", streams=["stdout", "stderr"]
        )
    assert re.match(
        r"\r\x1b\[Kwaiting for Azure, 0:0\d left: .*\r\x1b\[K\x1b\[1mPublic addresses", text
    )
    assert status == 0


def test_show_while_azure_is_silent(desk: Desk) -> None:
    """The last good answer, how old it is, and the status of a silent service."""
    with Emulator(DOCUMENTED.read_bytes()) as imds:
        assert run_lbhook("fetch", "--root", desk.root, "--endpoint", imds.url).status == 0
    shown = run_lbhook("show", "--root", desk.root, "--wait", "0")
    assert shown.status == 75
    assert "50.0.0.1  →  10.1.0.4" in shown.out
    assert re.search(r"\. This is the last good answer, \d+ s old$", shown.err.strip())


def test_hold_and_resume(desk: Desk) -> None:
    """Each says who did it; every command meanwhile says that nothing new is applied."""
    desk.apply()
    desk.body = ""
    begun = desk.run("hold", "--for", "2h", "--reason", "moving disks")
    held = r"held since \S+ \S+ UTC by \S+ until \S+ \S+ UTC: moving disks"
    assert re.fullmatch(f"{held}\n", begun.out)
    desk.body = "gateway-ha-ports"
    for command in ("show", "plan", "doctor"):
        assert re.search(f"^lbhook: warning: {held}; `lbhook resume`", desk.run(command).err, re.M)
    desk.body = ""
    looks = [("history",), ("fetch", "--wait", "0"), ("rollback",)]
    looks += [("render", "env", "--cached"), ("explain", "env", "--cached")]
    for words in looks:
        assert re.search(f"^lbhook: warning: {held}; `lbhook resume`", desk.run(*words).err, re.M)
    desk.run("rollback")
    desk.body = "gateway-ha-ports"
    ended = desk.apply()
    assert ended.status == 75
    assert re.search(f"^{held}$", ended.out, re.M)
    assert ended.err == (
        "lbhook: nothing new was applied\n"
        "  hint: `lbhook resume` ends the hold; `lbhook apply --despite-hold` applies once\n"
    )
    assert desk.apply("--despite-hold").status == 0
    desk.body = ""
    followed = "; the timer applies Azure's rules within 5 minutes, `lbhook apply` at once\n"
    resumed = desk.run("resume").out
    assert resumed.startswith("resumed by ")
    assert resumed.endswith(followed)
    assert desk.run("resume").out == "this machine is not held\n"
    told = json.loads(desk.run("hold", "--reason", "disks", "--json").out)
    assert {**told["standstill"], "since": "", "by": ""} == {
        "kind": "hold",
        "since": "",
        "until": None,
        "by": "",
        "reason": "disks",
    }
    assert json.loads(desk.run("resume", "--json").out) == {"version": 1, "standstill": None}


LEVERS = [
    ("hold --for 2", '--for: "2" is not a duration such as "90s" or "5m"'),
    ("hold --for 0", '--for: "0" is not a time limit longer than 0'),
    ("hold --for 1h --until 9:00", "--for and --until can't both be meant"),
    ("hold --until 2001-01-01", "--until: that time is past"),
    ("hold --until somewhen", "--until 'somewhen' is no time"),
    ("apply --confirm 2m", "--confirm: systemd does not run here"),
    ("apply --confirm 2m --no-reload", "--confirm and --no-reload can't both be meant"),
]


@pytest.mark.parametrize(("words", "problem"), LEVERS)
def test_a_lever_that_can_not_be_meant(desk: Desk, words: str, problem: str) -> None:
    """Status 2, and nothing has changed."""
    before, desk.body = desk.files(), ""
    ended = desk.run(*words.split())
    assert (ended.status, ended.err.startswith(f"lbhook: {problem}")) == (2, True), ended.err
    assert desk.files() == before


def test_a_rollback_says_what_follows(desk: Desk) -> None:
    """By the timer Azure's rules come back; below a root there is none."""
    desk.apply()
    desk.body = "gateway-ha-ports"
    desk.apply()
    desk.body = ""
    ended = desk.run("rollback")
    assert ended.out == "env              changed    /run/lbhook/lb.env\n"
    assert "timer" not in ended.err
