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
