"""The metadata service over real sockets: its rules, its faults, and that nothing leaks."""

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lbhook.emulator.faults import Step
from lbhook.emulator.http import Request
from lbhook.emulator.listener import TICK
from lbhook.emulator.playbook import Playbook
from lbhook.emulator.replies import error, read
from lbhook.emulator.server import Emulator
from lbhook.errors import ConfigError, UsageError

from ..shared import SLACK

LB = "/metadata/loadbalancer?api-version=2020-10-01"
INSTANCE = "/metadata/instance"
HEADER = {"Metadata": "true"}
Answered = tuple[int, dict[str, str], bytes]


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """The time it was told."""
        return self.now


def connect(imds: Emulator, timeout: float = 5.0) -> http.client.HTTPConnection:
    """A connection to the emulator, not opened yet."""
    return http.client.HTTPConnection(*imds.address, timeout=timeout)


def get(
    imds: Emulator,
    target: str = LB,
    headers: dict[str, str] | None = None,
    method: str = "GET",
    timeout: float = 5.0,
) -> Answered:
    """Status, headers (lower-case names) and body of one request on its own connection."""
    connection = connect(imds, timeout)
    try:
        connection.request(method, target, headers=HEADER if headers is None else headers)
        response = connection.getresponse()
        return (
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )
    finally:
        connection.close()


def said(answered: Answered) -> str:
    """The sentence of an error answer."""
    return str(json.loads(answered[2])["error"])


def faulty(**keys: Any) -> Playbook:
    """A playbook of one step that lasts for ever."""
    return Playbook(steps=(Step(**keys),))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread is about to do."""
    deadline = time.monotonic() + SLACK
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def accepts(imds: Emulator) -> bool:
    """Whether somebody listens."""
    try:
        socket.create_connection(imds.address, timeout=SLACK).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it closes in this moment
        return False
    return True


@pytest.fixture
def imds() -> Iterator[Emulator]:
    """A sound service without a limit."""
    with Emulator(limit=None) as emulator:
        yield emulator


def test_the_body_is_served_as_azure_does(imds: Emulator) -> None:
    """The documented body arrives byte for byte, with the headers of the real service."""
    status, headers, body = get(imds)
    assert (status, body) == (200, read("documented").body)
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert headers["content-length"] == str(len(body))
    assert headers["server"].startswith("IMDS/")
    assert re.fullmatch(r"[0-9a-f-]{36}", headers["x-ms-request-id"])
    assert headers["date"].endswith("GMT")
    assert "connection" not in headers


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_the_header_may_be_in_any_case(imds: Emulator, value: str) -> None:
    """Metadata: True is as good as true."""
    assert get(imds, headers={"metadata": value})[0] == 200


@pytest.mark.parametrize("headers", [{}, {"Metadata": "false"}, {"Metadata": ""}])
def test_without_the_header_nothing_is_told(imds: Emulator, headers: dict[str, str]) -> None:
    """A request without Metadata: true is refused on every path, in the documented words."""
    for path in (LB, f"{INSTANCE}?api-version=2021-02-01", "/metadata/versions"):
        answered = get(imds, path, headers)
        assert answered[0] == 400
        assert said(answered) == "Bad request. Required metadata header not specified"


def test_a_forwarded_request_is_refused(imds: Emulator) -> None:
    """X-Forwarded-For is refused, whatever it holds."""
    assert get(imds, headers={**HEADER, "X-Forwarded-For": ""})[0] == 400


@pytest.mark.parametrize(
    "query",
    ["", "?api-version=", "?api-version=2020-10-02", "?api-version=2019-11-01", "?format=x"],
)
def test_a_wrong_version_names_the_newest(imds: Emulator, query: str) -> None:
    """No, an unknown and a too old api-version get the documented body with newest-versions."""
    status, _, body = get(imds, f"/metadata/loadbalancer{query}")
    published = Path(__file__).parents[1] / "bodies" / "error-api-version.json"
    assert status == 400
    assert json.loads(body) == json.loads(published.read_bytes())


@pytest.mark.parametrize("version", ["2021-02-01", "2021-12-13", "2023-07-01", "2025-04-07"])
def test_newer_versions_are_known(imds: Emulator, version: str) -> None:
    """The versions that are used in the wild get the same body; format is ignored."""
    answered = get(imds, f"/metadata/loadbalancer?api-version={version}&format=text")
    assert answered[2] == read("documented").body


def test_duplicate_parameters_are_refused(imds: Emulator) -> None:
    """A parameter given twice is refused, as documented."""
    assert get(imds, f"{LB}&api-version=2020-10-01")[0] == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_only_get_is_allowed(imds: Emulator, method: str) -> None:
    """Every other method gets 405, and the connection goes on to the next request."""
    connection = connect(imds)
    connection.request(method, LB, body=b"xyz" if method == "POST" else None, headers=HEADER)
    response = connection.getresponse()
    body = response.read()
    assert response.status == 405
    words = f'Http method is not allowed: Path = "/metadata/loadbalancer", Method = "{method}"'
    assert body == b"" if method == "HEAD" else json.loads(body) == {"error": words}
    connection.request("GET", LB, headers=HEADER)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("path", ["/", "/metadata", "/metadata/nothing", f"{LB[:22]}/inboundRules"])
def test_other_paths_are_not_found(imds: Emulator, path: str) -> None:
    """An unknown path, one below /metadata/loadbalancer among them, is named in the 404."""
    answered = get(imds, f"{path}?api-version=2020-10-01")
    assert answered[0] == 404
    assert said(answered) == f'API is not found: Path = "{path}", Method = "GET"'


def test_versions_need_no_version(imds: Emulator) -> None:
    """/metadata/versions lists the versions, and asks for none."""
    status, _, body = get(imds, "/metadata/versions")
    assert status == 200
    assert "2020-10-01" in json.loads(body)["apiVersions"]


def test_instance_is_a_whole_vm_in_strings(imds: Emulator) -> None:
    """What cloud-init and the Azure agent read is there, and every leaf is a string."""
    status, _, body = get(imds, f"{INSTANCE}?api-version=2021-08-01&extended=true")
    data = json.loads(body)
    compute, interface = data["compute"], data["network"]["interface"][0]
    assert status == 200
    for key in ("location", "name", "vmId", "vmSize", "zone", "subscriptionId", "vmScaleSetName"):
        assert compute[key]
    assert {"userData", "tags", "tagsList", "platformFaultDomain"} <= set(compute)
    assert set(compute["osProfile"]) == {
        "adminUsername",
        "computerName",
        "disablePasswordAuthentication",
    }
    assert compute["publicKeys"][0]["keyData"].startswith("ssh-")
    assert re.fullmatch(r"[0-9A-F]{12}", interface["macAddress"])
    assert all(isinstance(leaf, str) for leaf in leaves([compute, data["network"]]))


def test_extended_is_for_who_provisions(imds: Emulator) -> None:
    """extended=true adds what cloud-init asks for, from the version on that has it."""
    data = json.loads(get(imds, f"{INSTANCE}?api-version=2021-08-01&extended=true")[2])
    assert data["extended"] == {"compute": {"hasCustomData": False, "ppsType": "None"}}
    for query in ("2021-08-01", "2021-08-01&extended=false", "2021-02-01&extended=true"):
        answered = get(imds, f"{INSTANCE}?api-version={query}")
        assert set(json.loads(answered[2])) == {"compute", "network"}


def leaves(value: Any) -> Iterator[Any]:
    """Every value in a JSON document that holds no others."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_the_network_is_the_documented_sample(imds: Emulator) -> None:
    """/metadata/instance/network is what is in the example bodies."""
    sample = Path(__file__).parents[1] / "bodies" / "instance-network.json"
    answered = get(imds, f"{INSTANCE}/network?api-version=2021-02-01")
    assert json.loads(answered[2]) == json.loads(sample.read_bytes())


def test_old_versions_lack_what_came_later(imds: Emulator) -> None:
    """A key is absent from the versions before the one that introduced it."""
    compute = json.loads(get(imds, f"{INSTANCE}/compute?api-version=2018-02-01")[2])
    assert compute["zone"] == "1"
    assert not {"tagsList", "osProfile", "userData", "publicKeys"} & set(compute)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/compute/name", "web_0"),
        ("/network/interface/0/ipv4/subnet/0/prefix", "24"),
        ("", "compute/\nnetwork/"),
        ("/network/interface", "0/"),
        ("/network/interface/0/", "ipv4/\nipv6/\nmacAddress"),
    ],
)
def test_instance_can_be_had_as_text(imds: Emulator, path: str, text: str) -> None:
    """format=text gives a leaf bare, and lists what is below anything else."""
    target = f"{INSTANCE}{path}?api-version=2021-02-01&format=text"
    status, headers, body = get(imds, target)
    assert (status, body.decode()) == (200, text)
    assert headers["content-type"] == "text/plain; charset=utf-8"


def test_a_leaf_is_not_json(imds: Emulator) -> None:
    """A leaf without format=text is refused, as documented."""
    assert get(imds, f"{INSTANCE}/compute/name?api-version=2021-02-01")[0] == 400
    assert get(imds, f"{INSTANCE}?api-version=2021-02-01&format=xml")[0] == 400


@pytest.mark.parametrize("path", ["/nothing", "/network/interface/7", "/network/interface/x"])
def test_instance_has_no_such_key(imds: Emulator, path: str) -> None:
    """A key that is not there is Not found."""
    answered = get(imds, f"{INSTANCE}{path}?api-version=2021-02-01")
    assert (answered[0], said(answered)) == (404, "Not found")


def test_instance_can_be_replaced(imds: Emulator) -> None:
    """The instance handed in is served in place of the sample."""
    imds.instance = b'{"compute": {"name": "mine"}}'
    target = f"{INSTANCE}/compute/name?api-version=2021-02-01&format=text"
    assert get(imds, target)[2] == b"mine"


def test_an_instance_that_is_not_json_is_a_server_error(imds: Emulator) -> None:
    """A broken instance file is answered as 500, and does not end the connection unanswered."""
    imds.instance = b"{"
    assert get(imds, f"{INSTANCE}?api-version=2021-02-01")[0] == 500


def test_the_body_can_be_replaced_while_it_runs(imds: Emulator) -> None:
    """Name, bytes, an error and nothing at all may follow each other."""
    imds.body = "dual-stack"
    assert b"fd60:172:16:88::5" in get(imds)[2]
    imds.body = b"{}"
    assert get(imds)[2] == b"{}"
    imds.body = error("not-available", "newer")
    assert said(get(imds)) == "Load Balancer metadata API isn't available right now. Retry later"
    imds.body = None
    absent = get(imds)
    assert absent[0] == 404
    assert said(absent).startswith("No load balancer metadata is found. Please check")


def test_a_body_file_is_read_again(imds: Emulator, tmp_path: Path) -> None:
    """What the file holds at the time of the request is served, and 500 once it is gone."""
    path = tmp_path / "body.json"
    for text in ("{}", '{"a":1}'):
        path.write_text(text)
        imds.body = str(path)
        assert get(imds)[2].decode() == text
    path.unlink()
    assert get(imds)[0] == 500


def test_a_sixth_request_in_a_second_is_throttled() -> None:
    """Five go through, on any connections and paths; the window slides with the clock."""
    clock = Clock()
    with Emulator(clock=clock) as imds:
        paths = [LB, "/metadata/versions", LB, "/nowhere", LB, LB]
        assert [get(imds, path)[0] for path in paths] == [200, 200, 200, 404, 200, 429]
        clock.now += 0.99
        assert said(get(imds)) == "Too many requests"
        clock.now += 0.01
        assert [get(imds)[0] for _ in range(6)] == [200] * 5 + [429]


def test_requests_are_recorded(imds: Emulator) -> None:
    """Each request is kept with what was asked, when, and what was answered."""
    get(imds, headers={**HEADER, "x-ms-client-request-id": "abc", "Cookie": "c=1"})
    get(imds, "/nowhere?a=b")
    first, second = imds.requests
    assert (first.method, first.path, first.query) == (
        "GET",
        "/metadata/loadbalancer",
        "api-version=2020-10-01",
    )
    assert first.headers["x-ms-client-request-id"] == "abc"
    assert first.headers["cookie"] == "c=1"
    assert 0 <= first.at <= second.at < 60
    assert [str(request) for request in imds.requests] == [
        "GET /metadata/loadbalancer 200 documented",
        "GET /nowhere 404 wrong-path",
    ]


def test_a_request_is_told_before_it_is_answered() -> None:
    """The callback has had the request when the client has its answer."""
    told: list[Request] = []
    with Emulator(on_request=told.append) as imds:
        get(imds)
        assert told == imds.requests
        assert len(told) == 1


def test_a_broken_request_is_refused(imds: Emulator) -> None:
    """What is not HTTP gets 400 and a closed connection."""
    for text in (
        b"hello\r\n\r\n",
        b"GET  / x y HTTP/1.1\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(imds.address, timeout=SLACK) as client:
            client.sendall(text)
            received = b"".join(iter(lambda: client.recv(4096), b""))
        assert received.startswith(b"HTTP/1.1 400 ")


def test_a_connection_is_kept_or_closed_as_asked(imds: Emulator) -> None:
    """HTTP/1.1 goes on; Connection: close and HTTP/1.0 end after one answer."""
    connection = connect(imds)
    for _ in range(3):
        connection.request("GET", LB, headers=HEADER)
        connection.getresponse().read()
    connection.close()
    for head in (b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"):
        with socket.create_connection(imds.address, timeout=SLACK) as client:
            client.sendall(b"GET " + LB.encode() + b" " + head + b"Metadata: true\r\n\r\n")
            received = b"".join(iter(lambda: client.recv(4096), b""))
        assert b"\r\nConnection: close\r\n" in received


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.4", "example.org", ""])
def test_only_loopback_is_listened_on(host: str) -> None:
    """Any other address is refused by name, before a socket is opened."""
    with pytest.raises(UsageError) as caught:
        Emulator(listen=(host, 0))
    assert caught.value.problems == (
        f'will not listen on "{host}": only a loopback address or 169.254.169.254 will do',
    )


def test_the_real_address_is_allowed() -> None:
    """169.254.169.254 may be listened on, in a namespace that has it; nothing is opened here."""
    assert Emulator(listen=("169.254.169.254", 80)).url == "http://169.254.169.254:80"


def test_ipv6_loopback_works() -> None:
    """::1 is served, and its URL has brackets."""
    with Emulator(listen=("::1", 0)) as imds:
        assert imds.url.startswith("http://[::1]:")
        assert get(imds)[0] == 200


def test_a_port_in_use_is_a_usage_error(imds: Emulator) -> None:
    """A second emulator on the same port says what is wrong."""
    with pytest.raises(UsageError) as caught:
        Emulator(listen=imds.address).start()
    assert caught.value.problems == (f"can't listen on {imds.url}: Address already in use",)


def test_wrong_names_are_refused_at_once(tmp_path: Path) -> None:
    """A body or playbook that does not exist, or a bad playbook, fails the constructor."""
    with pytest.raises(UsageError, match="did you mean"):
        Emulator(body="documentd")
    with pytest.raises(UsageError, match="did you mean"):
        Emulator(playbook="updaet")
    (tmp_path / "p.toml").write_text("x = 1")
    with pytest.raises(ConfigError):
        Emulator(playbook=tmp_path / "p.toml")


def test_refused_means_that_nobody_listens() -> None:
    """Refused from the start, then served, then refused again, then served, all on one port."""
    clock = Clock()
    steps = (
        Step(seconds=10, fault="refuse"),
        Step(requests=1),
        Step(seconds=10, fault="refuse"),
        Step(),
    )
    with Emulator(playbook=Playbook(steps=steps), clock=clock) as imds:
        assert not accepts(imds)
        clock.now += 10
        until(lambda: accepts(imds))
        kept = connect(imds)
        kept.request("GET", LB, headers=HEADER)
        assert kept.getresponse().read() == read("documented").body
        until(lambda: not accepts(imds))
        assert kept.sock.recv(1) == b""  # a connection that was kept is gone with the service
        kept.close()
        clock.now += 10
        until(lambda: accepts(imds))
        assert get(imds)[0] == 200


def test_hang_is_over_with_its_step() -> None:
    """A hanging request is read, recorded without status, and closed when the step ends."""
    clock = Clock()
    with Emulator(playbook=Playbook(steps=(Step(seconds=9, fault="hang"),)), clock=clock) as imds:
        connection = connect(imds)
        connection.request("GET", LB, headers=HEADER)
        until(lambda: bool(imds.requests))
        assert str(imds.requests[0]) == "GET /metadata/loadbalancer - hang"
        clock.now += 9
        with pytest.raises(http.client.RemoteDisconnected):
            connection.getresponse()
        connection.close()
        assert get(imds)[0] == 200


def test_a_client_that_gives_up_ends_its_hang() -> None:
    """No thread stays behind for a client that has gone."""
    with Emulator(playbook=faulty(fault="hang")) as imds:
        before = threading.active_count()
        with pytest.raises(TimeoutError):
            get(imds, timeout=0.1)
        until(lambda: threading.active_count() <= before)


def test_reset_resets() -> None:
    """Without `after` the connection is reset before the head, with it inside the body."""
    with Emulator(playbook=faulty(fault="reset")) as imds, pytest.raises(ConnectionResetError):
        get(imds)
    with Emulator(playbook=faulty(fault="reset", after=10)) as imds:
        with socket.create_connection(imds.address, timeout=SLACK) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            with pytest.raises(ConnectionResetError):
                b"".join(iter(lambda: client.recv(4096), b""))
        assert str(imds.requests[0]) == "GET / 400 reset"


@pytest.mark.parametrize(("after", "arrives"), [(100, 100), (0, 0), (None, 324)])
def test_cut_closes_in_the_middle(after: int | None, arrives: int) -> None:
    """The full length is promised and so many bytes come; half of them by default."""
    with Emulator(playbook=faulty(fault="cut", after=after)) as imds:
        with pytest.raises(http.client.IncompleteRead) as caught:
            get(imds)
        assert len(caught.value.partial) == arrives


def test_stall_goes_silent_in_the_middle() -> None:
    """So many bytes of the body come, and then nothing, with the connection open."""
    with Emulator(playbook=faulty(fault="stall", after=5)) as imds:
        connection = connect(imds, timeout=0.15)
        connection.request("GET", LB, headers=HEADER)
        response = connection.getresponse()
        assert response.read(5) == read("documented").body[:5]
        with pytest.raises(TimeoutError):
            response.read(1)
        connection.close()


def test_drip_keeps_its_rate() -> None:
    """The head comes at once and the body byte by byte, whole in the end."""
    with Emulator(playbook=faulty(fault="drip", rate=100.0), body=b"x" * 30) as imds:
        begin = time.monotonic()
        connection = connect(imds)
        connection.request("GET", LB, headers=HEADER)
        response = connection.getresponse()
        assert response.read() == b"x" * 30
        assert 0.28 < time.monotonic() - begin < SLACK
        connection.close()


def test_dripping_headers_come_whole_in_the_end() -> None:
    """The head drips too, which no time-out of a single read can bound."""
    with Emulator(playbook=faulty(fault="drip-headers", rate=1000.0), body=b"x") as imds:
        begin = time.monotonic()
        assert get(imds)[2] == b"x"
        assert time.monotonic() - begin > 0.2


def test_any_status_with_any_body() -> None:
    """Status, body, content type and Retry-After are what the step says, on every path."""
    keys = {"status": 502, "body": "<b>", "content_type": "text/html", "retry_after": "7"}
    with Emulator(playbook=faulty(fault="status", **keys)) as imds:
        for path in (LB, "/metadata/versions"):
            status, headers, body = get(imds, path)
            assert (status, body) == (502, b"<b>")
            assert headers["content-type"] == "text/html"
            assert headers["retry-after"] == "7"


def test_redirect_points_elsewhere() -> None:
    """A redirect has its status and location."""
    for keys, status in (({}, 302), ({"status": 307}, 307)):
        with Emulator(playbook=faulty(fault="redirect", location="http://x/", **keys)) as imds:
            answered = get(imds)
            assert (answered[0], answered[1]["location"]) == (status, "http://x/")


@pytest.mark.parametrize("transfer", ["plain", "chunked"])
def test_huge_is_as_large_as_it_says(transfer: str) -> None:
    """Over 4 MiB arrive, with a length or in chunks, on a connection that can be used again."""
    with Emulator(playbook=faulty(fault="huge", transfer=transfer)) as imds:
        status, headers, body = get(imds)
        assert (status, len(body)) == (200, 5 * 1024 * 1024)
        assert ("content-length" in headers) == (transfer == "plain")


def test_huge_can_be_small_on_the_wire() -> None:
    """Compressed, 5 MiB are a few thousand bytes."""
    with Emulator(playbook=faulty(fault="huge", transfer="gzip")) as imds:
        _, headers, body = get(imds)
        assert headers["content-encoding"] == "gzip"
        assert len(body) < 20_000


def test_wrong_type_is_a_true_body_with_a_wrong_label() -> None:
    """Only the content type is wrong."""
    with Emulator(playbook=faulty(fault="wrong-type")) as imds:
        status, headers, body = get(imds)
        assert (status, headers["content-type"]) == (200, "text/html")
        assert body == read("documented").body


def test_not_json_is_labelled_as_json() -> None:
    """A page, or what the step says, arrives as 200 and JSON."""
    with Emulator(playbook=faulty(fault="not-json")) as imds:
        status, headers, body = get(imds)
        assert (status, headers["content-type"]) == (200, "application/json; charset=utf-8")
        assert body.startswith(b"<html>")


def test_partial_lacks_a_list() -> None:
    """A 200 without inboundRules, and nothing else missing."""
    with Emulator(playbook=faulty(fault="partial")) as imds:
        lists = json.loads(get(imds)[2])["loadbalancer"]
        assert set(lists) == {"publicIpAddresses", "outboundRules"}


def test_throttle_and_update_then_fine() -> None:
    """429 with Retry-After, 410 for 70 s, then the body: told apart by the clock alone."""
    clock = Clock()
    steps = (
        Step(requests=1, fault="throttle", retry_after="3"),
        Step(seconds=70, fault="updating"),
        Step(),
    )
    with Emulator(playbook=Playbook(steps=steps), clock=clock) as imds:
        status, headers, _ = get(imds)
        assert (status, headers["retry-after"]) == (429, "3")
        assert get(imds)[0] == 410
        clock.now += 69.9
        assert get(imds)[0] == 410
        clock.now += 0.2
        assert get(imds)[0] == 200


def test_a_step_with_an_answer_leaves_the_instance_alone() -> None:
    """While the load balancer is absent, /metadata/instance is fine."""
    with Emulator(playbook=faulty(answer="absent")) as imds:
        assert get(imds)[0] == 404
        assert get(imds, f"{INSTANCE}?api-version=2021-02-01")[0] == 200


def test_an_answer_still_needs_the_header() -> None:
    """A scripted answer keeps the rules of the service; a fault does not ask."""
    with Emulator(playbook=faulty(answer="absent")) as imds:
        assert get(imds, headers={})[0] == 400
    with Emulator(playbook=faulty(fault="updating")) as imds:
        assert get(imds, headers={})[0] == 410


def test_the_shipped_cold_boot_plays() -> None:
    """Refused for 10 s, 404 for 10 s, then the emulator's own body."""
    clock = Clock()
    with Emulator(playbook="cold-boot", clock=clock, body="public-ip-only") as imds:
        assert not accepts(imds)
        clock.now += 10
        until(lambda: accepts(imds))
        assert said(get(imds)) == "/metadata/loadbalancer is not currently available"
        clock.now += 10
        assert get(imds)[2] == read("public-ip-only").body


def test_the_shipped_death_plays() -> None:
    """A cut body, five seconds of nobody, then the body."""
    clock = Clock()
    with Emulator(playbook="dies", clock=clock) as imds:
        with pytest.raises(http.client.IncompleteRead):
            get(imds)
        until(lambda: not accepts(imds))
        clock.now += 5
        until(lambda: accepts(imds))
        assert get(imds)[0] == 200


def test_an_answer_under_way_outlives_its_step() -> None:
    """Who refuses from the next request on still sends what this request was to get."""
    steps = (Step(requests=1, fault="updating"), Step(seconds=60, fault="refuse"))
    playbook = Playbook(steps=steps)
    with Emulator(playbook=playbook, on_request=lambda _: time.sleep(5 * TICK)) as imds:
        assert get(imds)[0] == 410
        until(lambda: not accepts(imds))


@pytest.mark.parametrize("fault", ["", "hang", "stall", "drip", "huge", "reset"])
def test_nothing_is_left_behind(fault: str) -> None:
    """Soon after the end, with clients still waiting, threads and port are free."""
    before = set(threading.enumerate())
    imds = Emulator(playbook=faulty(fault=fault, size=16 * 1024 * 1024), limit=None)
    clients = []
    with imds:
        for _ in range(3):
            clients.append(socket.create_connection(imds.address, timeout=SLACK))
            clients[-1].sendall(b"GET " + LB.encode() + b" HTTP/1.1\r\nMetadata: true\r\n\r\n")
        until(lambda: len(imds.requests) == 3)
        begin = time.monotonic()
    assert time.monotonic() - begin < SLACK
    assert set(threading.enumerate()) <= before
    for client in clients:
        client.close()
    with Emulator(listen=imds.address) as again:
        assert get(again)[0] == 200


def test_an_idle_connection_does_not_hold_the_end_up() -> None:
    """A client that is connected and says nothing is sent away."""
    with Emulator() as imds:
        client = socket.create_connection(imds.address, timeout=SLACK)
        begin = time.monotonic()
    assert time.monotonic() - begin < SLACK
    client.close()


def test_it_can_be_started_again() -> None:
    """After stop() the same emulator serves again on the same port, its script from the start."""
    imds = Emulator(playbook=Playbook(steps=(Step(requests=1, fault="updating"),)))
    for _ in range(2):
        with imds:
            assert [get(imds)[0], get(imds)[0]] == [410, 200]
            address = imds.address
    assert imds.address == address


def test_serving_for_ever_ends_with_stop() -> None:
    """serve_forever returns once another thread has called stop()."""
    with Emulator() as imds:
        threading.Timer(0.05, imds.stop).start()
        imds.serve_forever()
