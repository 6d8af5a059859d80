"""The VM itself, as `/metadata/instance` has it: tolerant, and no text that could do harm."""

import ipaddress
import json
from collections.abc import Callable
from typing import Any

import pytest

from lbhook.errors import MetadataError
from lbhook.metadata import instance
from lbhook.metadata.instance import Nic, Vm


def _parse(body: Any, **interfaces: str) -> tuple[Vm, tuple[str, ...]]:
    return instance.parse(json.dumps(body).encode(), interfaces)


def test_documented_network_gives_a_nic(body: Callable[[str], bytes]) -> None:
    """The documented sample: addresses of both families, matched to the interface by MAC."""
    network = json.loads(body("instance-network"))
    vm, warnings = _parse({"network": network}, **{"000d3af806ec": "eth0"})
    assert warnings == ()
    assert vm.nics == (
        Nic(
            mac="00:0d:3a:f8:06:ec",
            interface="eth0",
            private_ips=(
                ipaddress.ip_address("10.1.0.4"),
                ipaddress.ip_address("ace:cab:deca:deed::1"),
            ),
            subnets=(ipaddress.ip_network("10.1.0.0/24"),),
        ),
    )


def test_nic_that_is_not_here_has_no_interface(body: Callable[[str], bytes]) -> None:
    """IMDS may know a NIC that this machine does not show."""
    vm, _ = _parse({"network": json.loads(body("instance-network"))})
    assert vm.nics[0].interface == ""


def test_order_of_nics_does_not_matter() -> None:
    """Azure does not guarantee the order of NICs, so they are sorted by MAC address."""
    macs = [{"macAddress": "000D3AF806ED"}, {"macAddress": "000D3AF806EC"}]
    forwards, _ = _parse({"network": {"interface": macs}})
    backwards, _ = _parse({"network": {"interface": macs[::-1]}})
    assert forwards == backwards
    assert [nic.mac for nic in forwards.nics] == ["00:0d:3a:f8:06:ec", "00:0d:3a:f8:06:ed"]


def test_names_and_tags() -> None:
    """Names as Azure writes them; tags from the list, sorted."""
    compute = {
        "name": "web_0",
        "location": "westeurope",
        "zone": "1",
        "vmScaleSetName": "web",
        "vmId": "02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        "vmSize": "Standard_D2s_v5",
        "resourceGroupName": "rg-(test)",
        "tagsList": [{"name": "b", "value": "2"}, {"name": "a", "value": "x:y/z"}],
    }
    vm, warnings = _parse({"compute": compute})
    assert warnings == ()
    assert vm == Vm(
        name="web_0",
        location="westeurope",
        zone="1",
        scale_set="web",
        vm_id="02aab8a4-74ef-476e-8182-f6d2ba4166a6",
        size="Standard_D2s_v5",
        resource_group="rg-(test)",
        tags={"a": "x:y/z", "b": "2"},
    )
    assert list(vm.tags) == ["a", "b"]


def test_text_that_a_configuration_could_take_for_its_own_is_left_out() -> None:
    """Promise 6: the network writes no text. A tag is anybody's text."""
    tags = [{"name": "evil", "value": "x;\nserver {"}, {"name": "fine", "value": "yes"}]
    vm, warnings = _parse({"compute": {"name": "a b", "tagsList": tags}})
    assert vm == Vm(tags={"fine": "yes"})
    assert warnings == (
        "compute.name: not a name that Azure gives; it is left out",
        "compute.tagsList[0]: unusual characters; it is left out",
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"compute": None, "network": []},
        {"network": {"interface": [None, {"macAddress": 5}, {"macAddress": "xyz"}]}},
        {"compute": {"tagsList": [5, None], "name": ["x"]}},
        {"network": {"interface": {"macAddress": "000D3AF806EC"}}},
    ],
)
def test_partial_answers_are_taken_as_far_as_they_go(body: Any) -> None:
    """Half an answer is normal for a while; what is missing is empty."""
    vm, _ = _parse(body)
    assert vm == Vm()


def test_addresses_that_are_none_are_passed_over() -> None:
    """A public address is empty for a Standard SKU, and a private one may be, too."""
    entry = {
        "macAddress": "000D3AF806EC",
        "ipv4": {"ipAddress": [{"privateIpAddress": ""}, {}], "subnet": [{"address": "x"}]},
    }
    vm, _ = _parse({"network": {"interface": [entry]}})
    assert vm.nics == (Nic(mac="00:0d:3a:f8:06:ec"),)


def test_what_is_not_json_is_an_error() -> None:
    """Then it is not from IMDS, or not whole."""
    with pytest.raises(MetadataError):
        instance.parse(b"<html>", {})
