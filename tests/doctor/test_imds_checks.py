"""The doctor where metadata is guarded: who is seen, and the way that packets really take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lbhook import accounts
from lbhook.doctor import imds_checks, walk
from lbhook.doctor.findings import Evidence
from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.server import Emulator
from lbhook.errors import NoAnswerError, ProtocolError
from lbhook.firewall.kernel import Firewall
from lbhook.firewall.verdict import Verdict
from lbhook.imds import guard
from lbhook.metadata.reader import Address
from lbhook.traffic.paths import Picture

from ..stand import NO_ENV, Runner, Stand, altered
from .evidence import said

RESTRICTED = "[targets.nftables.vars]\nrestrict_imds = true\n"
ROUTE = json.dumps([{"dst": "169.254.169.254", "dev": "eth0", "prefsrc": "10.1.0.4"}])
# 127.0.0.1:3080 listens (proc_net_tcp(5)).
LISTENING = (
    "  sl  local_address rem_address   st\n"
    "   0: 0100007F:0C08 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0  0 7 1\n"
)


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """A machine with a route to IMDS."""
    runner = Runner(
        lambda argv: (0, ROUTE) if argv[:4] == ("ip", "-json", "route", "get") else None
    )
    return Stand(tmp_path, runner=runner)


class Told(Firewall):
    """A table that drops what is sent to one TCP port."""

    def __init__(self, dropped: int) -> None:
        self.dropped = dropped

    def call(self, destination: Address, port: int, device: str) -> tuple[Verdict, Verdict]:
        """Whether this port is the one."""
        assert device == ("lo" if destination.is_loopback else "eth0")
        let_out = Verdict(action="accept")
        stopped = Verdict(action="drop", chain="inet own out", rule=f"handle {port}")
        return stopped if port == self.dropped else let_out, let_out


def unanswered(stand: Stand, dropped: int, *, guarded: bool | None = None) -> list[str]:
    """What is said of the firewall where nobody answers at Azure's own address."""
    settings = stand.settings("")
    settings = settings._replace(imds=settings.imds._replace(endpoint="http://169.254.169.254"))
    evidence = Evidence(
        host=stand.host(settings),
        settings=settings,
        error=NoAnswerError("no answer"),
        guarded=guarded,
        picture=Picture(firewall=Told(dropped)),
    )
    return said(iter(imds_checks.firewall(evidence)))


DROPPED = (
    "packets to 127.0.0.1:3080 (azure-proxy-agent, which relays requests to IMDS) are dropped by"
    " chain inet own out (handle 3080) > let it out: tcp port 3080 of 127.0.0.1"
)


def test_the_way_to_the_agent_is_judged(stand: Stand) -> None:
    """Where metadata is known to be guarded packets go to loopback, whatever they are sent to."""
    assert unanswered(stand, 3080, guarded=True) == [DROPPED]
    assert unanswered(stand, 3080, guarded=False) == []


def test_an_agent_that_listens_is_known_without_an_answer(stand: Stand) -> None:
    """Its program is installed, and the port is taken; either alone may be somebody else's."""
    stand.find = lambda _: None
    proc = stand.place / "machine/proc/self/net"
    proc.mkdir(parents=True)
    (proc / "tcp").write_text(LISTENING)
    assert unanswered(stand, 3080) == []
    stand.find = lambda name: f"/usr/sbin/{name}"
    assert unanswered(stand, 3080) == [DROPPED]
    (proc / "tcp").write_text("")
    assert unanswered(stand, 3080) == []


def test_the_agent_s_own_way_is_judged_too(stand: Stand) -> None:
    """It asks IMDS itself, from this machine."""
    (found,) = unanswered(stand, 80, guarded=True)
    assert found.startswith("packets to 169.254.169.254 are dropped by chain inet own out")


def guarded(stand: Stand, text: str = "", *, is_guarded: bool = True) -> list[str]:
    """What is said of guarded metadata."""
    settings = stand.settings(NO_ENV + text)
    evidence = Evidence(host=stand.host(settings), settings=settings, guarded=is_guarded)
    return said(iter(imds_checks.guarded(evidence)))


def test_who_is_seen_is_noted(stand: Stand) -> None:
    """By name; whom the units ask as, if that is another."""
    (found,) = guarded(stand)
    assert found == (
        f"metadata is guarded (Metadata Security Protocol); asked as {guard.asker()}; the units"
        " ask as user lbhook > "
    )
    assert guarded(stand, is_guarded=False) == []


def test_restrict_imds_stops_nobody_there(stand: Stand) -> None:
    """It would match an address to which no packet goes."""
    found = guarded(stand, f"[targets.nftables]\n{RESTRICTED}")
    assert found[1].startswith("restrict_imds stops nobody: azure-proxy-agent takes what is sent")
    assert len(guarded(stand, f"[targets.nftables]\nenabled = false\n{RESTRICTED}")) == 1
    assert len(guarded(stand, "[targets.nftables]\n")) == 1


def test_unequal_numbers() -> None:
    """The agent may look one up by the other."""
    (found,) = said(iter(imds_checks._unequal((998, 997))))
    assert found.startswith("user lbhook has UID 998, its group GID 997: azure-proxy-agent may")
    assert "groupmod -g 998 lbhook" in found
    assert [*imds_checks._unequal((998, 998)), *imds_checks._unequal(None)] == []


def test_the_numbers_of_a_user() -> None:
    """As /etc/passwd has them."""
    assert accounts.numbers("root") == (0, 0)
    assert accounts.numbers("no-such-user") is None


@pytest.mark.parametrize("is_guarded", [True, False])
def test_the_walk_knows_from_the_answer(stand: Stand, is_guarded: bool) -> None:
    """The service's header is seen, and said."""
    with Emulator(playbook=Playbook(guarded=is_guarded, steps=(Step(),))) as imds:
        settings = stand.settings(NO_ENV)
        asked = settings._replace(
            imds=settings.imds._replace(endpoint=imds.url), endpoint_named=True
        )
        update = altered(stand.update(asked, None))
        places = walk.examine(update).places
    texts = [one.text for one in places["Azure"]]
    assert (
        any(
            text.startswith("metadata is guarded (Metadata Security Protocol); asked as ")
            for text in texts
        )
        is is_guarded
    )


def test_an_answer_that_can_t_be_gone_by(stand: Stand) -> None:
    """All that was wrong with it, and the hint that goes with it."""
    error = ProtocolError("not IMDS", "it redirects", hint="ask somebody")
    settings = stand.settings("")
    one = Evidence(host=stand.host(settings), settings=settings, error=error)
    assert said(imds_checks.answer(one)) == ["not IMDS; it redirects > ask somebody"]
    assert said(imds_checks.route(one)) == []
