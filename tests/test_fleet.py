"""The examples for scale sets: read by HashiCorp's own parser and by one of Bicep; what they refer
to is there. Terraform and Microsoft's compiler of Bicep can't be had where this is tested."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from .conftest import lacking
from .program import REPO

TERRAFORM = REPO / "examples/terraform/main.tf"
BICEP = REPO / "examples/bicep/main.bicep"


def parser(name: str) -> Any:
    """A parser of the development dependencies."""
    try:
        return importlib.import_module(name)
    except ImportError:
        lacking(f"no {name} here")


def test_terraform() -> None:
    """It is HCL, and each variable and resource that is named is declared, once."""
    text = TERRAFORM.read_text()
    found = parser("pygohcl").loads(text)
    assert found["provider"] == {"azurerm": {"features": {}}}
    for kind in ("resource", "data"):
        before = r"data\." if kind == "data" else r"(?<!data\.)\b"
        named = set(re.findall(rf"{before}(azurerm_\w+)\.(\w+)", text))
        declared = {(one, name) for one, them in found[kind].items() for name in them}
        assert named <= declared
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(found["variable"])


def test_bicep() -> None:
    """It is Bicep as far as its parser knows, and each parameter and resource that is named is
    declared."""
    text = BICEP.read_text()
    found = parser("pycep").BicepParser().parse(text=text)
    declared = {*found["parameters"], *found["resources"], *found["variables"]}
    for name in declared - {"vms"}:
        assert len(re.findall(rf"\b{name}\b", text)) > 1, name
    assert set(re.findall(r"\bid: (\w+)", text)) <= declared
    assert set(re.findall(r"(\w+)\.(?:id|properties)\b", text)) <= declared


@pytest.mark.parametrize("file", [TERRAFORM, BICEP], ids=["terraform", "bicep"])
def test_what_they_hand_to_cloud_init(file: Path) -> None:
    """One of the examples, which cloud-init's own schema takes; and no name that Azure refuses."""
    text = file.read_text()
    (name,) = re.findall(r"/\.\./([\w.-]+)\"\)|'\.\./([\w.-]+)'\)", text)
    example = REPO / "examples" / "".join(name)
    assert example.read_text().startswith("#cloud-config\n")
    assert not re.search(r"""["'](admin|root)["']""", text)


def test_terraform_has_a_way_out() -> None:
    """Nothing hangs on Azure's default, which new networks don't have: it is off, an outbound rule
    stands in for it, no inbound rule takes its ports, and VMs come after it."""
    found = parser("pygohcl").loads(TERRAFORM.read_text())["resource"]
    (subnet,) = found["azurerm_subnet"].values()
    assert subnet["default_outbound_access_enabled"] is False
    ((name, rule),) = found["azurerm_lb_outbound_rule"].items()
    assert rule["protocol"] == "All"
    (vms,) = found["azurerm_linux_virtual_machine_scale_set"].values()
    nic = vms["network_interface"]["ip_configuration"]
    assert [rule["backend_address_pool_id"]] == nic["load_balancer_backend_address_pool_ids"]
    assert f"azurerm_lb_outbound_rule.{name}" in "".join(vms["depends_on"])
    assert all(one["disable_outbound_snat"] is True for one in found["azurerm_lb_rule"].values())


def test_bicep_has_a_way_out() -> None:
    """The same."""
    found = parser("pycep").BicepParser().parse(text=BICEP.read_text())["resources"]
    config = {name: one["config"] for name, one in found.items()}
    (subnet,) = config["network"]["properties"]["subnets"]
    assert subnet["properties"]["defaultOutboundAccess"] is False
    balancer = config["balancer"]["properties"]
    (rule,) = balancer["outboundRules"]
    assert rule["properties"]["protocol"] == "All"
    assert all(one["properties"]["disableOutboundSnat"] for one in balancer["loadBalancingRules"])
    assert [str(one) for one in config["vms"]["dependsOn"]] == ["balancer"]
