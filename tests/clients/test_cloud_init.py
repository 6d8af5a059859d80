"""cloud-init's Azure client against the emulator: it asks, waits and understands as on Azure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .azure import Azure, statuses, waited

ASK = "ask_cloud_init.py"
WANTED = "api-version=2021-08-01&extended=true"
OLDEST = "api-version=2019-06-01"
NIC = {
    "dhcp4": True,
    "dhcp4-overrides": {"route-metric": 100},
    "dhcp6": True,
    "dhcp6-overrides": {"route-metric": 100},
    "match": {"macaddress": "00:0d:3a:f8:06:ec"},
    "set-name": "eth0",
}
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"
OLD_STACK = """
[[step]]
requests = 1
fault = "status"
status = 400
body = '{"error": "Bad request. api-version is invalid or was not specified in the request."}'
"""


def once(fault: str) -> str:
    """A playbook of one bad answer; sound from then on."""
    return f"[[step]]\nrequests = 1\n{fault}\n"


def test_it_asks_once_and_understands_everything(azure: Azure) -> None:
    """User, host, keys, place and network come out of one request as DataSourceAzure wants them."""
    said, log = azure.ask(ASK, "fetch")
    assert said["understood"] == {
        "user": "azureuser",
        "host": "web000000",
        "password": True,
        "keys": [f"{KEY} azureuser@example"],
        "region": "westeurope",
        "fault_domain": "0",
        "pps": "None",
        "nics": True,
        "network": {"version": 2, "ethernets": {"eth0": NIC}},
    }
    assert [(seen.method, seen.path, seen.query, seen.status) for seen in log] == [
        ("GET", "/metadata/instance", WANTED, 200)
    ]
    assert log[0].headers["metadata"] == "true"
    assert log[0].headers["user-agent"] == f"Cloud-Init/{said['version']}"


def test_it_adds_secondary_addresses(azure: Azure) -> None:
    """The second address of an interface becomes a static one, with the prefix of its subnet."""
    addresses = [{"privateIpAddress": f"10.1.0.{host}", "publicIpAddress": ""} for host in (4, 5)]
    subnet = [{"address": "10.1.0.0", "prefix": "24"}]
    interface: dict[str, Any] = {
        "ipv4": {"ipAddress": addresses, "subnet": subnet},
        "ipv6": {"ipAddress": []},
        "macAddress": "000D3AF806EC",
    }
    instance = {"compute": {"publicKeys": []}, "network": {"interface": [interface]}}
    said, _ = azure.ask(ASK, "fetch", instance=instance)
    nic = said["understood"]["network"]["ethernets"]["eth0"]
    assert (nic["addresses"], nic["dhcp6"]) == (["10.1.0.5/24"], False)


def test_it_tries_again_every_second(azure: Azure) -> None:
    """404, 410, 429 and 500 are what it takes for "not yet", in whatever order they come."""
    missing = 'fault = "status"\nstatus = 404\nbody = \'{"error": "Not found"}\''
    faults = (missing, 'fault = "updating"', 'fault = "throttle"', 'fault = "status"\nstatus = 500')
    said, log = azure.ask(ASK, "fetch", playbook="".join(map(once, faults)))
    assert statuses(log) == [404, 410, 429, 500, 200]
    assert waited(log, 1, 1, 1, 1)
    assert said["understood"]["user"] == "azureuser"


def test_503_ends_the_older_ones_and_not_the_newer(azure: Azure) -> None:
    """To 22.4 a 503 is final; today's retries it for as long as it comes."""
    said, log = azure.ask(ASK, "fetch", playbook=once('fault = "status"\nstatus = 503'))
    assert statuses(log) == ([503, 200] if said["insists_on_503"] else [503])
    assert bool(said["metadata"]) == said["insists_on_503"]


def test_it_falls_back_to_an_older_version(azure: Azure) -> None:
    """After 400 it asks for 2019-06-01 at once, and gets what that version had, no more."""
    said, log = azure.ask(ASK, "fetch", playbook=OLD_STACK)
    assert [(seen.query, seen.status) for seen in log] == [(WANTED, 400), (OLDEST, 200)]
    assert set(said["metadata"]) == {"compute", "network"}
    understood = said["understood"]
    assert [understood[key] for key in ("user", "host", "pps")] == [None, None, None]
    assert (understood["fault_domain"], len(understood["keys"])) == ("0", 1)
    assert understood["network"]["ethernets"] == {"eth0": NIC}


def test_the_limit_of_the_service_only_delays_it(azure: Azure) -> None:
    """Where the second is used up, the next request is throttled, and the one after it not."""
    said, log = azure.ask(ASK, "fetch", playbook=OLD_STACK, limit=1)
    assert [(seen.query, seen.status) for seen in log] == [
        (WANTED, 400),
        (OLDEST, 429),
        (OLDEST, 200),
    ]
    assert waited(log, 0, 1)
    assert said["understood"]["region"] == "westeurope"


def test_it_does_not_wait_for_ever_for_an_answer(azure: Azure) -> None:
    """A request that hangs is given up after its time-out, and asked again a second later."""
    said, log = azure.ask(ASK, "fetch", playbook=once('fault = "hang"'))
    assert statuses(log) == [None, 200]
    assert waited(log, 3)
    assert said["understood"]["user"] == "azureuser"


def test_it_gives_up_in_the_end(azure: Azure) -> None:
    """Throttled all the time it asks once a second, and does without when its time is over."""
    said, log = azure.ask(ASK, "fetch", "briefly", playbook='[[step]]\nfault = "throttle"\n')
    assert said["metadata"] == {}
    assert statuses(log) == [429, 429, 429]
    assert waited(log, 1, 1)


def test_a_page_is_no_metadata(azure: Azure) -> None:
    """200 with something else than JSON is not asked for again."""
    said, log = azure.ask(ASK, "fetch", playbook=once('fault = "not-json"'))
    assert (said["metadata"], statuses(log)) == ({}, [200])


@pytest.mark.parametrize(
    ("headers", "note"),
    [
        ({}, "missing-header"),
        ({"Metadata": "false"}, "missing-header"),
        ({"Metadata": "true", "X-Forwarded-For": "10.0.0.1"}, "forwarded"),
    ],
)
def test_a_bad_header_is_refused_for_good(azure: Azure, headers: dict[str, str], note: str) -> None:
    """Without its header, or forwarded, the same client gets 400 and does not ask again."""
    said, log = azure.ask(ASK, "send", json.dumps(headers))
    assert (said["status"], [(seen.status, seen.note) for seen in log]) == (400, [(400, note)])
    assert said["error"].startswith("Bad request")
