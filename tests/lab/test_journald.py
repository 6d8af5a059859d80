"""Messages as a real journal has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from .fabric import VM4, body
from .hosts import REPO, Host, require, wait_for
from .lab import Lab
from .rules import ADMIN, FRONT4, PAIRS, WEB

JOURNALD = "/lib/systemd/systemd-journald"
# What systemd tells a unit whose stderr is the journal's.
AS_UNIT = 'export JOURNAL_STREAM="$(stat -L -c %d:%i /proc/self/fd/2)"; exec "$0" "$@"'


@pytest.fixture
def journal() -> Iterator[Host]:
    """A host with a journal of its own."""
    require("systemd-cat", "journalctl", JOURNALD)
    with Host("journal", private=("/run", "/var/log")) as host:
        host.path("/run/systemd").mkdir()
        host.path("/run/log").mkdir()
        host.spawn([JOURNALD])
        wait_for(host.path("/run/systemd/journal/stdout").exists, "journald")
        yield host


def entries(host: Host, last: str, *args: str) -> list[tuple[str, str]]:
    """Priority and text of each message of a run of lbhook, as soon as the journal has its last."""
    words = [sys.executable, "-m", "lbhook", *args]
    env = {"PYTHONPATH": str(REPO)}
    host.run(["systemd-cat", "sh", "-c", AS_UNIT, *words], env=env, check=False)
    ask = ["journalctl", "--directory=/run/log/journal", "--output=json", "_TRANSPORT=stdout"]

    def found() -> list[tuple[str, str]]:
        lines = host.run(ask, check=False).stdout.splitlines()
        return [(one["PRIORITY"], one["MESSAGE"]) for one in map(json.loads, lines)]

    wait_for(lambda: any(last in text for _, text in found()), "the journal's last entry")
    return found()


def test_what_failed_is_an_error(journal: Host) -> None:
    """`journalctl --priority=err` shows why, and what to do."""
    said = entries(journal, "hint: ", "show", "--endpoint", "http://127.0.0.1:9", "--wait", "0")
    assert said == [
        ("3", "lbhook: no usable answer from the metadata service: asked once in 0 s"),
        ("3", "lbhook: the last reason: http://127.0.0.1:9: connection refused"),
        ("3", "  hint: it answers the primary NIC and its primary address only"),
    ]


def test_each_has_its_level(journal: Host) -> None:
    """A warning, and what -v adds; results are what they are without lbhook's saying so."""
    body = str(REPO / "tests/bodies/documented-2021-typo.json")
    said = entries(journal, "Warnings", "show", "-v", "--metadata", body)
    levels = {text.split("[")[0]: level for level, text in said}
    assert levels["lbhook: warning: loadbalancer.outboundRules"] == "4"
    assert levels["lbhook: loadbalancer.outboundRules"] == "7"
    assert levels["Inbound rules"] == "6"


def test_json_has_it_too(journal: Host) -> None:
    """The message is the object, and what systemd reads is not part of it."""
    said = entries(journal, "hint", "--log-format", "json", "show", "--cached", "--bogus")
    ((level, text),) = said
    assert (level, json.loads(text)["command"]) == ("3", "show")


def by_hand(lab: Lab, last: str) -> list[tuple[str, str]]:
    """Priority and text of what runs by hand have written, as soon as the last is there."""
    ask = ["journalctl", "--directory=/run/log/journal", "--output=json", "-t", "lbhook"]

    def found() -> list[tuple[str, str]]:
        lines = lab.vm.run(ask, check=False).stdout.splitlines()
        return [(one["PRIORITY"], one["MESSAGE"]) for one in map(json.loads, lines)]

    wait_for(lambda: any(last in text for _, text in found()), "the journal's last entry")
    return found()


def test_rules_of_a_run_by_hand_are_there(lab: Lab) -> None:
    """Those that came and went and what the run came to; of a run without a difference nothing,
    below a root nothing, and without a journal nothing is missed."""
    lab.balance(body(*WEB[:1], **PAIRS))
    assert lab.vm.apply()["outcome"] == "changed"
    require("journalctl", JOURNALD)
    lab.vm.path("/run/systemd").mkdir()
    lab.vm.path("/run/log").mkdir()
    lab.vm.path("/run/image").mkdir()
    lab.vm.spawn([JOURNALD])
    wait_for(lab.vm.path("/run/systemd/journal/socket").exists, "journald")
    lab.vm.apply()
    lab.vm.lbhook("apply", "--root", "/run/image")
    lab.balance(body(*WEB[:1], *ADMIN[:1], **PAIRS))
    lab.vm.apply()
    came = f"+ tcp {FRONT4}:81 → {VM4}:8081"
    first = [("6", came), ("6", "changed: 2 inbound rules, 2 listeners here")]
    assert by_hand(lab, "changed: 2") == first
    lab.balance(body(**PAIRS))
    lab.vm.lbhook("apply", "--accept-empty")
    more = by_hand(lab, "the last inbound rule is gone")[2:]
    assert more == [
        ("6", f"- tcp {FRONT4}:80 → {VM4}:443"),
        ("6", f"- tcp {FRONT4}:81 → {VM4}:8081"),
        ("6", "changed: 0 inbound rules, 0 listeners here"),
        ("4", "the last inbound rule is gone"),
    ]
