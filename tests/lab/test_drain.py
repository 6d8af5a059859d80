"""A VM out of rotation and back, with Azure's probes and load balancer played by the fabric."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from . import firewalld
from .downloads import MAY_END, Downloads
from .fabric import CLIENT4, PROBE4, PROBE6, VM4, VM6, body, rule
from .hosts import REPO, wait_for
from .knock import one
from .lab import Lab
from .neighbours import build, configure, hand_over
from .prober import Prober
from .rules import ADMIN, ALL, FRONT4, PAIRS, WEB
from .talk import Talk
from .test_neighbours import container

RULES = body(*WEB, *ADMIN, **PAIRS)
# Those where lbhook's own firewall is not, or not alone.
NEIGHBOURS = ("none", "enforce", "prerouting", "ufw", "iptables-nft", "firewalld")
OTHERS = "[targets.nginx]\n"
SLOW, MANY = 8081, 200


def ready(lab: Lab, firewall: str = "none") -> None:
    """Bring the VM up to date with the rules, behind one of the firewalls."""
    lab.balance(RULES)
    if firewall in ("enforce", "prerouting"):
        configure(lab.vm, firewall)
    elif firewall == "firewalld":
        firewalld.start(lab.vm)
        lab.vm.write("/etc/lbhook/lbhook.toml", f"[targets.firewalld]\n{OTHERS}")
    elif firewall == "none":
        lab.vm.write("/etc/lbhook/lbhook.toml", OTHERS)
    else:
        configure(lab.vm, "mark")
        build(lab.vm, firewall)
        hand_over(lab.vm, firewall)
    lab.vm.apply()


def serve_downloads(lab: Lab) -> None:
    """Let the VM have downloads that last until they may end."""
    lab.vm.spawn([*lab.vm.python("downloads.py"), "serve", str(SLOW)])
    wait_for(partial(lab.vm.listens, "tcp", SLOW), "a server of downloads")


def probed(lab: Lab, **how: Any) -> Prober:
    """Probes of the VM's port 443, which find it up."""
    found = Prober(lab.fabric, RULES, (VM4, 443), source=PROBE4, **how)
    found.wait_for(up=True)
    return found


def state(lab: Lab, address: str = PROBE4) -> str:
    """What a single probe of port 9000 comes to."""
    place = VM6 if ":" in address else VM4
    return one(lab.fabric, "tcp", place, 9000, address).state


def table(lab: Lab) -> str:
    """The table of the drain as the kernel has it; empty without one."""
    argv = ["nft", "list", "table", "inet", "lbhook_drain"]
    return lab.vm.run(argv, check=False).stdout


@pytest.mark.parametrize(
    ("firewall", "kind"), [*((one, "tcp") for one in NEIGHBOURS), ("none", "http"), ("ufw", "http")]
)
def test_a_drained_vm_gets_no_new_connection(lab: Lab, firewall: str, kind: str) -> None:
    """After the second probe that fails nobody new is sent here, open connections go on, and after
    `undrain` the VM is back: with each firewall, and without lbhook's."""
    ready(lab, firewall)
    probes = probed(lab, kind=kind)
    talk = Talk.connect(lab.client, FRONT4, 80)
    lab.vm.lbhook("drain", "--reason", "kernel upgrade")
    probes.wait_for(up=False)
    assert one(lab.client, "tcp", FRONT4, 80).state == "filtered"
    assert not any(answered for answered, _ in (probes.round() for _ in range(3)))
    assert "HTTP/1.1 200" in str(talk.ask("GET / HTTP/1.1\r\nHost: here\r\n\r\n"))
    lab.vm.lbhook("undrain")
    probes.wait_for(up=True)
    assert one(lab.client, "tcp", FRONT4, 80).state == "open"


def test_200_open_downloads_end_whole(lab: Lab) -> None:
    """Those that are under way when the VM is drained; nobody begins one afterwards."""
    serve_downloads(lab)
    ready(lab)
    probes = probed(lab)
    downloads = Downloads(lab.client, FRONT4, 81, MANY)
    lab.vm.lbhook("drain")
    probes.wait_for(up=False)
    assert one(lab.client, "tcp", FRONT4, 81).state == "filtered"
    lab.vm.write(MAY_END, "")
    assert downloads.whole() == MANY


@pytest.mark.parametrize("source", [PROBE4, f"{PROBE6}%vm0"])
def test_a_probe_is_refused_at_once(lab: Lab, source: str) -> None:
    """By a reset, of both families, also on a connection that is open: a probe that waits for an
    answer would fail later."""
    ready(lab)
    assert state(lab, source) == "open"
    is_open = Talk.connect(lab.fabric, VM6 if ":" in source else VM4, 9000, source)
    assert is_open.ask("up?") == "up?"
    lab.vm.lbhook("drain")
    assert state(lab, source) == "refused"
    assert is_open.ask("still up?") is None
    lab.vm.lbhook("undrain")
    assert state(lab, source) == "open"


@pytest.mark.parametrize("firewall", ["none", "enforce"])
def test_what_the_vm_asks_of_azure_is_answered(lab: Lab, firewall: str) -> None:
    """WireServer and DNS have the address of the probes: an open connection of the VM to it goes
    on, a new one is let through."""
    ready(lab, firewall)
    azure = Talk.listen(lab.fabric, 32526)
    there = Talk.connect(lab.vm, PROBE4, 32526)
    there.send("before")
    assert azure.receive() == "before"
    lab.vm.lbhook("drain")
    azure.send("goal state")
    assert there.receive() == "goal state"
    names = Talk.listen(lab.fabric, 53)
    new = Talk.connect(lab.vm, PROBE4, 53)
    new.send("who?")
    assert names.receive() == "who?"
    names.send("you")
    assert new.receive() == "you"


def test_probes_of_a_container_are_refused(lab: Lab) -> None:
    """New ones, and by a connection that was open before: all of it is forwarded, and never gets
    to `input`. A client's connection goes on."""
    found = body(rule(FRONT4, 80, VM4, 8080))
    lab.balance(found)
    lab.vm.write("/etc/lbhook/lbhook.toml", OTHERS)
    with container(lab):
        lab.vm.apply()
        probe, asked = (
            Talk.connect(lab.fabric, VM4, 8080, PROBE4),
            Talk.connect(lab.fabric, VM4, 8080),
        )
        assert probe.ask("a probe") == "a probe"
        assert asked.ask("a client") == "a client"
        lab.vm.lbhook("drain")
        assert one(lab.fabric, "tcp", VM4, 8080, PROBE4).state == "refused"
        assert probe.ask("still a probe") is None
        assert asked.ask("still a client") == "still a client"
        lab.vm.lbhook("undrain")
        assert one(lab.fabric, "tcp", VM4, 8080, PROBE4).state == "open"


def refresh(lab: Lab) -> None:
    """What the timer runs."""
    lab.vm.apply("--skip-refused")


def flush(lab: Lab) -> None:
    """All tables gone, and the timer's next run."""
    lab.vm.run(["nft", "flush", "ruleset"])
    assert state(lab) == "open"
    refresh(lab)


def clean(lab: Lab) -> None:
    """All that lbhook wrote taken back."""
    said = lab.vm.lbhook("clean").stderr
    assert "this VM stays drained until it reboots" in said


def new_rules(lab: Lab) -> None:
    """Azure has more rules than before."""
    lab.balance(ALL)
    refresh(lab)


@pytest.mark.parametrize("happening", [refresh, flush, clean, new_rules])
@pytest.mark.parametrize("firewall", ["none", "enforce"])
def test_the_rest_of_lbhook_ends_no_drain(
    lab: Lab, firewall: str, happening: Callable[[Lab], None]
) -> None:
    """It goes on meanwhile, and what flushes the table is made good by the next run."""
    ready(lab, firewall)
    lab.vm.lbhook("drain")
    happening(lab)
    assert state(lab) == "refused"
    lab.vm.lbhook("undrain")
    assert state(lab) == "open"
    assert not table(lab)


def reboot(lab: Lab) -> None:
    """Let the kernel and the runtime directory of the VM be new, as after a boot."""
    lab.vm.run(["nft", "flush", "ruleset"])
    lab.vm.run(["sh", "-c", "rm -rf /run/lbhook"])


@pytest.mark.parametrize(("words", "after"), [([], "open"), (["--persist"], "refused")])
def test_a_reboot(lab: Lab, words: list[str], after: str) -> None:
    """It ends a drain, unless that is to outlast it; then the boot has it before there is a
    network."""
    ready(lab)
    lab.vm.lbhook("drain", *words)
    reboot(lab)
    forget_boot(lab)
    lab.vm.lbhook("restore")
    assert state(lab) == after
    lab.vm.lbhook("undrain")
    assert state(lab) == "open"
    reboot(lab)
    lab.vm.lbhook("restore")
    assert state(lab) == "open"


def forget_boot(lab: Lab) -> None:
    """Let what was kept be of another boot: that of this machine is one and the same."""
    kept = "/var/lib/lbhook/drain.json"
    if lab.vm.path(kept).exists():
        lab.vm.write(kept, json.dumps({**json.loads(lab.vm.read(kept)), "boot": "before"}))


def test_the_kernel_ends_a_drain_by_itself(lab: Lab) -> None:
    """At its time, with nothing of lbhook running; the next run says so and tidies up."""
    ready(lab)
    lab.vm.lbhook("drain", "--for", "3s")
    assert state(lab) == "refused"
    wait_for(lambda: state(lab) == "open", "the end of the drain")
    assert "the drain has ended at its time" in lab.vm.lbhook("apply").stderr
    assert not table(lab)


def flat(text: str) -> str:
    """Lines put together again that were folded."""
    return " ".join(text.split())


def test_it_is_seen_everywhere(lab: Lab) -> None:
    """In what the commands say, what the unit's status line gets, and status.json: since when, by
    whom and why; after the end nowhere."""
    ready(lab, "enforce")
    said = lab.vm.lbhook("drain", "--reason", "kernel upgrade").stdout
    assert re.fullmatch(r"drained since .* UTC by root: kernel upgrade\n", said)
    line = said.strip()
    assert f"{line}; `sudo lbhook undrain` ends it" in flat(lab.vm.lbhook("show").stdout)
    assert f"? {line}" in flat(lab.vm.lbhook("doctor", check=False).stdout)
    left = json.loads(lab.vm.read("/run/lbhook/status.json"))
    assert left["drained"]["reason"] == "kernel upgrade"
    done = lab.vm.lbhook("apply")
    assert done.stdout.splitlines()[-1].endswith(f"; {line}")
    assert json.loads(lab.vm.read("/run/lbhook/status.json"))["drained"] == left["drained"]
    assert f"no longer drained; it was {line}\n" == lab.vm.lbhook("undrain").stdout
    assert "drained" not in json.loads(lab.vm.read("/run/lbhook/status.json"))
    assert "drained" not in lab.vm.lbhook("show").stdout + lab.vm.lbhook("apply").stdout
    assert lab.vm.lbhook("undrain").stdout == "not drained\n"


def plays(lab: Lab, step: str) -> None:
    """Let the metadata service be so from now on."""
    lab.fabric.write("/run/playbook.toml", f"[[step]]\n{step}\n")
    lab.fabric.serve_metadata(playbook="/run/playbook.toml")
    wait_for(lab.fabric.serves_metadata, "the metadata service")


def by_timer(lab: Lab) -> str:
    """What the timer does, by its two units: one asks, and one that asks nobody applies."""
    asked = lab.vm.lbhook("fetch", "--hand-over").stderr
    words = ("apply", "--cached", "--skip-refused")
    return asked + lab.vm.lbhook(*words, check=False).stdout  # 75 while it is held, by hand


EVENTS = 'events = [{ type = "Reboot", status = "STATUS", notice = "10m" }]'


def test_a_scheduled_event_drains(lab: Lab) -> None:
    """Before it, while it lasts and while Azure does not answer; back once it is over. It is seen
    whose word it is; a person may undrain."""
    ready(lab)
    toml = f"[drain]\nscheduled_events = true\n{OTHERS}"
    lab.vm.write("/etc/lbhook/lbhook.toml", toml)
    plays(lab, "")
    by_timer(lab)
    assert state(lab) == "open"
    plays(lab, EVENTS.replace("STATUS", "Scheduled"))
    assert by_timer(lab).endswith("by Azure's scheduled event Reboot\n")
    assert state(lab) == "refused"
    assert "by Azure's scheduled event Reboot" in flat(lab.vm.lbhook("show").stdout)
    said = flat(lab.vm.lbhook("doctor", check=False).stdout)
    assert "by Azure's scheduled event Reboot: Azure is to send no new connections here" in said
    left = json.loads(lab.vm.read("/run/lbhook/status.json"))["drained"]
    assert (left["source"], left["by"]) == ("scheduled event", "Azure's scheduled event Reboot")
    for step in (
        'path = "/metadata/scheduledevents"\nfault = "hang"',
        'path = "/metadata/scheduledevents"\nfault = "not-json"',
        EVENTS.replace("STATUS", "Started"),
    ):
        plays(lab, step)
        by_timer(lab)
        assert state(lab) == "refused"
    plays(lab, "")
    by_timer(lab)
    assert state(lab) == "open"
    plays(lab, EVENTS.replace("STATUS", "Scheduled"))
    by_timer(lab)
    lab.vm.lbhook("undrain")
    by_timer(lab)
    assert state(lab) == "open"


def test_a_tag_drains_and_holds(lab: Lab) -> None:
    """Neither touches the machine; what is said names Azure; it ends when the tag goes."""
    ready(lab)
    toml = f"[imds]\ninstance = true\nobey_tag = true\n{OTHERS}"
    lab.vm.write("/etc/lbhook/lbhook.toml", toml)
    plays(lab, 'tag = "drain"')
    assert by_timer(lab).endswith("by Azure's tag lbhook: drain\n")
    assert state(lab) == "refused"
    done = lab.vm.lbhook("undrain", check=False)
    assert (done.returncode, "take the tag from the VM in Azure" in done.stderr) == (2, True)
    plays(lab, 'tag = "hold"')
    assert "held since" in by_timer(lab)
    assert state(lab) == "open"
    lab.balance(ALL)
    assert "by Azure's tag lbhook: hold" in by_timer(lab)
    done = lab.vm.lbhook("resume", check=False)
    assert (done.returncode, "take the tag from the VM in Azure" in done.stderr) == (2, True)
    assert "by Azure's tag lbhook: hold" in flat(lab.vm.lbhook("plan", check=False).stderr)
    plays(lab, "")
    assert by_timer(lab).splitlines()[-1].startswith("changed: ")


@pytest.mark.parametrize("lost", ["table", "record"])
def test_the_doctor_finds_half_a_drain(lab: Lab, lost: str) -> None:
    """A record without its table, and a table without its record."""
    ready(lab)
    lab.vm.lbhook("drain")
    if lost == "table":
        lab.vm.run(["nft", "flush", "ruleset"])
    else:
        lab.vm.run(["rm", "/run/lbhook/drain.json"])
    done = lab.vm.lbhook("doctor", check=False)
    says = {
        "table": "but the table that refuses health probes is gone",
        "record": "table inet lbhook_drain refuses health probes, and no record says why",
    }
    assert (done.returncode, says[lost] in flat(done.stdout)) == (1, True)


def test_what_cannot_be_drained_is_said(lab: Lab) -> None:
    """Rules for UDP by name; that NAT rules have no probe, and cannot be told from others."""
    ready(lab)
    lab.balance(ALL)
    lab.vm.apply()
    said = lab.vm.lbhook("drain").stderr
    assert "NAT rules, and rules without a probe, go on sending new connections here" in said
    assert f"udp {FRONT4}:53" in said


def wait(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    """Drain and wait; the status, and what is said."""
    done = lab.vm.lbhook("drain", "--json", "--wait", *words, check=False)
    return done.returncode, json.loads(done.stdout)


def test_open_connections_are_waited_for(lab: Lab) -> None:
    """With status 75 and their number while they last, those of probes and the VM's own not among
    them; with 0 once they have ended and probes have failed."""
    serve_downloads(lab)
    ready(lab)
    probes = probed(lab)
    there = Talk.listen(lab.client, 7007)
    own = Talk.connect(lab.vm, CLIENT4, 7007)
    own.send("mine")
    assert there.receive() == "mine"
    downloads = Downloads(lab.client, FRONT4, 81, 3)
    status, said = wait(lab, "1s")
    assert (status, said["connections"]) == (75, 3)
    probes.wait_for(up=False)
    lab.vm.write(MAY_END, "")
    assert downloads.whole() == 3
    status, said = wait(lab, "5m")
    assert (status, said["connections"]) == (0, 0)
    assert said["probes_refused"] > 1


def test_a_container_s_connections_are_waited_for(lab: Lab) -> None:
    """Their sockets are in another network namespace: what the kernel tracks tells."""
    lab.balance(body(rule(FRONT4, 80, VM4, 8080)))
    lab.vm.write("/etc/lbhook/lbhook.toml", OTHERS)
    with container(lab):
        lab.vm.apply()
        talk = Talk.connect(lab.client, FRONT4, 80)
        assert talk.ask("a client") == "a client"
        status, said = wait(lab, "1s")
    assert (status, said["connections"]) == (75, 1)


def test_the_page_works_as_printed(lab: Lab) -> None:
    """Each command of docs/operate.md about a drain does what is shown."""
    ready(lab)
    page = (REPO / "docs/operate.md").read_text(encoding="utf-8")
    section = page.split("\n## A VM out of rotation\n")[1].split("\n## ")[0]
    blocks = "".join(re.findall(r"^```console\n(.*?)^```$", section, re.M | re.S))
    typed = re.findall(r"^# lbhook (.*)\n((?:(?!# ).*\n)*)", blocks, re.M)
    assert len(typed) > 1
    for words, shown in typed:
        done = lab.vm.lbhook(*shlex.split(words))
        assert re.fullmatch(re.escape(shown).replace(r"\.\.\.", ".*"), done.stdout), words
