"""Messages as a real journal has them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest

from .hosts import REPO, Host, require, wait_for

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
