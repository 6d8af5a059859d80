"""The guarded service: an agent that is late, is updated, forgets, and denies one user."""

import http.client
import json
import os
import pwd
import socket
from typing import Any

import pytest

from lbhook.emulator import listener
from lbhook.emulator.faults import Step
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.replies import read
from lbhook.emulator.server import Emulator
from lbhook.imds import guard

from ..program import REPO
from .test_server import LB, Clock, accepts, get, until

USER = pwd.getpwuid(os.geteuid()).pw_name


def guarded(*steps: Step, **keys: Any) -> Emulator:
    """An emulator whose metadata is guarded, with some steps."""
    return Emulator(playbook=Playbook(guarded=True, steps=steps), limit=None, **keys)


def finished(imds: Emulator) -> bool:
    """What the agent says of itself."""
    status, _, body = get(imds, "/provision")
    assert status == 200
    return bool(json.loads(body)["finished"])


def test_what_is_handed_on_says_so() -> None:
    """Answers of IMDS have the agent's header, good and bad ones; without an agent none has."""
    with guarded() as imds:
        for target in ("/metadata/loadbalancer?api-version=2020-10-01", "/metadata/nothing"):
            assert get(imds, target)[1][guard.HEADER] == "value"
    with Emulator() as imds:
        assert guard.HEADER not in get(imds)[1]
        assert get(imds, "/provision")[0] == 404


@pytest.mark.parametrize(("fault", "status"), [("forgotten", 421), ("denied", 403)])
def test_what_the_agent_says_itself(fault: str, status: int) -> None:
    """A status without a body and without its header."""
    with guarded(Step(fault=fault)) as imds:
        answered = get(imds)
        assert (answered[0], answered[2]) == (status, b"")
        assert guard.HEADER not in answered[1]


def test_without_the_agent_imds_refuses_by_itself() -> None:
    """401 with IMDS's own body and without the header."""
    with guarded(Step(fault="unsigned")) as imds:
        status, headers, body = get(imds)
        assert (status, guard.HEADER in headers) == (401, False)
        assert json.loads(body)["error"] == "Unauthorized"


def test_the_late_agent_plays() -> None:
    """For 20 s nothing is signed and the agent says that it is not ready; then all is well."""
    clock = Clock()
    with Emulator(playbook="agent-late", clock=clock, limit=None) as imds:
        assert (get(imds)[0], finished(imds)) == (401, False)
        clock.now += 20
        assert (get(imds)[0], finished(imds)) == (200, True)


def test_the_update_of_the_agent_plays() -> None:
    """A note that is lost, nobody, a key that is missing; then all is well."""
    clock = Clock()
    with Emulator(playbook="agent-update", clock=clock, limit=None) as imds:
        assert get(imds)[0] == 421
        until(lambda: not accepts(imds))
        clock.now += 2
        until(lambda: accepts(imds))
        assert get(imds)[0] == 401
        clock.now += 8
        assert get(imds)[2] == read("documented").body


def test_the_shipped_denial_is_of_one_user() -> None:
    """Who is not named there is served."""
    with Emulator(playbook="agent-denies", limit=None) as imds:
        assert USER != "lbhook"
        assert get(imds)[0] == 200
        assert imds.playbook
        assert imds.playbook.steps[0].users == ("lbhook",)


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(request: pytest.FixtureRequest) -> str:
    """Loopback of both families."""
    return str(request.param)


def test_one_user_is_denied_and_another_served(address: str) -> None:
    """By the owner of the socket: one of `nobody` is told from one of this process."""
    if os.geteuid():
        pytest.skip("needs root, to give a socket to somebody else")
    with guarded(Step(fault="denied", users=("nobody",)), listen=(address, 0)) as imds:
        for owner, status in ((-1, b"200"), (pwd.getpwnam("nobody").pw_uid, b"403"), (-1, b"200")):
            with socket.create_connection(imds.address, timeout=5) as client:
                os.fchown(client.fileno(), owner, -1)
                client.sendall(f"GET {LB} HTTP/1.0\r\nMetadata: true\r\n\r\n".encode())
                assert client.recv(99).split()[1] == status


def test_the_owner_of_a_socket(address: str) -> None:
    """The other end's, by name; one that is gone is nobody's."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.create_server((address, 0), family=family) as server:
        client = socket.create_connection(server.getsockname()[:2])
        accepted = server.accept()[0]
        with accepted:
            assert listener.user(accepted) == USER
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()


def test_the_playbooks_are_documented() -> None:
    """Each that ships is named where the emulator is."""
    from lbhook.resources import PLAYBOOKS

    page = (REPO / "docs/troubleshooting.md").read_text(encoding="utf-8")
    assert [name for name in PLAYBOOKS if f"| `{name}` |" not in page] == []


def test_a_connection_that_is_kept_is_closed_by_the_agent() -> None:
    """It closes after what it says itself, and the next question finds another one."""
    with guarded(Step(fault="forgotten", requests=1)) as imds:
        connection = http.client.HTTPConnection(*imds.address, timeout=5)
        statuses = []
        for _ in range(2):
            connection.request(
                "GET",
                "/metadata/loadbalancer?api-version=2020-10-01",
                headers={"Metadata": "true"},
            )
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
        connection.close()
    assert statuses == [421, 200]
