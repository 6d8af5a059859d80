"""The Azure agent's client against the emulator: it asks, waits and understands as on Azure."""

from __future__ import annotations

import json

import pytest

from .azure import Azure, statuses, waited

ASK = "ask_azure_agent.py"
# What ComputeInfo of the agent has, and all that api-version 2018-02-01 had.
COMPUTE = {
    "location": "westeurope",
    "name": "web_0",
    "offer": "0001-com-ubuntu-server-jammy",
    "osType": "Linux",
    "placementGroupId": "7d8f2f0c-64a1-4d1c-9a0e-2c1f6f0b9d11",
    "platformFaultDomain": "0",
    "platformUpdateDomain": "0",
    "publisher": "Canonical",
    "resourceGroupName": "example-rg",
    "sku": "22_04-lts-gen2",
    "subscriptionId": "11111111-2222-3333-4444-555555555555",
    "tags": "env:test;role:web",
    "version": "22.04.202606100",
    "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
    "vmScaleSetName": "web",
    "vmSize": "Standard_D2s_v5",
    "zone": "1",
}
IMAGE = "Canonical:0001-com-ubuntu-server-jammy:22_04-lts-gen2:22.04.202606100"
THROTTLED = 'fault = "throttle"'
BROKEN = 'fault = "status"\nstatus = 500\nbody = "oops"'
MISSING = 'fault = "status"\nstatus = 404\nbody = \'{"error": "Not found"}\''


def step(fault: str, lasts: str = "requests = 1") -> str:
    """A playbook of one step; without `lasts` it goes on for ever."""
    return f"[[step]]\n{lasts}\n{fault}\n"


def test_it_asks_once_for_compute(azure: Azure) -> None:
    """get_compute sends one request, with `Metadata: True`, and every field has its value."""
    said, log = azure.ask(ASK, "compute")
    (compute,) = said["said"]
    assert compute.items() >= COMPUTE.items()
    assert compute["image_info"] == IMAGE
    assert compute["origin"] in (2, 3)  # endorsed or platform, as its list has it: no custom image
    assert [(seen.path, seen.query, seen.status) for seen in log] == [
        ("/metadata/instance/compute", "api-version=2018-02-01", 200)
    ]
    assert log[0].headers["metadata"] == "True"
    assert log[0].headers["user-agent"] == f"WALinuxAgent/{said['version']}"


def test_its_version_has_nothing_that_came_later(azure: Azure) -> None:
    """At 2018-02-01 compute has the seventeen keys that the agent knows, and no other."""
    said, _ = azure.ask(ASK, "get", "instance/compute")
    success, service_error, body = said["said"][0]
    assert (success, service_error) == (True, False)
    assert json.loads(body) == COMPUTE


def test_it_finds_the_service_healthy(azure: Azure) -> None:
    """validate finds network, MAC and private address, and names itself as a health check."""
    said, log = azure.ask(ASK, "validate")
    assert said["said"] == [[True, ""]]
    assert [(seen.path, seen.status) for seen in log] == [("/metadata/instance", 200)]
    assert log[0].headers["user-agent"].endswith("+health")


def test_it_finds_what_is_missing(azure: Azure) -> None:
    """An instance without its network, or without addresses, is unhealthy."""
    bare = {"compute": {}, "network": {"interface": [{"macAddress": "000D3AF806EC", "ipv4": {}}]}}
    said, _ = azure.ask(ASK, "validate", instance={"compute": {}})
    assert said["said"] == [[False, "Missing field: [network]"]]
    said, _ = azure.ask(ASK, "validate", instance=bare)
    assert said["said"] == [[False, "Empty field: [ipv4]"]]


@pytest.mark.parametrize(("fault", "status", "seconds"), [(THROTTLED, 429, 1), (BROKEN, 500, 2)])
def test_it_tries_again(azure: Azure, fault: str, status: int, seconds: int) -> None:
    """It waits one second after 429 and two after 500, and is content with the next answer."""
    said, log = azure.ask(ASK, "compute", playbook=step(fault))
    assert statuses(log) == [status, 200]
    assert waited(log, seconds)
    assert said["said"][0]["name"] == "web_0"


def test_its_sixth_request_in_a_second_is_throttled(azure: Azure) -> None:
    """Asked six times in a row it runs into the limit, waits, and has six answers in the end."""
    said, log = azure.ask(ASK, "compute", "times=6")
    assert statuses(log) == [200] * 5 + [429, 200]
    assert [compute["name"] for compute in said["said"]] == ["web_0"] * 6


def test_it_bears_throttling_for_long(azure: Azure) -> None:
    """25 requests, a second apart; what is throttled is no failure of the service."""
    for question, expected in (
        ("get", [False, False, "IMDS error in /metadata/instance: Throttled"]),
        ("validate", [True, "IMDS error in /metadata/instance: Throttled"]),
    ):
        playbook = step(THROTTLED, lasts="")
        said, log = azure.ask(ASK, question, "instance", "hurry", playbook=playbook, limit=None)
        assert said["said"] == [expected]
        assert statuses(log) == [429] * 25
        assert said["waits"] == [1] * 24


def test_it_reports_a_broken_service(azure: Azure) -> None:
    """500 is retried five times with growing pauses, and then the service is unhealthy."""
    playbook = step(BROKEN, lasts="")
    said, log = azure.ask(ASK, "validate", "hurry", playbook=playbook, limit=None)
    healthy, why = said["said"][0]
    assert (healthy, "Status Code 500" in why) == (False, True)
    assert statuses(log) == [500] * 6
    assert said["waits"] == [2, 3, 5, 8, 13]


def test_404_is_final(azure: Azure) -> None:
    """The agent does not ask again after 404, and does not blame the service for it."""
    said, log = azure.ask(ASK, "compute", playbook=step(MISSING, lasts=""))
    assert "[404: Not Found]" in said["said"][0]["error"]
    assert statuses(log) == [404]
    said, log = azure.ask(ASK, "validate", playbook=step(MISSING, lasts=""))
    assert (said["said"][0][0], statuses(log)) == (True, [404])


def test_410_is_for_others_to_wait_out(azure: Azure) -> None:
    """410 is not asked again, and counts as a failure of the service."""
    said, log = azure.ask(ASK, "get", "instance", playbook=step('fault = "updating"'))
    assert said["said"][0][:2] == [False, True]
    assert statuses(log) == [410]


def test_nobody_there_is_not_unhealthy(azure: Azure) -> None:
    """Refused connections are tried six times, at the wireserver as well by the older ones."""
    refused = step('fault = "refuse"', lasts='for = "60s"')
    said, log = azure.ask(ASK, "validate", "hurry", playbook=refused)
    assert said["said"] == [
        [True, "IMDS error in /metadata/instance: Unable to connect to endpoint"]
    ]
    assert said["waits"] == [2, 3, 5, 8, 13] * (2 if said["wireserver"] else 1)
    assert log == []


def test_a_page_is_unhealthy(azure: Azure) -> None:
    """A page in place of JSON fails the health check without a second request."""
    said, log = azure.ask(ASK, "validate", playbook=step('fault = "not-json"'))
    healthy, why = said["said"][0]
    assert (healthy, why.startswith("JSON parsing failed")) == (False, True)
    assert statuses(log) == [200]


@pytest.mark.parametrize(
    ("header", "note"),
    [
        ("Metadata: false", "missing-header"),
        ("Metadata: ", "missing-header"),
        ("X-Forwarded-For: 10.0.0.1", "forwarded"),
    ],
)
def test_a_bad_header_is_refused_for_good(azure: Azure, header: str, note: str) -> None:
    """Without its header, or forwarded, the same client gets 400 and does not ask again."""
    said, log = azure.ask(ASK, "compute", f"header={header}")
    assert "[400: Bad Request]" in said["said"][0]["error"]
    assert [(seen.status, seen.note) for seen in log] == [(400, note)]


def test_its_version_is_too_old_for_the_load_balancer(azure: Azure) -> None:
    """The agent's api-version is older than the endpoint: 400, and nobody's fault but its own."""
    said, log = azure.ask(ASK, "get", "loadbalancer")
    success, service_error, why = said["said"][0]
    assert (success, service_error) == (False, False)
    assert "[400: Bad Request]" in why
    assert [(seen.status, seen.note) for seen in log] == [(400, "api-version")]
