"""Rules by configuration: in Azure's terms, and checked as strictly as Azure's."""

import ipaddress

import pytest

from lbhook.config import settings
from lbhook.config.rules import ConfiguredRule
from lbhook.errors import ConfigError

FRONT, HERE = ipaddress.IPv4Address("52.1.2.3"), ipaddress.IPv4Address("10.1.0.4")


def rules(text: str) -> tuple[ConfiguredRule, ...]:
    """The rules of a configuration."""
    return settings.parse(text).rules


def problems(text: str) -> list[str]:
    """All that is wrong with one rule, without the name of the file."""
    with pytest.raises(ConfigError) as caught:
        rules(f"[rules.web]\n{text}")
    return [one.removeprefix("lbhook.toml: rules.web") for one in caught.value.problems]


GOOD = 'frontend_ip = "52.1.2.3"\nprotocol = "tcp"\n'


def test_a_rule_of_each_kind() -> None:
    """To an address here, with Floating IP, and for every port; one port stands for both."""
    found = rules(
        f'[rules.web]\n{GOOD}frontend_port = 443\nbackend_port = 8443\nprivate_ip = "10.1.0.4"\n'
        f"[rules.global]\n{GOOD}backend_port = 80\nfloating_ip = true\n"
        '[rules.all]\nfrontend_ip = "[fd00::9]"\nprotocol = "all"\nprivate_ip = "fd00::4"\n'
    )
    six = ipaddress.IPv6Address("fd00::9"), ipaddress.IPv6Address("fd00::4")
    assert found == (
        ConfiguredRule("all", six[0], "all", 0, six[1], 0),
        ConfiguredRule("global", FRONT, "tcp", 80, FRONT, 80),
        ConfiguredRule("web", FRONT, "tcp", 443, HERE, 8443),
    )


def test_there_is_none_by_default() -> None:
    """Azure's word alone."""
    assert rules("") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "",
            [
                *(".frontend_ip: missing", ".protocol: missing"),
                *(".private_ip: missing; or set floating_ip", ".frontend_port: missing"),
            ],
        ),
        (GOOD, [".private_ip: missing; or set floating_ip", ".frontend_port: missing"]),
        (
            f'{GOOD}frontend_port = 80\nfloating_ip = true\nprivate_ip = "10.1.0.4"\n',
            [".private_ip: with floating_ip it is the frontend address: leave it out"],
        ),
        (
            f'{GOOD}frontend_port = 80\nfloating_ip = false\nprivate_ip = "52.1.2.3"\n',
            [".floating_ip: false, and private_ip is the frontend address"],
        ),
        (
            f'{GOOD}frontend_port = 80\nprivate_ip = "fd00::4"\n',
            [".private_ip: fd00::4 is not of the family of frontend_ip, 52.1.2.3"],
        ),
        (
            'frontend_ip = "10.0.0.9"\nprotocol = "all"\nfrontend_port = 80\nfloating_ip = true\n',
            [".frontend_port: means nothing with protocol all"],
        ),
        (
            'frontend_ip = "168.63.129.16"\nprotocol = "icmp"\nfrontend_port = 0\nport = 1\n'
            'backend_port = true\nprivate_ip = "::ffff:10.0.0.1"\n',
            [
                '.frontend_ip: "168.63.129.16" is not an address that a load balancer',
                '.protocol: "icmp" is not "tcp" or "udp" or "all"',
                ".frontend_port: 0 is not a port",
                ".port: unknown key",
                ".backend_port: true is not a port",
                '.private_ip: "::ffff:10.0.0.1" is not an address that a load balancer',
            ],
        ),
    ],
)
def test_what_is_wrong(text: str, found: list[str]) -> None:
    """All of it at once, each with its key."""
    said = problems(text)
    assert len(said) == len(found), said
    for one, begin in zip(said, found, strict=True):
        assert one.startswith(begin)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.169.254", "fe80::1", "::1", "ff02::1"]
)
def test_an_address_that_no_host_can_have(address: str) -> None:
    """What Azure's answer would be refused for."""
    (found,) = problems(f'{GOOD}frontend_port = 80\nprivate_ip = "{address}"\n')
    assert "is not an address that a load balancer or a VM can have" in found


@pytest.mark.parametrize("text", ['rules = "x"', "rules = []", "[rules]\nweb = 1", '[rules." "]'])
def test_what_is_no_table_of_rules(text: str) -> None:
    """It is named, and nothing else breaks."""
    with pytest.raises(ConfigError):
        rules(text)
